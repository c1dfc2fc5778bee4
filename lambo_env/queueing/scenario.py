"""QueueScenario: the distribution that episodes of queueing tasks are drawn from."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from typing import Any, cast

from lambo_env import registration
from lambo_env.cell.scenario import CellScenario, Range, Span, listed
from lambo_env.utils import validate
from lambo_env.utils.rules import Ruled, Within, one_of, optional, ruled, share, such_that, whole

EDF, EQUAL = "edf", "equal"
DISCIPLINES = (EDF, EQUAL)
_PROBABILITY = "a probability above 0 and at most 1"
_WHOLE = 1e-9  # how far a deadline in slots may be from a whole number


def num_deadline_slots(field: str, deadline_s: float, slot_s: float) -> int:
    """Return L, the deadline in slots.

    Raises:
        ValueError: it is no whole number of at least 2.
    """
    ratio = deadline_s / slot_s
    slots = round(ratio)
    whole = slots >= 2 and abs(ratio - slots) <= _WHOLE * slots
    allowed = f"a whole number, at least 2, of slots of {slot_s:g} s"
    validate.check(field, deadline_s, whole, allowed)
    return slots


def _factors(field: str, value: Any) -> Any:
    factors = listed(field, value, Within(0.0, 1e6), lambda count: count == 2, "two numbers >= 0")
    validate.check(field, value, max(factors) > 0, "two numbers >= 0, one of them above 0")
    return factors


@dataclasses.dataclass(frozen=True)
class Bursts(Ruled):
    """Arrivals in bursts: a two-state Markov chain common to the cell, unseen by agents.

    Args:
        factors: on the arrival probability, one per state.
        switching_probability: before each slot.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    factors: Range = ruled((0.4, 1.6), _factors)
    switching_probability: float = ruled(0.1, share)


def _bursts(field: str, value: Any) -> Bursts | None:
    """A table of factors (two numbers >= 0) and switching_probability."""
    if value is None or isinstance(value, Bursts):
        return value
    allowed = "None, Bursts(...) or a mapping of its fields"
    validate.check(field, value, isinstance(value, Mapping), allowed)
    return Bursts.from_dict(value)


def _cycles_per_bit(field: str, value: Any) -> Any:
    """A list of one or more numbers in 1e-9 .. 1e12."""
    one = Within(1e-9, 1e12)
    return listed(field, value, one, lambda count: count >= 1, f"None or a list of {one.allowed}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class QueueScenario(CellScenario):
    """A distribution of episodes: tasks that arrive slot by slot and wait at UEs and servers.

    Defaults are the preset ``queue``. The deadline is the same for all, a whole number of at least
    2 slots.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    data_bits: Range = ruled((2e7, 6e7), Span(1e-3, 1e18), "D, bits that a task uploads")
    cycles: Range = ruled((0.4e9, 1.4e9), Span(1e-3, 1e18), "C, CPU cycles that a task runs")
    deadline_s: Range = ruled(
        (1.0, 1.0), Span(1e-9, 1e9), "T, deadline of every task, a whole number of slots"
    )
    slot_s: float = ruled(0.1, Within(1e-9, 1e9), "length of a time slot")
    arrival_probability: float = ruled(0.35, share, "of a task, per UE and slot")
    bursts: Bursts | None = ruled(
        None, _bursts, "factors on the arrivals and the chance to switch; none: steady arrivals"
    )
    discipline: str = ruled(
        EDF, one_of(*DISCIPLINES), "earliest deadline first, or the published models' equal shares"
    )
    num_slots: int = ruled(100, whole, "slots that bring tasks")
    cycles_per_bit: tuple[float, ...] | None = ruled(
        None, optional(_cycles_per_bit), "drawn evenly per task, in place of cycles"
    )
    fixed_uplink_bps: float | None = ruled(
        None, optional(Within(1e-3, 1e18)), "of every uplink, in place of the channel"
    )

    def __post_init__(self) -> None:
        """Check every field, then what several of them say together."""
        super().__post_init__()
        low, high = self.deadline_s
        self.check("deadline_s", low == high, "equal ends: one deadline for all tasks")
        num_deadline_slots("QueueScenario.deadline_s", low, self.slot_s)
        self.check("arrival_probability", self.arrival_probability > 0, _PROBABILITY)
        if self.bursts is not None:
            most = max(self.bursts.factors) * self.arrival_probability
            allowed = f"at most {1 / max(self.bursts.factors):g} with these bursts"
            self.check("arrival_probability", most <= 1, allowed)

    @property
    def deadline_slots(self) -> int:
        """L, the deadline in slots."""
        return num_deadline_slots("QueueScenario.deadline_s", self.deadline_s[0], self.slot_s)

    @property
    def mean_cycles(self) -> float:
        """E[C], the mean number of cycles of a task."""
        if self.cycles_per_bit is None:
            return sum(self.cycles) / 2
        return sum(self.data_bits) / 2 * math.fsum(self.cycles_per_bit) / len(self.cycles_per_bit)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, with the world."""
        return {"world": "queueing", **super().to_dict()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> QueueScenario:
        """Build from a mapping of fields; it may name its world."""
        return super().from_dict({k: v for k, v in fields.items() if k != "world"})


def load_scenario(
    source: str | os.PathLike[str] | Mapping[str, Any] | QueueScenario,
) -> QueueScenario:
    """Return the scenario of a preset's name, a TOML file or a mapping of fields, or as it is.

    Raises:
        ValueError: an unknown name, a missing or broken file, a bad field, another world's.
    """
    if isinstance(source, QueueScenario):
        return source
    if isinstance(source, Mapping):
        world = such_that(lambda value: value == "queueing", '"queueing"')
        world("scenario.world", source.get("world", "queueing"))
        return QueueScenario.from_dict(source)
    found = registration.load_scenario(source)
    allowed = f"one of {', '.join(registration.list_scenarios('queueing'))}, or a file of that kind"
    validate.check("scenario", source, isinstance(found, QueueScenario), allowed)
    return cast(QueueScenario, found)
