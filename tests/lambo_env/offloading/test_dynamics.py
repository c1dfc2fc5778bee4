"""The sequential process: actions, masks, rewards, the full allocation behind each step, purity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambo_agents.protocol import unsupported
from lambo_agents.registry import agent_spec, list_agents
from lambo_env.envs.actions import decode_action, encode_action
from lambo_env.envs.arguments import AssociationArguments, JointArguments
from lambo_env.envs.vector_env import WorldVectorEnv
from lambo_env.offloading import dynamics, observation, physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.offloading.masks import legal_places
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils.rows import Rows

ENVS = {"LAMBO-MEC-v0": JointArguments, "LAMBO-MEC-Association-v0": AssociationArguments}
SMALL_PAPER = load_scenario("paper").replace(num_ues=12)
TIGHT = load_scenario("hetero").replace(
    num_ues=14, server_cpu_hz=(6e9, 6e9, 1e9), deadline_s=(0.6, 2.0)
)  # floors active, some hopeless
CAPPED = load_scenario("paper").replace(
    num_ues=8, max_spectral_efficiency=3.0, rician_k_db=float("inf"), late_penalty=0.0
)
SCENARIOS = {"tiny": load_scenario("tiny"), "paper": SMALL_PAPER, "tight": TIGHT, "capped": CAPPED}
SLOW = {"de", "lambo-s", "policy-gradient"}  # agents that others test
PROMPTS = ("minimum latency", "minimum energy", "70% latency, 30% energy")


def begin(
    name: str = "tight", batch: int = 6, seed: int = 0, weight: float = 1.0
) -> tuple[Instances, dynamics.SlotTables, dynamics.SlotState]:
    instances = sample_instances(SCENARIOS[name], batch, np.random.default_rng(seed))
    return instances, *dynamics.start(instances, instances.objective(np.full(batch, weight)))


def observed(instances, current, place, taken_hz, left_hz) -> dict[str, np.ndarray]:
    """The observation of a slot in progress, from the decisions alone."""
    capacity = instances.server_cpu_hz
    own = np.take_along_axis(np.concatenate([capacity[:, :1], capacity], axis=1), place, axis=1)
    taken = np.where(place > 0, taken_hz / own, 0.0)
    dynamic = np.stack([current, place / capacity.shape[1], taken], axis=-1)
    return {
        "ues": np.concatenate([observation.static_columns(instances), dynamic], axis=-1),
        "servers": observation.server_columns(left_hz, capacity, np),
    }


def adversarial(env, rng: np.random.Generator, greedy: float) -> np.ndarray:
    """Actions that crowd one server, take all or the floor alone, and often ignore the mask."""
    masks = env.action_masks()
    batch, places = masks.shape
    crowd = rng.integers(places, size=batch)
    legal = (rng.random(masks.shape) * masks).argmax(1)
    place = np.where(rng.random(batch) < greedy, crowd * 0 + int(rng.integers(places)), legal)
    place = np.where(rng.random(batch) < 0.2, crowd, place)
    if not env.arguments.shares:
        return place
    share = rng.choice([0.0, 1.0, 0.5, rng.random()], size=batch)
    return encode_action(place, share, places - 1)


@settings(max_examples=60)
@given(
    env_id=st.sampled_from(sorted(ENVS)),
    name=st.sampled_from(sorted(SCENARIOS)),
    prompt=st.sampled_from(PROMPTS),
    num_slots=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**31),
    greedy=st.sampled_from([0.0, 0.4, 1.0]),
)
def test_a_slots_rewards_sum_to_minus_its_cost_whatever_is_played(
    env_id, name, prompt, num_slots, seed, greedy
):
    env = WorldVectorEnv(ENVS[env_id](SCENARIOS[name], prompt=prompt, num_slots=num_slots), 3)
    rng, rewards, slots = np.random.default_rng(seed), np.zeros(3), 0
    env.reset(seed=seed)
    over = np.zeros(3, dtype=bool)
    while not over.all():
        instances, prompts = env.instances, env.prompts
        _, reward, over, _, infos = env.step(adversarial(env, rng, greedy))
        rewards = rewards + reward
        if "outcome" in infos:
            outcome = infos["outcome"]
            np.testing.assert_allclose(-rewards, outcome["cost"], rtol=1e-6)
            decision = Decision(outcome["place"], outcome["cpu_hz"])
            again = physics.evaluate(instances, decision, prompts.objective(instances))
            np.testing.assert_allclose(again.cost, outcome["cost"], rtol=1e-9)
            np.testing.assert_array_equal(again.late, outcome["late"])
            rewards, slots = np.zeros(3), slots + 1
    assert slots == num_slots


@settings(max_examples=200)
@given(st.integers(1, 40), st.data())
def test_actions_say_the_place_and_share_that_were_encoded(num_servers, data):
    place = data.draw(st.integers(0, num_servers))
    share = data.draw(st.floats(0, 1, width=32))
    action = encode_action(place, share, num_servers)
    assert action.dtype == np.float32 and np.all(np.abs(action) <= 1)
    again_place, again_share = decode_action(action, num_servers)
    assert again_place == place
    assert again_share == pytest.approx(share, abs=1e-7)


def test_the_corners_of_the_action_space_are_the_first_and_the_last_place():
    place, share = decode_action(np.array([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]]), 4)
    assert place.tolist() == [0, 4, 2]
    assert share.tolist() == [0.0, 1.0, 0.5]


def test_share_0_just_meets_the_deadline_and_share_1_takes_all():
    instances, tables, state = begin("paper")
    rows, floors = np.arange(6), physics.floors_hz(instances)[:, 0]
    server = floors.argmin(1)
    for share, want in ((0.0, floors.min(1)), (1.0, instances.server_cpu_hz[rows, server])):
        move, after = dynamics.step(tables, state, Rows(rows, 6), server + 1, np.full(6, share))
        np.testing.assert_allclose(move.taken_hz, want)
        np.testing.assert_allclose(
            after.left_hz.reshape(6, -1)[rows, server + 1],
            instances.server_cpu_hz[rows, server] - want,
            atol=1e-3,
        )
        cpu = np.zeros((6, 12))
        cpu[:, 0] = move.taken_hz
        outcome = physics.evaluate(
            instances,
            Decision((cpu > 0) * (server + 1)[:, None], cpu),
            instances.objective(np.ones(6)),
        )
        assert not outcome.late[:, 0].any()
        if share == 0:
            np.testing.assert_allclose(outcome.latency_s[:, 0], instances.deadline_s[:, 0])


@pytest.mark.parametrize("shares", [True, False])
def test_an_offload_that_cannot_be_served_keeps_its_place_is_late_and_takes_nothing(shares):
    instances, _, _ = begin()
    hopeless = instances.replace(uplink_bps=np.full_like(instances.uplink_bps, 1.0))
    tables, state = dynamics.start(hopeless, hopeless.objective(np.ones(6)))
    rows, before = np.arange(6), state.left_hz.copy()
    move, after = dynamics.step(
        tables, state, Rows(rows, 6), np.full(6, 2), np.ones(6) if shares else None
    )
    np.testing.assert_array_equal(after.left_hz, before)
    decided = dynamics.decision(tables, after, shares=shares)
    assert (decided.place[:, 0] == 2).all() and not decided.cpu_hz.any()
    np.testing.assert_allclose(
        move.reward, -physics.late_cost(hopeless, hopeless.objective(np.ones(6)))[:, 0]
    )


@pytest.mark.parametrize("shares", [True, False])
def test_the_mask_is_what_physics_says_of_every_place(shares):
    instances, tables, state = begin(batch=40)
    rng, rows = np.random.default_rng(1), Rows(np.arange(40), 40)
    floors, seconds = physics.floors_hz(instances), physics.local_s(instances)
    left, closed = instances.server_cpu_hz.copy(), 0
    for ue in range(14):
        mask = legal_places(tables, state)
        legal = floors[:, ue] <= left + 5e-7 * instances.server_cpu_hz
        local = ~physics.is_late(seconds[:, ue], instances.deadline_s[:, ue]) | ~legal.any(1)
        np.testing.assert_array_equal(mask, np.concatenate([local[:, None], legal], axis=1))
        closed += int((~legal).sum())
        place = rng.integers(4, size=40)
        move, state = dynamics.step(tables, state, rows, place, rng.random(40) if shares else None)
        on = np.flatnonzero(place > 0)
        left[on, place[on] - 1] -= move.taken_hz[on]
    assert closed > 200  # the scenario does close servers
    np.testing.assert_array_equal(
        legal_places(tables, state), np.eye(4, dtype=bool)[np.zeros(40, dtype=int)]
    )


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_the_closed_form_of_the_served_is_what_physics_allocates(name):
    instances, tables, state = begin(name, batch=30)
    rng, rows = np.random.default_rng(2), Rows(np.arange(30), 30)
    for _ in range(instances.num_ues):
        place = (rng.random((30, instances.num_servers + 1)) * legal_places(tables, state)).argmax(
            1
        )
        _, state = dynamics.step(tables, state, rows, place)
    decided = dynamics.decision(tables, state, shares=False)
    np.testing.assert_allclose(
        decided.cpu_hz, physics.allocate(instances, decided.place), rtol=1e-9
    )
    objective = instances.objective(np.ones(30))
    np.testing.assert_allclose(
        state.cost, physics.association_cost(instances, decided.place, objective), rtol=1e-9
    )


@pytest.mark.parametrize("shares", [True, False])
def test_a_step_is_pure_and_rows_do_not_depend_on_each_other(shares):
    _, tables, state = begin()
    rng, everyone = np.random.default_rng(3), np.arange(6)
    for _ in range(14):
        before = [array.copy() for array in state]
        place, share = rng.integers(4, size=6), rng.random(6)
        move, after = dynamics.step(
            tables, state, Rows(everyone, 6), place, share if shares else None
        )
        for old, now in zip(before, state, strict=True):
            np.testing.assert_array_equal(old, now)
        some = np.array([1, 4])
        part, partly = dynamics.step(
            tables, state, Rows(some, 6), place[some], share[some] if shares else None
        )
        np.testing.assert_array_equal(part.reward, move.reward[some])
        np.testing.assert_array_equal(partly.ue, before[0] + np.isin(everyone, some))
        state = after


@pytest.mark.parametrize("env_id", sorted(ENVS))
@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_every_observation_is_what_the_featuriser_says_of_the_slot(env_id, name):
    env = WorldVectorEnv(ENVS[env_id](SCENARIOS[name], num_slots=2), 5)
    seen, _ = env.reset(seed=4)
    rng, ues = np.random.default_rng(4), SCENARIOS[name].num_ues
    for step in range(2 * ues):
        ue = step % ues
        if ue == 0:  # a new slot
            place, taken = np.zeros((5, ues), dtype=int), np.zeros((5, ues))
            left = env.instances.server_cpu_hz.copy()
        current = np.arange(ues) == np.full((5, 1), ue)
        want = observed(env.instances, current, place, taken, left)
        np.testing.assert_array_equal(seen["ues"], want["ues"].astype(np.float32))
        np.testing.assert_array_equal(seen["servers"], want["servers"].astype(np.float32))
        floors = physics.floors_hz(env.instances)[:, ue]
        actions = adversarial(env, rng, 0.3)
        where, share = (
            (actions, None) if actions.ndim == 1 else decode_action(actions, left.shape[1])
        )
        for row in np.flatnonzero(where):
            server = where[row] - 1
            if (
                floors[row, server]
                <= left[row, server] + 5e-7 * env.instances.server_cpu_hz[row, server]
            ):
                beyond = (
                    0.0
                    if share is None
                    else share[row] * max(left[row, server] - floors[row, server], 0.0)
                )
                taken[row, ue] = floors[row, server] + beyond
                left[row, server] -= taken[row, ue]
        place[:, ue] = where
        seen, *_ = env.step(actions)


@pytest.mark.parametrize("env_id", sorted(ENVS))
@pytest.mark.parametrize("name", [name for name in list_agents() if name not in SLOW])
def test_an_agents_decision_costs_in_the_environment_what_evaluate_says(env_id, name):
    spec = agent_spec(name)
    if spec.error:
        pytest.skip(spec.error)
    instances = sample_instances(load_scenario("tiny"), 4, np.random.default_rng(7))
    prompts = Prompts.of(
        ["minimum latency", "minimum energy", "70% latency, 30% energy", "minimum latency"]
    )
    agent = spec.make()
    reason = unsupported(agent, instances)
    if reason:
        pytest.skip(reason)
    decision = agent.decide(instances, prompts, np.random.default_rng(0))
    outcome = physics.evaluate(instances, decision, prompts.objective(instances))
    assert not (outcome.late & (decision.place > 0)).any()
    if env_id.startswith("LAMBO-MEC-A"):
        np.testing.assert_allclose(
            decision.cpu_hz, physics.allocate(instances, decision.place), rtol=1e-6
        )
    env = WorldVectorEnv(ENVS[env_id]("tiny"), 4)
    env.reset(seed=0, options={"instances": instances, "prompt": prompts})
    floors, left = physics.floors_hz(instances), instances.server_cpu_hz.copy()
    rows, total = np.arange(4), np.zeros(4)
    for ue in range(6):
        place, cpu = decision.place[:, ue], decision.cpu_hz[:, ue]
        server = np.maximum(place - 1, 0)
        share = dynamics.share_of(cpu, floors[rows, ue, server], left[rows, server])
        left[rows, server] -= np.where(place > 0, cpu, 0.0)
        joint = encode_action(place, np.where(place > 0, share, 0), 4)
        _, reward, *_ = env.step(joint if env_id == "LAMBO-MEC-v0" else place)
        total -= reward
    np.testing.assert_allclose(total, outcome.cost, rtol=2e-6)
