"""Steps per second of the environments.

Native vector, single, Gymnasium's Sync and AsyncVectorEnv, and mobile-env beside them.

The random policy plays legal places. Its uniforms are drawn before the clock starts, the choice
``(u * mask).argmax`` is inside it, like resets, fresh observations and masks. A figure is the best
of a few runs: a busy neighbour only ever slows a run down. CPU time leaves out what a run waited
for a core; shared caches slow it down all the same.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib.util
import os
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from numpy.typing import NDArray

from benchmarks.report.console import print_table
from lambo_env.envs.actions import encode_action
from lambo_env.offloading.scenario import Scenario, load_scenario
from lambo_env.registration import DEFAULT_WORLD, ENVIRONMENTS
from lambo_env.utils.timing import measure

MOBILE_ENV_ID = "mobile-medium-central-v0"
LARGE, SMALL = 1024, 8
REPEATS = 5
Act = Callable[[Any, int], Any]  # (mask, step) -> actions


@dataclasses.dataclass(frozen=True)
class EnvSpeed:
    """How fast one way of running an environment is."""

    env: str
    way: str
    num_envs: int
    decisions_per_s: float  # UE decisions per second, best run
    decisions_per_s_median: float
    decisions_per_cpu_s: float | None  # best run, by CPU time; None where other processes work too


def env_throughput(
    scenario: str | Scenario = "paper", repeats: int = REPEATS, large: int = LARGE
) -> list[EnvSpeed]:
    """Return the speeds of every id on ``scenario``.

    Vector of ``large``, single, Sync and Async of 8; mobile-env where installed.
    """
    scenario = load_scenario(scenario)
    rows = []
    for env_id in cell_ids():
        rows += [_vector(env_id, scenario, large, repeats, copy) for copy in (True, False)]
        rows.append(_single(env_id, scenario, repeats))
        rows += [
            _wrapped(env_id, scenario, way, repeats) for way in (SyncVectorEnv, AsyncVectorEnv)
        ]
    if importlib.util.find_spec("mobile_env") is not None:
        rows.append(_mobile_env(repeats))
    return rows


def print_env_throughput(scenario: str | Scenario = "paper", repeats: int = REPEATS) -> None:
    """Print the speeds as a table, with the load of the machine."""
    rows = [
        (
            s.env,
            s.way,
            str(s.num_envs),
            *map(_number, (s.decisions_per_s, s.decisions_per_s_median, s.decisions_per_cpu_s)),
        )
        for s in env_throughput(scenario, repeats)
    ]
    print_table(
        (
            "environment",
            "run as",
            "environments",
            "UE decisions/s, best",
            "median",
            "best per CPU second",
        ),
        rows,
        f"scenario {getattr(scenario, 'hash', scenario)}, "
        f"one process but Async, {repeats} runs each",
    )
    if importlib.util.find_spec("pygame") is not None:
        from benchmarks.speed.rendering import picture_times

        times = picture_times(scenario)
        print(
            f"a picture: median {times.median_ms:.1f} ms CPU, "
            f"95 % within {times.q95_ms:.1f}, the first {times.first_ms:.0f}"
        )
    if hasattr(os, "getloadavg"):
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def cell_ids() -> list[str]:
    """Return the ids that are played in a cell of the caller's choice, slot by slot."""
    rows = [row for row in ENVIRONMENTS.values() if row.error is None]
    rows = [row for row in rows if row.world == DEFAULT_WORLD]
    wanted = {"scenario", "num_slots"}
    return [row.id for row in rows if wanted <= set(row.argument_names())]


