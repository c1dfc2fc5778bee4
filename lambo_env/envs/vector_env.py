"""The native vector environments.

B episodes in one batch, row i bit for bit the single environment seeded ``seed + i``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.logger import warn
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from lambo_env.envs.arguments import (
    RENDER_FPS,
    RENDER_MODES,
    Observation,
    Setup,
    Source,
    checked_pairs,
    checked_places,
)
from lambo_env.offloading import dynamics
from lambo_env.offloading.batch import Finished
from lambo_env.offloading.instances import Instances, set_at
from lambo_env.prompts.prompts import Prompts
from lambo_env.rendering.frame import Frame
from lambo_env.utils import allocator, validate

Infos = dict[str, Any]


class OffloadingVectorEnv(VectorEnv[Observation, Any, NDArray[Any]]):
    """``num_envs`` MEC cells at once.

    Spaces, rules and infos as in Gymnasium's SyncVectorEnv of the single environment.

    Args:
        num_envs: B.
        scenario: as in the single environment, like the next five.
        prompt: drawn for each row on its own.
        num_slots: time slots an episode.
        render_mode: ``render`` shows the first few rows.
        observe: "prompt" or "objective".
        autoreset_mode: "NextStep", "SameStep" or "Disabled" (then ``reset(options={"reset_mask": ...})`` restarts rows), or the enum.
        copy: False hands out the observation buffers, which the next step overwrites: faster, for
            those who copy anyway.

    Raises:
        ValueError: naming the argument, its value and what is allowed.
    """

    _shares: bool
    _renderer: Any = None  # here: older Gymnasiums close what was refused, too

    def __init__(
        self,
        num_envs: int = 1,
        scenario: Source = "paper",
        prompt: str | Sequence[str] | None = None,
        num_slots: int = 1,
        render_mode: str | None = None,
        observe: str = "prompt",
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        copy: bool = True,
    ) -> None:
        """Check the arguments and lay out the spaces; nothing is drawn before ``reset``."""
        self._setup = Setup.of(
            scenario, prompt, num_slots, render_mode, observe, shares=self._shares
        )
        self.num_envs = validate.integer("num_envs", num_envs)
        self.render_mode = render_mode
        self.scenario, self.num_slots = self._setup.scenario, self._setup.num_slots
        modes = [mode.value for mode in AutoresetMode]
        mode = getattr(autoreset_mode, "value", autoreset_mode)
        self.autoreset_mode = AutoresetMode(validate.known(mode, modes, "autoreset_mode"))
        self.metadata = {
            "render_modes": RENDER_MODES,
            "render_fps": RENDER_FPS,
            "autoreset_mode": self.autoreset_mode,
        }
        self.single_observation_space = self._setup.observation_space()
        self.single_action_space = self._setup.action_space()
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._copy = validate.boolean("copy", copy)
        self._batch = self._setup.batch(self.num_envs)
        self._rngs: list[np.random.Generator] | None = None
        self._seeds: tuple[int, ...] = ()
        self._over = np.zeros(self.num_envs, dtype=bool)  # rows whose episode has ended
        self._playing = False
        allocator.keep_freed()

    # ---- generators ------------------------------------------------------------------------------

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The generators, one a row."""
        return tuple(self._generators())

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seeds of the generators, one a row."""
        self._generators()
        return self._seeds

    def _generators(self) -> list[np.random.Generator]:
        if self._rngs is None:
            self._seed([None] * self.num_envs, self._batch.all_rows)
        assert self._rngs is not None
        return self._rngs

    def _seed(self, seeds: Sequence[int | None], rows: dynamics.Ints) -> None:
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
        validate.check("seed", seed, ok, f"an integer, or {self.num_envs} of them, one a row")
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
            options: "prompt" (one text, one a row, or Prompts), "instances" (a batch of num_envs,
                for num_slots 1), "reset_mask" (bool [num_envs]).

        Raises:
            ValueError: an unknown option or a bad value; all episodes under way stay as they are.
        """
        rows = self._rows_to_reset(options)
        instances, prompts = self._setup.check_options(options, self.num_envs, ["reset_mask"])
        seeds = self._checked_seeds(seed)
        if self._rngs is None:
            self._generators()
        if seeds is not None:
            self._seed(seeds, rows)
        self._start(rows, instances, prompts)
        self._playing = True
        infos: Infos = {}
        self._add_mask(infos, rows)
        return self._seen(), infos

    def _rows_to_reset(self, options: Mapping[str, Any] | None) -> dynamics.Ints:
        chosen = options.get("reset_mask") if isinstance(options, Mapping) else None
        if chosen is None:
            return self._batch.all_rows
        ok = (
            isinstance(chosen, np.ndarray)
            and chosen.dtype == bool
            and chosen.shape == (self.num_envs,)
        )
        allowed = (
            f"a bool array of shape ({self.num_envs},) with a true one, all true at the first reset"
        )
        validate.check(
            'options["reset_mask"]',
            chosen,
            ok and bool(chosen.any() if self._playing else chosen.all()),
            allowed,
        )
        return np.flatnonzero(chosen)

    def _start(
        self,
        rows: dynamics.Ints,
        instances: Instances | None = None,
        prompts: Prompts | None = None,
    ) -> None:
        some = rows.size < self.num_envs
        given = instances.take(rows) if instances is not None and some else instances
        asked = prompts.take(rows) if prompts is not None and some else prompts
        self._batch.reset(rows, self._generators(), given, asked)
        self._over[rows] = False

    # ---- step ------------------------------------------------------------------------------------

    def step(
        self, actions: Any
    ) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], Infos]:
        """Decide one UE in every row.

        Rows that ended before are reset instead in NextStep mode, their action ignored.

        Raises:
            ValueError: an action outside the space; the state stays as it is.
            ResetNeeded: before ``reset``, or for ended rows in Disabled mode.
        """
        if not self._playing:
            raise ResetNeeded("step() needs running episodes; call reset() first")
        resets = np.flatnonzero(self._over) if np.count_nonzero(self._over) else None
        if resets is not None and self.autoreset_mode is AutoresetMode.DISABLED:
            raise ResetNeeded(
                f'rows {resets.tolist()} have ended; reset(options={{"reset_mask": ...}}) restarts them'
            )
        rows = self._batch.all_rows if resets is None else np.flatnonzero(~self._over)
        place, share = self._decoded(actions, rows)
        rewards, infos = np.zeros(self.num_envs), {}
        if rows.size:
            reward, finished = self._batch.step(rows, place, share, self._generators())
            if resets is None:
                rewards = reward
            else:
                rewards[rows] = reward
            infos = self._close(finished)
        if resets is not None:
            self._start(resets)
        self._add_mask(infos, self._batch.all_rows)
        terminated = self._over.copy()
        if "final_info" in infos:  # SameStep: the rows that ended run again
            terminated, self._over = self._over, np.zeros(self.num_envs, dtype=bool)
        return self._seen(), rewards, terminated, np.zeros(self.num_envs, dtype=bool), infos

    def _decoded(
        self, actions: Any, rows: dynamics.Ints
    ) -> tuple[dynamics.Ints, dynamics.Floats | None]:
        raise NotImplementedError

    def _close(self, finished: Finished | None) -> Infos:
        """Return the infos of finished slots.

        Mark ended rows, and in SameStep mode begin them anew.
        """
        if finished is None:
            return {}
        infos: Infos = {}
        ended = finished.rows[finished.over]
        self._over[ended] = True
        if self.autoreset_mode is not AutoresetMode.SAME_STEP or not ended.size:
            self._add_outcome(infos, finished, np.ones(finished.rows.size, dtype=bool))
            return infos
        final: Infos = {}
        self._add_outcome(final, finished, finished.over)
        self._add_mask(final, ended)
        infos["final_obs"], infos["_final_obs"] = self._final_obs(ended), self._flags(ended)
        infos["final_info"], infos["_final_info"] = final, self._flags(ended)
        if not finished.over.all():
            self._add_outcome(infos, finished, ~finished.over)
        self._start(ended)
        self._over[ended] = True  # ``step`` reports them as terminated once
        return infos

    def _final_obs(self, rows: dynamics.Ints) -> NDArray[np.object_]:
        seen, out = self._batch.observe(), np.full(self.num_envs, None, dtype=object)
        for row in rows.tolist():
            out[row] = {name: array[row].copy() for name, array in seen.items()}
        return out

    def _flags(self, rows: dynamics.Ints) -> NDArray[np.bool_]:
        out = np.zeros(self.num_envs, dtype=bool)
        out[rows] = True
        return out

    def _add_mask(self, infos: Infos, rows: dynamics.Ints) -> None:
        masks = self._batch.mask().view(np.int8)
        if rows.size < self.num_envs:
            masks[~self._flags(rows)] = 0
        infos["action_mask"], infos["_action_mask"] = masks, self._flags(rows)

    def _add_outcome(self, infos: Infos, finished: Finished, which: NDArray[np.bool_]) -> None:
        rows, outcome = finished.rows[which], {}
        for name, array in finished.outcome.items():
            if rows.size < self.num_envs:
                array = set_at(
                    np.zeros((self.num_envs, *array.shape[1:]), array.dtype), rows, array[which]
                )
            outcome[name], outcome[f"_{name}"] = array, self._flags(rows)
        infos["outcome"], infos["_outcome"] = outcome, self._flags(rows)

    # ---- what is seen ----------------------------------------------------------------------------

    def _seen(self) -> Observation:
        if self.render_mode == "human":
            self.render()
        return self._batch.observe(self._copy)

    def action_masks(self) -> NDArray[np.bool_]:
        """Return which places can still meet the current UEs' deadlines, bool [B, M + 1].

        Local alone where none can.
        """
        self._check_started()
        return self._batch.mask()

    @property
    def prompts(self) -> Prompts:
        """The prompts of the episodes [B]."""
        self._check_started()
        return self._batch.prompts

    @property
    def instances(self) -> Instances:
        """The slots being played [B]."""
        self._check_started()
        return self._batch.instances

    def frame(self, row: int) -> Frame:
        """Return everything that a picture of one row shows.

        ValueError where there is no such row.
        """
        self._check_started()
        validate.check(
            "row",
            row,
            validate.integer("row", row, low=0) < self.num_envs,
            f"0..{self.num_envs - 1}",
        )
        return Frame.of(**self._batch.picture(row))

    def render(self) -> tuple[Any, ...] | None:
        """Return pictures or texts of the first few rows, or show them as tiles, as ``render_mode`` says; None without one."""
        if self.render_mode is None:
            warn("render() does nothing without a render_mode")
            return None
        from lambo_env.rendering import (
            renderer as render,  # pictures need the extra "render"; playing does not
        )

        if self._renderer is None:
            self._renderer = render.Renderer(self.render_mode, self.metadata["render_fps"])
        return self._renderer.render_all(
            [self.frame(row) for row in range(min(self.num_envs, render.TILES))]
        )

    def close_extras(self, **kwargs: Any) -> None:
        """Close the window, if there is one."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _check_started(self) -> None:
        if not self._playing:
            raise ResetNeeded("no episode has begun; call reset() first")


class JointVectorEnv(OffloadingVectorEnv):
    """``LAMBO-MEC-v0``, B at once: actions [B, 2] in [-1, 1]."""

    _shares = True

    def _decoded(self, actions: Any, rows: dynamics.Ints) -> tuple[dynamics.Ints, dynamics.Floats]:
        return dynamics.decode_action(
            checked_pairs(actions, rows, self.num_envs), self.scenario.num_servers
        )


class AssociationVectorEnv(OffloadingVectorEnv):
    """``LAMBO-MEC-Association-v0``, B at once: actions int [B] in 0..M."""

    _shares = False

    def _decoded(self, actions: Any, rows: dynamics.Ints) -> tuple[dynamics.Ints, None]:
        return checked_places(actions, rows, self.num_envs, self.scenario.num_servers + 1), None
