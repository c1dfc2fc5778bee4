"""``check_env``: whether a registered environment keeps its contract, by named checks.

Each tells the first differing value.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit

from lambo_env.testing.harness import (
    Probe,
    difference,
    digest,
    episode,
    legal_action,
    random_action,
    same,
)
from lambo_env.testing.misuse_checks import bad_actions, bad_calls
from lambo_env.testing.report import Check, NotChecked, Report
from lambo_env.testing.vector_checks import (
    vector_bad_actions,
    vector_fresh_memory,
    vector_is_single,
)

_SB3_ADVICE = "unconventional shape"  # 2-D arrays are what a set of UEs is


def check_env(
    env_id: str, *, seed: int = 0, raise_on_failure: bool = True, **kwargs: Any
) -> Report:
    """Run every check on a registered environment and return the report.

    Args:
        env_id: such as "LAMBO-MEC-v0".
        seed: of the episodes played.
        raise_on_failure: False returns the report of a faulty environment too.
        **kwargs: of ``gym.make``.

    Raises:
        AssertionError: some check failed; the text is the report.
    """
    probe = Probe(env_id, kwargs, seed)
    checks = {**CHECKS, **world_checks(probe)}
    rows = [Check.made(name, partial(check, probe), strict=True) for name, check in checks.items()]
    report = Report(env_id, tuple(rows))
    if report.failures and raise_on_failure:
        raise AssertionError(str(report))
    return report


def world_checks(probe: Probe) -> dict[str, Callable[[Probe], str]]:
    """Return the checks that the world of an environment brings."""
    world = probe.world
    return world.get("checks") if world is not None and "checks" in world.offers else {}


# ---- the checks ----------------------------------------------------------------------------------


def gymnasium_checker(probe: Probe) -> str:
    """Run Gymnasium's own checker."""
    from gymnasium.utils.env_checker import check_env as checker

    pictures = importlib.util.find_spec("pygame") is not None
    with mock.patch.dict(
        os.environ, {"SDL_VIDEODRIVER": "dummy"}
    ):  # it tries the mode "human": no window flashes up
        checker(probe.make().unwrapped, skip_render_check=not pictures)
    return "no warning" if pictures else "no warning; render modes not tried without pygame-ce"


def sb3_checker(probe: Probe) -> str:
    """Run Stable-Baselines3's checker."""
    if importlib.util.find_spec("stable_baselines3") is None:
        raise NotChecked("stable-baselines3 is not installed")
    from stable_baselines3.common.env_checker import check_env as checker

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=f".*{_SB3_ADVICE}")
        checker(probe.make().unwrapped, skip_render_check=True)
    return "no warning but the advice on 2-D shapes"


def spaces_hold(probe: Probe) -> str:
    """Check that every observation is in its space, under legal and random actions."""
    env = probe.make()
    for policy in (legal_action, random_action):
        for observation, reward, _, _ in episode(env, policy, probe.rng(), seed=probe.seed):
            assert observation in env.observation_space, (
                f"observation outside the space under {policy.__name__}"
            )
            assert type(reward) is float and np.isfinite(reward), f"reward {reward!r}"
    return "whole episodes, legal and random actions"


def same_seed(probe: Probe) -> str:
    """Check that a seed fixes an episode, and another one changes it."""
    a, b, c = (
        list(episode(probe.make(), random_action, probe.rng(), seed=probe.seed + s))
        for s in (0, 0, 1)
    )
    same(a, b, "two runs of one seed")
    assert difference(a[0][0], c[0][0]) is not None, "seeds do not change the episode"
    return f"{len(a) - 1} steps"


def same_in_another_process(probe: Probe) -> str:
    """Check that a fresh interpreter plays the same bits."""
    try:
        kwargs = json.dumps(probe.kwargs)
    except TypeError as error:
        raise NotChecked(f"kwargs are not JSON: {error}") from error
    call = f"print(digest({probe.id!r}, {kwargs!r}, {probe.seed}))"
    lines = ["import lambo_env", "from lambo_env.testing.env_checks import digest", call]
    there = subprocess.run(
        [sys.executable, "-c", "; ".join(lines)], capture_output=True, text=True, check=False
    )
    if "NameNotFound" in there.stderr:
        raise NotChecked("the id is registered in this process only")
    assert there.returncode == 0, there.stderr[-200:]
    here = digest(probe.id, kwargs, probe.seed)
    assert there.stdout.strip() == here, f"{there.stdout.strip()[:12]} there, {here[:12]} here"
    return here[:12]


