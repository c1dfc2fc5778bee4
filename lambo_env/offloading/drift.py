"""Worlds that change under way.

Named drifts, each a shift of the scenario and a schedule, played as streams of slots.

A drift only says how far (weight 0 to 1) and whereto the scenario has moved at a slot; draws,
motion and physics are those of ``slots``. So a stream before its drift is the stream without one,
bit for bit, and all drifts of one seed share their draws.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from lambo_env.cell import geometry, shifts
from lambo_env.cell.draws import Draws
from lambo_env.cell.geometry import CellState
from lambo_env.cell.shifts import FAILED_HZ as FAILED_HZ
from lambo_env.cell.shifts import PERIOD as PERIOD
from lambo_env.cell.shifts import RAMP as RAMP
from lambo_env.cell.shifts import SCHEDULES as SCHEDULES
from lambo_env.cell.shifts import SHIFTS as SHIFTS
from lambo_env.cell.shifts import START as START
from lambo_env.cell.shifts import Shift as Shift
from lambo_env.cell.shifts import abrupt as abrupt
from lambo_env.cell.shifts import cyclic as cyclic
from lambo_env.cell.shifts import describe as describe
from lambo_env.cell.shifts import gradual as gradual
from lambo_env.cell.shifts import into_disc as into_disc
from lambo_env.cell.shifts import list_drifts as list_drifts
from lambo_env.offloading import slots
from lambo_env.offloading.instances import Array, Instances
from lambo_env.offloading.scenario import Scenario, load_scenario
from lambo_env.offloading.slots import MovingSlots
from lambo_env.utils import validate
from lambo_env.utils.rows import Rows, map_arrays

NUM_SLOTS = 100  # of a stream, unless told otherwise


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drift(MovingSlots):
    """A shift with its schedule, on a scenario: what ``stream`` and the environment play.

    Raises:
        ValueError: a shift that the scenario cannot make: it turns shadowing on, or draws UEs into
            a disc as wide as the square.
    """

    name: str
    shift: Shift
    schedule: Callable[[int], float]  # slot -> weight in [0, 1]

    def __post_init__(self) -> None:
        """Refuse what would change the number of draws on the way, or means nothing."""
        shifts.check(self.name, self.shift, self.base)

    @functools.cached_property
    def _target(self) -> Scenario:
        return self.shift.target(self.base)

    def scenario(self, slot: int) -> Scenario:
        """Return the scenario that draws slot 0, 1, ....

        Fields between the base's and the target's by the schedule's weight.
        """
        return shifts.between(self.base, self._target, shifts.weight(self.schedule, slot))

    def first(self, draws: Draws) -> tuple[CellState, Instances]:
        """Return the cell and the instances of first slots."""
        tasks, places = slots.split(self.base, draws.uniforms)
        cell = geometry.initial(self.scenario(0), places, draws.normals)
        return cell, self._snapshot(cell, 0, tasks)

    def next(self, before: CellState, slot: Array, draws: Draws) -> tuple[CellState, Instances]:
        """Return the cell and the instances of the slots that follow.

        Draws as in ``MovingSlots``; rows may be at different slots.
        """
        groups = [Rows(np.flatnonzero(slot == at), slot.size) for at in np.unique(slot)]
        parts = [
            self._next(int(slot[rows.index[0]]), *rows.take((before, *draws[:2])))
            for rows in groups
        ]
        if len(parts) == 1:
            return parts[0]
        order = np.argsort(np.concatenate([rows.index for rows in groups]))
        return map_arrays(lambda *arrays: np.concatenate(arrays)[order], *parts)

    def _next(
        self, slot: int, before: CellState, uniforms: Array, normals: Array
    ) -> tuple[CellState, Instances]:
        old, new = self.scenario(slot - 1), self.scenario(slot)
        if before.shadowing_db is not None and old.shadowing_db != new.shadowing_db:
            louder = before.shadowing_db * (new.shadowing_db / old.shadowing_db)
            before = dataclasses.replace(before, shadowing_db=louder)
        tasks, moves = slots.split(self.base, uniforms)
        cell = geometry.advance(before, new, moves, normals)
        return cell, self._snapshot(cell, slot, tasks)

    def _snapshot(self, now: CellState, slot: int, uniforms: Array) -> Instances:
        """Return ``slot`` as Instances; a drawn-in UE is seen where the drift has taken it."""
        weight = shifts.weight(self.schedule, slot)
        if self.shift.disc_m is not None and weight > 0:
            drawn = into_disc(now.ue_xy, self.base.side_m, self.shift.disc_m, np)
            now = dataclasses.replace(now, ue_xy=now.ue_xy + weight * (drawn - now.ue_xy))
        return slots.snapshot(now, self.scenario(slot), uniforms)


def load_drift(
    drift: str | Drift | Mapping[str, Any],
    scenario: str | Mapping[str, Any] | Scenario = "paper",
) -> Drift:
    """Return a drift, on a scenario.

    Args:
        drift: a name of ``list_drifts()``; a mapping of what changes and when, as
            ``shifts.read`` takes it; or a Drift, which is taken as it is: it has its scenario.
        scenario: what drifts.

    Raises:
        ValueError: an unknown name (with the closest known one), or a scenario that cannot drift
            so.
    """
    if isinstance(drift, Drift):
        return drift
    name, shift, schedule = shifts.read(drift)
    return Drift(base=load_scenario(scenario), name=name, shift=shift, schedule=schedule)


def stream(
    drift: str | Drift | Mapping[str, Any],
    batch: int,
    rng: np.random.Generator | int,
    scenario: str | Mapping[str, Any] | Scenario = "paper",
    num_slots: int = NUM_SLOTS,
) -> Iterator[tuple[int, Instances]]:
    """Return the slots of ``batch`` independent worlds under one drift, in order.

    (slot, Instances) of fixed N and M.

    Args:
        drift: as of ``load_drift``.
        batch: B, worlds side by side.
        rng: a generator or a seed.
        scenario: what drifts.
        num_slots: after which the stream ends.

    Raises:
        ValueError: an unknown drift, or an argument of a wrong type or range; at the call, not at
            the first slot.
    """
    course = load_drift(drift, scenario)
    count = validate.integer("stream(batch)", batch)
    num_slots = validate.integer("stream(num_slots)", num_slots)
    return slots.stream(course, count, validate.seeded(rng), num_slots)
