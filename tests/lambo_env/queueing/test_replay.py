"""Replays of given plans: equal to a plain loop task by task, whatever is batched with them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lambo_env
from lambo_env.queueing.instances import Trace
from lambo_env.queueing.physics import replay
from lambo_env.queueing.scenario import load_scenario
from lambo_env.queueing.slots import sample_trace
from tests.helpers.plain_queueing import play

FIELDS = ("latency_s", "energy_j", "late", "cost")
PRESETS = ("queue", "queue-bursts", "queue-light", "tang-wong", "qeco")


def random_scenario(name, discipline, rng):
    """A preset made small, loaded from lightly to hopelessly, devices of several kinds."""
    fields = {
        "discipline": discipline,
        "num_ues": int(rng.integers(1, 16)),
        "num_slots": int(rng.integers(1, 30)),
        "arrival_probability": float(rng.uniform(0.05, 0.6)),
        "deadline_s": 0.1 * int(rng.integers(2, 12)),
        "server_cpu_hz": rng.uniform(1e9, 2e10, size=rng.integers(1, 5)).tolist(),
    }
    if rng.random() < 0.5:
        fields |= {"local_cpu_hz": [4e8, 3e9], "tx_power_w": [0.1, 1], "local_power_w": [0.5, 2]}
    return load_scenario(name).replace(**fields)


@pytest.mark.parametrize("discipline", ["edf", "equal"])
@pytest.mark.parametrize("name", PRESETS)
def test_a_replay_equals_a_plain_loop_task_by_task(name, discipline):
    rng = np.random.default_rng([PRESETS.index(name), discipline == "edf"])
    for _ in range(7):
        scenario = random_scenario(name, discipline, rng)
        traces = sample_trace(scenario, 3, rng)
        share = rng.random()
        shape = (3, scenario.num_slots, scenario.num_ues)
        place = rng.integers(1, scenario.num_servers + 1, shape) * (rng.random(shape) < share)
        objective = [(1.0, 0.0), (0.0, 1.0), (0.7, 0.2)][rng.integers(3)]
        together = replay(traces, place, objective)
        for row, trace in enumerate(traces):
            alone = replay(trace, place[row], objective)
            for field, plain in zip(FIELDS, play(trace, place[row], objective), strict=True):
                found = getattr(alone, field)
                exact = field in ("latency_s", "late")
                rtol = 0 if exact else 1e-9
                np.testing.assert_allclose(found, plain, rtol=rtol, atol=1e-12 * (not exact))
                np.testing.assert_array_equal(found, getattr(together, field)[row])


def made(**fields):
    """One UE that gets a task of 2 slots of everything in each slot, unless told otherwise."""
    slots, ues = np.shape(fields.get("has_task", np.ones((3, 1), dtype=bool)))
    base = {
        "has_task": np.ones((slots, ues), dtype=bool),
        "data_bits": np.full((slots, ues), 2.0),
        "cycles": np.full((slots, ues), 2.0),
        "uplink_bps": np.full((slots + 3, ues, 1), 1.0),
        "server_cpu_hz": [1.0],
        "local_cpu_hz": [1.0] * ues,
        "local_power_w": [3.0] * ues,
        "tx_power_w": [5.0] * ues,
        **{"slot_s": 1.0, "deadline_s": 4.0, "late_penalty": 2.0, "discipline": "edf"},
    }
    return Trace(**{**base, **fields})


def test_a_local_queue_by_hand():
    # slots 0-1, 2-3; the third would end after slot 5, its last: it fits exactly
    out = replay(made(), np.zeros((3, 1), dtype=int))
    assert out.latency_s.ravel().tolist() == [2.0, 3.0, 4.0]
    assert out.energy_j.ravel().tolist() == [6.0, 6.0, 6.0]
    assert out.episode_cost == 3.0
    # a fourth is hopeless and costs (1 + 2) x 4 s; it takes nothing
    out = replay(made(has_task=np.ones((4, 1), dtype=bool)), np.zeros((4, 1), dtype=int))
    assert out.latency_s.ravel().tolist() == [2.0, 3.0, 4.0, np.inf]
    assert out.energy_j.ravel().tolist() == [6.0, 6.0, 6.0, 0.0]
    assert out.cost.ravel().tolist() == [2.0, 3.0, 4.0, 12.0]


def test_a_server_by_hand():
    # upload in slots 0-1, run in 2-3: just in time; the second's upload cannot be followed by two
    out = replay(made(), np.ones((3, 1), dtype=int), (0.0, 1.0))
    assert out.latency_s.ravel().tolist() == [4.0, np.inf, np.inf]
    assert out.energy_j[0, 0] == 10.0 and out.cost[0, 0] == 10.0
    assert out.cost[1, 0] == 3 * 6.0  # late: what local execution would have taken


def test_equal_shares_lose_the_rest_of_a_slot():
    # two UEs whose uploads end in slot 0; a half of the server's slot each, and one cycle to run
    trace = made(
        has_task=np.array([[True, True]]), cycles=[[1.0, 0.75]], data_bits=[[0.5, 1.0]],
        server_cpu_hz=[1.0], discipline="equal",
    )  # fmt: skip
    out = replay(trace, np.ones((1, 2), dtype=int))
    assert out.latency_s.tolist() == [[3.0, 3.0]]
    assert out.energy_j.tolist() == [[2.5, 5.0]]
    assert replay(made(), np.zeros((3, 1), dtype=int)) == replay(made(), np.zeros((3, 1), int))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(PRESETS))
def test_a_later_task_never_hastens_an_earlier_one_on_the_ues_own_queues(seed, name):
    rng = np.random.default_rng(seed)
    scenario = random_scenario(name, "edf", rng).replace(num_slots=8)
    (trace,) = sample_trace(scenario, 1, rng)
    local = np.zeros(trace.has_task.shape, dtype=int)
    before = replay(trace, local)
    shorter = trace.has_task.copy()
    shorter[5:] = False
    fields = {**vars(trace), "has_task": shorter}
    after = replay(Trace(**fields), local)
    np.testing.assert_array_equal(before.latency_s[:5], after.latency_s[:5])


def test_plans_of_one_trace_are_replayed_together():
    rng = np.random.default_rng(3)
    (trace,) = sample_trace(load_scenario("queue").replace(num_slots=20), 1, rng)
    plans = rng.integers(0, 5, (6, *trace.has_task.shape))
    weights = np.linspace(0, 1, 6)
    out = replay(trace, plans, (weights, 1 - weights))
    assert out.episode_cost.shape == (6,)
    for row, plan in enumerate(plans):
        alone = replay(trace, plan, (weights[row], 1 - weights[row]))
        np.testing.assert_array_equal(alone.cost, out.cost[row])


def test_an_episode_without_a_task_costs_nothing():
    trace = made(has_task=np.zeros((2, 1), dtype=bool))
    out = replay(trace, np.full((2, 1), 99))  # ignored: no task
    assert out.episode_cost == 0 and not out.late.any() and np.isnan(out.cost).all()


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (np.zeros((2, 1), int), r"place.shape is \(2, 1\); allowed: \[T, N\] = \(3, 1\)"),
        (np.zeros((3, 1)), "place.dtype is 'float64'; allowed: an integer dtype"),
        (np.full((3, 1), 2), r"place\[0, 0\] is 2; allowed: 0 \(local\) .. 1"),
        (np.full((3, 1), -1), r"place\[0, 0\] is -1"),
        ("local", "place.dtype is '<U5'"),
    ],
)
def test_bad_plans_are_refused(place, text):
    with pytest.raises(ValueError, match=text):
        replay(made(), place)


def test_what_else_a_replay_refuses():
    with pytest.raises(ValueError, match="trace is 3; allowed"):
        replay(3, np.zeros((3, 1), int))
    with pytest.raises(ValueError, match="trace is .*; allowed: traces of the same sizes"):
        replay([made(), made(slot_s=2.0, deadline_s=8.0)], np.zeros((2, 3, 1), int))
    with pytest.raises(ValueError, match=r"place.shape is \(3, 3, 1\)"):
        replay([made(), made()], np.zeros((3, 3, 1), int))


@pytest.mark.parametrize(
    ("name", "local", "random"), [("tang-wong", 51.3, 9.8), ("qeco", 51.7, 11.6)]
)
def test_the_published_worlds_lose_what_their_codes_lose(name, local, random):
    """Late tasks in %, of all local and of random play: the figures of their authors' codes."""
    scenario, rng = load_scenario(name), np.random.default_rng(5)
    traces = sample_trace(scenario, 24, rng)
    tasks = sum(trace.has_task.sum() for trace in traces)
    shape = (24, scenario.num_slots, scenario.num_ues)
    for place, late in (
        (np.zeros(shape, int), local),
        (rng.integers(0, scenario.num_servers + 1, shape), random),
    ):
        assert 100 * replay(traces, place).late.sum() / tasks == pytest.approx(late, abs=2.5)


