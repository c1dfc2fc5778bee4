"""Where a cell may go to, and when: shifts of its scenario, schedules, and the names of both."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from lambo_env.cell.scenario import CellScenario
from lambo_env.utils import validate
from lambo_env.utils.rows import Array

_Scenario = TypeVar("_Scenario", bound=CellScenario)
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

    def target(self, base: _Scenario) -> _Scenario:
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


def list_drifts() -> list[str]:
    """Names of the drifts: every shift, abrupt, gradual and cyclic."""
    return [f"{shift}-{schedule}" for shift in SHIFTS for schedule in SCHEDULES]


def check(name: str, shift: Shift, base: CellScenario) -> None:
    """Refuse a shift that would change the number of draws on the way, or means nothing.

    Raises:
        ValueError: it turns shadowing on, or draws UEs into a disc as wide as the square.
    """
    _check_fields(shift, base)
    shadow = base.shadowing_db
    moves = shadow > 0 or "shadowing_db" not in shift.fields
    validate.check("Scenario.shadowing_db", shadow, moves, f"> 0 for the drift {name!r}")
    side, disc = base.side_m, shift.disc_m
    fits = disc is None or 2 * disc <= side
    allowed = f">= {2 * (disc or 0):g} for the drift {name!r}"
    validate.check("Scenario.side_m", side, fits, allowed)


def read(given: str | Mapping[str, Any]) -> tuple[str, Shift, Callable[[int], float]]:
    """Return the name, shift and schedule of a drift: a name, or one's own as a mapping.

    A mapping has ``schedule``, a name of ``SCHEDULES`` or a function of the slot, and of a
    ``Shift`` what is to change: ``fields``, ``scale``, ``fails``, ``disc_m``; ``name`` if it has
    one.

    Raises:
        ValueError: an unknown name or key, or no schedule.
    """
    if not isinstance(given, Mapping):
        return (given, *named(given))
    parts = {field.name for field in dataclasses.fields(Shift)} - {"summary"}
    validate.known_keys("drift", given, {*parts, "name", "schedule"})
    schedule = given.get("schedule")
    if not callable(schedule):
        schedule = SCHEDULES[validate.known(schedule, SCHEDULES, "drift.schedule")]
    name = given.get("name", "own")
    validate.check("drift.name", name, isinstance(name, str) and bool(name), "a text")
    for part in ("fields", "scale"):
        value = given.get(part, {})
        validate.check(f"drift.{part}", value, isinstance(value, Mapping), "values by field")
    validate.boolean("drift.fails", given.get("fails", False))
    if given.get("disc_m") is not None:
        validate.positive("drift.disc_m", given["disc_m"])
    found = {part: given[part] for part in parts if part in given}
    validate.check("drift", dict(given), any(found.values()), "something that changes")
    return name, Shift(name, **found), schedule


def _check_fields(shift: Shift, base: CellScenario) -> None:
    """Refuse a change of what does not move by degrees, or of how much is drawn."""
    moving = {n for n in base.field_names() if _numbers(getattr(base, n))}
    moving -= {"num_ues", "num_slots"}
    for part in ("fields", "scale"):
        validate.known_keys(f"drift.{part}", getattr(shift, part), moving)
    both = sorted({*shift.fields} & {*shift.scale})
    validate.check("drift.fields and drift.scale", both, not both, "no field in both")
    for name, factor in shift.scale.items():
        validate.positive(f"drift.scale.{name}", factor)
    target = shift.target(base)
    for name in shift.fields:
        before, after = getattr(base, name), getattr(target, name)
        alike = _numbers(after) and np.shape(before) == np.shape(after)
        validate.check(f"drift.fields.{name}", after, alike, f"finite, such as {before}")


def _numbers(value: Any) -> bool:
    array = np.asarray(value)
    return array.dtype.kind in "fi" and bool(np.isfinite(array).all())


def weight(schedule: Callable[[int], float], slot: int) -> float:
    """Return what a schedule says of a slot.

    Raises:
        ValueError: no number in [0, 1].
    """
    value = schedule(slot)
    field, allowed = f"drift.schedule({slot})", "a number in [0, 1]"
    number = validate.number(field, value, allowed, 0.0)
    validate.check(field, value, number <= 1, allowed)
    return number


def between(base: _Scenario, target: _Scenario, weight: float) -> _Scenario:
    """Return the scenario whose fields lie between those of two, by a weight in [0, 1]."""
    if weight in (0, 1):
        return target if weight else base
    ends = {name: (getattr(base, name), getattr(target, name)) for name in base.field_names()}
    return base.replace(
        **{name: _between(*pair, weight) for name, pair in ends.items() if pair[0] != pair[1]}
    )


def named(name: str) -> tuple[Shift, Callable[[int], float]]:
    """Return the shift and the schedule of a drift.

    Raises:
        ValueError: an unknown name (with the closest known one).
    """
    shift, _, schedule = validate.known(name, list_drifts(), "drift").rpartition("-")
    return SHIFTS[shift], SCHEDULES[schedule]


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


def describe(name: str) -> str:
    """Return one line on a drift: what changes and when."""
    shift, _, schedule = validate.known(name, list_drifts(), "drift").rpartition("-")
    when = {
        "abrupt": f"at slot {START}",
        "gradual": f"from slot {START} to {START + RAMP}",
        "cyclic": f"in the second half of every {PERIOD} slots",
    }
    return f"{SHIFTS[shift].summary}, {when[schedule]}"
