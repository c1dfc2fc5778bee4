"""No accepted decision lies below the bound: at the brink, and at no cost at all."""

import functools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baselines.search.exact import Exact
from lambo_agents import make_agent
from lambo_agents.protocol import Solved
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils.gaps import gap_percent
from lambo_env.utils.rows import read_only

TEXTS = ["minimum latency", "minimum energy", "70% latency, 30% energy"]


def instances_of(**fields: object) -> Instances:
    """Return one instance of four equal tasks and one server, fields replaced."""
    same = {
        "data_bits": 1.0,
        "cycles": 1e9,
        "deadline_s": 1.5,
        "local_cpu_hz": 1e8,
        "local_power_w": 1.0,
        "tx_power_w": 1.0,
    }
    given_fields = {name: fields.pop(name, value) for name, value in same.items()}
    return Instances(
        **{name: np.broadcast_to(value, (1, 4)) for name, value in given_fields.items()},
        uplink_bps=np.full((1, 4, 1), 1e9),
        server_cpu_hz=np.atleast_2d(fields.pop("server_cpu_hz", 1e10)),
        late_penalty=np.array([2.0]),
    )


def cost_of(instances: Instances, decision: Decision, prompts: Prompts) -> np.ndarray:
    return physics.evaluate(instances, decision, prompts.objective(instances)).cost


def test_a_capacity_that_only_the_tolerance_fills_stays_above_the_bound():
    floor = physics.floors_hz(instances_of())[..., 0]
    instances = instances_of(server_cpu_hz=floor.sum() / (1 + 8e-7))
    prompts = Prompts.of("minimum latency", 1)
    accepted = cost_of(instances, Decision(np.ones((1, 4), int), floor), prompts)
    solved = Exact().solve(instances, prompts)
    assert (solved.lower_bound <= accepted).all()
    assert (cost_of(instances, solved.decision, prompts) > 1.2 * accepted).all()  # and is legal
    assert not solved.proven.any()


@pytest.mark.parametrize("spare", [1e-7, -5e-7])
def test_an_upload_that_leaves_nothing_of_the_deadline_stays_above_the_bound(spare: float):
    instances = instances_of(data_bits=1.5e9 * (1 - spare), cycles=1e3, local_cpu_hz=1.0)
    prompts = Prompts.of("minimum latency", 1)
    decision = Decision(np.ones((1, 4), int), np.full((1, 4), 2.5e9))
    accepted = cost_of(instances, decision, prompts)
    assert (accepted < 1.6).all()
    assert (Exact().solve(instances, prompts).lower_bound <= accepted).all()


BRINK = st.floats(-2e-6, 2e-6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    text=st.sampled_from(TEXTS),
    capacity=BRINK,
    deadline=BRINK,
    penalty=st.sampled_from([0.0, 2.0]),
)
def test_at_the_brink_no_accepted_decision_costs_less_than_the_bound(
    seed: int, text: str, capacity: float, deadline: float, penalty: float
):
    rng = np.random.default_rng(seed)
    ues, servers = int(rng.integers(1, 5)), int(rng.integers(1, 3))
    scenario = load_scenario("tiny").replace(
        num_ues=ues, server_cpu_hz=(1e10,) * servers, late_penalty=penalty, local_cpu_hz=(3e8, 2e9)
    )
    instances = sample_instances(scenario, 1, rng)
    place = rng.integers(0, servers + 1, (1, ues))
    # deadlines that what a task takes at its place just meets, or just misses
    up = np.take_along_axis(physics.upload_s(instances)[0], np.maximum(place.T - 1, 0), 1).T
    run = instances.cycles / (rng.uniform(0.1, 1, (1, ues)) * 1e10)
    run = np.where(rng.random((1, ues)) < 0.3, instances.cycles / 1e30, run)
    local = physics.local_s(instances)
    edge = np.where(place > 0, up + run, local) / (1 + deadline)
    instances = instances.replace(deadline_s=np.where(rng.random((1, ues)) < 0.8, edge, 1.5))
    # capacities that the least CPU of those tasks just fills, or just overfills
    slack = instances.deadline_s * (1 + physics.LATE_TOLERANCE) - up
    most = 1e12 * instances.cycles
    need = np.where(slack > instances.cycles / most, instances.cycles / np.maximum(slack, 1e-30), 0)
    cpu = np.where((place > 0) & (need <= most), need * (1 + 1e-12), 0.0)
    total = np.stack([(cpu * (place == m + 1)).sum(-1) for m in range(servers)], axis=-1)
    full = np.where(total > 0, total / (1 + capacity), 1e10)
    instances, prompts = instances.replace(server_cpu_hz=full), Prompts.of(text, 1)
    bound = Exact().solve(instances, prompts).lower_bound
    place_of_all = np.stack(np.meshgrid(*[np.arange(servers + 1)] * ues), -1).reshape(-1, ues)
    tried = [(place, cpu)]
    for other in place_of_all:
        tried.append((other[None], physics.allocate(instances, other[None])))
        loose = instances.replace(
            server_cpu_hz=full * (1 + 0.99e-6), deadline_s=instances.deadline_s * (1 + 0.99e-6)
        )
        tried.append((other[None], physics.allocate(loose, other[None])))
    accepted = []
    for where, what in tried:
        try:
            accepted.append(cost_of(instances, Decision(where, what), prompts)[0])
        except ValueError:  # beyond what is forgiven
            continue
    assert min(accepted) >= bound[0] * (1 - 1e-9)


@functools.cache  # for every agent the same
def free_and_solved(field: str, text: str) -> tuple[Instances, Prompts, Solved]:
    """Return three instances, the second with zeros in a field, and what `exact` says of them."""
    instances = sample_instances(load_scenario("tiny"), 3, np.random.default_rng(0))
    zeros = np.array(getattr(instances, field))
    zeros[1] = 0.0
    instances, prompts = read_only(instances.replace(**{field: zeros})), Prompts.of(text, 3)
    return instances, prompts, Exact().solve(instances, prompts)


SMALL = {"de": {"generations": 5, "population": 8}}


@pytest.mark.parametrize("agent", ["exact", "local-search", "de", "policy-gradient", "greedy"])
@pytest.mark.parametrize("field", ["data_bits", "tx_power_w", "local_power_w"])
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.filterwarnings("error")
def test_what_costs_nothing_is_solved_and_costs_no_other_row_its_bound(
    agent: str, field: str, text: str
):
    instances, prompts, solved = free_and_solved(field, text)
    player = make_agent(agent, **SMALL.get(agent, {}))
    decision = player.decide(instances, prompts, np.random.default_rng(0))
    cost = cost_of(instances, decision, prompts)
    assert solved.proven.all()
    gap = gap_percent(cost, solved.lower_bound)
    assert (gap >= -1e-6).all()
    if agent == "exact":
        assert (gap <= 0.0101).all()
    if text == "minimum energy" and field != "tx_power_w":
        assert solved.lower_bound[1] == 0