def test_one_slot_alone_cannot_be_evaluated():
    with pytest.raises(ValueError, match="lambo_env.play plays whole episodes"):
        lambo_env.registration.WORLDS["queueing"].get("evaluate")(None, None, None)


@pytest.mark.parametrize("discipline", ["edf", "equal"])
@pytest.mark.parametrize("slot_s", [1.0, 0.1])
def test_work_that_fits_exactly_ends_as_in_the_plain_loop(discipline, slot_s):
    rng = np.random.default_rng([discipline == "edf", round(10 * slot_s)])
    for _ in range(30):
        (slots, ues, servers), deadline = rng.integers(1, [8, 5, 3]), rng.integers(2, 6)
        shape = (slots, ues)
        trace = Trace(
            has_task=rng.random(shape) < 0.7,
            data_bits=rng.integers(1, 5, shape) * 0.5 * slot_s,
            cycles=rng.integers(1, 6, shape) * 0.5 * slot_s,
            uplink_bps=np.full((slots + deadline - 1, ues, servers), rng.integers(1, 3)),
            server_cpu_hz=rng.integers(1, 4, servers),
            local_cpu_hz=rng.integers(1, 3, ues),
            local_power_w=np.ones(ues),
            tx_power_w=np.ones(ues),
            slot_s=slot_s,
            deadline_s=deadline * slot_s,
            late_penalty=2.0,
            discipline=discipline,
        )
        place = rng.integers(0, servers + 1, shape)
        out = replay(trace, place)
        np.testing.assert_array_equal(out.latency_s, play(trace, place)[0])
