"""Scenarios and traces of the queueing world: presets, round trips, what is refused."""

import dataclasses

import numpy as np
import pytest

import lambo_env
from lambo_env.queueing.instances import Trace
from lambo_env.queueing.scenario import Bursts, QueueScenario, load_scenario
from lambo_env.queueing.slots import sample_trace
from lambo_env.registration import list_scenarios

PRESETS = list_scenarios("queueing")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_toml(name, tmp_path):
    scenario = lambo_env.load_scenario(name)
    assert isinstance(scenario, QueueScenario) and load_scenario(name) == scenario
    path = tmp_path / "mine.toml"
    path.write_text(scenario.to_toml())
    assert lambo_env.load_scenario(path) == load_scenario(path) == scenario
    assert load_scenario(scenario.to_dict()).hash == scenario.hash


def test_hashes_tell_worlds_and_numbers_apart():
    scenarios = [lambo_env.load_scenario(name) for name in list_scenarios()]
    assert len({scenario.hash for scenario in scenarios}) == len(scenarios)
    queue = load_scenario("queue")
    assert queue == QueueScenario()
    cell = {f.name: getattr(queue, f.name) for f in dataclasses.fields(lambo_env.Scenario)}
    assert lambo_env.Scenario(**cell).hash != queue.hash
    assert queue.replace(bursts={}, arrival_probability=0.3) == load_scenario("queue-bursts")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"deadline_s": 0.1}, "QueueScenario.deadline_s is 0.1; allowed: a whole number, at least"),
        ({"deadline_s": 0.25}, "QueueScenario.deadline_s is 0.25; allowed: a whole number"),
        ({"deadline_s": [0.5, 1.0]}, "QueueScenario.deadline_s is .*; allowed: equal ends"),
        ({"arrival_probability": 0}, "QueueScenario.arrival_probability is 0.0; allowed: a prob"),
        ({"arrival_probability": 1.2}, "QueueScenario.arrival_probability is 1.2; allowed"),
        (
            {"arrival_probability": 0.7, "bursts": {}},
            "arrival_probability is 0.7; allowed: at most",
        ),
        ({"bursts": {"factor": [1, 2]}}, "Bursts.factor: unknown field; did you mean 'factors'"),
        ({"bursts": {"factors": [1, -1]}}, r"Bursts.factors\[1\] is -1"),
        ({"bursts": 3}, "QueueScenario.bursts is 3; allowed: None, Bursts"),
        ({"discipline": "fifo"}, "QueueScenario.discipline is 'fifo'; allowed: edf or equal"),
        ({"fixed_uplink_bps": 0}, "QueueScenario.fixed_uplink_bps is 0; allowed"),
        ({"cycles_per_bit": []}, r"QueueScenario.cycles_per_bit is \[\]; allowed"),
        ({"num_slots": 0}, "QueueScenario.num_slots is 0; allowed"),
        ({"world": "wpmec"}, "scenario.world is 'wpmec'; allowed: \"queueing\""),
    ],
)
def test_bad_fields_are_named(fields, text):
    with pytest.raises(ValueError, match=text):
        load_scenario(fields)
    with pytest.raises(ValueError, match="scenario is 'paper'; allowed: one of qeco"):
        load_scenario("paper")


def test_a_trace_is_the_same_however_many_are_asked_for():
    scenario = load_scenario("queue-bursts").replace(num_ues=7, num_slots=12)
    one, two, three = sample_trace(scenario, 3, np.random.default_rng(4))
    assert sample_trace(scenario, 1, np.random.default_rng(4)) == [one]
    assert one != two != three
    assert one.uplink_bps.shape == (12 + 9, 7, 4) and one.deadline_slots == 10


@pytest.mark.parametrize("name", PRESETS)
def test_arrivals_have_the_scenarios_means(name):
    scenario = load_scenario(name).replace(num_slots=400)
    traces = sample_trace(scenario, 4, np.random.default_rng(1))
    has = np.stack([trace.has_task for trace in traces])
    # bursts last 10 slots: 1,600 slots hold some 80 independent spells
    spread = 0.02 if scenario.bursts is None else 0.06
    assert has.mean() == pytest.approx(scenario.arrival_probability, abs=spread)
    cycles = np.stack([trace.cycles for trace in traces])
    assert cycles[has].mean() == pytest.approx(scenario.mean_cycles, rel=0.02)
    assert not cycles[~has].any()


def test_bursts_switch_as_seldom_as_they_should():
    scenario = QueueScenario(
        num_ues=2000, server_cpu_hz=[1e9], num_slots=300, arrival_probability=0.3,
        bursts=Bursts(), fixed_uplink_bps=1e6,
    )  # fmt: skip
    (trace,) = sample_trace(scenario, 1, np.random.default_rng(2))
    high = trace.has_task.mean(axis=1) > 0.3
    np.testing.assert_allclose(trace.has_task[high].mean(), 0.48, atol=0.01)
    np.testing.assert_allclose(trace.has_task[~high].mean(), 0.12, atol=0.01)
    assert np.mean(high[1:] != high[:-1]) == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"cycles": np.ones((3, 2))}, r"Trace.cycles.shape is \(3, 2\); allowed: \(2, 2\)"),
        ({"uplink_bps": np.ones((2, 2, 1))}, r"Trace.uplink_bps.shape is .*; allowed: \(4, 2, 1\)"),
        ({"uplink_bps": np.zeros((4, 2, 1))}, r"Trace.uplink_bps\[0, 0, 0\] is 0.0; allowed"),
        ({"data_bits": np.zeros((2, 2))}, r"Trace.data_bits\[0, 0\] is 0.0; allowed"),
        ({"local_cpu_hz": [1.0, np.nan]}, r"Trace.local_cpu_hz\[1\] is nan"),
        ({"deadline_s": 0.1}, "Trace.deadline_s is 0.1; allowed: a whole number, at least 2"),
        ({"slot_s": 0}, "Trace.slot_s is 0"),
        ({"late_penalty": -1}, "Trace.late_penalty is -1"),
        ({"discipline": "lifo"}, "unknown discipline 'lifo'"),
        ({"has_task": np.ones((2, 2))}, r"Trace.has_task is 'float64\[2, 2\]'; allowed: bool"),
    ],
)
def test_traces_whose_arrays_disagree_are_refused(fields, text):
    good = {
        "has_task": np.ones((2, 2), dtype=bool),
        **dict.fromkeys(("data_bits", "cycles"), np.ones((2, 2))),
        "uplink_bps": np.ones((4, 2, 1)),
        "server_cpu_hz": [1.0],
        **dict.fromkeys(("local_cpu_hz", "local_power_w", "tx_power_w"), (1.0, 1.0)),
        **{"slot_s": 0.1, "deadline_s": 0.3, "late_penalty": 2.0, "discipline": "edf"},
    }
    assert Trace(**good).deadline_slots == 3
    with pytest.raises(ValueError, match=text):
        Trace(**{**good, **fields})
