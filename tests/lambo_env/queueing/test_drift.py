"""Drifting cells, as streams of episodes."""

import numpy as np
import pytest

from lambo_env.cell.shifts import SHIFTS
from lambo_env.queueing.drift import load_drift, stream
from lambo_env.queueing.scenario import load_scenario
from lambo_env.queueing.slots import sample_trace

SMALL = load_scenario("queue").replace(num_ues=4, num_slots=2, deadline_s=0.2)
NAMES = (*(f"{shift}-abrupt" for shift in SHIFTS), "crowd-gradual", "capacity-cyclic")


@pytest.mark.parametrize("name", NAMES)
def test_before_the_drift_the_stream_is_the_undrifted_one(name):
    calm, rng = (25 if name.endswith("cyclic") else 20), np.random.default_rng(0)
    for episode, traces in stream(name, 2, 0, SMALL, calm + 2):
        expected = sample_trace(SMALL, 2, rng)
        same = traces == expected
        assert same == (episode < calm) or episode == calm
        for one, other in zip(traces, expected, strict=True):
            np.testing.assert_array_equal(one.has_task, other.has_task)


@pytest.mark.parametrize(
    ("name", "field", "ratio"),
    [("capacity", "server_cpu_hz", 0.5), ("bandwidth", "uplink_bps", 0.6)],
)
def test_what_changes_and_when(name, field, ratio):
    rng = np.random.default_rng(1)
    ratios = [
        getattr(traces[0], field) / getattr(sample_trace(SMALL, 1, rng)[0], field)
        for _, traces in stream(load_drift(f"{name}-gradual", SMALL), 1, 1, num_episodes=62)
    ]
    np.testing.assert_array_equal(ratios[20], 1)
    assert (ratios[40] < 1).all() and (ratios[61] < ratios[40]).all()
    if name == "capacity":
        np.testing.assert_array_equal(ratios[61], ratio)
    else:  # a narrower channel has a better signal to noise ratio
        assert (ratios[61] > ratio).all() and (ratios[61] < 0.75).all()


def test_a_crowd_stands_near_the_servers_at_the_corner():
    far, near = (
        traces[0].uplink_bps.mean()
        for episode, traces in stream("crowd-abrupt", 1, 3, SMALL, 21)
        if episode in (19, 20)
    )
    assert far != near
    assert load_drift("crowd-abrupt", SMALL).slots(20).drawn_in == 1


@pytest.mark.parametrize(
    ("name", "scenario", "text"),
    [
        ("capacity-abrup", "queue", "unknown drift 'capacity-abrup'; did you mean"),
        ("bandwidth-abrupt", "qeco", "fixed_uplink_bps is 14000000.0; allowed: None for the drift"),
        ("cycles-abrupt", "qeco", "cycles_per_bit is .*; allowed: None for the drift"),
        ("crowd-abrupt", {"side_m": 20.0}, "Scenario.side_m is 20.0; allowed: >= 30"),
        ("capacity-abrupt", "paper", "scenario is 'paper'"),
    ],
)
def test_drifts_that_mean_nothing_are_refused(name, scenario, text):
    with pytest.raises(ValueError, match=text):
        stream(name, 1, 0, scenario)
