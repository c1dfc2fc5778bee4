"""Drifts: what changes, when, and that nothing else does."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils import seeding

import lambo_env  # noqa: F401 - registers the ids
from lambo_env.offloading import drift, physics
from lambo_env.offloading import slots as world
from lambo_env.offloading.instances import Instances
from lambo_env.offloading.scenario import Scenario, load_scenario
from lambo_env.testing.env_checks import check_env

SMALL = load_scenario("paper").replace(num_ues=10)


def slots(
    name: str, num_slots: int, seed: int = 0, batch: int = 2, scenario: Scenario = SMALL
) -> list[Instances]:
    return [instances for _, instances in drift.stream(name, batch, seed, scenario, num_slots)]


def same(a: Instances, b: Instances) -> bool:
    return all(
        np.array_equal(getattr(a, f.name), getattr(b, f.name))
        for f in dataclasses.fields(Instances)
    )


@pytest.mark.parametrize("name", drift.list_drifts())
def test_before_the_drift_the_stream_is_the_undrifted_world(name):
    calm = 25 if name.endswith("cyclic") else 20
    found = slots(name, calm + 2)
    rng = np.random.default_rng(0)
    undrifted = world.stream(world.MovingSlots(SMALL), 2, rng, calm + 2)
    for (slot, expected), drifted in zip(undrifted, found, strict=True):
        assert same(drifted, expected) == (slot < calm) or slot == calm, slot


@pytest.mark.parametrize("name", drift.list_drifts())
def test_same_seed_same_slots_fixed_sizes(name):
    first, again, other = slots(name, 30), slots(name, 30), slots(name, 30, seed=1)
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert not same(first[29], other[29])
    for instances in first:
        Instances(
            **{f.name: getattr(instances, f.name) for f in dataclasses.fields(Instances)}
        )  # valid numbers
        assert instances.uplink_bps.shape == (2, 10, 4)


def test_the_schedules():
    assert [drift.abrupt(slot) for slot in (0, 19, 20, 99)] == [0, 0, 1, 1]
    assert [drift.gradual(slot) for slot in (0, 20, 40, 60, 99)] == [0, 0, 0.5, 1, 1]
    assert [drift.cyclic(slot) for slot in (0, 24, 25, 49, 50, 74, 75, 99)] == [
        0,
        0,
        1,
        1,
        0,
        0,
        1,
        1,
    ]


@pytest.mark.parametrize(
    ("shift", "field", "value"),
    [
        ("capacity", "server_cpu_hz", (0.75e10, 0.75e10, 1.5e10, 2.5e10)),
        ("failure", "server_cpu_hz", (1.5e10, 1.5e10, 3e10, 1e6)),
        ("path-loss", "path_loss_exponent", 3.5),
        ("shadowing", "shadowing_db", 8.0),
        ("data", "data_bits", (1.5e8, 4.5e8)),
        ("cycles", "cycles", (0.75e9, 2.25e9)),
        ("bandwidth", "bandwidth_hz", 12e6),
    ],
)
def test_what_a_shift_changes_and_nothing_else(shift, field, value):
    base, after = load_scenario("paper"), drift.load_drift(f"{shift}-gradual").scenario(60)
    assert getattr(after, field) == pytest.approx(value)
    assert after.replace(**{field: getattr(base, field)}) == base
    half = drift.load_drift(f"{shift}-gradual").scenario(40)
    middle = np.mean([getattr(base, field), getattr(after, field)], axis=0)
    assert np.allclose(getattr(half, field), middle)


def test_a_failed_server_takes_no_task_of_paper():
    instances = slots("failure-abrupt", 21, batch=64)[20]
    assert (physics.floors_hz(instances)[..., 3] > 100 * drift.FAILED_HZ).all()
    assert not physics.on_time(instances)[..., 4].any()


def test_the_crowd_stands_in_one_disc():
    xy = np.random.default_rng(0).random((1000, 2)) * 50
    inside = drift.into_disc(xy, 50.0, 15.0, np)
    assert (np.linalg.norm(inside - 15.0, axis=-1) <= 15.0).all()
    corners = drift.into_disc(np.array([[0.0, 0.0], [50.0, 50.0], [25.0, 25.0]]), 50.0, 15.0, np)
    assert np.linalg.norm(corners - 15.0, axis=-1) == pytest.approx([15.0, 15.0, 0.0])


def test_a_crowds_links_grow_alike():
    still = SMALL.replace(shadowing_db=0.0, rician_k_db=float("inf"))
    before, after = slots("crowd-abrupt", 21, batch=200, scenario=still)[19:21]
    spread = [np.log(part.uplink_bps).std(axis=1).mean() for part in (before, after)]
    assert spread[1] < 0.8 * spread[0]


def test_shadowing_is_louder_at_once():
    calm = SMALL.replace(
        rician_k_db=float("inf"), path_loss_exponent=1e-9, max_spectral_efficiency=float("inf")
    )
    found = slots("shadowing-abrupt", 21, batch=100, scenario=calm)
    spread = [
        (part.uplink_bps / calm.bandwidth_hz).std() for part in found[19:21]
    ]  # bit/s/Hz, linear in dB at high SNR
    assert spread[1] / spread[0] == pytest.approx(2, rel=0.05)


def test_bad_input_is_refused_at_the_call():
    with pytest.raises(ValueError, match="did you mean 'capacity-abrupt'"):
        drift.stream("capacity-abruptly", 2, 0)
    with pytest.raises(ValueError, match=r"stream\(batch\) is 0"):
        drift.stream("data-cyclic", 0, 0)
    with pytest.raises(ValueError, match=r"stream\(num_slots\) is -1"):
        drift.stream("data-cyclic", 2, 0, num_slots=-1)
    with pytest.raises(ValueError, match=r"Scenario.shadowing_db is 0.0; allowed: > 0"):
        drift.stream("shadowing-abrupt", 2, 0, SMALL.replace(shadowing_db=0.0))
    with pytest.raises(ValueError, match=r"Scenario.side_m is 20.0; allowed: >= 30"):
        drift.stream("crowd-abrupt", 2, 0, SMALL.replace(side_m=20.0))


def test_every_drift_says_what_it_does():
    assert len(set(map(drift.describe, drift.list_drifts()))) == 24
    assert drift.describe("data-gradual") == "1.5 times the data to upload, from slot 20 to 60"


# ---- the environment -----------------------------------------------------------------------------

ENV = "LAMBO-MEC-Drift-v0"


@pytest.mark.parametrize("name", ["capacity-abrupt", "shadowing-gradual", "crowd-cyclic"])
def test_the_environment_plays_the_drifts_own_slots(name):
    """The same draws through the same Drift give the environment's instances, bit for bit."""
    env = gym.make(
        ENV, drift=name, scenario=SMALL, prompt="minimum latency", num_slots=27
    ).unwrapped
    env.reset(seed=3)
    rng, course = seeding.np_random(3)[0], drift.load_drift(name, SMALL)
    now, expected = course.first(world.draw([rng], 1, course.first_draws, extra=1))
    for slot in range(27):
        assert same(env.instances, expected), slot
        for _ in range(10):
            _, _, over, _, _ = env.step(env.action_space.sample() * 0 - 1)  # all local
        if not over:
            draws = world.draw([rng], 1, course.next_draws)
            now, expected = course.next(now, np.array([slot + 1]), draws)
    assert over


