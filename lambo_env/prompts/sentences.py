"""Sentences by rules: what objectives a text asks for, and in what shares, or why it is refused.

A text becomes a row of symbols (``lexicon``). One with numbers is matched against forms of mixes
(``shares``); any other is rewritten by rules (``rewriting``), and what then stands there as asked
for, and as of no concern, is the answer. What is left over is a reason to refuse: a sentence is
never read as its opposite, rather not at all.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Sequence
from fractions import Fraction

from lambo_env.prompts import lexicon, shares
from lambo_env.prompts.number_words import Symbol
from lambo_env.prompts.objectives import PAIR
from lambo_env.prompts.rewriting import rewritten
from lambo_env.prompts.shares import RefusedError

_NAMED = frozenset(("cost", "harm", "benefit", "good"))
# what may be left over when all rules have been applied
_HARMLESS = _NAMED | {
    *("want", "zero", "aside", "stop", "and", "or", "about", "matter", "like", "use", "improve"),
    *("than", "complain", "fine"),
}
_QUIET = ("only_not", "bit", "both", "rather")  # they matter only before the rules
_HALF = Fraction(1, 2)


def read(text: str) -> dict[str, Fraction]:
    """Return the shares of the objectives that a sentence asks for; they sum to 1.

    Raises:
        RefusedError: the sentence is not understood in full, names no objective, asks for more of
            what should be small, or contradicts itself.
    """
    row, unknown = lexicon.symbols(text)
    if not lexicon.objectives_in(row):
        raise RefusedError("a text that names an objective", sure=not unknown)
    if unknown and any(symbol.kind in ("than", "rather") for symbol in row):
        raise RefusedError(f"a comparison of words that are known; '{unknown[0]}' is not")
    row = _contrasted(row)
    for symbol in row:
        if symbol.kind == "unit":
            shares.refuse(symbol)
    if shares.NUMERIC & {symbol.kind for symbol in row}:
        return shares.read(row)
    spoken = [symbol for symbol in row if symbol.kind not in _QUIET]
    after = rewritten([symbol for symbol in spoken if symbol.kind != "equal"])
    if len(after) > 2 and any(symbol.kind == "equal" for symbol in spoken):
        return _even(spoken, after)
    asked = _asked(after, unknown)
    return {name: Fraction(1, len(asked)) for name in shares.in_order(asked)}


def _contrasted(row: Sequence[Symbol]) -> list[Symbol]:
    """Return the row with "than" as a contrast where "rather" stands before it."""
    seen = [symbol.kind == "rather" for symbol in row]
    return [
        dataclasses.replace(symbol, kind="than")
        if symbol.kind == "compare" and any(seen[:k])
        else symbol
        for k, symbol in enumerate(row)
    ]


def _asked(row: Sequence[Symbol], unknown: Sequence[str]) -> set[str]:
    """Return the one or two objectives that a rewritten row asks for."""
    wanted, named, dismissed = (
        {symbol.objective for symbol in row if symbol.kind in kinds}
        for kinds in (("want",), _NAMED, ("zero", "aside"))
    )
    _refuse_rest(row, wanted | named, alone=not (wanted or named or unknown))
    if (wanted | named) & dismissed:
        raise RefusedError("a text that does not contradict itself", sure=True)
    if wanted and named - wanted:
        raise RefusedError(f"a text that says what it wants of {' and '.join(named - wanted)}")
    if not wanted:
        wanted = _by_name(row, named, dismissed, unknown)
    joined = len(wanted) == 2 and not dismissed and all(symbol.kind != "or" for symbol in row)
    if len(wanted) != 1 and not (joined and not unknown):
        nothing = not (wanted or named or unknown)
        raise RefusedError("one objective, or two with their shares", sure=nothing)
    return wanted


def _refuse_rest(row: Sequence[Symbol], spoken: Collection[str], alone: bool = False) -> None:
    """Refuse what no rule has explained, the weightiest first."""
    left = [
        symbol
        for symbol in row
        if symbol.kind not in _HARMLESS
        and not (symbol.kind in ("bad", "loose") and symbol.objective in spoken)
    ]
    for symbol in sorted(left, key=lambda symbol: symbol.kind not in ("hurt", "foreign")):
        shares.refuse(symbol, alone)


def _by_name(
    row: Sequence[Symbol], named: set[str], dismissed: set[str], unknown: Sequence[str]
) -> set[str]:
    """Return what a text asks for that only names objectives, or only says which do not matter."""
    if not named:
        surely = {symbol.objective for symbol in row if symbol.kind == "zero"}
        one_of_two = len(dismissed) == 1 and dismissed == surely < set(PAIR)
        return set(PAIR) - dismissed if one_of_two else set()
    if unknown:
        raise RefusedError(f"words that are known; '{unknown[0]}' is not")
    for one, two in itertools.pairwise(row):
        if {one.kind, two.kind} <= _NAMED and one.objective != two.objective:
            raise RefusedError("a text that says how its objectives go together")
    return named


def _even(before: Sequence[Symbol], after: Sequence[Symbol]) -> dict[str, Fraction]:
    """Return even shares of the two objectives that a text calls equal."""
    spoken = lexicon.objectives_in(after)
    for one, two in itertools.pairwise(before):
        if one.kind in ("not", "no") and two.kind == "equal":
            shares.refuse(one)
    _refuse_rest([symbol for symbol in after if symbol.kind not in ("not", "no")], spoken)
    if len(spoken) != 2:
        raise RefusedError("two objectives for what a text calls equal")
    return dict.fromkeys(shares.in_order(spoken), _HALF)
