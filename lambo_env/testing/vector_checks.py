"""Checks of native vector environments: rows that are single environments, bad actions, memory."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import SyncVectorEnv

from lambo_env.testing.harness import Probe, raises, random_action, same

_ROWS = 3


def vector_is_single(probe: Probe, mode: str) -> str:
    """Check that the native vector environment equals SyncVectorEnv in every bit, across resets."""
    native: Any = probe.vector(_ROWS, autoreset_mode=mode)
    single = SyncVectorEnv([probe.make] * _ROWS, autoreset_mode=mode)
    rng, over = probe.rng(), np.zeros(_ROWS, dtype=bool)
    same(native.reset(seed=probe.seed), single.reset(seed=probe.seed), "reset")
    steps = 2 * min(probe.num_steps(), 200) + 3
    for step in range(steps):
        part = (
            over if mode == "Disabled" else np.array([False, step == 4, False])
        )  # rows fall out of step
        if part.any():
            options = {"reset_mask": part}
            same(
                native.reset(options=options),
                single.reset(options={**options}),
                f"partial reset before step {step}",
            )
        actions = _actions(single, rng)
        moved = native.step(actions)
        same(moved, single.step(actions), f"step {step}")
        over = moved[2]
    return f"{_ROWS} rows, {steps} steps"


def _actions(env: Any, rng: np.random.Generator) -> Any:
    """Return any action of the space for each row of a SyncVectorEnv."""
    return np.stack([random_action(one, rng) for one in env.envs])


def vector_bad_actions(probe: Probe) -> str:
    """Check that one bad row refuses the whole step and leaves every row as it was."""
    env, twin = probe.vector(_ROWS), probe.vector(_ROWS)
    single = SyncVectorEnv([probe.make] * _ROWS)
    for one in (env, twin):
        one.reset(seed=probe.seed)
    good = _actions(single, probe.rng())
    bad: list[Any] = [
        None,
        "0",
        good[:-1],
        np.concatenate([good, good[:1]]),
        good.astype(complex),
        good.astype(str),
    ]
    for value in (
        (np.nan, 1.01, -np.inf) if isinstance(env.single_action_space, gym.spaces.Box) else (-2, 99)
    ):
        spoilt = good.copy()
        spoilt[-1] = value
        bad.append(spoilt)
    for actions in bad:
        raises(ValueError, partial(env.step, actions), f"the actions {actions!r}")
    same(env.step(good), twin.step(good), "after bad actions")
    return f"{len(bad)} kinds"


def vector_fresh_memory(probe: Probe) -> str:
    """Check that what the vector environment handed out stays as it was, across an autoreset."""
    env = probe.vector(_ROWS)
    single, rng = SyncVectorEnv([probe.make] * _ROWS), probe.rng()
    kept: list[Any] = [env.reset(seed=probe.seed)]
    frozen = copy.deepcopy(kept)
    over, after = False, 0
    while after < 3:  # steps after the first episode
        kept.append(env.step(_actions(single, rng)))
        frozen.append(copy.deepcopy(kept[-1]))
        over = over or bool(kept[-1][2].any())
        after += over
    same(kept, frozen, "results kept by reference")
    return f"{len(kept)} results"
