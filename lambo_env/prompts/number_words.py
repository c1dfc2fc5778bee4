"""Numbers in a text, in digits or words: shares, ratios, multiples, limits and bare numbers."""

from __future__ import annotations

import dataclasses
import functools
import re
from fractions import Fraction

from lambo_env.prompts import catalogue as data

_DIGITS = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_JOINTS = ((":",), ("/",), ("to",), ("out", "of"), ("-",), ("against",), ("zu",))
_PERCENTAGE = 20  # a ratio's parts are below
_PARTED = 100  # a count of parts is below


@dataclasses.dataclass(frozen=True)
class Symbol:
    """A class of words, the objective that it speaks of, and a number's value."""

    kind: str
    objective: str = ""
    value: Fraction = Fraction(0)
    words: str = ""


Found = tuple[Symbol, int] | None  # a symbol and the word after it


@functools.cache
def _named(start: str) -> dict[str, int]:
    """Return the words of lists such as part_3, with their numbers."""
    lists = data.lexicon("numbers")
    return {
        word: int(key.removeprefix(start))
        for key, words in lists.items()
        if key.startswith(start)
        for word in words
    }


@functools.cache
def _cardinals() -> dict[str, int]:
    lists = data.lexicon("numbers")
    ones = {word: value for value, word in enumerate(lists["cardinals"])}
    return ones | {word: 20 + 10 * k for k, word in enumerate(lists["tens"])}


@functools.cache
def _list(name: str) -> frozenset[str]:
    return frozenset(data.lexicon("numbers")[name])


def words() -> tuple[str, ...]:
    """Return the words that numbers are made of."""
    some = ("percent", "times", "hundred", *_list("tens"))
    return (*_cardinals(), *_named("part_"), *_named("times_"), *some)


def number(words: list[str], at: int) -> Found:
    """Return the number that begins at a word and where it ends, or None.

    Its kind is share, parts (of an unknown whole), ratio, fraction (n/m, which may be either),
    times, unit (a number with a physical unit) or number.
    """
    if words[at] in _named("times_"):
        return Symbol("times", value=Fraction(_named("times_")[words[at]]), words=words[at]), at + 1
    if words[at : at + 2] == ["half", "as"]:
        return Symbol("times", value=Fraction(1, 2), words="half as"), at + 2
    found = _cardinal(words, at)
    return _part(words, at) or (_of(found[0], words, found[1]) if found else None)


def _of(value: Fraction, words: list[str], then: int) -> Found:
    """Return what the words after a number make of it."""
    after = words[then] if then < len(words) else ""
    if words[then : then + 2] == ["per", "cent"]:
        return Symbol("share", value=value / 100, words="%"), then + 2
    if words[then : then + 2] == ["-", "fold"]:
        return Symbol("times", value=value, words="times"), then + 2
    kinds = {
        "percent": ("share", value / 100),
        "times": ("times", value),
        "shares": ("parts", value),
    }
    if after == "x" and value < 1:  # "0.3 x latency"
        return Symbol("number", value=value), then + 1
    for name, (kind, meant) in kinds.items():
        if after in _list(name):
            return Symbol(kind, value=meant, words=after), then + 1
    if after in _list("units"):
        return Symbol("unit", value=value, words=f"{float(value):g} {after}"), then + 1
    alone = None if words[then - 1] == "one" else (Symbol("number", value=value), then)
    return _ratio(value, words, then) or alone


def _ratio(value: Fraction, words: list[str], then: int) -> Found:
    """Return what "3:1", "3 to 1", "70/30" or "7 out of 10" make of their first number."""
    for joint in _JOINTS:
        start = then + len(joint)
        found = _cardinal(words, start) if start < len(words) else None
        if tuple(words[then:start]) != joint or found is None:
            continue
        other, end = found
        if joint == ("out", "of"):
            share = value / other if other else Fraction(2)
            return Symbol("share", value=share, words="of"), end
        total = value + other
        share = value / total if total and not _percentages(value, other) else Fraction(-1)
        kind = "fraction" if joint == ("/",) else "ratio"
        end += words[end : end + 1] == ["%"]
        return Symbol(kind, value=share, words=f"{value}/{other}"), end
    return None


def _percentages(one: Fraction, two: Fraction) -> bool:
    """Return whether two numbers look like percentages, and do not sum to 100."""
    return min(one, two) >= _PERCENTAGE and one + two != 100


def _part(words: list[str], at: int) -> Found:
    """Return "half", "a third", "two thirds" or "three quarters" as a share."""
    count, then = _cardinals().get(words[at], 1), at + 1
    if words[at].isdigit() and int(words[at]) < _PARTED:
        count = int(words[at])
    elif words[at] not in ("a", "an", *_cardinals()):
        then = at
    then += words[then : then + 1] == ["-"]
    parts = _named("part_").get(words[then]) if then < len(words) else None
    if parts is None or (then == at and parts != 2):
        return None
    return Symbol("share", value=Fraction(count, parts), words="part"), then + 1


def _cardinal(words: list[str], at: int) -> tuple[Fraction, int] | None:
    """Return the number in digits or words that begins at a word, and where it ends."""
    word, following = words[at], words[at + 1 : at + 2]
    if _DIGITS.fullmatch(word):
        return Fraction("0" + word if word.startswith(".") else word), at + 1
    if word in ("a", "one") and following == ["hundred"]:
        return Fraction(100), at + 2
    if word not in _cardinals():
        return None
    value, then = _cardinals()[word], at + 1
    if words[then : then + 3] == ["and", "a", "half"]:
        return Fraction(2 * value + 1, 2), then + 3
    if word == "zero" and following == ["point"] and at + 2 < len(words):
        tenths = _cardinals().get(words[at + 2], 10)
        return (Fraction(tenths, 10), at + 3) if tenths < 10 else None
    if value >= 20:
        then += following == ["-"]
        ones = _cardinals().get(words[then], 0) if then < len(words) else 0
        if 0 < ones < 10:
            return Fraction(value + ones), then + 1
    return Fraction(value), at + 1
