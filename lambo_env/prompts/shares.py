"""Mixes in numbers: a row of symbols with shares, ratios or multiples as shares of two objectives.

A row is matched as letters: M an objective, V a number, Q parts, R a ratio, T "times", Z the rest,
H "mostly", I "a bit", J "slightly more", and what stands between: ",", "&" and < (over, than, as).
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction

from lambo_env.prompts.number_words import Symbol
from lambo_env.prompts.objectives import PAIR

NUMERIC = frozenset(
    ("share", "number", "parts", "ratio", "fraction", "times", "mostly", "slightly", "rest")
)
_BOUNDS = "shares from 0% to 100%"
_NEGATIVE = re.compile(r"(?<![\w.%-])(?<!\w )-\d[\d.]* ?%?")
_HALF = Fraction(1, 2)
MOSTLY, SLIGHTLY = Fraction(4, 5), Fraction(3, 5)  # shares that "mostly" and "slightly more" give
_NUMBERS = ("share", "number", "parts", "ratio", "fraction", "times")
_LETTERS = {
    "M": ("want", "cost", "harm", "benefit", "stock", "good", "loose"),
    "V": ("share", "number"),
    "Q": ("parts",),
    "R": ("ratio",),
    "F": ("fraction",),
    "T": ("times",),
    "Z": ("rest", "other_half"),
    "H": ("mostly",),
    "I": ("bit",),
    "J": ("slightly",),
    ",": ("stop",),
    "&": ("and", "or"),
    "<": ("than", "sooner_than", "compare", "equal", "lean", "lean_less"),
}
_LETTER = {kind: letter for letter, kinds in _LETTERS.items() for kind in kinds}
_BROKEN = frozenset(
    (
        *("not", "no", "dismiss", "moot", "zero", "bad", "vague", "foreign", "waste", "complain"),
        *("fine", "perceive"),
    )
)
# forms of mixes, _ for what may stand between; the first that fits counts
_FORMS = {
    "pair": ("V,?M_V,?M", "M,?V_M,?V", "M_M,?V_V", "V_V,?M_M", "M,?V_V,?M", "V,?M_M,?V"),
    "rest": ("V,?M_Z,?M", "M,?V_Z,?M", "M,?V_M,?Z", "V,?M_M,?Z"),
    "rest_first": ("Z,?M_V,?M", "M,?Z_M,?V", "Z,?M_M,?V", "M,?Z_V,?M"),
    "parts": ("Q,?M_Q,?M", "M,?Q_M,?Q", "Q,?M_V,?M", "Q,?M_M,?V"),
    "ratio": ("R[,<]?M_M", "M_M,?R", "M,?R<*M"),
    "times": ("MT<*M", "T<?M<+M"),
    "mostly": ("HM_IM", "HM_MI", "MH_MI", "MH_IM"),
    "little": ("IM_HM", "MI_HM", "IM_MH"),
    "slightly": ("JM<+M", "MJ<*M"),
    "alone": ("V,?M", "M,?V", "R,?M"),
}
_BETWEEN = "[,&<]*"
_PATTERNS = [
    (name, re.compile(f"{_BETWEEN}(?:M,+)?({form.replace('_', _BETWEEN)}){_BETWEEN}"))
    for name, forms in _FORMS.items()
    for form in forms
]


class RefusedError(ValueError):
    """Why a sentence is not read: what would be allowed.

    Args:
        allowed: that.
        sure: whether the text was understood, and it is its meaning that is refused.
    """

    def __init__(self, allowed: str, sure: bool = False) -> None:
        super().__init__(allowed)
        self.sure = sure


def refuse(symbol: Symbol, alone: bool = False) -> None:
    """Refuse a text for a symbol that is left over, ``alone`` where it asks for nothing else."""
    reasons = {
        "hurt": f"what asks for less {symbol.objective}, not more",
        "bad": f"what asks for less {symbol.objective}, not more",
        "foreign": f"objectives of the table alone; '{symbol.words}' is none",
        "unit": f"weights; '{symbol.words}' is a limit",
        "lean": "a text that says how much more, such as 'twice as important'",
        "lean_less": "a text that says how much less, such as 'half as important'",
        "vague": f"a text that leaves nothing open; '{symbol.words}' does",
    }
    left = f"a text whose every part is understood; '{symbol.words}' is left over"
    raise RefusedError(
        reasons.get(symbol.kind, left), sure=symbol.kind in ("hurt", "unit") or alone
    )


def read(row: Sequence[Symbol], text: str = "") -> dict[str, Fraction]:
    """Return the shares of two objectives that sum to 1.

    Raises:
        RefusedError: the row has no form of a mix, shares that do not sum to 1, or the text a
            number below 0.
    """
    if negative := _NEGATIVE.search(text):
        raise RefusedError(f"{_BOUNDS}; '{negative[0]}' is none", sure=True)
    for symbol in (settled := _settled(row)):
        if symbol.kind in _BROKEN:
            refuse(symbol)
    if any(a.kind == "raise" and b.kind in ("cost", "harm") for a, b in itertools.pairwise(row)):
        raise RefusedError("shares, and nothing that asks for more of what should be small")
    kept = _merged([symbol for symbol in settled if symbol.kind in _LETTER])
    asked = {symbol.objective for symbol in kept if symbol.objective}
    for fractions in (False, True):  # "1/3" is a ratio of two objectives, or the share of one
        row_kept = [_fraction(symbol) for symbol in kept] if fractions else kept
        letters = "".join(_LETTER[symbol.kind] for symbol in row_kept).replace("F", "R")
        if (rest := letters.find("ZV")) >= 0:  # "the remaining 70%"
            row_kept = row_kept[:rest] + row_kept[rest + 1 :]
            letters = letters.replace("ZV", "V", 1)
        for name, pattern in _PATTERNS:
            if found := pattern.fullmatch(letters):
                part = row_kept[found.start(1) : found.end(1)]
                open_yet = name == "alone" and any(symbol.kind == "fraction" for symbol in part)
                said = {symbol.objective for symbol in part if symbol.objective}
                if asked == said and not open_yet:
                    return _alone(part, row) if name == "alone" else _shares(name, part)
    raise RefusedError("one objective, or two with their shares")


def _settled(row: Sequence[Symbol]) -> list[Symbol]:
    """Return the row without negations that take themselves back, such as "don't forget"."""
    out: list[Symbol] = []
    for symbol in row:
        if symbol.kind in ("dismiss", "moot") and out and out[-1].kind == "not":
            out.pop()
        else:
            out.append(symbol)
    return out


def _merged(row: Sequence[Symbol]) -> list[Symbol]:
    """Return the row with neighbours that name the same objective as one."""
    pairs = zip([Symbol(""), *row], row, strict=False)
    return [b for a, b in pairs if not b.objective or a.objective != b.objective]


def _alone(part: Sequence[Symbol], row: Sequence[Symbol]) -> dict[str, Fraction]:
    """Return what one share says: all, or in a text of nothing else the other one's too."""
    number, named = sorted(part, key=lambda symbol: symbol.kind not in _NUMBERS)[:2]
    kinds = [symbol.kind for symbol in row if symbol.kind != "stop"]
    called = "weight" in kinds and number.kind in ("share", "number")
    if number.value == 1 and (number.kind == "share" or called):
        return {named.objective: Fraction(1)}
    if number.kind == "share" and number.value > 1:
        raise RefusedError(f"{_BOUNDS}; {float(100 * number.value):g}% is none", sure=True)
    about = [kind for kind in kinds if kind in ("about", "like", "weight")]
    charge = named.kind in ("benefit", "stock") and not {"about", "weight"} & {*about}
    plain = len(kinds) - len(about) == 2 and not charge  # "5% battery" asks for nothing
    of_all = number.kind == "share" and (about or row[1] is number)
    in_favour = number.kind == "ratio" and "about" in about and number.value > _HALF
    inside = 0 <= number.value < 1 if called else 0 < number.value < 1
    if not (plain and inside and (called or of_all or in_favour)):
        raise RefusedError("the other objective's share too, as in '70% latency, rest energy'")
    if named.objective not in PAIR:
        raise RefusedError(f"the share of {' or '.join(PAIR)} too")
    return {name: abs((name != named.objective) - number.value) for name in PAIR}


