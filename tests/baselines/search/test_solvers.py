"""LocalSearch, DE and Exact against brute force, bounds and each other."""

import itertools

import numpy as np
import pytest
from data_files import shared_data

from baselines.search.differential_evolution import BUDGETS, DE
from baselines.search.dual import Problem, climb, polish
from baselines.search.exact import Exact
from baselines.search.local_search import LocalSearch
from baselines.search.milp import Model
from lambo_env.datasets.are import load_are
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts

TEXTS = ["minimum latency", "minimum energy", "70% latency, 30% energy", "20% latency, 80% energy"]
SMALL_DE = {"population": 40, "generations": 60}


def draw(name: str, count: int, seed: int = 0, **fields: object) -> Instances:
    return sample_instances(
        load_scenario(name).replace(**fields), count, np.random.default_rng(seed)
    )


def prompts(count: int) -> Prompts:
    return Prompts.of([text for text, _ in zip(itertools.cycle(TEXTS), range(count), strict=False)])


def cost_of(instances: Instances, decision: Decision, asked: Prompts) -> np.ndarray:
    return physics.evaluate(instances, decision, asked.objective(instances)).cost


def exhaustive(instances: Instances, asked: Prompts) -> np.ndarray:
    """The least cost [B] over all associations, overfull servers and late tasks included."""
    every = np.array(
        list(itertools.product(range(instances.num_servers + 1), repeat=instances.num_ues))
    )
    least = []
    for row in range(len(instances)):
        many = instances.take([row]).repeat(len(every))
        objective = asked.take([row]).repeat(len(every)).objective(many)
        least.append(physics.association_cost(many, every, objective).min())
    return np.array(least)


WORLDS = {
    "tiny": {},
    "tight servers": {"server_cpu_hz": (2e9, 3e9, 2e9, 4e9)},
    "some cannot run locally": {
        "local_cpu_hz": (0.4e9, 1e9),
        "deadline_s": (1.0, 2.0),
        "server_cpu_hz": (3e9,) * 4,
    },
    "hopeless deadline": {"deadline_s": 0.3},
    "no penalty": {"deadline_s": (0.3, 1.0), "late_penalty": 0.0},
    "one server": {"server_cpu_hz": (4e9,)},
    "one UE": {"num_ues": 1},
}


@pytest.mark.parametrize("world", WORLDS)
def test_exact_equals_exhaustive_search(world: str):
    instances, asked = draw("tiny", 4, **WORLDS[world]), prompts(4)
    solved = Exact(gap=1e-5).solve(instances, asked)
    best, cost = exhaustive(instances, asked), cost_of(instances, solved.decision, asked)
    np.testing.assert_allclose(cost, best, rtol=1.1e-5)
    assert solved.proven.all()
    assert (solved.lower_bound <= best * (1 + 1e-9)).all()
    assert (solved.lower_bound >= best * (1 - 1.1e-5)).all()


@pytest.mark.parametrize("scenario", ["paper", "hetero", "are2020"])
def test_exact_proves_its_gap_and_nothing_undercuts_the_bound(scenario: str):
    instances, asked = draw(scenario, 4), prompts(4)
    solved = Exact(gap=1e-3).solve(instances, asked)
    cost = cost_of(instances, solved.decision, asked)
    assert solved.proven.all()
    assert (cost * (1 - 1.001e-3) <= solved.lower_bound).all()
    for agent in (LocalSearch(), DE(**SMALL_DE)):
        other = cost_of(instances, agent.decide(instances, asked, np.random.default_rng(1)), asked)
        assert (solved.lower_bound <= other).all()


def test_exact_decides_what_it_solves():
    instances, asked = draw("hetero", 4, num_ues=12), prompts(4)
    decision, solved = (
        Exact().decide(instances, asked, np.random.default_rng(0)),
        Exact().solve(instances, asked),
    )
    np.testing.assert_array_equal(decision.place, solved.decision.place)
    np.testing.assert_array_equal(decision.cpu_hz, solved.decision.cpu_hz)


