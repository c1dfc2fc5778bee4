"""The native vector environment as a Stable-Baselines3 VecEnv.

One engine for all rows, masks with the batch, monitored episodes.

``as_sb3("LAMBO-MEC-Association-v0", num_envs=64)`` goes where SB3 wants an ``env``. No Monitor,
VecMonitor or action masker is needed.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from lambo_env import registration
from lambo_env.envs.arguments import REWARD
from lambo_env.envs.vector_env import WorldVectorEnv, row_of_any
from lambo_env.offloading.batch import Reward
from lambo_env.offloading.instances import Instances
from lambo_env.utils import validate

_PER_ROW = ("action_masks", "frame")  # methods that answer for one row
_TAKEN = ("instances", "prompts")  # attributes that hold all rows


def as_sb3(
    id: str,  # noqa: A002
    num_envs: int = 64,
    *,
    reward: str | Reward = "cost",
    **kwargs: Any,
) -> NativeVecEnv:
    """Return ``num_envs`` environments as one SB3 VecEnv.

    Args:
        id: an environment of any world, such as "LAMBO-MEC-v0", with or without "lambo_env:".
        num_envs: rows.
        reward: as in the environments, for every world that knows what all-local play costs. Under
            "relative" the episodes' returns in the infos stay in units of the cost.
        **kwargs: arguments of the environment.

    Raises:
        ValueError: naming the argument, its value and what is allowed.
    """
    row = registration.ENVIRONMENTS.get(id.removeprefix("lambo_env:"))
    if row is not None:
        validate.known_keys("as_sb3", kwargs, row.argument_names())
    name = id if ":" in id else f"lambo_env:{id}"
    num_envs = validate.integer("num_envs", num_envs)
    if callable(reward):
        kwargs["reward"], reward = reward, "cost"
    venv = gym.make_vec(
        name,
        num_envs,
        vectorization_mode="vector_entry_point",
        autoreset_mode=gym.vector.AutoresetMode.SAME_STEP,
        **kwargs,
    )
    validate.check(
        "as_sb3(id)", id, isinstance(venv, WorldVectorEnv), "an environment of lambo_env"
    )
    return NativeVecEnv(venv, reward)  # type: ignore[arg-type]


def spawned_seeds(root: int | Sequence[int], count: int) -> list[int]:
    """Return seeds of 32 bits that are far apart, also from those of the next root.

    SB3 seeds row i with seed + i: trainings whose seeds are neighbours would share environments.
    """
    children = np.random.SeedSequence(root).spawn(count)
    return [int(child.generate_state(1)[0]) for child in children]


class NativeVecEnv(VecEnv):
    """What SB3 sees of a ``WorldVectorEnv`` in SameStep mode.

    Row i is the single environment seeded ``seed + i``.

    The info of each row holds "action_mask"; at an episode's end also "terminal_observation",
    "TimeLimit.truncated" (never), "episode" with return r in units of the cost, length l and
    seconds t as from Monitor, and "outcome".
    """

    def __init__(self, venv: WorldVectorEnv, reward: str = "cost") -> None:
        self.venv = venv
        self._relative = validate.known(reward, REWARD, "reward") == "relative"
        self._own: dict[str, dict[int, Any]] = {}
        self._start = time.time()
        super().__init__(venv.num_envs, venv.single_observation_space, venv.single_action_space)
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, dtype=np.int64)
        self._scale: NDArray[np.float64] | float = 1.0
        if self._relative:
            registration.WORLDS[venv.arguments.world].get("local_cost")
        self._actions: Any = None
        # the generators' states when the episodes under way began, and at which of the actions kept
        self._origin: list[Any] = [None] * self.num_envs
        self._begun = np.zeros(self.num_envs, dtype=np.int64)
        self._since: list[Any] = []  # all actions since the oldest of them began
        self.venv.on_start = self._begin

    # ---- playing ---------------------------------------------------------------------------------

    def reset(self) -> Any:
        """Start an episode in every row, with the seeds and options that were set.

        Return the observations.
        """
        seeds = None if all(seed is None for seed in self._seeds) else self._seeds
        groups = _groups(self._options, self.num_envs)
        if len(groups) > 1 and not self._since:  # all rows begin before some can begin anew
            self.venv.reset(seed=seeds)
        for rows, options in groups:
            seen, infos = self.venv.reset(seed=seeds, options=options)
            told = _rows(infos, self.num_envs)
            for row in rows:
                self.reset_infos[row] = told[row]
        self._reset_seeds()
        self._reset_options()
        self._returns[:], self._lengths[:] = 0.0, 0
        self._rescale()
        return seen

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Return observations, rewards float32, dones and infos.

        A row that ended shows its next episode's first observation.
        """
        kept = list(self._origin), self._begun.copy(), list(self._since)
        self._since.append(np.array(self._actions))
        try:
            seen, rewards, dones, _, infos = self.venv.step(self._actions)
        except Exception:
            self._origin, self._begun, self._since = kept
            raise
        self._returns += rewards
        self._lengths += 1
        out = (rewards / self._scale).astype(np.float32)
        rows = _rows(infos, self.num_envs)
        if "final_info" in infos:
            self._close(rows, infos, dones)
        if "final_info" in infos or "outcome" in infos:  # a slot begins
            self._rescale()
        return seen, out, dones, rows

    def _begin(self, rows: NDArray[Any]) -> None:
        rngs = self.venv.np_random
        for row in rows.tolist():
            self._origin[row] = rngs[row].bit_generator.state
        self._begun[rows] = len(self._since)
        old = int(self._begun.min())
        self._begun -= old
        del self._since[:old]

    def state(self) -> tuple[list[Any], NDArray[Any]]:
        """Return what ``restore`` needs.

        Each row's generator's state as its episode began, with the number of the actions that are
        older; and the actions [K, B, ...].
        """
        origin = [list(pair) for pair in zip(self._origin, self._begun.tolist(), strict=True)]
        return origin, np.array(self._since)

    def restore(self, origin: Sequence[Any], since: NDArray[Any]) -> tuple[Any, NDArray[np.bool_]]:
        """Play the episodes under way again; return the observations and the last step's dones."""
        for rng, (state, _) in zip(self.venv.np_random, origin, strict=True):
            rng.bit_generator.state = state
        self._reset_seeds()
        seen, begun = self.reset(), np.array([first for _, first in origin])
        for k, actions in enumerate(since):
            rows = np.flatnonzero(begun <= k)
            if rows.size == self.num_envs:
                seen = self.step(actions)[0]
                continue
            self._returns[rows] += self.venv.step_rows(rows, actions)
            self._lengths[rows] += 1
            seen = self.venv.observed()
        self._since, self._begun = list(since), begun
        return seen, begun == len(since)

    def _close(
        self, rows: list[dict[str, Any]], infos: dict[str, Any], dones: NDArray[np.bool_]
    ) -> None:
        """Tell what ended."""
        final = _rows(infos["final_info"], self.num_envs)
        seconds = round(time.time() - self._start, 6)
        for row in np.flatnonzero(dones).tolist():
            mask = {key: rows[row][key] for key in ("action_mask",) if key in rows[row]}
            rows[row].update({**final[row], **mask})
            rows[row]["terminal_observation"] = infos["final_obs"][row]
            rows[row]["TimeLimit.truncated"] = False
            length = int(self._lengths[row])
            rows[row]["episode"] = {"r": float(self._returns[row]), "l": length, "t": seconds}
        self._returns[dones], self._lengths[dones] = 0.0, 0

    def _rescale(self) -> None:
        """Take the cost of every slot when run locally as its unit."""
        if self._relative:
            self._scale = self.venv.local_cost()

    def close(self) -> None:
        """Close the window, if there is one."""
        self.venv.close()

    # ---- attributes and methods, row by row ------------------------------------------------------

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of the rows: what ``set_attr`` put there, else the environment's.

        Raises:
            AttributeError: the environment has no such attribute.
        """
        read = self._reader(attr_name)
        own = self._own.get(attr_name, {})
        return [own[row] if row in own else read(row) for row in self._get_indices(indices)]

    def _reader(self, name: str) -> Callable[[int], Any]:
        if name in _PER_ROW:
            return lambda row: functools.partial(self._call, name, row)
        if len(self._own.get(name, ())) == self.num_envs:
            return lambda row: None  # every row has its own
        if name in _TAKEN:
            holder = getattr(self.venv, name)
            return lambda row: row_of_any(holder, row)
        if name in ("np_random", "np_random_seed"):
            values = getattr(self.venv, name)
            return lambda row: values[row]
        single = {
            "observation_space": self.venv.single_observation_space,
            "action_space": self.venv.single_action_space,
        }
        value = single[name] if name in single else getattr(self.venv, name)
        return lambda row: value

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Give rows an attribute of the caller's own, which ``get_attr`` returns.

        Raises:
            ValueError: a name that the environment defines: its arguments are fixed when it is
                made.
        """
        validate.check(
            "set_attr(attr_name)",
            attr_name,
            attr_name in self._own or not hasattr(self.venv, attr_name),
            "a name that the environment does not define itself",
        )
        self._own.setdefault(attr_name, {}).update(dict.fromkeys(self._get_indices(indices), value))

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method for each row.

        "action_masks" (all rows at once), "frame", or "render" (the first few rows together).

        Raises:
            AttributeError: any other method.
        """
        rows = list(self._get_indices(indices))
        if method_name == "action_masks":
            masks: Any = self.venv.action_masks()
            return [masks[row] for row in rows]
        if method_name in _PER_ROW:
            return [self._call(method_name, row, *method_args, **method_kwargs) for row in rows]
        if method_name == "render":
            return [self.venv.render()]
        raise AttributeError(
            f"env_method({method_name!r}): rows have the methods action_masks, frame and render"
        )

    def _call(self, name: str, row: int, *args: Any, **kwargs: Any) -> Any:
        if name == "action_masks":
            masks: Any = self.venv.action_masks()
            return masks[row]
        return self.venv.frame(row, *args, **kwargs)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Return True for Monitor, whose work is done here.

        ``evaluate_policy`` then reads native returns; False for any other wrapper.
        """
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[Any]:
        """Return the pictures of the first few rows."""
        return list(self.venv.render() or ())


