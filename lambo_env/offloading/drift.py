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

from lambo_env.cell import geometry
from lambo_env.cell.draws import Draws
from lambo_env.cell.geometry import CellState
from lambo_env.offloading import slots
from lambo_env.offloading.instances import Array, Instances
from lambo_env.offloading.scenario import Scenario, load_scenario
from lambo_env.offloading.slots import MovingSlots
from lambo_env.utils import validate
from lambo_env.utils.rows import Rows, map_arrays

NUM_SLOTS = 100  # of a stream, unless told otherwise
START = 20  # first slot of an abrupt or gradual drift
RAMP = 40  # slots that a gradual one takes
PERIOD = 50  # of a cyclic one: the first half as it was, the second shifted
# capacity of a failed server: a thousandth of the least floor that tasks of `paper` can have
FAILED_HZ = 1e6


@dataclasses.dataclass(frozen=True)
class Shift:
    """Where the world goes to."""

    summary: str
    fields: Mapping[str, Any] = dataclasses.field(
        default_factory=dict
    )  # of the scenario, at full weight
    scale: Mapping[str, float] = dataclasses.field(
        default_factory=dict
    )  # factors on the scenario's own numbers
    fails: bool = False  # the largest server's capacity falls to FAILED_HZ
    disc_m: float | None = None  # radius of the disc that all UEs are drawn into

    def target(self, base: Scenario) -> Scenario:
        """Return the scenario that ``base`` becomes."""
        scaled = {name: _times(getattr(base, name), factor) for name, factor in self.scale.items()}
        if self.fails:
            capacity = base.server_cpu_hz
            lost = capacity.index(max(capacity))
            scaled["server_cpu_hz"] = tuple(
                FAILED_HZ if m == lost else f for m, f in enumerate(capacity)
            )
        return base.replace(**self.fields, **scaled)


def _times(value: Any, factor: float) -> Any:
    return tuple(factor * end for end in value) if isinstance(value, tuple) else factor * value


def abrupt(slot: int) -> float:
    """Return the weight of a change at slot 20."""
    return float(slot >= START)


def gradual(slot: int) -> float:
    """Return the weight of a change that begins at slot 20 and is complete 40 slots later."""
    return min(1.0, max(0.0, (slot - START) / RAMP))


