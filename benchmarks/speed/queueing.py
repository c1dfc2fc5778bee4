"""Decisions per second where tasks wait: the vector environment, and batched replays of plans.

Places are uniform among the legal ones in the environment, among all in the replays; their
uniforms are drawn before the clock starts. In the environment observations, masks and resets are
inside it.
"""

from __future__ import annotations

from collections.abc import Callable

import gymnasium as gym
import numpy as np

from benchmarks.report.console import print_table
from lambo_env.queueing.physics import replay
from lambo_env.queueing.scenario import QueueScenario, load_scenario
from lambo_env.queueing.slots import sample_trace
from lambo_env.registration import ENVIRONMENTS, WORLDS
from lambo_env.utils.timing import measure

_STEPS, _WARM, _REPEATS = {1: 800, 256: 200, 2048: 40}, 60, 6
_EPISODES = (64, 256)


def env_speed(env_id: str, scenario: QueueScenario, num_envs: int, repeats: int) -> float:
    """Return decisions per CPU second of the best of some runs, once rows are out of step."""
    env = gym.make_vec(env_id, num_envs, scenario=scenario, copy=False)
    steps, places = _STEPS[num_envs], scenario.num_servers + 1
    uniforms = np.random.default_rng(0).random((16, num_envs, places), np.float32)
    state = {"mask": env.reset(seed=0)[1]["action_mask"]}

    def run(count: int = steps) -> int:
        decided, mask = 0, state["mask"]
        for k in range(count):
            _, _, over, _, infos = env.step((uniforms[k % 16] * mask).argmax(axis=1))
            decided += num_envs - int(
                np.count_nonzero(over)
            )  # as many rows are reset in a later step
            mask = infos["action_mask"]
        state["mask"] = mask
        return decided

    run(_WARM)
    speed = _best(run, repeats)
    env.close()
    return speed


def replay_speed(scenario: QueueScenario, episodes: int, repeats: int) -> float:
    """Return decisions per CPU second of the best of some replays of episodes side by side."""
    rng = np.random.default_rng(0)
    traces = sample_trace(scenario, episodes, rng)
    shape = (episodes, scenario.num_slots, scenario.num_ues)
    plans = rng.integers(0, scenario.num_servers + 1, shape)
    tasks = sum(int(trace.has_task.sum()) for trace in traces)

    def run() -> int:
        replay(traces, plans)
        return tasks

    run()
    return _best(run, repeats)


def _best(run: Callable[[], int], repeats: int) -> float:
    timings = [measure(run) for _ in range(repeats)]
    return max(timing.result / float(timing.cpu_s[0]) for timing in timings)


def print_queue_throughput(scenario: str = "queue", repeats: int = _REPEATS) -> None:
    """Print the speeds as a table."""
    chosen = load_scenario(scenario)
    ids = [row.id for row in ENVIRONMENTS.values() if "play" in WORLDS[row.world].offers]
    rows = [
        (env_id, str(rows), f"{env_speed(env_id, chosen, rows, repeats):,.0f}")
        for env_id in ids
        for rows in _STEPS
    ]
    rows += [
        ("replay", str(episodes), f"{replay_speed(chosen, episodes, repeats):,.0f}")
        for episodes in _EPISODES
    ]
    print_table(
        ("what", "episodes side by side", "UE decisions per CPU second"),
        rows,
        f"scenario {scenario}, one thread, best of {repeats} runs",
    )