def _shares(form: str, part: Sequence[Symbol]) -> dict[str, Fraction]:
    first, second = (symbol.objective for symbol in part if symbol.objective)
    if first == second:
        raise RefusedError("two different objectives; this names one of them twice")
    share = _first(form, [symbol for symbol in part if symbol.kind in _NUMBERS])
    if not 0 <= share <= 1:
        raise RefusedError(f"{_BOUNDS}, not both of them 0", sure=True)
    shares = {first: share, second: 1 - share}
    return {name: shares[name] for name in in_order(shares)}


def in_order(names: Iterable[str]) -> list[str]:
    """Return objectives as ``PAIR`` has them, further ones after."""
    return sorted(names, key=lambda name: (*PAIR, name).index(name))


def _fraction(symbol: Symbol) -> Symbol:
    """Return "2/3" as a share of its own, and no ratio."""
    if symbol.kind != "fraction":
        return symbol
    over, under = (Fraction(part) for part in symbol.words.split("/"))
    return dataclasses.replace(symbol, kind="share", value=over / under if under else Fraction(2))


def _first(form: str, numbers: Sequence[Symbol]) -> Fraction:
    """Return the share of the objective that is named first; outside [0, 1] it is none."""
    fixed = {"mostly": MOSTLY, "little": 1 - MOSTLY, "slightly": SLIGHTLY}
    if form in fixed:
        return fixed[form]
    value = numbers[0].value
    if form == "pair":
        return _of_pair(numbers)
    if form == "parts":
        total = value + numbers[1].value
        return value / total if total else Fraction(-1)
    if form in ("rest", "rest_first"):
        return abs((form == "rest_first") - _percent(numbers[0]))
    return value / (1 + value) if form == "times" else value


def _percent(number: Symbol) -> Fraction:
    """Return a share; a bare number of more than 1 is taken for a percentage."""
    return number.value / 100 if number.kind == "number" and number.value > 1 else number.value


def _of_pair(numbers: Sequence[Symbol]) -> Fraction:
    """Return the first of two shares; bare numbers may sum to 1, 10 or 100."""
    bare = all(number.kind == "number" for number in numbers)
    values = [number.value if bare else _percent(number) for number in numbers]
    total = sum(values)
    if total != 1 and not (bare and total in (10, 100)):
        shown = f"{float(total):g}" if bare else f"{100 * float(total):g}%"
        raise RefusedError(f"shares that sum to 100% (or 1); these sum to {shown}", sure=True)
    return values[0] / total
