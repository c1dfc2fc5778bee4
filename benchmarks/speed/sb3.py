"""Steps per second as Stable-Baselines3 sees them.

The native vector environment beside DummyVecEnv, masks asked for at each step.
"""

from __future__ import annotations

import dataclasses
import statistics
from typing import Any

import gymnasium as gym
import numpy as np

from baselines.sb3.vec_env import as_sb3
from benchmarks.report.console import print_table
from benchmarks.speed.envs import cell_ids
from lambo_env.utils.timing import measure


@dataclasses.dataclass(frozen=True)
class SB3Speed:
    """Steps per second of both, medians over rounds in which they took turns.

    CPU seconds, so that a busy machine does not count.
    """

    num_envs: int
    native: float
    dummy: float
    ratio: float  # median of the rounds' ratios


def sb3_speed(
    env_id: str, scenario: str = "paper", num_envs: int = 64, episodes: int = 1, rounds: int = 3
) -> SB3Speed:
    """Time ``as_sb3`` against ``DummyVecEnv`` under the same random legal actions."""
    from stable_baselines3.common.vec_env import DummyVecEnv

    native = as_sb3(env_id, num_envs, scenario=scenario, num_slots=1)
    dummy = DummyVecEnv(
        [lambda: gym.make(f"lambo_env:{env_id}", scenario=scenario, num_slots=1)] * num_envs
    )
    steps = episodes * native.get_attr("scenario")[0].num_ues
    speeds = [(_steps_per_s(native, steps), _steps_per_s(dummy, steps)) for _ in range(rounds)]
    native.close()
    dummy.close()
    ours, theirs = zip(*speeds, strict=True)
    ratio = statistics.median(one / other for one, other in speeds)
    return SB3Speed(num_envs, statistics.median(ours), statistics.median(theirs), ratio)


def _steps_per_s(env: Any, steps: int) -> float:
    rng = np.random.default_rng(0)
    env.seed(0)
    env.reset()
    places = env.get_attr("scenario", [0])[0].num_servers + 1
    joint = env.action_space.shape == (2,)

    def play() -> None:
        for _ in range(steps):
            masks = np.stack(env.env_method("action_masks"))
            place = (rng.random(masks.shape) * masks).argmax(1)
            unit = np.stack([(place + 0.5) / places, rng.random(len(place))], axis=1)
            env.step((2 * unit - 1).astype(np.float32) if joint else place)

    return steps * env.num_envs / float(measure(play).cpu_s[0])


def print_sb3_throughput(scenario: str = "paper") -> None:
    """Print the table of the environments of a cell."""
    found = {env_id: sb3_speed(env_id, scenario) for env_id in cell_ids()}
    print_table(
        ("environment", "rows", "as_sb3, steps/s", "DummyVecEnv, steps/s", "ratio"),
        [
            (env_id, str(s.num_envs), f"{s.native:,.0f}", f"{s.dummy:,.0f}", f"{s.ratio:.1f}")
            for env_id, s in found.items()
        ],
        f"SB3 on {scenario}",
    )