def test_exact_out_of_time_still_gives_a_legal_decision_and_a_true_bound():
    instances, asked = draw("hetero", 4), Prompts.of("minimum energy", 4)
    hurried = Exact(gap=1e-5, time_limit_s=1e-9).solve(instances, asked)
    assert not hurried.proven.all()
    thorough = Exact(gap=1e-3).solve(instances, asked)
    assert (hurried.lower_bound <= cost_of(instances, thorough.decision, asked)).all()
    assert (hurried.lower_bound > 0).all()
    cost_of(instances, hurried.decision, asked)  # checks that it is legal


def test_exact_is_at_or_below_the_labels_of_are():
    check_are(slice(490, 500), gap=1e-3, slack=1e-3)


@pytest.mark.slow  # minutes
def test_exact_is_at_or_below_every_label_of_are():
    check_are(slice(0, 500), gap=1e-4, slack=0.0)


def check_are(rows: slice, gap: float, slack: float) -> None:
    instances, labels = load_are(shared_data("are-Data1.mat"))
    instances, labels = instances.take(rows), labels.take(rows)
    asked = Prompts.of("minimum latency", len(instances))
    solved = Exact(gap=gap).solve(instances, asked)
    label_cost = cost_of(instances, labels, asked)
    assert (solved.lower_bound <= label_cost).all()
    assert (cost_of(instances, solved.decision, asked) <= label_cost * (1 + slack)).all()


@pytest.mark.parametrize("scenario", ["paper", "hetero", "are2020"])
def test_the_dual_bounds_every_decision_from_below(scenario: str, rng: np.random.Generator):
    instances, asked = draw(scenario, 6), prompts(6)
    problem = Problem.of(instances, asked.objective(instances))
    rough = climb(problem, 10)
    fine = polish(problem, rough, 10)
    assert (fine.bound >= rough.bound).all()
    for _ in range(20):
        place = rng.integers(0, 5, size=(6, instances.num_ues))
        assert (
            fine.bound <= physics.association_cost(instances, place, asked.objective(instances))
        ).all()
    found = LocalSearch().decide(instances, asked, rng)
    assert (fine.bound <= cost_of(instances, found, asked)).all()
    assert (fine.bound >= 0.95 * cost_of(instances, found, asked)).all()


def test_the_program_avoids_a_set_that_it_was_told_does_not_fit():
    instances, asked = (
        draw("tiny", 1, server_cpu_hz=(3e9, 3e9), local_cpu_hz=0.4e9),
        Prompts.of("minimum energy", 1),
    )
    problem = Problem.of(instances, asked.objective(instances))
    model = Model(problem, np.isfinite(problem.fixed[0]), 1.0)
    crowd = np.ones(6, dtype=np.int64)
    assert (
        np.where(np.isfinite(problem.fixed[0, 1]), problem.floor[0, 1], 0).sum() > 3e9
    )  # all six do not fit on server 1
    rows = len(model.rows)
    model.forbid(crowd)
    assert len(model.rows) == rows + 1
    assert model.high[-1] == 5.0
    assert model.rows[-1].sum() == np.isfinite(problem.fixed[0, 1]).sum()


# ---- local search --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "fields"),
    [("paper", {}), ("hetero", {}), ("hetero", {"server_cpu_hz": (4e9,) * 3})],
)
def test_no_move_and_no_swap_improves_a_local_optimum(scenario: str, fields: dict):
    instances, asked = draw(scenario, 4, seed=3, num_ues=14, **fields), prompts(4)
    objective = asked.objective(instances)
    place = LocalSearch().decide(instances, asked, np.random.default_rng(0)).place
    cost = physics.association_cost(instances, place, objective)
    for ue in range(14):
        for where in range(instances.num_servers + 1):
            other = place.copy()
            other[:, ue] = where
            assert (
                physics.association_cost(instances, other, objective) >= cost * (1 - 1e-8)
            ).all()
    for one, two in itertools.combinations(range(14), 2):
        other = place.copy()
        other[:, [one, two]] = place[:, [two, one]]
        assert (physics.association_cost(instances, other, objective) >= cost * (1 - 1e-8)).all()