def test_rows_of_the_vector_environment_are_single_environments():
    """Also where the rows are in different slots: row 1 begins anew later."""
    kwargs = {
        "drift": "cycles-abrupt",
        "scenario": SMALL,
        "num_slots": 23,
        "prompt": "minimum energy",
    }
    vector = gym.make_vec(
        ENV, 2, vectorization_mode="vector_entry_point", **kwargs, autoreset_mode="Disabled"
    ).unwrapped
    vector.reset(seed=0)
    stay = np.full((2, 2), -1.0, dtype=np.float32)
    for _ in range(30):
        vector.step(stay)
    vector.reset(seed=[None, 9], options={"reset_mask": np.array([False, True])})
    for _ in range(195):
        vector.step(stay)
    for row, seed, steps in ((0, 0, 225), (1, 9, 195)):
        single = gym.make(ENV, **kwargs).unwrapped
        single.reset(seed=seed)
        for _ in range(steps):
            single.step(stay[0])
        assert same(single.instances, vector.instances.take(row))


def test_the_environment_keeps_its_contract():
    report = check_env(ENV, scenario="tiny", drift="failure-abrupt", num_slots=2)
    assert {row.ok for row in report.rows} <= {True, None}


def test_an_unknown_drift_is_refused():
    with pytest.raises(ValueError, match="did you mean 'data-abrupt'"):
        gym.make(ENV, drift="data-abrubt")


OWN = {"scale": {"server_cpu_hz": 0.5}, "schedule": "abrupt"}


