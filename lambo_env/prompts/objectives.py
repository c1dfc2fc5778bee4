"""The objectives that prompts can name: one row of a table each.

Whatever names objectives reads this table: kinds of phrases, units, labels, default prompts. The
first two rows are what a text can mix; their coefficients stand in every ``Objective``. A further
row says what a task costs at each place, and ``register_objective`` adds it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from lambo_env.utils import validate
from lambo_env.utils.rows import Array, ArrayHolder

MIX = "mix"  # the kind of a text that weighs two objectives
PAIR = ("latency", "energy")  # what a text can mix; the second has the weight that nothing else has


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectiveKind:
    """One objective.

    Args:
        name: what it is called; its phrases are of this kind.
        unit: of the cost where it is minimised alone.
        measure: what that cost is, in words.
        prompt: the text that stands for it in studies and tables; one of its phrases.
        quantity: instances -> [B, N, P], what each task adds at each place; it may not depend on
            the CPU that a server allots. A late task adds its dearest place. None for the two whose
            coefficients ``Objective`` names.
        train: its training phrases, beside those under ``phrases/``.
        held_out: its phrases that no training sees, beside those under ``phrases/``.
        words: (class, phrases) that sentences call it by, beside ``phrases/lexicon/``: "cost" what
            is to be small, "benefit" what is to be large, "good" and "bad" what decisions may be;
            see docs/prompts.md.
    """

    name: str
    unit: str
    measure: str
    prompt: str
    quantity: Callable[[Any], Any] | None = None
    train: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    words: tuple[tuple[str, tuple[str, ...]], ...] = ()


OBJECTIVES = {
    row.name: row
    for row in (
        ObjectiveKind(
            name=PAIR[0], unit="s", measure="mean latency of a UE", prompt="minimum latency"
        ),
        ObjectiveKind(
            name=PAIR[1], unit="J", measure="total energy of all UEs", prompt="minimum energy"
        ),
    )
}
# the texts that studies play unless told otherwise
PURE_PROMPTS = tuple(OBJECTIVES[name].prompt for name in PAIR)
EVEN_PROMPT = ", ".join(f"50% {name}" for name in PAIR)
KIND_PROMPTS = dict(zip((*PAIR, MIX), (*PURE_PROMPTS, EVEN_PROMPT), strict=True))


def register_objective(row: ObjectiveKind) -> None:
    """Add a row to the table.

    Raises:
        ValueError: if the name is taken, the row says not what a task costs, or its prompt is none
            of its training phrases.
    """
    free = row.name not in kinds()
    validate.check("ObjectiveKind.name", row.name, free, f"a name beside {', '.join(kinds())}")
    validate.check(
        "ObjectiveKind.quantity", row.quantity, callable(row.quantity), "a function of instances"
    )
    validate.check("ObjectiveKind.prompt", row.prompt, row.prompt in row.train, "one of its train")
    OBJECTIVES[row.name] = row


def kinds() -> tuple[str, ...]:
    """Return the kinds of phrases: each objective's, then mixes."""
    return (*OBJECTIVES, MIX)


def sole(weights: Mapping[str, Any]) -> ObjectiveKind | None:
    """Return the objective that has all the weight, or None for a mix.

    Args:
        weights: by name; what is left out has none. A mix's coefficients are not 1, so that those
            of an ``Objective`` do too.

    >>> sole({"latency": 0.0, "energy": 1.0}).unit
    'J'
    """
    found = [(name, float(weight)) for name, weight in weights.items() if weight != 0]
    return OBJECTIVES[found[0][0]] if len(found) == 1 and found[0][1] == 1 else None


def unit_of(weights: Mapping[str, Any]) -> str:
    """Return the unit of a cost: that of the ``sole`` objective, "" for a mix."""
    row = sole(weights)
    return row.unit if row else ""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Objective(ArrayHolder):
    """What to minimise.

    Cost = cost_per_s x mean latency + cost_per_j x total energy + lateness (c_L, c_E), and the
    coefficient of each further objective x the sum of its ``quantity``.
    """

    cost_per_s: Array  # [B]
    cost_per_j: Array  # [B]
    other: Mapping[str, Array] = dataclasses.field(default_factory=dict)  # [B] by name

    @classmethod
    def of(cls, coefficients: Mapping[str, Array]) -> Objective:
        """Return the objective of coefficients [B] by name."""
        other = {name: values for name, values in coefficients.items() if name not in PAIR}
        return cls(cost_per_s=coefficients[PAIR[0]], cost_per_j=coefficients[PAIR[1]], other=other)

    @property
    def coefficients(self) -> dict[str, Array]:
        """The coefficients [B] by the objective's name."""
        return {**dict(zip(PAIR, (self.cost_per_s, self.cost_per_j), strict=True)), **self.other}

    def take(self, rows: Any) -> Objective:
        """Return the objectives at ``rows``."""
        return Objective.of({name: values[rows] for name, values in self.coefficients.items()})
