"""What checks of environments are made of: an id, whole episodes, the first difference."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from lambo_env import registration
from lambo_env.testing.report import NotChecked

Policy = Callable[[Any, np.random.Generator], Any]
Moment = tuple[Any, float, bool, dict[str, Any]]  # observation, reward, terminated, info


@dataclasses.dataclass(frozen=True)
class Probe:
    """What every check starts from."""

    id: str
    kwargs: dict[str, Any]
    seed: int

    def make(self, **more: Any) -> gym.Env[Any, Any]:
        """Return a new environment."""
        return gym.make(self.id, **{**self.kwargs, **more})

    def vector(self, num_envs: int, **more: Any) -> gym.vector.VectorEnv[Any, Any, Any]:
        """Return the native vector environment."""
        if gym.spec(self.id).vector_entry_point is None:
            raise NotChecked("no native vector environment")
        return gym.make_vec(self.id, num_envs, "vector_entry_point", **{**self.kwargs, **more})

    @property
    def world(self) -> registration.World | None:
        """The world that the environment plays; None where it is none of ours."""
        arguments = getattr(self.make().unwrapped, "arguments", None)
        return None if arguments is None else registration.WORLDS[arguments.world]

    def num_steps(self) -> int:
        """Return how many steps an episode of this seed has."""
        return len(list(episode(self.make(), random_action, self.rng(), seed=self.seed))) - 1

    def rng(self) -> np.random.Generator:
        """Return a generator for actions."""
        return np.random.default_rng(self.seed)


def difference(a: Any, b: Any, path: str = "") -> str | None:
    """Return where two nested values of arrays first differ, bit for bit, and the values.

    None where they are equal.
    """
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return f"{path} has {sorted(a)} and {sorted(b)}"
        return next((d for key in a if (d := difference(a[key], b[key], f"{path}[{key!r}]"))), None)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return next(
            (d for k in range(len(a)) if (d := difference(a[k], b[k], f"{path}[{k}]"))), None
        )
    left, right = np.asarray(a), np.asarray(b)
    if left.dtype == object and left.shape == right.shape and left.ndim:
        return difference(left.tolist(), right.tolist(), path)
    if left.shape != right.shape or left.dtype != right.dtype:
        return f"{path} is {left.dtype}{list(left.shape)} and {right.dtype}{list(right.shape)}"
    differ = left != right
    if left.dtype.kind == "f":
        differ &= ~(np.isnan(left) & np.isnan(right))
    unequal = np.argwhere(differ)
    if not len(unequal) or left.dtype == object:
        return None if left.dtype != object or a == b else f"{path} is {a} and {b}"
    at = tuple(unequal[0])
    return f"{path}{[int(k) for k in at]} is {left[at]} and {right[at]}"


def same(a: Any, b: Any, what: str) -> None:
    """Raise AssertionError that names the first difference."""
    found = difference(a, b)
    assert found is None, f"{what}: {found}"


def raises(kind: type[Exception], call: Callable[[], Any], what: str) -> None:
    """Raise AssertionError unless ``call`` raises ``kind``."""
    try:
        call()
    except kind:
        return
    raise AssertionError(f"{what}: no {kind.__name__}")


def random_action(env: Any, rng: np.random.Generator) -> Any:
    """Return any action of the space, corners often: places that cannot serve, shares 0 and 1."""
    space = env.action_space
    if isinstance(space, gym.spaces.Discrete):
        return int(rng.integers(space.n))
    if not isinstance(space, gym.spaces.Box):
        return rng.integers(0, 2, space.shape).astype(space.dtype)  # MultiBinary
    corner = rng.random(space.shape) < 0.3
    drawn = np.where(corner, rng.choice([-1.0, 1.0], space.shape), rng.uniform(-1, 1, space.shape))
    return np.clip(drawn, space.low, space.high).astype(space.dtype)


def legal_action(env: Any, rng: np.random.Generator) -> Any:
    """Return an action whose place the mask allows."""
    masked = hasattr(env.unwrapped, "action_masks")
    mask = env.get_wrapper_attr("action_masks")() if masked else None
    if mask is None:
        return random_action(env, rng)
    place = int(rng.choice(np.flatnonzero(mask)))
    if isinstance(env.action_space, gym.spaces.Discrete):
        return place
    return np.asarray([2 * (place + 0.5) / len(mask) - 1, rng.uniform(-1, 1)], dtype=np.float32)


def episode(env: Any, policy: Policy, rng: np.random.Generator, **reset: Any) -> Iterator[Moment]:
    """Play one episode.

    Yield (observation, reward, terminated, info) of the reset and of every step.
    """
    observation, info = env.reset(**reset)
    yield observation, 0.0, False, info
    terminated = False
    while not terminated:
        observation, reward, terminated, truncated, info = env.step(policy(env, rng))
        assert not truncated, "an episode was truncated"
        yield observation, reward, terminated, info


def digest(env_id: str, kwargs: str, seed: int) -> str:
    """Return a hash of everything that one episode shows; ``kwargs`` is JSON."""
    probe, out = Probe(env_id, json.loads(kwargs), seed), hashlib.sha256()
    for observation, reward, _, info in episode(
        probe.make(), random_action, probe.rng(), seed=seed
    ):
        parts = observation if isinstance(observation, dict) else {"": observation}
        for name in sorted(parts):
            out.update(np.ascontiguousarray(parts[name]).tobytes())
        out.update(np.float64(reward).tobytes() + info.get("action_mask", np.zeros(0)).tobytes())
    return out.hexdigest()
