"""Checks of misuse that every world refuses: bad actions, unknown options, steps out of turn."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded

from lambo_env.testing.harness import Probe, episode, legal_action, raises, random_action, same


def bad_actions(probe: Probe) -> str:
    """Check that what is outside the space is refused and changes nothing."""
    env, twin = probe.make().unwrapped, probe.make().unwrapped
    space = env.action_space
    for one in (env, twin):
        one.reset(seed=probe.seed)
    bad: list[Any] = [None, "0", np.nan, np.full(3, 0.5), np.array(1j)]
    if isinstance(space, gym.spaces.Discrete):
        bad += [-1, space.n, 0.5, True]
    else:
        shape = space.shape or ()
        bad += [0.0, *(np.full(shape, value) for value in (np.nan, 1.01, -np.inf))]
    for action in bad:
        raises(ValueError, partial(env.step, action), f"the action {action!r}")
    action = random_action(env, probe.rng())
    same(env.step(action), twin.step(action), "after bad actions")
    return f"{len(bad)} kinds"


def bad_calls(probe: Probe) -> str:
    """Check that unknown options and steps outside an episode are errors that change nothing."""
    env, twin = probe.make(), probe.make()
    step = partial(env.unwrapped.step, random_action(env, probe.rng()))
    raises(ResetNeeded, step, "a step before reset")
    for one in (env, twin):
        one.reset(seed=probe.seed)
    unknown: tuple[Any, ...] = ({"promt": "minimum energy"}, {1: 2}, 3)
    for options in unknown:
        raises(ValueError, partial(env.reset, seed=99, options=options), f"the options {options}")
    played = [list(episode(one, legal_action, probe.rng())) for one in (env, twin)]
    same(played[0], played[1], "after bad options")
    raises(ResetNeeded, lambda: env.step(random_action(env, probe.rng())), "a step after the end")
    return "options, steps before and after an episode"
