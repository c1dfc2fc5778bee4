"""The native vector environment of every world.

B episodes in one batch, row i bit for bit the single environment seeded ``seed + i``. As in ``env``
the attributes of this module are the registered ids.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.logger import warn
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from lambo_env import registration
from lambo_env.envs.actions import ActionCheck, Ints
from lambo_env.envs.arguments import Arguments, Observation
from lambo_env.envs.env import checked_options
from lambo_env.envs.shell import Shell
from lambo_env.rendering.renderer import TILES, Renderer
from lambo_env.utils import malloc, validate

_SINGLE = {name: f"single_{name}" for name in ("observation_space", "action_space")}
_BATCHED = ("action_masks", "instances", "prompts", "np_random", "np_random_seed", "render")
Infos = dict[str, Any]
OWN = (
    "num_envs",
    "autoreset_mode",
    "copy",
    "max_episode_steps",
)  # arguments of the vector environment alone


def __getattr__(name: str) -> Any:
    """Return what makes the environments of an id: ``gym.make_vec`` asks for it by this name."""
    return functools.partial(make, registration.row_of(__name__, name))


def make(row: registration.Environment, **arguments: Any) -> WorldVectorEnv:
    """Return the vector environment of a row of the registry."""
    own = {name: arguments.pop(name) for name in OWN if name in arguments}
    return WorldVectorEnv(row.arguments_class()(**{**row.kwargs, **arguments}), **own)


class WorldVectorEnv(Shell, VectorEnv[Observation, Any, NDArray[Any]]):
    """``num_envs`` environments of any world at once.

    Spaces, rules and infos as in Gymnasium's SyncVectorEnv of the single environment.

    Args:
        arguments: of its world; their fields are attributes of the environment too.
        num_envs: B.
        autoreset_mode: "NextStep", "SameStep" or "Disabled" (then ``reset(options={"reset_mask":
            ...})`` restarts rows), or the enum.
        copy: False hands out the observation buffers, which the next step overwrites: faster where
            the reader copies anyway.
        max_episode_steps: steps after which a row is truncated, as by ``gym.make``; not in SameStep
            mode.

    Raises:
        ValueError: naming the argument, its value and what is allowed.
    """

    def __init__(
        self,
        arguments: Arguments,
        num_envs: int = 1,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        copy: bool = True,
        max_episode_steps: int | None = None,
    ) -> None:
        """Lay out the spaces; nothing is drawn before ``reset``."""
        self.num_envs = validate.integer("num_envs", num_envs)
        super().__init__(arguments, self.num_envs)
        modes = [mode.value for mode in AutoresetMode]
        mode = getattr(autoreset_mode, "value", autoreset_mode)
        self.autoreset_mode = AutoresetMode(validate.known(mode, modes, "autoreset_mode"))
        self.metadata["autoreset_mode"] = self.autoreset_mode
        self.single_observation_space = arguments.observation_space()
        self.single_action_space = arguments.action_space()
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._actions = ActionCheck(self.single_action_space)
        self._copy = validate.boolean("copy", copy)
        self._limit = max_episode_steps
        if max_episode_steps is not None:
            validate.integer("max_episode_steps", max_episode_steps)
            fits = self.autoreset_mode is not AutoresetMode.SAME_STEP
            validate.check("max_episode_steps", max_episode_steps, fits, "None in SameStep mode")
        self._steps = np.zeros(self.num_envs, dtype=np.int64)
        self._own: dict[str, list[Any]] = {}  # attributes that a caller gave the rows
        self._all_rows, self._all_true = (
            np.arange(self.num_envs),
            np.ones(self.num_envs, dtype=bool),
        )
        self._rngs: list[np.random.Generator] | None = None
        self._seeds: tuple[int, ...] = ()
        self._over = np.zeros(self.num_envs, dtype=bool)  # rows whose episode has ended
        # told before rows begin an episode
        self.on_start: Callable[[Ints], object] | None = None
        malloc.retain_freed_memory()

    # ---- generators ------------------------------------------------------------------------------

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The generators, one per row."""
        return tuple(self._generators())

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seeds of the generators, one per row."""
        self._generators()
        return self._seeds

    def _generators(self) -> list[np.random.Generator]:
        if self._rngs is None:
            self._seed([None] * self.num_envs, self._all_rows)
        assert self._rngs is not None
        return self._rngs

    def _seed(self, seeds: Sequence[int | None], rows: Ints) -> None:
        made = [seeding.np_random(seeds[row]) for row in rows.tolist()]
        rngs, known = (
            list(self._rngs or [np.random.default_rng(0)] * self.num_envs),
            list(self._seeds or [-1] * self.num_envs),
        )
        for row, (rng, seed) in zip(rows.tolist(), made, strict=True):
            rngs[row], known[row] = rng, seed
        self._rngs, self._seeds = rngs, tuple(known)

    def _checked_seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None] | None:
        if seed is None:
            return None
        if isinstance(seed, int | np.integer):
            return [validate.integer("seed", seed, low=0) + row for row in range(self.num_envs)]
        ok = isinstance(seed, Sequence | np.ndarray) and len(seed) == self.num_envs
        validate.check("seed", seed, ok, f"an integer, or {self.num_envs} of them, one per row")
        return [None if one is None else validate.integer("seed", one, low=0) for one in seed]

    # ---- reset -----------------------------------------------------------------------------------

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[Observation, Infos]:
        """Start an episode in every row, or in those of ``options["reset_mask"]``.

        Args:
            seed: row i is seeded seed + i; or one seed a row; None goes on with the present
                generators.
            options: "prompt" (one text, one per row, or Prompts), "instances" (a batch of num_envs,
                for num_slots 1), "reset_mask" (bool [num_envs]).

        Raises:
            ValueError: an unknown option or a bad value; all episodes under way stay as they are.
        """
        options = checked_options(options)
        rows = self._rows_to_reset(options.get("reset_mask"))
        rest = {name: value for name, value in options.items() if name != "reset_mask"}
        given = self.arguments.check_options(rest, self.num_envs)
        seeds = self._checked_seeds(seed)
        if self._rngs is None:
            self._generators()
        before = self._rngs, self._seeds
        if seeds is not None:
            self._seed(seeds, rows)
        try:
            self._start(rows, **given)
        except Exception:
            self._rngs, self._seeds = before
            raise
        self._playing = True
        infos: Infos = {}
        self._add_mask(infos, rows)
        return self._seen(), infos

    def _rows_to_reset(self, chosen: Any) -> Ints:
        if chosen is None:
            return self._all_rows
        ok = (
            isinstance(chosen, np.ndarray)
            and chosen.dtype == bool
            and chosen.shape == (self.num_envs,)
        )
        validate.check(
            'options["reset_mask"]',
            chosen,
            ok and bool(chosen.any() if self._playing else chosen.all()),
            f"a bool array of shape ({self.num_envs},) with a true one, "
            "all true at the first reset",
        )
        return np.flatnonzero(chosen)

    def _start(self, rows: Ints, **given: Any) -> None:
        if rows.size < self.num_envs:
            given = {name: value.take(rows) for name, value in given.items()}
        if self.on_start is not None:
            self.on_start(rows)
        self._batch.reset(rows, self._generators(), **given)
        self._over[rows], self._steps[rows] = False, 0

    # ---- step ------------------------------------------------------------------------------------

    def step(
        self, actions: Any
    ) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], Infos]:
        """Decide one UE in every row.

        Rows that ended before are reset instead in NextStep mode, their action ignored.

        Raises:
            ValueError: an action outside the space, or what a caller's source or reward returned;
                the state stays as it is.
            ResetNeeded: before ``reset``, or for ended rows in Disabled mode.
        """
        if not self._playing:
            raise ResetNeeded("step() needs running episodes; call reset() first")
        resets = np.flatnonzero(self._over) if np.count_nonzero(self._over) else None
        if resets is not None and self.autoreset_mode is AutoresetMode.DISABLED:
            raise ResetNeeded(
                f"rows {resets.tolist()} have ended; "
                'reset(options={"reset_mask": ...}) restarts them'
            )
        rows = self._all_rows if resets is None else np.flatnonzero(~self._over)
        decoded = self.arguments.decode(self._actions.many(actions, rows, self.num_envs))
        over, steps = self._over.copy(), self._steps.copy()
        try:
            with self._kept_on_error(rows):
                rewards, infos = self._played(rows, decoded, resets)
        except Exception:
            self._over, self._steps = over, steps
            raise
        self._add_mask(infos, self._all_rows)
        terminated, truncated = self._over.copy(), np.zeros(self.num_envs, dtype=bool)
        if self._limit is not None:
            self._steps[rows] += 1
            truncated = self._steps >= self._limit
            truncated[resets if resets is not None else []] = False
            self._over = terminated | truncated
        if "final_info" in infos:  # SameStep: the rows that ended run again
            terminated, self._over = self._over, np.zeros(self.num_envs, dtype=bool)
        return self._seen(), rewards, terminated, truncated, infos

    def _kept_on_error(self, rows: Ints) -> contextlib.AbstractContextManager[None]:
        """Return what puts a batch back that runs a caller's own code."""
        keep = getattr(self._batch, "kept_on_error", None)
        return keep(rows, self._generators()) if keep else contextlib.nullcontext()

    def _played(
        self, rows: Ints, decoded: tuple[Any, ...], resets: Ints | None
    ) -> tuple[NDArray[Any], Infos]:
        """Step ``rows`` and begin ``resets`` anew; return the rewards [B] and the infos."""
        rewards: Any = None
        infos: Infos = {}
        if rows.size:
            rewards, finished = self._batch.step(rows, *decoded, self._generators())
            infos = self._close(finished)
        if resets is not None:
            acted, rewards = rewards, np.zeros(self.num_envs)
            rewards[rows] = 0.0 if acted is None else acted
            self._start(resets)
        return rewards, infos

    def step_rows(self, rows: Ints, actions: Any) -> NDArray[np.float64]:
        """Play some rows alone, whose episodes go on; return their rewards [R].

        For whoever plays episodes again that were out of step.
        """
        decoded = self.arguments.decode(self._actions.many(actions, rows, self.num_envs))
        rewards: NDArray[np.float64] = self._batch.step(rows, *decoded, self._generators())[0]
        return rewards

    def observed(self) -> Observation:
        """Return what the rows show now."""
        return self._seen()

    def _close(self, finished: Any | None) -> Infos:
        """Return the infos of finished slots.

        Mark ended rows, and in SameStep mode begin them anew.
        """
        infos: Infos = {}
        if finished is None:
            return infos
        rows, over = finished.rows, finished.over
        ended = rows[over]
        self._over[ended] = True
        if self.autoreset_mode is not AutoresetMode.SAME_STEP or not ended.size:
            self._add(infos, finished.infos, rows, slice(None))
            return infos
        final: Infos = {}
        self._add(final, finished.infos, ended, over)
        self._add_mask(final, ended)
        infos["final_obs"], infos["_final_obs"] = self._final_obs(ended), self._flags(ended)
        infos["final_info"], infos["_final_info"] = final, self._flags(ended)
        if not over.all():
            self._add(infos, finished.infos, rows[~over], ~over)
        self._start(ended)
        self._over[ended] = True  # ``step`` reports them as terminated once
        return infos

    def _final_obs(self, rows: Ints) -> NDArray[np.object_]:
        observed, out = self._observe(), np.full(self.num_envs, None, dtype=object)
        for row in rows.tolist():
            out[row] = row_of(observed, row)
        return out

    def _flags(self, rows: Ints) -> NDArray[np.bool_]:
        if rows.size == self.num_envs:
            return self._all_true.copy()
        out = np.zeros(self.num_envs, dtype=bool)
        out[rows] = True
        return out

    def _add_mask(self, infos: Infos, rows: Ints) -> None:
        if hasattr(self._batch, "mask"):
            masks = self._batch.mask().view(np.int8)
            if rows.size < self.num_envs:
                masks[~self._flags(rows)] = 0
            infos["action_mask"], infos["_action_mask"] = masks, self._flags(rows)

    def _add(self, infos: Infos, values: Mapping[str, Any], rows: Ints, which: Any) -> None:
        """Add the entries ``which`` of values [K, ...], those of ``rows``, as Gymnasium does."""
        for name, value in values.items():
            if isinstance(value, Mapping):
                infos[name] = {}
                self._add(infos[name], value, rows, which)
            elif rows.size == self.num_envs:
                infos[name] = value
            else:
                infos[name] = np.zeros((self.num_envs, *value.shape[1:]), value.dtype)
                infos[name][rows] = value[which]
            infos[f"_{name}"] = self._flags(rows)

    # ---- what is seen ----------------------------------------------------------------------------

    def _seen(self) -> Observation:
        if self.render_mode == "human":
            self.render()
        return self._observe(self._copy)

    def action_masks(self) -> NDArray[np.bool_] | None:
        """Return which actions can still do their task in time [B, ...], None without masks."""
        batch = self._started()
        return batch.mask() if hasattr(batch, "mask") else None

    def frame(self, row: int) -> Any:
        """Return everything that a picture of one row shows.

        ValueError where there is no such row.
        """
        batch, allowed = self._started(), f"0..{self.num_envs - 1}"
        validate.check("row", row, validate.integer("row", row, low=0) < self.num_envs, allowed)
        return registration.frame_of(self.arguments.world, batch, row)

    def render(self) -> tuple[Any, ...] | None:
        """Return the picture or text of each row, or show the first few as tiles.

        As ``render_mode`` says; None without one.
        """
        if self.render_mode is None:
            warn("render() does nothing without a render_mode")
            return None
        count = min(self.num_envs, TILES) if self.render_mode == "human" else self.num_envs
        frames = [self.frame(row) for row in range(count)]
        if self._renderer is None:
            self._renderer = Renderer(self.render_mode, self.metadata["render_fps"])
        return self._renderer.render_all(frames)

    # ---- attributes and methods, row by row ------------------------------------------------------

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Return each row's attribute, or what its method of that name returns.

        Raises:
            AttributeError: the environment has no such attribute.
        """
        if name == "frame":
            return tuple(self.frame(row, *args, **kwargs) for row in range(self.num_envs))
        if name in self._own:
            return tuple(self._own[name])
        value: Any = getattr(self, _SINGLE.get(name, name))
        if name in ("reset", "step", "close"):
            raise AttributeError(f"call({name!r}): rows have no {name} of their own")
        value = value(*args, **kwargs) if callable(value) else value
        if name in _BATCHED and value is not None:
            return tuple(row_of_any(value, row) for row in range(self.num_envs))
        return (value,) * self.num_envs

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Return each row's attribute."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Give the rows an attribute of the caller's own: one value, or a list of one per row.

        Raises:
            ValueError: a name that the environment defines, since its arguments are fixed when it
                is made, or not one value per row.
        """
        free = name in self._own or not hasattr(self, _SINGLE.get(name, name))
        validate.check("set_attr(name)", name, free, "a name that the environment does not define")
        each = list(values) if isinstance(values, list | tuple) else [values] * self.num_envs
        fits = len(each) == self.num_envs
        validate.check("set_attr(values)", values, fits, f"one value, or {self.num_envs} of them")
        self._own[name] = each


def row_of_any(values: Any, row: int) -> Any:
    """Return one row of what holds all rows: an array, a tuple, or instances and prompts.

    Instances of N that varies are a tuple.
    """
    return values[row] if isinstance(values, np.ndarray | tuple) else values.take([row])


def row_of(values: Any, row: int) -> Any:
    """Return a copy of one entry of an array [B, ...], or of each in a dict of them."""
    if isinstance(values, dict):
        return {name: row_of(value, row) for name, value in values.items()}
    return values[row].copy()