def test_a_drift_of_ones_own_is_a_mapping_or_a_drift():
    """The shipped drift written out is the shipped drift, bit for bit."""
    named = drift.load_drift("capacity-abrupt", SMALL)
    course = drift.Drift(base=SMALL, name="mine", shift=named.shift, schedule=named.schedule)
    envs = [
        gym.make(ENV, drift="capacity-abrupt", scenario=SMALL, num_slots=22),
        gym.make(ENV, drift=OWN, scenario=SMALL, num_slots=22),
        gym.make(ENV, drift=course, num_slots=22),
    ]
    for env in envs:
        env.reset(seed=1)
    for _ in range(21 * SMALL.num_ues):
        for env in envs:
            env.step(env.action_space.sample() * 0 - 1)
    shown = [env.unwrapped.instances for env in envs]
    assert same(shown[0], shown[1]) and same(shown[0], shown[2])
    assert shown[0].server_cpu_hz[0, 0] == SMALL.server_cpu_hz[0] / 2


def test_a_schedule_of_ones_own_says_how_far():
    own = {"fields": {"path_loss_exponent": 4.0}, "schedule": lambda slot: min(1.0, slot / 4)}
    course = drift.load_drift(own, SMALL)
    assert [course.scenario(slot).path_loss_exponent for slot in (0, 2, 9)] == [3.0, 3.5, 4.0]
    assert len(list(drift.stream(own, 2, 0, SMALL, num_slots=6))) == 6


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (3, "drift is 3; allowed: a name of list_drifts"),
        (None, "drift is None"),
        ({}, "unknown drift.schedule None; known: abrupt, cyclic, gradual"),
        ({**OWN, "schedule": "abrubt"}, "unknown drift.schedule 'abrubt'; did you mean 'abrupt'"),
        ({"schedule": "abrupt"}, "allowed: something that changes"),
        ({**OWN, "scales": {}}, "drift.scales: unknown field; did you mean 'scale'"),
        ({**OWN, "scale": {"server_hz": 2}}, "drift.scale.server_hz: unknown field"),
        ({**OWN, "scale": {"server_cpu_hz": -1}}, "drift.scale.server_cpu_hz is -1"),
        ({**OWN, "scale": 0.5}, "drift.scale is 0.5"),
        ({**OWN, "fields": {"num_ues": 3}}, "drift.fields.num_ues: unknown field"),
        ({**OWN, "fields": {"mobility": "none"}}, "drift.fields.mobility: unknown field"),
        ({**OWN, "fields": {"bandwidth_hz": 0}}, "Scenario.bandwidth_hz is 0"),
        ({"schedule": "abrupt", "fields": {"server_cpu_hz": [1e9]}}, "drift.fields.server_cpu_hz"),
        ({**OWN, "fields": {"server_cpu_hz": [1e9] * 4}}, "allowed: no field in both"),
        ({**OWN, "fails": 1}, "drift.fails is 1"),
        ({**OWN, "disc_m": -2}, "drift.disc_m is -2"),
        ({**OWN, "disc_m": 40}, "Scenario.side_m is"),
        ({**OWN, "name": ""}, "drift.name is ''"),
    ],
)
def test_a_bad_drift_is_named(given, text):
    with pytest.raises(ValueError, match=text):
        gym.make(ENV, drift=given, scenario="tiny")


@pytest.mark.parametrize("answer", [1.5, -0.1, "much", None, np.nan])
def test_a_bad_schedule_is_named_and_the_episode_goes_on(answer):
    answers = [0.0, answer]
    own = {**OWN, "schedule": lambda slot: answers[slot]}
    env = gym.make(ENV, drift=own, scenario="tiny", num_slots=2).unwrapped
    env.reset(seed=0)
    for _ in range(5):
        env.step(np.array([-1, 0], dtype=np.float32))
    with pytest.raises(
        ValueError, match=r"drift.schedule\(1\) is .*; allowed: a number in \[0, 1\]"
    ):
        env.step(np.array([-1, 0], dtype=np.float32))
    answers[1] = 1.0
    *_, info = env.step(np.array([-1, 0], dtype=np.float32))
    assert "outcome" in info


def test_a_drift_brings_its_scenario():
    course = drift.load_drift("data-abrupt", SMALL)
    assert gym.make(ENV, drift=course).unwrapped.scenario == SMALL
    with pytest.raises(ValueError, match="scenario is .*; allowed: that of the Drift"):
        gym.make(ENV, drift=course, scenario="tiny")
