"""How long a picture takes.

Each moment of an episode is drawn, the first drawing of a process left out.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np

from lambo_env.envs.env import JointEnv
from lambo_env.rendering import renderer


@dataclasses.dataclass(frozen=True)
class PictureTimes:
    """CPU milliseconds a picture of an episode, 800 x 600, RGB array included."""

    pictures: int
    median_ms: float
    q95_ms: float
    first_ms: float  # fonts and marks are made; once a process


def picture_times(scenario: Any = "paper", seed: int = 0, rounds: int = 3) -> PictureTimes:
    """Return how long the pictures of one episode of random legal places take.

    The best of ``rounds`` of each moment.
    """
    env, rng = (
        JointEnv(scenario, "minimum latency", render_mode="rgb_array"),
        np.random.default_rng(seed),
    )
    env.reset(seed=seed)
    frames, over = [env.frame()], False
    while not over:
        place = (rng.random(env.scenario.num_servers + 1) * env.action_masks()).argmax()
        middle = 2 * (place + 0.5) / (env.scenario.num_servers + 1) - 1
        over = env.step(np.asarray([middle, -0.8]))[2]
        frames.append(env.frame())
    first = _milliseconds(frames[0])
    times = np.asarray([[_milliseconds(frame) for frame in frames] for _ in range(rounds)]).min(
        axis=0
    )
    return PictureTimes(
        len(frames), float(np.median(times)), float(np.quantile(times, 0.95)), first
    )


def _milliseconds(frame: Any) -> float:
    start = time.process_time()
    renderer.picture(frame)
    return 1e3 * (time.process_time() - start)