def _rows(infos: dict[str, Any], num_envs: int) -> list[dict[str, Any]]:
    """Return the infos of each row: what Gymnasium keeps as arrays, and dicts of them."""
    out: list[dict[str, Any]] = [{} for _ in range(num_envs)]
    for name, values in infos.items():
        if name.startswith("_") or name in ("final_info", "final_obs"):
            continue
        parts = _rows(values, num_envs) if isinstance(values, dict) else values
        told = infos.get(f"_{name}", np.ones(num_envs, dtype=bool)).tolist()
        for info, part, tells in zip(out, parts, told, strict=True):
            if tells:
                info[name] = part
    return out


def _groups(
    options: Sequence[dict[str, Any]], num_envs: int
) -> list[tuple[list[int], dict[str, Any] | None]]:
    """Return rows whose options have the same keys, and their options for the vector environment.

    Prompts as a list, instances of one row each joined; what other rows hold there is not read.
    """
    fits = len(options) == num_envs
    validate.check("set_options(options)", len(options), fits, f"{num_envs}, one per environment")
    keys = [tuple(sorted(one)) for one in options]
    groups = []
    for own in dict.fromkeys(keys):
        rows = [row for row in range(num_envs) if keys[row] == own]
        merged: dict[str, Any] = {
            key: [one.get(key, options[rows[0]][key]) for one in options] for key in own
        }
        if isinstance(merged.get("instances", [None])[0], Instances):
            merged["instances"] = Instances.concat(merged["instances"])
        if len(rows) < num_envs:
            merged["reset_mask"] = np.isin(np.arange(num_envs), rows)
        groups.append((rows, merged or None))
    return groups
