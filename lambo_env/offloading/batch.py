"""B running episodes.

What the single environment (B = 1) and the vector environment share, line by line.

Generators come from the caller, one per row. At each reset and at each further slot a row makes two
flat draws into rows of one array (the prompt's uniform is the last of a reset's); everything after
the draws is batched. The batch owns its arrays: what it hands out is fresh unless said otherwise.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lambo_env.cell.draws import draw, rewound_on_error
from lambo_env.offloading import dynamics, physics
from lambo_env.offloading.instances import LOCAL, Decision, Instances, Objective, Outcome
from lambo_env.offloading.masks import legal_places
from lambo_env.offloading.observation import Observations
from lambo_env.offloading.slots import Slots, SourceSlots
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate
from lambo_env.utils.rows import Finished, Rows, read_only

Generators = Sequence[np.random.Generator]
Reward = Callable[[Outcome, Instances, Objective], NDArray[np.float64]]


@dataclasses.dataclass
class Slot:
    """All that B episodes hold of the slots under way, but for the prompts."""

    inherited: Any  # what the next slot inherits, as the strategy says; None where nothing
    number: dynamics.Ints  # [B] of the slot, from 0
    given: dynamics.Bools  # [B] the instances were handed in: no positions known
    instances: Instances
    objective: Objective
    tables: dynamics.SlotTables
    state: dynamics.SlotState
    unit: dynamics.Floats | None  # [B] cost that a reward of 1 stands for; None: 1


class Opening(NamedTuple):
    """What slots are worked out to at their start."""

    objective: Objective
    tables: dynamics.SlotTables
    state: dynamics.SlotState
    unit: dynamics.Floats | None


class _Following(NamedTuple):
    """The slots that follow in some rows, drawn and not begun."""

    rows: Rows
    inherited: Any
    number: dynamics.Ints
    instances: Instances


class EpisodeBatch:
    """The state of B episodes and the two things that happen to it: ``reset`` and ``step``."""

    prompts: Prompts
    slot: Slot
    together: ClassVar[bool] = True  # rows whose slots began together end together
    # the UE that all rows are at, None where they may differ: not to look it up in every step saves
    # 10 % of one of 8 rows
    _at: int | None

    def __init__(
        self,
        slots: Slots,
        texts: Prompts,
        num_envs: int,
        num_slots: int,
        *,
        shares: bool,
        objective: bool,
        reward: str | Reward = "cost",
    ) -> None:
        """Lay out the buffers; the first ``reset`` must name every row.

        Args:
            slots: how one slot follows another.
            texts: what prompts are drawn from.
            num_envs: B.
            num_slots: of an episode.
            shares: the action allots the CPU; else the closed form does.
            objective: observations show the objective in place of the prompt's tokens.
            reward: "cost", "relative" to all-local play, or a function of a finished slot.
        """
        self.slots, self.texts, self.num_slots, self.shares = slots, texts, num_slots, shares
        self.num_envs, self.num_places = num_envs, slots.num_servers + 1
        self.all_rows = np.arange(num_envs)
        self._objective, self._reward = objective, reward
        # what a caller wrote may fail in mid-step: then nothing has been written yet
        self._overwrite = isinstance(reward, str) and not isinstance(slots, SourceSlots)
        self._last = slots.num_ues - 1
        self._seen = Observations(num_envs, slots.num_ues, slots.num_servers)
        self._everyone = Rows(np.arange(num_envs), num_envs)

    @property
    def instances(self) -> Instances:
        """The slots being played [B]."""
        return self.slot.instances

    def _some(self, rows: dynamics.Ints) -> Rows:
        return self._everyone if rows.size == self.num_envs else Rows(rows, self.num_envs)

    # ---- reset -----------------------------------------------------------------------------------

    def reset(
        self,
        rows: dynamics.Ints,
        rngs: Generators,
        instances: Instances | None = None,
        prompts: Prompts | None = None,
    ) -> None:
        """Start new episodes in ``rows``.

        ``instances`` and ``prompts`` [R] replace what is drawn all the same.
        """
        some, own = self._some(rows), [rngs[row] for row in rows]
        with rewound_on_error(() if self._overwrite else own):
            draws = draw(own, rows.size, self.slots.first_draws, extra=1)
            inherited, drawn = self.slots.first(draws)
        if prompts is None:
            prompts = self.texts.take(self.texts.pick(draws.uniforms[:, -1]))
        self.prompts = prompts if some.everyone else self.prompts.put(rows, prompts)
        given = np.full(rows.size, instances is not None)
        number = np.zeros(rows.size, dtype=np.int64)
        if instances is not None:
            inherited, drawn = self._handed(inherited, instances)
        self._begin(some, inherited, number, given, drawn, prompts)

    def _begin(
        self,
        rows: Rows,
        inherited: Any,
        number: dynamics.Ints,
        given: dynamics.Bools,
        instances: Instances,
        prompts: Prompts,
    ) -> None:
        """Put a new slot and its first observation into ``rows``."""
        opening = self._opened(rows, inherited, instances, prompts)
        slot = Slot(inherited, number, given, instances, *opening)
        self.slot = slot if rows.everyone else rows.put(self.slot, slot)
        self._at = 0 if rows.everyone and self.together else None

    def _handed(self, inherited: Any, instances: Instances) -> tuple[Any, Instances]:
        """Return slots that were handed in, [R], in place of those drawn."""
        return inherited, instances

    def _opened(
        self, rows: Rows, inherited: Any, instances: Instances, prompts: Prompts
    ) -> Opening:
        """Work out slots of ``rows`` and show them."""
        objective, upload = prompts.objective(instances), physics.upload_s(instances)
        tables, state = dynamics.start(instances, objective, upload)
        relative = self._reward == "relative"
        unit = physics.all_local_cost(instances, prompts) if relative else None
        self._seen.begin(slice(None) if rows.everyone else rows.index, instances, upload)
        return Opening(objective, tables, state, unit)

    # ---- step ------------------------------------------------------------------------------------

    def step(
        self,
        rows: dynamics.Ints,
        place: dynamics.Ints,
        share: dynamics.Floats | None,
        rngs: Generators,
    ) -> tuple[dynamics.Floats, Finished | None]:
        """Decide one UE in each of ``rows``; return the rewards [R] and what was finished.

        Further slots have begun already.
        """
        some, slot = self._some(rows), self.slot
        ue, before = some.take(slot.state.ue), slot.state
        move, slot.state = dynamics.step(
            slot.tables, before, some, place, share, overwrite=self._overwrite
        )
        at = self._at if some.everyone else None
        finished = following = None
        reward = move.reward if slot.unit is None else move.reward / some.take(slot.unit)
        if callable(self._reward):
            reward = np.zeros(rows.size)
        last = self._ending(some, ue, at)
        if last is not None:
            try:
                with rewound_on_error(() if self._overwrite else rngs):
                    finished, following = self._finish(rows[last], rngs)
                    if callable(self._reward):
                        reward[last] = self._own_reward(finished)
            except Exception:
                slot.state = before
                raise
        capacity = move.capacity_hz
        taken, left = move.taken_hz / capacity, move.left_hz / capacity
        self._seen.decide(rows, ue if at is None else at, place, move.server, taken, left)
        self._at = None if at is None else at + 1
        if following is not None:
            self._go_on(following)
        return reward, finished

    def kept_on_error(
        self, rows: dynamics.Ints, rngs: Generators
    ) -> contextlib.AbstractContextManager[None]:
        """Return what leaves all episodes and generators as they were, where a caller's code fails.

        For whoever steps ``rows`` and then begins ended ones anew, as one step.
        """
        if self._overwrite:
            return contextlib.nullcontext()
        some = self._some(rows)
        ends = not some.everyone or self._is_last(some, self.slot.state.ue).any()
        return self._kept(rngs) if ends else contextlib.nullcontext()

    @contextlib.contextmanager
    def _kept(self, rngs: Generators) -> Iterator[None]:
        written = {"slot": dataclasses.replace(self.slot), "_seen": copy.deepcopy(self._seen)}
        kept = {**vars(self), **written}
        try:
            with rewound_on_error(rngs):
                yield
        except Exception:
            vars(self).update(kept)
            raise

    def _ending(self, rows: Rows, ue: dynamics.Ints, at: int | None) -> dynamics.Bools | None:
        """Return whose slot ends with the UE [R] that they decided; None where nobody's does."""
        if at is not None:
            return ue == self._last if at == self._last else None
        last = self._is_last(rows, ue)
        return last if np.count_nonzero(last) else None

    def _is_last(self, rows: Rows, ue: dynamics.Ints) -> dynamics.Bools:
        """Return whether the slot of ``rows`` ends with UE [R]."""
        return ue == self._last

    def _finish(self, rows: dynamics.Ints, rngs: Generators) -> tuple[Finished, _Following | None]:
        """Score the slots of ``rows`` and draw the next one where there is one."""
        over = self.slot.number[rows] + 1 == self.num_slots
        finished = Finished(rows, over, {"outcome": self._outcome(self._some(rows))})
        return finished, None if over.all() else self._following(rows[~over], rngs)

    def _following(self, rows: dynamics.Ints, rngs: Generators) -> _Following:
        some = self._some(rows)
        draws = draw([rngs[row] for row in rows], rows.size, self.slots.next_draws)
        number = some.take(self.slot.number) + 1
        inherited, drawn = self.slots.next(some.take(self.slot.inherited), number, draws)
        return _Following(some, inherited, number, drawn)

    def _go_on(self, following: _Following) -> None:
        """Begin the slots that follow."""
        some = following.rows
        prompts = self.prompts if some.everyone else self.prompts.take(some.index)
        given = some.take(self.slot.given)
        self._begin(
            some, following.inherited, following.number, given, following.instances, prompts
        )

    def _own_reward(self, finished: Finished) -> dynamics.Floats:
        """Return minus what the caller's function makes of finished slots [K]."""
        slot = self._some(finished.rows).take(self.slot)
        return self._asked(finished.infos["outcome"], slot.instances, slot.objective)

    def _asked(
        self, told: dict[str, NDArray[Any]], instances: Instances, objective: Objective
    ) -> dynamics.Floats:
        fields = [field.name for field in dataclasses.fields(Outcome)]
        outcome = Outcome(**{name: told[name] for name in fields})
        given = read_only((outcome, instances, objective))
        cost = np.asarray(self._reward(*given))  # type: ignore[operator]
        want = (len(instances),)
        field, allowed = "what the reward function returned", f"finite numbers of shape {want}"
        right = cost.dtype.kind in "fiu" and cost.shape == want
        validate.check(f"{field} (shape, dtype)", (cost.shape, str(cost.dtype)), right, allowed)
        validate.each(field, cost, np.isfinite(cost), allowed)
        return -cost.astype(np.float64)

    def _outcome(self, rows: Rows) -> dict[str, NDArray[Any]]:
        slot = rows.take(self.slot)
        decided = dynamics.decision(slot.tables, slot.state, shares=self.shares)
        return outcome_of(slot.instances, decided, slot.objective)

    # ---- what is seen ----------------------------------------------------------------------------

    def mask(self) -> dynamics.Bools:
        """Return the places that can still meet the current UEs' deadlines, bool [B, P]."""
        return legal_places(
            self.slot.tables, self.slot.state, self._at is not None and self._at <= self._last
        )

    def observe(self, copy: bool = True) -> dict[str, NDArray[Any]]:
        """Return the observation [B, ...].

        Without ``copy`` the buffers themselves, overwritten by the next step.
        """
        told = self.prompts.shown(self._objective)
        out = {"ues": self._seen.ues, "servers": self._seen.servers, **told}
        return {key: array.copy() for key, array in out.items()} if copy else out

    def _cell(self, inherited: Any) -> Any:
        """Return who stands where; None where nobody stands anywhere."""
        return inherited

    def picture(self, row: int) -> dict[str, Any]:
        """Return what a picture of one row shows, as the arguments of ``Frame.from_decision``."""
        slot = Rows(np.asarray([row]), self.num_envs).take(self.slot)
        decided = dynamics.decision(slot.tables, slot.state, shares=self.shares)
        ue, cell = int(slot.state.ue[0]), self._cell(slot.inherited)
        known = not (slot.given[0] or cell is None)
        return {
            "instances": slot.instances,
            "objective": slot.objective,
            "place": decided.place[0],
            "cpu_hz": decided.cpu_hz[0],
            "decided": np.arange(self.slots.num_ues) < ue,
            "left_hz": np.maximum(slot.state.left_hz[0, LOCAL + 1 :], 0.0),
            "current": ue if ue < self.slots.num_ues else None,
            "prompt": self.prompts.texts[row],
            "cost": float(slot.state.cost[0]),
            "slot": int(slot.number[0]),
            "num_slots": self.num_slots,
            "side_m": self.slots.side_m if known else None,
            "ue_xy": cell.ue_xy[0].copy() if known else None,
            "server_xy": cell.server_xy[0].copy() if known else None,
        }


def outcome_of(
    instances: Instances, decided: Decision, objective: Objective
) -> dict[str, NDArray[Any]]:
    """Return what the infos tell of finished slots."""
    outcome = physics.evaluate(instances, decided, objective, check=False)
    return {
        "latency_s": outcome.latency_s,
        "energy_j": outcome.energy_j,
        "late": outcome.late,
        "place": decided.place,
        "cpu_hz": decided.cpu_hz,
        "cost": outcome.cost,
    }