def copies(probe: Probe, duplicate: Callable[[Any], Any]) -> str:
    """Check that a copy made in the middle of an episode goes on as the original does."""
    env, rng = probe.make(), probe.rng()
    env.reset(seed=probe.seed)
    if env.step(random_action(env, rng))[2]:
        env.reset()
    twin = duplicate(env)
    for step in range(2 * probe.num_steps()):
        action = random_action(env, rng)
        moved = env.step(action)
        same(moved, twin.step(action), f"step {step}")
        if moved[2]:
            same(env.reset(), twin.reset(), "reset")
    return ""


def spec_round_trip(probe: Probe) -> str:
    """Check that the spec survives JSON and makes the same environment."""
    env = probe.make()
    assert env.spec is not None
    text = env.spec.to_json()
    again = gym.make(EnvSpec.from_json(text))
    same(env.reset(seed=probe.seed)[0], again.reset(seed=probe.seed)[0], "first observation")
    return f"{len(text)} characters"


def fresh_memory(probe: Probe) -> str:
    """Check that what was handed out stays as it was."""
    env, rng = probe.make(), probe.rng()
    kept = list(episode(env, random_action, rng, seed=probe.seed))
    frozen = copy.deepcopy(kept)
    list(episode(env, random_action, rng))
    same(kept, frozen, "episode kept by reference")
    return f"{len(kept)} observations"


def interrupted(probe: Probe) -> str:
    """Check that an episode cut short by TimeLimit leaves nothing behind.

    And that RecordEpisodeStatistics tells return and length.
    """
    env, rng = TimeLimit(probe.make(), 3), probe.rng()
    env.reset(seed=probe.seed + 1)
    truncated = False
    while not truncated:
        _, _, terminated, truncated, _ = env.step(random_action(env, rng))
        if terminated:
            raise NotChecked("an episode of 3 steps cannot be cut short")
    told = RecordEpisodeStatistics(env.env)
    cut = list(episode(told, random_action, probe.rng(), seed=probe.seed))
    statistics = cut[-1][-1].pop("episode")
    same(
        cut,
        list(episode(probe.make(), random_action, probe.rng(), seed=probe.seed)),
        "after a cut, and fresh",
    )
    total = sum(reward for _, reward, _, _ in cut)
    assert np.isclose(statistics["r"], total), (
        f"the return is {statistics['r']}, the rewards sum to {total}"
    )
    assert statistics["l"] == len(cut) - 1, (
        f"the length is {statistics['l']}, {len(cut) - 1} steps were made"
    )
    return f"return {total:.4g} in {len(cut) - 1} steps"


CHECKS: dict[str, Callable[[Probe], str]] = {
    "Gymnasium's checker": gymnasium_checker,
    "Stable-Baselines3's checker": sb3_checker,
    "observations in their space": spaces_hold,
    "seeds fix episodes": same_seed,
    "same bits in another process": same_in_another_process,
    "vector = single, NextStep": lambda probe: vector_is_single(probe, "NextStep"),
    "vector = single, SameStep": lambda probe: vector_is_single(probe, "SameStep"),
    "vector = single, Disabled": lambda probe: vector_is_single(probe, "Disabled"),
    "bad actions, vector": vector_bad_actions,
    "nothing handed out changes, vector": vector_fresh_memory,
    "bad actions": bad_actions,
    "bad arguments, options, calls": bad_calls,
    "deep copy": lambda probe: copies(probe, copy.deepcopy),
    "pickle": lambda probe: copies(probe, lambda env: pickle.loads(pickle.dumps(env))),
    "wrappers, interrupted episodes": interrupted,
    "spec to JSON and back": spec_round_trip,
    "nothing handed out changes": fresh_memory,
}
