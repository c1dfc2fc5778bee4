"""Agents of the wireless powered network: legal modes, and whose instances they take."""

import numpy as np
import pytest

from lambo_agents.protocol import unsupported
from lambo_agents.registry import make_agent
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.wpmec import physics
from lambo_env.wpmec.instances import generate

NAMES = ["wpmec-local", "wpmec-offload", "wpmec-descent", "wpmec-droo"]


def rates(name, frames, seed=0):
    if name == "wpmec-droo":
        pytest.importorskip("torch")
    prompts = Prompts.of("minimum latency", len(frames))
    decision = make_agent(name).decide(frames, prompts, np.random.default_rng(seed))
    assert not decision.cpu_hz.any()
    return physics.rate_bps(frames, decision.place)


@pytest.mark.parametrize("name", NAMES)
def test_they_decide_frames_and_nothing_else(name, rng):
    if name == "wpmec-droo":
        pytest.importorskip("torch")
    agent, frames = make_agent(name), generate(5, 3, rng)
    assert unsupported(agent, frames) is None
    instances = sample_instances(load_scenario("tiny"), 1, rng)
    reason = "it decides instances of 'wpmec'; these are of 'offloading'"
    assert unsupported(agent, instances) == reason
    offloading = "it decides instances of 'offloading'; these are of 'wpmec'"
    assert unsupported(make_agent("greedy"), frames) == offloading


@pytest.mark.parametrize("name", NAMES)
def test_no_mode_beats_the_enumerated_optimum(name, rng):
    frames = generate(6, 40, rng)
    assert np.all(rates(name, frames) <= physics.best_modes(frames)[1] * (1 + 1e-6))


def test_descent_is_near_the_optimum_and_no_flip_gains(rng):
    frames = generate(8, 60, rng)
    rate = rates("wpmec-descent", frames)
    assert np.mean(rate / physics.best_modes(frames)[1]) > 0.999
    for name in ("wpmec-local", "wpmec-offload"):
        assert rate.mean() > rates(name, frames).mean()
    assert np.all(rate >= rates("wpmec-local", frames) * (1 - 1e-9))


def test_a_frame_of_descent_is_decided_as_it_would_be_alone(rng):
    frames = generate(7, 10, rng)
    alone = [rates("wpmec-descent", frames.take([k]))[0] for k in range(10)]
    np.testing.assert_allclose(rates("wpmec-descent", frames), alone, rtol=1e-6)


def test_droo_plays_what_its_run_plays_and_the_generator_seeds_it(rng):
    pytest.importorskip("torch")
    frames = generate(6, 300, rng)
    first, again, other = (rates("wpmec-droo", frames, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    optimum = physics.best_modes(frames)[1]
    assert np.mean(first[-100:] / optimum[-100:]) > 0.9