@pytest.mark.parametrize("scenario", ["paper", "hetero"])
@pytest.mark.parametrize("text", ["minimum latency", "minimum energy", "50% latency, 50% energy"])
def test_local_search_is_within_half_a_percent_of_the_optimum(scenario: str, text: str):
    instances, asked = draw(scenario, 12, seed=1), Prompts.of(text, 12)
    cost = cost_of(
        instances, LocalSearch().decide(instances, asked, np.random.default_rng(0)), asked
    )
    solved = Exact(gap=1e-3, time_limit_s=5).solve(instances, asked)
    # 0.5 % is what a large sample must keep; hetero's energy packs few tasks into tight servers and
    # scatters over 12 instances
    assert (cost / solved.lower_bound - 1).mean() < (
        0.012 if (scenario, text) == ("hetero", "minimum energy") else 0.005
    )


@pytest.mark.parametrize("scenario", ["tiny", "hetero", "are2020"])
def test_improve_starts_from_any_legal_decision_and_never_worsens_it(
    scenario: str, rng: np.random.Generator
):
    instances, asked = draw(scenario, 8), prompts(8)
    place = rng.integers(0, 5, size=(8, instances.num_ues))
    wasteful = np.where(
        place == 0, 0.0, rng.uniform(0, 1, place.shape) * 1.5e10 / instances.num_ues
    )
    for cpu in (
        physics.allocate(instances, place),
        wasteful,
    ):  # overfull servers drop tasks; small shares are late
        start = Decision(place, cpu)
        better = LocalSearch().improve(instances, asked, start, rng)
        assert (cost_of(instances, better, asked) <= cost_of(instances, start, asked)).all()
        assert (cost_of(instances, better, asked) < 0.99 * cost_of(instances, start, asked)).any()


def test_improve_keeps_an_optimum():
    instances, asked = draw("hetero", 4), prompts(4)
    best = Exact(gap=1e-4).decide(instances, asked, np.random.default_rng(0))
    again = LocalSearch().improve(instances, asked, best, np.random.default_rng(0))
    assert (cost_of(instances, again, asked) <= cost_of(instances, best, asked)).all()


def test_improve_keeps_a_decision_that_uses_the_tolerance():
    """Floors of 1 + 8e-7 times the capacity pass evaluate but not the allocation.

    What was given is returned.
    """
    one = draw("tiny", 1, local_cpu_hz=0.4e9, deadline_s=2.0)
    floors = physics.floors_hz(one)[0, :, 0]
    on = np.isfinite(floors)
    place = np.where(on, 1, 0)[None]
    tight = one.replace(server_cpu_hz=np.array([[floors[on].sum() / (1 + 8e-7), 1.0, 1.0, 1.0]]))
    given, asked = Decision(place, np.where(on, floors, 0.0)[None]), Prompts.of("minimum energy", 1)
    kept = LocalSearch().improve(tight, asked, given, np.random.default_rng(0))
    assert cost_of(tight, kept, asked)[0] <= cost_of(tight, given, asked)[0]


def test_a_row_is_decided_as_it_is_alone():
    instances, asked = draw("hetero", 8), prompts(8)
    for agent in (LocalSearch(), LocalSearch(swaps=False), Exact(gap=1e-2)):
        whole = agent.decide(instances, asked, np.random.default_rng(0))
        for row in range(8):
            alone = agent.decide(instances.take([row]), asked.take([row]), np.random.default_rng(0))
            np.testing.assert_array_equal(alone.place, whole.place[[row]])


# ---- differential evolution ----------------------------------------------------------------------


def test_de_repeats_with_its_generator_alone():
    instances, asked = draw("tiny", 2), prompts(2)
    first, second = (
        DE(**SMALL_DE).decide(instances, asked, np.random.default_rng(5)) for _ in range(2)
    )
    np.testing.assert_array_equal(first.place, second.place)
    np.testing.assert_array_equal(first.cpu_hz, second.cpu_hz)


