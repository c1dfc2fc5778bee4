"""The bound and the search that know what comes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.queueing.bound import lower_bound
from baselines.queueing.hindsight import HindsightSearch
from baselines.queueing.rules import LocalIfFits
from lambo_env import registration
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.physics import replay
from lambo_env.queueing.policies.simulation import Simulation
from lambo_env.queueing.slots import sample_trace


def small(seed, **fields):
    scenario = registration.load_scenario("queue").replace(
        **{"num_ues": 6, "num_slots": 20, "server_cpu_hz": (3e9, 6e9), **fields}
    )
    return scenario, sample_trace(scenario, 1, np.random.default_rng(seed))[0]


def plan_of(rule, scenario, trace):
    plan, prompts, rng = [], Prompts.of("minimum latency", 1), np.random.default_rng(0)

    def decide(shown):
        plan.append(rule.decide(shown, prompts, rng).place[0])
        return plan[-1][None]

    Simulation(scenario, [trace]).play(decide)
    return np.array(plan)


@given(
    seed=st.integers(0, 200),
    discipline=st.sampled_from(["edf", "equal"]),
    objective=st.sampled_from([(1.0, 0.0), (0.0, 1.0), (0.7, 0.4)]),
)
@settings(max_examples=12, deadline=None)
def test_no_plan_costs_less_than_the_bound(seed, discipline, objective):
    scenario, trace = small(seed, discipline=discipline)
    bound, rng = lower_bound(trace, objective), np.random.default_rng(seed)
    plans = rng.integers(0, 3, (40, *trace.has_task.shape))
    plans[0] = plan_of(LocalIfFits(), scenario, trace)
    searched = HindsightSearch(rounds=3, candidates=16).improve(trace, plans[0], rng, objective)
    assert bound > 0
    assert (replay(trace, plans, objective).episode_cost >= bound * (1 - 1e-9)).all()
    assert searched.cost >= bound * (1 - 1e-9)


def test_one_task_alone_costs_what_the_bound_says():
    _, trace = small(0, num_ues=1, num_slots=1, arrival_probability=1.0)
    costs = [replay(trace, np.array([[place]])).episode_cost for place in range(3)]
    assert lower_bound(trace) == pytest.approx(min(costs))


def test_without_a_task_nothing_costs():
    _, trace = small(0, arrival_probability=1e-9)
    plan = np.zeros(trace.has_task.shape, dtype=int)
    found = HindsightSearch(rounds=2).improve(trace, plan, np.random.default_rng(0))
    assert (found.cost, lower_bound(trace)) == (0.0, 0.0)


def test_the_search_improves_its_start_and_says_how():
    scenario, trace = small(3)
    start = plan_of(LocalIfFits(), scenario, trace)
    search = HindsightSearch(rounds=30, candidates=32)
    found = search.improve(trace, start, np.random.default_rng(1))
    costs = [cost for _, cost in found.curve]
    assert costs == sorted(costs, reverse=True) and len(costs) == 31
    assert costs[0] == replay(trace, start).episode_cost
    assert found.cost == replay(trace, found.place).episode_cost == costs[-1] < 0.97 * costs[0]
    again = search.improve(trace, start, np.random.default_rng(1))
    assert (again.place == found.place).all()
    cut = HindsightSearch(rounds=1000, limit_s=1e-6).improve(trace, start, np.random.default_rng(1))
    assert len(cut.curve) == 2