def cyclic(slot: int) -> float:
    """Return the weight of a change that comes and goes with period 50.

    Slots 0-24 as it was, 25-49 shifted, and so on.
    """
    return float(slot % PERIOD >= PERIOD // 2)


SHIFTS = {
    "capacity": Shift("every server's capacity halves", scale={"server_cpu_hz": 0.5}),
    "failure": Shift("the largest server fails", fails=True),
    "path-loss": Shift("path-loss exponent 3.5 in place of 3", fields={"path_loss_exponent": 3.5}),
    "shadowing": Shift("shadowing of 8 dB in place of 4", fields={"shadowing_db": 8.0}),
    "crowd": Shift("all UEs are drawn to one disc of 15 m", disc_m=15.0),
    "data": Shift("1.5 times the data to upload", scale={"data_bits": 1.5}),
    "cycles": Shift("1.5 times the cycles to run", scale={"cycles": 1.5}),
    "bandwidth": Shift("channels of 12 MHz in place of 20", fields={"bandwidth_hz": 12e6}),
}
SCHEDULES: dict[str, Callable[[int], float]] = {
    "abrupt": abrupt,
    "gradual": gradual,
    "cyclic": cyclic,
}


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
        shadow = self.base.shadowing_db
        moves = shadow > 0 or "shadowing_db" not in self.shift.fields
        validate.check("Scenario.shadowing_db", shadow, moves, f"> 0 for the drift {self.name!r}")
        side, disc = self.base.side_m, self.shift.disc_m
        fits = disc is None or 2 * disc <= side
        validate.check(
            "Scenario.side_m", side, fits, f">= {2 * (disc or 0):g} for the drift {self.name!r}"
        )

    @functools.cached_property
    def _target(self) -> Scenario:
        return self.shift.target(self.base)

    def scenario(self, slot: int) -> Scenario:
        """Return the scenario that draws slot 0, 1, ....

        Fields between the base's and the target's by the schedule's weight.
        """
        weight = self.schedule(slot)
        if weight in (0, 1):
            return self._target if weight else self.base
        fields = {field.name for field in dataclasses.fields(Scenario)}
        ends = {name: (getattr(self.base, name), getattr(self._target, name)) for name in fields}
        return self.base.replace(
            **{name: _between(*pair, weight) for name, pair in ends.items() if pair[0] != pair[1]}
        )

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
        weight = self.schedule(slot)
        if self.shift.disc_m is not None and weight > 0:
            drawn = into_disc(now.ue_xy, self.base.side_m, self.shift.disc_m, np)
            now = dataclasses.replace(now, ue_xy=now.ue_xy + weight * (drawn - now.ue_xy))
        return slots.snapshot(now, self.scenario(slot), uniforms)


def _between(start: Any, end: Any, weight: float) -> Any:
    if isinstance(start, tuple):
        return tuple(_between(a, b, weight) for a, b in zip(start, end, strict=True))
    return start + weight * (end - start)


def into_disc(xy: Array, side_m: float, radius_m: float, xp: Any) -> Array:
    """Map positions [..., 2] of the square [0, side] smoothly into a disc.

    The disc touches the square's two sides at the origin.

    (x, y) of the square [-1, 1] goes to (x sqrt(1 - y^2 / 2), y sqrt(1 - x^2 / 2)) of the unit
    disc: one to one, border to border, so that UEs keep moving in the disc as they do in the
    square, only slower.
    """
    unit = 2 * xy / side_m - 1
    other = xp.flip(unit, axis=-1)
    return radius_m * (1 + unit * xp.sqrt(1 - other * other / 2))


def list_drifts() -> list[str]:
    """Names of the drifts: every shift, abrupt, gradual and cyclic."""
    return [f"{shift}-{schedule}" for shift in SHIFTS for schedule in SCHEDULES]


def load_drift(name: str, scenario: str | Mapping[str, Any] | Scenario = "paper") -> Drift:
    """Return the drift of a name, on a scenario.

    Raises:
        ValueError: an unknown name (with the closest known one), or a scenario that cannot drift
            so.
    """
    shift, _, schedule = validate.known(name, list_drifts(), "drift").rpartition("-")
    return Drift(
        base=load_scenario(scenario), name=name, shift=SHIFTS[shift], schedule=SCHEDULES[schedule]
    )


def describe(name: str) -> str:
    """Return one line on a drift: what changes and when."""
    shift, _, schedule = validate.known(name, list_drifts(), "drift").rpartition("-")
    when = {
        "abrupt": f"at slot {START}",
        "gradual": f"from slot {START} to {START + RAMP}",
        "cyclic": f"in the second half of every {PERIOD} slots",
    }
    return f"{SHIFTS[shift].summary}, {when[schedule]}"


def stream(
    name: str | Drift,
    batch: int,
    rng: np.random.Generator | int,
    scenario: str | Mapping[str, Any] | Scenario = "paper",
    num_slots: int = NUM_SLOTS,
) -> Iterator[tuple[int, Instances]]:
    """Return the slots of ``batch`` independent worlds under one drift, in order.

    (slot, Instances) of fixed N and M.

    Args:
        name: of the drift, or a Drift (then ``scenario`` is its own).
        batch: B, worlds side by side.
        rng: a generator or a seed.
        scenario: what drifts.
        num_slots: after which the stream ends.

    Raises:
        ValueError: an unknown drift, or an argument of a wrong type or range; at the call, not at
            the first slot.
    """
    drift = name if isinstance(name, Drift) else load_drift(name, scenario)
    count = validate.integer("stream(batch)", batch)
    num_slots = validate.integer("stream(num_slots)", num_slots)
    if not isinstance(rng, np.random.Generator):
        rng = np.random.default_rng(validate.integer("seed", rng, low=0))
    return slots.stream(drift, count, rng, num_slots)