def _is_joint(env_id: str) -> bool:
    return isinstance(ENVIRONMENTS[env_id].action_space(), gym.spaces.Box)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _uniforms(
    steps: int, num_envs: int, num_places: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what a legal random policy needs [steps, B, P] and [steps, B].

    The same for every way.
    """
    rng = np.random.default_rng(0)
    return rng.random((steps, num_envs, num_places), np.float32), rng.random(
        (steps, num_envs), np.float32
    )


def _policy(env_id: str, steps: int, num_envs: int, num_places: int) -> Act:
    """Return the batched policy of an id."""
    places, shares = _uniforms(steps, num_envs, num_places)
    if _is_joint(env_id):
        return lambda mask, k: encode_action(
            (places[k] * mask).argmax(axis=1), shares[k], num_places - 1
        )
    return lambda mask, k: (places[k] * mask).argmax(axis=1)


def _speeds(run: Callable[[], None], decisions: int, repeats: int) -> tuple[float, ...]:
    """Return the decisions per second of the best and the median run, and per CPU second.

    One run before them warms up.
    """
    # what earlier runs left behind would be looked through, and its memory missed, in this one
    gc.collect()
    run()
    timing = measure(run, repeats)
    seconds = timing.wall_s.min(), np.median(timing.wall_s), max(timing.cpu_s.min(), 1e-9)
    return tuple(decisions / float(spent_s) for spent_s in seconds)


def _play(env: Any, act: Act, episodes: int, ues: int) -> Callable[[], None]:
    """Return a run of whole episodes of a vector environment in NextStep mode.

    N decisions and one resetting step each.
    """
    state = {"mask": env.reset(seed=0)[1]["action_mask"]}

    def run() -> None:
        mask = state["mask"]
        for _ in range(episodes):
            for k in range(ues + 1):
                mask = env.step(act(mask, k))[-1]["action_mask"]
        state["mask"] = mask

    return run


def _vector(env_id: str, scenario: Scenario, num_envs: int, repeats: int, copy: bool) -> EnvSpeed:
    env, ues = (
        gym.make_vec(env_id, num_envs, scenario=scenario, num_slots=1, copy=copy),
        scenario.num_ues,
    )
    act = _policy(env_id, ues + 1, num_envs, scenario.num_servers + 1)
    speeds = _speeds(_play(env, act, 2, ues), 2 * ues * num_envs, repeats)
    env.close()
    return EnvSpeed(
        env_id, "native vector" if copy else "native vector, copy=False", num_envs, *speeds
    )


def _wrapped(env_id: str, scenario: Scenario, way: Any, repeats: int) -> EnvSpeed:
    env, ues = (
        way([lambda: gym.make(env_id, scenario=scenario, num_slots=1)] * SMALL),
        scenario.num_ues,
    )
    act = _policy(env_id, ues + 1, SMALL, scenario.num_servers + 1)
    best, median, best_cpu = _speeds(_play(env, act, 2, ues), 2 * ues * SMALL, repeats)
    env.close()
    return EnvSpeed(
        env_id, way.__name__, SMALL, best, median, None if way is AsyncVectorEnv else best_cpu
    )


def _single(env_id: str, scenario: Scenario, repeats: int, episodes: int = 20) -> EnvSpeed:
    env, ues = gym.make(env_id, scenario=scenario, num_slots=1), scenario.num_ues
    width = scenario.num_servers + 1
    places, shares = _uniforms(ues, 1, width)
    flat, joint = places[:, 0], [2 * share - 1 for share in shares[:, 0].tolist()]

    is_joint = _is_joint(env_id)

    def run() -> None:
        for _ in range(episodes):
            _, info = env.reset()
            for k in range(ues):
                place = int((flat[k] * info["action_mask"]).argmax())
                action = ((2 * place + 1) / width - 1, joint[k]) if is_joint else place
                info = env.step(action)[-1]

    env.reset(seed=0)
    speeds = _speeds(run, episodes * ues, repeats)
    env.close()
    return EnvSpeed(env_id, "single, gym.make", 1, *speeds)


def _mobile_env(repeats: int, steps: int = 100) -> EnvSpeed:
    """Time mobile-env's medium scenario, in which one step decides for every user."""
    importlib.import_module("mobile_env")
    env = gym.make(MOBILE_ENV_ID)
    env.reset(seed=0)
    actions = [env.action_space.sample() for _ in range(steps)]

    def run() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    speeds = _speeds(run, steps * len(actions[0]), repeats)
    env.close()
    return EnvSpeed(MOBILE_ENV_ID, "single, gym.make", 1, *speeds)
