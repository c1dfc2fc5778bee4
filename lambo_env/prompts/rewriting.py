"""Rewrites a row of symbols by ``phrases/lexicon/rules.txt`` until no rule fits."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from lambo_env.prompts import catalogue as data
from lambo_env.prompts.lexicon import CLASSES
from lambo_env.prompts.number_words import Symbol

# what a rule's kind also stands for: what is vague by itself is a cost where something is said of
# it, a stock is a benefit, what is spent is used
_WIDER = {"cost": ("loose",), "benefit": ("stock",), "use": ("spend",)}
MADE = ("want", "zero", "aside", "hurt")  # what rules conclude of an objective


class Rule(NamedTuple):
    """Kinds that stand side by side, and what takes their places: kinds and whose objective."""

    left: tuple[frozenset[str], ...]
    right: tuple[tuple[str, int], ...]

    def applied(self, row: Sequence[Symbol]) -> list[Symbol] | None:
        """Return the row with the rule applied where it first fits, or None."""
        size = len(self.left)
        for at in range(len(row) - size + 1):
            here = row[at : at + size]
            if all(s.kind in kinds for s, kinds in zip(here, self.left, strict=True)):
                spoken = [symbol.objective for symbol in here if symbol.objective]
                kept = sum(kind in (*MADE, "") for kind, _ in self.right)
                if kept >= len(spoken) or len(set(spoken)) < 2:  # two objectives never become one
                    return [
                        *row[:at],
                        *(_taken(*take, here) for take in self.right),
                        *row[at + size :],
                    ]
        return None


def _taken(kind: str, place: int, here: Sequence[Symbol]) -> Symbol:
    """Return a symbol of the right side: of a kind, or the very one of a place."""
    if kind == "":
        return here[place]
    objective = here[place].objective if kind in MADE and place >= 0 else ""
    return Symbol(kind, objective, words=" ".join(symbol.words for symbol in here))


@functools.cache
def rules() -> tuple[Rule, ...]:
    """Return the rules of the file in their order."""
    return tuple(_rule(line) for line in data.lines("lexicon", "rules"))


def _rule(line: str) -> Rule:
    left, right = (part.split() for part in line.split("->"))
    kinds = [frozenset(item.split("|")) for item in left]
    bearing = [k for k, item in enumerate(kinds) if item & {*CLASSES, *MADE}]
    takes = []
    for item in right:
        kind, _, place = item.partition(":")
        takes.append((kind, int(place) - 1 if place else bearing[0] if bearing else -1))
    wider = [item.union(*(_WIDER[kind] for kind in item if kind in _WIDER)) for item in kinds]
    return Rule(tuple(wider), tuple(takes))


def rewritten(row: Sequence[Symbol]) -> list[Symbol]:
    """Return what the rules make of a row of symbols."""
    row = list(row)
    while True:
        found = (after for rule in rules() if (after := rule.applied(row)) is not None)
        after = next(found, None)
        if after is None:
            return row
        row = after