def test_de_solves_tiny_and_comes_near_on_paper():
    tiny, asked = draw("tiny", 4), prompts(4)
    found = cost_of(tiny, DE(population=100).decide(tiny, asked, np.random.default_rng(0)), asked)
    np.testing.assert_allclose(found, exhaustive(tiny, asked), rtol=0.01)
    paper, asked = draw("paper", 2), prompts(2)
    found = cost_of(paper, DE().decide(paper, asked, np.random.default_rng(0)), asked)
    assert (found <= 1.02 * Exact(gap=1e-3).solve(paper, asked).lower_bound).all()


def test_de_gains_from_generations():
    instances, asked = draw("paper", 3), prompts(3)
    short, long = (
        cost_of(
            instances,
            DE(generations=many).decide(instances, asked, np.random.default_rng(0)),
            asked,
        )
        for many in (5, 100)
    )
    assert (long < short).all()


# ---- all -----------------------------------------------------------------------------------------

AGENTS = [LocalSearch(), DE(**SMALL_DE), Exact()]


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: type(agent).__name__)
@pytest.mark.parametrize("world", WORLDS)
def test_every_world_gets_a_legal_decision(agent: object, world: str):
    instances, asked = draw("tiny", 4, seed=2, **WORLDS[world]), prompts(4)
    decision = agent.decide(instances, asked, np.random.default_rng(0))
    local = physics.association_cost(
        instances, np.zeros_like(decision.place), asked.objective(instances)
    )
    assert (cost_of(instances, decision, asked) <= local * (1 + 1e-9)).all()


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: type(agent).__name__)
def test_torch_in_torch_out(agent: object):
    torch = pytest.importorskip("torch")
    instances, asked = draw("tiny", 3), prompts(3)
    there = agent.decide(instances.to(torch), asked, np.random.default_rng(0))
    here = agent.decide(instances, asked, np.random.default_rng(0))
    np.testing.assert_array_equal(there.place.numpy(), here.place)
    np.testing.assert_allclose(there.cpu_hz.numpy(), here.cpu_hz)
    if isinstance(agent, LocalSearch):
        again = agent.improve(instances.to(torch), asked, there, np.random.default_rng(0))
        np.testing.assert_array_equal(again.place.numpy(), here.place)


BAD = [
    *((LocalSearch, "swaps", value) for value in (1, None, "yes", 0.5, [])),
    *((LocalSearch, "dual_rounds", value) for value in (0, -1, 2.5, "3", None)),
    *((Exact, "gap", value) for value in (0.0, -1e-3, float("nan"), "small", 1.0, 1e-7)),
    *((Exact, "time_limit_s", value) for value in (0, -1, float("nan"), "1 s", None, float("inf"))),
    *((DE, "population", value) for value in (4, -1, 20.0, "many", None)),
    *((DE, "generations", value) for value in (0, -3, 1.5, "all", None)),
    *(
        (DE, "mutation", value)
        for value in (-0.1, 2.0, float("nan"), (0.9, 0.1), (0.1, 0.2, 0.3), "half")
    ),
    *((DE, "recombination", value) for value in (-0.1, 1.1, float("nan"), "half", None)),
    *((DE, "strategy", value) for value in ("best", 1, None, "", "rand3bin")),
    *((DE, "start", value) for value in ("far", 0, None, "", ["near"])),
]


@pytest.mark.parametrize(("kind", "name", "value"), BAD)
def test_bad_parameters_are_named(kind: type, name: str, value: object):
    with pytest.raises(ValueError, match=f"{kind.__name__}.{name}"):
        kind(**{name: value})


def test_every_budget_of_de_is_a_setting_and_the_middle_one_the_default():
    assert [DE(**setting).generations for setting in BUDGETS.values()] == [60, 200, 300]
    assert vars(DE(**BUDGETS[0.2])) == vars(DE())
