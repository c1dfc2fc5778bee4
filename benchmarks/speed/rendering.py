"""How long a picture takes.

Each moment of an episode is drawn, the first drawing of a process left out.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from lambo_env.envs.arguments import JointArguments
from lambo_env.envs.env import WorldEnv
from lambo_env.rendering import renderer
from lambo_env.utils.timing import measure


@dataclasses.dataclass(frozen=True)
class PictureTimes:
    """CPU milliseconds per picture of an episode, 800 x 600, RGB array included."""

    pictures: int
    median_ms: float
    q95_ms: float
    first_ms: float  # fonts and marks are made; once per process


def picture_times(scenario: Any = "paper", seed: int = 0, rounds: int = 3) -> PictureTimes:
    """Return how long the pictures of one episode of random legal places take.

    The best of ``rounds`` of each moment.
    """
    env: Any = WorldEnv(JointArguments(scenario, "minimum latency", render_mode="rgb_array"))
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    frames, over = [env.frame()], False
    while not over:
        place = (rng.random(env.scenario.num_servers + 1) * env.action_masks()).argmax()
        middle = 2 * (place + 0.5) / (env.scenario.num_servers + 1) - 1
        over = env.step(np.asarray([middle, -0.8]))[2]
        frames.append(env.frame())
    pictures = [functools.partial(renderer.picture, frame) for frame in frames]
    first_ms = 1e3 * float(measure(pictures[0]).cpu_s[0])
    times_ms = [1e3 * measure(picture, rounds).cpu_s.min() for picture in pictures]
    median_ms, q95_ms = map(float, np.quantile(times_ms, [0.5, 0.95]))
    return PictureTimes(len(frames), median_ms, q95_ms, first_ms)
