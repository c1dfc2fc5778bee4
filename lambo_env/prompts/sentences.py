"""Sentences by rules: what objectives a text asks for, and in what shares, or why it is refused.

A text becomes a row of symbols (``lexicon``). One with numbers is matched against forms of mixes
(``shares``); any other is rewritten by rules (``rewriting``), and what then stands there as asked
for, and as of no concern, is the answer. What is left over is a reason to refuse: a sentence is
never read as its opposite, rather not at all.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Collection, Sequence
from fractions import Fraction

from lambo_env.prompts import guards, lexicon, shares
from lambo_env.prompts.number_words import Symbol
from lambo_env.prompts.objectives import PAIR
from lambo_env.prompts.rewriting import rewritten
from lambo_env.prompts.shares import RefusedError

_NAMED = frozenset(("cost", "harm", "benefit", "stock", "good"))
# what may be left over when all rules have been applied
_HARMLESS = _NAMED | {
    *("want", "zero", "aside", "stop", "and", "or", "about", "matter", "like", "use", "spend"),
    *("improve", "than", "complain", "fine"),
}
# they matter only before the rules
_QUIET = ("only_not", "bit", "both", "rather", "weight", "pair")
# where an unknown word could turn the meaning round
_WEIGHED = {"than", "rather", "sell", "whatever"}
_JOINTS = ("and", "both", "only_not")  # of two objectives that are asked for alike
# said twice, they contradict each other
_ONLY = ("only", "solely", "nothing but", "all of the weight on", "all the weight on")
_CLAUSE_ENDS = (":", ";", ".", "!", "but", "so")
_HALF = Fraction(1, 2)
_NEITHER = ("neither", "none of")
_ASKING = ("purpose", "only_not")  # where one of these stands, a name is a wish
_CHOICE = ("choose", "pick", "opt", "go for", "going for")
_VERSUS = ("vs", "versus")  # leaves open which
_CODE = re.compile(r"[{}<>\[\]\\|]|\w\(|://|\w@\w")  # signs that sentences have none of


def read(text: str) -> dict[str, Fraction]:
    """Return the shares of the objectives that a sentence asks for; they sum to 1.

    Raises:
        RefusedError: the sentence is not understood in full, names no objective, asks for more of
            what should be small, or contradicts itself.
    """
    row, unknown = lexicon.symbols(text)
    guards.refuse_unclear(row, text)
    told = lexicon.tells(text, row) and all(symbol.kind not in _ASKING for symbol in row)
    row = [symbol for symbol in row if symbol.kind not in ("unknown", "purpose")]
    row = _evened(_bound(_contrasted(row)))
    for symbol in row:
        if symbol.kind == "unit":
            shares.refuse(symbol)
    if not lexicon.objectives_in(row):
        return _unnamed(row, sure=not unknown, code=_CODE.search(text) is not None)
    kinds = {symbol.kind for symbol in row}
    if unknown and (kinds & _WEIGHED or {"raise", "reduce"} <= kinds):
        raise RefusedError(f"a comparison of words that are known; '{unknown[0]}' is not")
    if shares.NUMERIC & kinds:
        guards.refuse_measured(row, text)
        return _mixed(_corrected(row), text)
    return _plain(row, unknown, told)


def _plain(row: Sequence[Symbol], unknown: Sequence[str], told: bool) -> dict[str, Fraction]:
    """Return the even shares of the one or two objectives that a row without numbers asks for."""
    if any(symbol.words in _VERSUS for symbol in row):
        raise RefusedError("one objective, or two with their shares")
    spoken = [symbol for symbol in row if symbol.kind not in _QUIET]
    after = rewritten([symbol for symbol in spoken if symbol.kind != "equal"])
    if len(after) > 2 and any(symbol.kind == "equal" for symbol in spoken):
        return _even(spoken, after, unknown)
    exclusive = sum(symbol.words in _ONLY for symbol in row) > 1
    joined = any(symbol.kind in _JOINTS for symbol in row) and not exclusive
    asked = _asked(after, unknown, told, joined)
    return {name: Fraction(1, len(asked)) for name in shares.in_order(asked)}


def _contrasted(row: Sequence[Symbol]) -> list[Symbol]:
    """Return the row with "than" as a kind of its own where "rather" stands before it."""
    seen = [symbol.kind == "rather" for symbol in row]
    return [
        dataclasses.replace(symbol, kind="sooner_than")
        if symbol.kind == "compare" and any(seen[:k])
        else symbol
        for k, symbol in enumerate(row)
    ]


def _bound(row: Sequence[Symbol]) -> list[Symbol]:
    """Return the row with a relative clause right after what it speaks of: "energy, which ..."."""
    out: list[Symbol] = []
    for symbol in row:
        if symbol.kind != "relative":
            out.append(symbol)
        elif len(out) > 2 and out[-1].kind == "stop" and out[-2].objective:
            out.pop()
    return out


def _evened(row: Sequence[Symbol]) -> list[Symbol]:
    """Return the row with "neither ... should dominate" as equal, and "dominate" as it matters."""
    kinds = [symbol.kind for symbol in row]
    if "outdo" not in kinds:
        return list(row)
    end = kinds.index("outdo")
    denied = [
        k
        for k, symbol in enumerate(row[:end])
        if symbol.words in _NEITHER or (symbol.words == "either" and "not" in kinds[:k])
    ]
    if denied and kinds.count("outdo") == 1 and len(lexicon.objectives_in(row)) == 2:
        lifted = {denied[-1], *(k for k in range(denied[-1]) if kinds[k] in ("not", "like"))}
        even = dataclasses.replace(row[end], kind="equal")
        return [even if k == end else s for k, s in enumerate(row) if k not in lifted]
    return [dataclasses.replace(s, kind="matter") if s.kind == "outdo" else s for s in row]


def _unnamed(row: Sequence[Symbol], sure: bool, code: bool) -> dict[str, Fraction]:
    """Return even shares where a text calls "both objectives" equal, which it does not name."""
    kinds = {symbol.kind for symbol in row}
    known = {"equal", "pair"} <= kinds <= {"equal", "pair", "stop", "about", "matter", "weight"}
    if known and sure:
        return dict.fromkeys(PAIR, _HALF)
    raise RefusedError("a text that names an objective", sure=sure or code)


def _mixed(row: Sequence[Symbol], text: str) -> dict[str, Fraction]:
    """Return the shares of a row, or of the one clause of it that has all its numbers."""
    try:
        return shares.read(row, text)
    except RefusedError as refused:
        ends = [k for k, symbol in enumerate(row) if symbol.words in _CLAUSE_ENDS]
        clauses = [row[a : b + 1] for a, b in itertools.pairwise([0, *ends, len(row) - 1])]
        told = [c for c in clauses if shares.NUMERIC & {symbol.kind for symbol in c}]
        whole = [clause for clause in told if len(lexicon.objectives_in(clause)) == 2]
        others = [clause for clause in told if 0 < len(lexicon.objectives_in(clause)) < 2]
        if refused.sure or len(clauses) == 1 or len(whole) != 1 or others:
            raise
        return shares.read(whole[0], text)


def _corrected(row: Sequence[Symbol]) -> list[Symbol]:
    """Return the row without shares that it takes back for others, as in "not 50/50: 80 % ..."."""
    kinds = [symbol.kind for symbol in row]
    if kinds[1] in ("not", "no") and kinds[2] in (*shares.NUMERIC, "equal"):
        rest = list(row[kinds.index("stop", 2) :])
        spoken = len(lexicon.objectives_in(rest))
        if spoken == 2 or (spoken == 1 and rest[0].words == "but"):
            return rest
    return list(row)


def _asked(row: Sequence[Symbol], unknown: Sequence[str], told: bool, joined: bool) -> set[str]:
    """Return the one or two objectives that a rewritten row asks for.

    Args:
        row: what the rules have made of a text.
        unknown: its words that nothing is known of.
        told: whether it may tell of an objective and not ask for it.
        joined: whether it can ask for two.
    """
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
        if told and not dismissed and all(symbol.kind != "good" for symbol in row):
            raise RefusedError("a text that asks for something, and does not only name it")
        wanted = _by_name(row, named, dismissed, unknown)
    both = len(wanted) == 2 and joined and not (dismissed or unknown)
    if len(wanted) != 1 and not (both and all(symbol.kind != "or" for symbol in row)):
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


def _even(
    before: Sequence[Symbol], after: Sequence[Symbol], unknown: Sequence[str]
) -> dict[str, Fraction]:
    """Return even shares of the two objectives that a text calls equal, each named once."""
    if unknown:
        raise RefusedError(f"words that are known; '{unknown[0]}' is not")
    spoken = lexicon.objectives_in(after)
    for one, two in itertools.pairwise(before):
        if one.kind in ("not", "no") and two.kind == "equal":
            shares.refuse(one)
    joint = [s for s in after if s.kind != "compare" or not s.words.startswith("as")]
    _refuse_rest([symbol for symbol in joint if symbol.kind not in ("not", "no")], spoken)
    wanted = {symbol.objective for symbol in after if symbol.kind == "want"}
    alone = len(wanted) == 1 and any(
        symbol.kind in ("reduce", "save", "good") or symbol.words.startswith(_CHOICE)
        for symbol in before
    )
    again = sum(symbol.objective != "" for symbol in before) > 2
    if len(spoken) != 2 or alone or again:
        raise RefusedError("two objectives for what a text calls equal, and neither alone")
    return dict.fromkeys(shares.in_order(spoken), _HALF)
