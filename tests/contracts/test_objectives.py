"""A third objective: one row of the table, and whoever reads the table plays it."""

import importlib.util

import numpy as np
import pytest

import lambo_env
from lambo_agents.protocol import unsupported
from lambo_agents.registry import make_agent
from lambo_env import Prompts
from lambo_env.offloading import physics
from lambo_env.offloading.instances import at_place
from lambo_env.prompts.objectives import OBJECTIVES, ObjectiveKind, register_objective, unit_of

PRICE = np.asarray([1.0, 0.3, 4.0, 2.0, 0.5])  # per gigacycle: of the UE's own CPU, then servers
TEXT = "Minimum money"


def money(instances):
    """Return the price of each task at each place [B, N, P]."""
    price = instances.xp.asarray(PRICE, dtype=instances.cycles.dtype)
    return instances.cycles[..., None] / 1e9 * price


@pytest.fixture
def third():
    row = ObjectiveKind(
        name="money",
        unit="EUR",
        measure="what the CPUs charge",
        prompt=TEXT,
        quantity=money,
        train=(TEXT, "Spend as few euros as possible"),
        held_out=("Be a miser",),
    )
    register_objective(row)
    yield row
    del OBJECTIVES[row.name]


def formula(instances, outcome, place):
    """Return the cost by hand: what is in time pays its place, what is late thrice its dearest."""
    paid = at_place(money(instances), place, np)
    dearest = instances.cycles / 1e9 * PRICE.max()
    penalty = (1 + instances.late_penalty[:, None]) * dearest
    return np.where(outcome.late, penalty, paid).sum(axis=-1)


def test_prompts_name_it_and_nothing_else_changes(third):
    prompts = Prompts.of([TEXT, "spend as few euros as possible.", "be a miser", "minimum energy"])
    assert prompts.other["money"].tolist() == [1, 1, 1, 0]
    assert prompts.weights["energy"].tolist() == [0, 0, 0, 1]
    assert prompts.latency_weight.tolist() == [0, 0, 0, 0]
    assert prompts.take([0]) != Prompts(TEXT, 0.0)
    assert Prompts.concat([prompts, prompts.take([3])]).other["money"].tolist() == [1, 1, 1, 0, 0]
    drawn = Prompts.sample(8, np.random.default_rng(0), kinds=("money",))
    assert set(drawn.texts) == set(third.train)
    with pytest.raises(ValueError, match="at most 1"):
        Prompts(TEXT, 0.5, {"money": 0.6})
    with pytest.raises(ValueError, match="further objective of Prompts.other"):
        Prompts(TEXT, 0.5, {"monney": 0.5})


def test_a_mix_with_it_is_dimensionless(third, tiny):
    objective = Prompts(["a"] * 8, 0.5, {"money": 0.25}).objective(tiny)
    scale = money(tiny).mean(axis=-1).sum(axis=-1)
    np.testing.assert_allclose(objective.other["money"], 0.25 / scale)
    half = Prompts(["a"] * 8, 0.75).objective(tiny)
    np.testing.assert_allclose(objective.cost_per_j, half.cost_per_j)
    assert unit_of(objective.take(0).coefficients) == ""
    assert unit_of(Prompts.of(TEXT, 8).objective(tiny).take(0).coefficients) == "EUR"


@pytest.mark.parametrize("scenario", ["tiny", "hetero"])
def test_evaluate_and_tables_charge_it(third, scenario, rng):
    instances = lambo_env.sample_instances(lambo_env.load_scenario(scenario), 6, rng)
    place = rng.integers(0, 5, instances.cycles.shape)
    objective = Prompts.of(TEXT, 6).objective(instances)
    decision = lambo_env.Decision(place, physics.allocate(instances, place))
    outcome = physics.evaluate(instances, decision, objective)
    np.testing.assert_allclose(outcome.cost, formula(instances, outcome, place), rtol=1e-12)
    tables = physics.place_tables(instances, objective)
    timely = np.isfinite(tables.floor_hz)
    np.testing.assert_array_equal(tables.fixed[timely], money(instances)[timely])


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("greedy", {}),
        ("local-search", {}),
        ("de", {"population": 10, "generations": 20}),
        ("random", {}),
        ("local", {}),
        ("policy-gradient", {}),
    ],
)
def test_agents_play_it(third, name, kwargs, tiny):
    prompts = Prompts.of(TEXT, 8)
    agent = make_agent(name, **kwargs)
    assert unsupported(agent, tiny, prompts) is None
    decision = agent.decide(tiny, prompts, np.random.default_rng(0))
    outcome = lambo_env.evaluate(tiny, decision, prompts.objective(tiny))
    np.testing.assert_allclose(outcome.cost, formula(tiny, outcome, decision.place), rtol=1e-12)
    if name in ("greedy", "local-search", "de"):
        every = np.indices((5,) * 6).reshape(6, -1).T
        wide = tiny.take(np.zeros(len(every), dtype=int))
        least = physics.association_cost(wide, every, Prompts.of(TEXT, len(every)).objective(wide))
        assert least.min() * (1 - 1e-9) <= outcome.cost[0] <= least.min() * 1.05


def test_exact_refuses_it_with_the_reason(third, tiny):
    prompts, exact = Prompts.of(TEXT, 8), make_agent("exact")
    reason = "it minimises latency and energy; these prompts ask for money"
    assert unsupported(exact, tiny, prompts) == reason
    with pytest.raises(ValueError, match=reason):
        exact.solve(tiny, prompts)
    assert unsupported(exact, tiny, Prompts.of("minimum energy", 8)) is None


@pytest.mark.skipif(importlib.util.find_spec("sb3_contrib") is None, reason="needs the extra sb3")
def test_ppo_trains_on_it(third):
    import gymnasium as gym
    from stable_baselines3 import PPO

    env = gym.make("LAMBO-MEC-Association-v0", scenario="tiny", prompt=TEXT)
    model = PPO("MultiInputPolicy", env, n_steps=10, batch_size=10, n_epochs=1, device="cpu")
    model.learn(10)
    observation, _ = env.reset(seed=0)
    done, total = False, 0.0
    while not done:
        action, _ = model.predict(observation)
        observation, reward, done, _, info = env.step(int(action))
        total += reward
    assert total == pytest.approx(-info["outcome"]["cost"])


def test_partial_resets_keep_each_rows_objective(third):
    import gymnasium as gym

    env = gym.make_vec(
        "LAMBO-MEC-Association-v0",
        3,
        scenario="tiny",
        prompt=[TEXT, "minimum energy", "70% latency, 30% energy"],
        observe="objective",
    )
    observation, _ = env.reset(seed=4)
    assert observation["objective"].shape == (3, 3)
    for _ in range(20):
        observation, _, _, _, _ = env.step(np.zeros(3, dtype=np.int64))
    np.testing.assert_allclose(observation["objective"].sum(axis=-1), 1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "latency"}, "a name beside latency, energy, mix"),
        ({"quantity": None}, "a function of instances"),
        ({"prompt": "pay less"}, "one of its train"),
    ],
)
def test_a_bad_row_is_refused(wrong, said):
    row = {"name": "money", "unit": "EUR", "measure": "price", "prompt": TEXT, "train": (TEXT,)}
    with pytest.raises(ValueError, match=said):
        register_objective(ObjectiveKind(**{**row, "quantity": money, **wrong}))
    assert list(OBJECTIVES) == ["latency", "energy"]
