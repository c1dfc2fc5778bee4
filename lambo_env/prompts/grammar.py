"""What a text asks for: ``parse_weights(text)`` gives the weights of its objectives or refuses.

The catalogue first, then its wordings of mixes with any numbers, then the rules of ``sentences``;
never keywords.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import heapq
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np

from lambo_env.prompts import catalogue as data
from lambo_env.prompts import sentences
from lambo_env.prompts.catalogue import SPLITS
from lambo_env.prompts.objectives import MIX, OBJECTIVES, PAIR, ObjectiveKind, kinds
from lambo_env.prompts.shares import RefusedError
from lambo_env.utils import validate

MAX_CHARS = 160
GRID_PERCENT = tuple(range(5, 100, 5))  # the first quantity's weights in drawn mixes
_NUMBER = re.compile(r"\d+(?:\.\d+)?%?")
_HALF = Fraction(1, 2)
_COMPARED = 64  # known phrases that a refused text is compared with, those that share most words
# what phones and word processors type, and letters that Unicode does not take apart
_FOLDED = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u00b4`", "'"), **dict.fromkeys("\u201c\u201d\u201e", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"), "\u2026": "...",
        "\u00df": "ss", "\u00e6": "ae", "\u00c6": "Ae", "\u00f8": "o", "\u00d8": "O", "\u0142": "l",
        "\u0141": "L", "\u00d7": "x", "\u2044": "/",
    }
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Wording:
    """One way to say a mix.

    The first-named quantity's share lies in (low, high), or is ``low`` where both are equal.
    """

    template: str
    low: Fraction = Fraction(0)
    high: Fraction = Fraction(1)

    def allows(self, share: Fraction) -> bool:
        """Return whether this wording can say that the first-named quantity has this share."""
        return self.low < share < self.high or share == self.low == self.high

    def say(self, first: str, second: str, percent: int) -> str:
        """Return the text that gives ``first`` a share of ``percent`` and ``second`` the rest."""
        common = math.gcd(percent, 100)
        return self.template.format(
            A=first, B=second, pa=f"{percent}%", pb=f"{100 - percent}%", fa=f"{percent / 100:g}",
            fb=f"{(100 - percent) / 100:g}", ra=percent // common, rb=(100 - percent) // common,
        )  # fmt: skip


@functools.cache
def wordings(split: str) -> tuple[Wording, ...]:
    """Return a split's ways to say a mix."""
    return (
        *map(Wording, data.phrases(split, "mix")),
        *(Wording(line, _HALF) for line in data.phrases(split, "majority")),
        *(Wording(line, _HALF, _HALF) for line in data.phrases(split, "equal")),
    )


def check_text(text: Any, field: str = "prompt") -> str:
    """Return ``text`` if it can be a prompt, accented letters and typographic marks as ASCII's.

    Raises:
        ValueError: if it is no str, blank, longer than 160 characters, or not printable 7-bit
            ASCII.
    """
    allowed = f"a str of 1 to {MAX_CHARS} printable ASCII characters, not blank"
    validate.check(field, text, isinstance(text, str), allowed)
    text = text if text.isascii() else _folded(text)
    if len(text) > MAX_CHARS:
        validate.refuse(field, text, f"{allowed} (this has {len(text)} characters)")
    for position, char in enumerate(text):
        if not " " <= char <= "~":
            validate.refuse(field, text, f"{allowed} (character {position} is {char!a})")
    validate.check(field, text, bool(text.strip()), allowed)
    return str(text)


def _folded(text: str) -> str:
    """Return the text with the marks over its letters left out, and ASCII's signs for others."""
    apart = unicodedata.normalize("NFKD", text.translate(_FOLDED)).translate(_FOLDED)
    return "".join(char for char in apart if not unicodedata.combining(char))


def normalise(text: str) -> str:
    """Return ``text`` without the differences that never matter.

    Case, spaces, final punctuation, -ise or -ize.
    """
    text = re.sub(r"(minim|maxim|optim|priorit)iz", r"\1is", " ".join(text.lower().split()))
    text = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", text)
    text = re.sub(r"(?<=\d) ?(?:%|(?:percent|per cent|pct)\b) ?", "% ", text)
    text = re.sub(r"(?<![\d.])\.(?=\d)", "0.", text)
    text = re.sub(r" ?([:/=+*]) ?", r"\1", re.sub(r" ?& ?", " and ", text))
    text = re.sub(r" ?,(?! ?and\b) ?", ", ", re.sub(r" ?, ?and\b", " and", text))
    return " ".join(text.split()).rstrip(" .!?;:,")


@functools.cache
def _noun() -> re.Pattern[str]:
    longest_first = sorted(
        (noun for nouns in data.nouns() for noun in nouns), key=len, reverse=True
    )
    return re.compile(rf"\b(?:the )?({'|'.join(longest_first)})\b")


def _signature(text: str) -> tuple[str, list[str], list[str]]:
    """Split a text into its wording (# a number, @ a quantity), its numbers and its quantities."""
    text, first = normalise(text), data.nouns()[0]
    return (
        _NUMBER.sub("#", _noun().sub("@", text)),
        _NUMBER.findall(text),
        [PAIR[noun not in first] for noun in _noun().findall(text)],
    )


@functools.cache
def _by_text(rows: tuple[ObjectiveKind, ...]) -> dict[str, str]:
    """Return the objective that each pure phrase names."""
    return {
        normalise(text): row.name
        for split in SPLITS
        for row in rows
        for text in data.phrases_of(split, row)
    }


@functools.cache
def _by_signature() -> dict[str, Wording]:
    every = (wording for split in SPLITS for wording in wordings(split))
    return {_signature(wording.say(*PAIR, 60))[0]: wording for wording in every}


def parse_weights(text: str, field: str = "prompt") -> dict[str, float]:
    """Return the weights of the objectives that ``text`` asks for, by name; they sum to 1.

    A text is understood if it is a phrase of the catalogue (either split) or one of its mix
    wordings with any numbers, up to case, spacing, final punctuation and -ise / -ize, or a sentence
    that the rules of ``phrases/lexicon/`` read to its end. There is no guess from key words.

    Args:
        text: the prompt.
        field: what an error calls it.

    Raises:
        ValueError: if the text is not understood or contradicts itself; it says what is understood
            and what is closest.

    >>> parse_weights("Minimize latency.")
    {'latency': 1.0}
    >>> parse_weights("70 percent latency and 30 percent energy")
    {'latency': 0.7, 'energy': 0.3}
    >>> parse_weights("1:3 latency to energy")
    {'latency': 0.25, 'energy': 0.75}
    >>> parse_weights("we don't need to save energy, just bring the RTT down")
    {'latency': 1.0}
    """
    try:
        return understood(text, field)
    except RefusedError as refused:
        _refuse_unknown(field, text, str(refused))


def understood(text: str, field: str = "prompt") -> dict[str, float]:
    """Return what ``parse_weights`` does, without a word of help where a text is refused.

    Raises:
        RefusedError: a sentence that is not understood, or whose meaning is refused.
        ValueError: shares that contradict each other.
    """
    text = check_text(text, field)
    sole = _by_text(tuple(OBJECTIVES.values())).get(normalise(text))
    if sole is not None:
        return {sole: 1.0}
    wording, numbers, quantities = _signature(text)
    if wording not in _by_signature():
        shares = sentences.read(text)
        return {name: float(share) for name, share in shares.items() if share}
    twice = f"a mix of {' and '.join(PAIR)}; this names one of them twice"
    validate.check(field, text, quantities[0] != quantities[1], twice)
    first = _share_of_first(_by_signature()[wording], numbers, field, text)
    share = first if quantities[0] == PAIR[0] else 1 - first
    validate.check(
        field,
        text,
        share in (0, 1) or 0.0 < float(share) < 1.0,
        "shares that differ from 0 and 1 by at least 1e-15",
    )
    return {PAIR[0]: float(share), PAIR[1]: float(1 - share)}


def _refuse_unknown(field: str, text: str, reason: str) -> NoReturn:
    pure = " or ".join(f"'{row.prompt}'" for row in OBJECTIVES.values())
    first, second = PAIR
    understood = (
        f"phrases such as {pure}, mixes such as '70% {first}, 30% {second}', '3:1 {first} to "
        f"{second}' and 'balance {first} and {second}', and plain sentences of that"
    )
    mixed = (
        wording.say(*PAIR, 50 if wording.high == _HALF else 70)
        for split in SPLITS
        for wording in wordings(split)
    )
    known = [*_by_text(tuple(OBJECTIVES.values())), *mixed]
    said = set(normalise(text).split())
    known = heapq.nlargest(
        _COMPARED, known, key=lambda other: len(said.intersection(other.split()))
    )
    near = difflib.get_close_matches(normalise(text), known, n=1, cutoff=0.5)
    means = f"; did you mean '{near[0]}', which is {_said(near[0])}?" if near else ""
    own = f"or give the weight too, as in ({shorten(text)!r}, 0.7)"
    shown = f"{reason}; understood are {understood}{means}; {own} (`lambo list prompts` shows all)"
    validate.refuse(field, text, shown)


def _said(text: str) -> str:
    """Return a known phrase's weights in words."""
    return ", ".join(f"{weight:g} {name}" for name, weight in parse_weights(text).items())


def shorten(text: str) -> str:
    """Return the text, or its beginning."""
    return text if len(text) <= 40 else f"{text[:37]}..."


def _share_of_first(wording: Wording, numbers: list[str], field: str, text: str) -> Fraction:
    """Return the share in [0, 1] of the quantity named first; refuse what does not add up."""
    slots = re.findall(r"{([pfr][ab])}", wording.template)
    if not slots:
        return wording.low
    values = [Fraction(number.rstrip("%")) for number in numbers]
    percents = [number.endswith("%") for number in numbers]
    if slots[0].startswith("r"):
        validate.check(
            field,
            text,
            sum(values) > 0 and percents[0] == percents[1],
            "a ratio such as 3:1, not 0:0",
        )
        share = values[0] / (values[0] + values[1])
    elif len(slots) == 1:
        share = _single(values[0], percents[0], field, text)
    else:
        share = _pair(values, percents, field, text)[0]
    share = 1 - share if len(slots) == 1 and slots[0].endswith("b") else share
    if wording.low == _HALF:
        validate.check(
            field, text, share > _HALF, "more than half for the quantity that the text puts first"
        )
    return share


def _single(value: Fraction, percent: bool, field: str, text: str) -> Fraction:
    allowed = "a share from 0% to 100%, or a fraction between 0 and 1"
    validate.check(field, text, value <= 100 if percent else 0 < value < 1, allowed)
    return value / 100 if percent else value


def _pair(values: list[Fraction], percents: list[bool], field: str, text: str) -> list[Fraction]:
    """Return both shares: percentages, fractions, or bare numbers that sum to 100."""
    if not any(percents) and sum(values) == 100:
        percents = [True, True]
    shares = [
        value / 100 if percent else value for value, percent in zip(values, percents, strict=True)
    ]
    total = float(sum(shares))
    shown = f"{100 * total:g}%" if any(percents) else f"{total:g}"
    validate.check(
        field, text, sum(shares) == 1, f"shares that sum to 100% (or 1); these sum to {shown}"
    )
    return shares


def mixes(split: str, percent: int) -> Iterator[str]:
    """Yield every text of a split that gives the first of ``PAIR`` ``percent`` (1..99)."""
    for wording in wordings(split):
        for one, other in data.pairs(split):
            for first, second, share in ((one, other, percent), (other, one, 100 - percent)):
                if wording.allows(Fraction(share, 100)):
                    yield wording.say(first, second, share)


def mixture(
    split: str, rng: np.random.Generator, more: Sequence[Wording] = ()
) -> tuple[str, float, bool]:
    """Return a mix, the weight of the first of ``PAIR`` and whether the text names that one first.

    Any wording of a split, percentage and names.
    """
    every = (*wordings(split), *more)
    while True:
        wording = every[int(rng.random() * len(every))]
        percent = 50 if wording.high == _HALF else 1 + int(rng.random() * 99)
        percent = 5 * max(1, percent // 5) if rng.random() < 0.5 else percent
        names = [nouns[int(rng.random() * len(nouns))] for nouns in data.nouns()]
        swap = rng.random() < 0.5
        if wording.allows(Fraction(percent, 100)):
            text = wording.say(names[swap], names[not swap], percent)
            return text, (100 - percent if swap else percent) / 100, not swap


def mix_examples(split: str, count: int) -> list[tuple[str, float]]:
    """Return ``count`` mixes and the weights of the first of ``PAIR``.

    They go through the split's wordings, weights, orders and nouns in turn.
    """
    found = []
    every, names = wordings(split), data.pairs(split)
    for turn in range(count):
        wording = every[turn * len(every) // count]
        one, other = names[turn // 2 % 2]
        for percent in (GRID_PERCENT[7 * turn % len(GRID_PERCENT)], 50, 25 + 50 * (turn % 2)):
            orders = [(one, other, percent), (other, one, 100 - percent)]
            texts = [
                wording.say(*order) for order in orders if wording.allows(Fraction(order[2], 100))
            ]
            if texts:
                found.append((texts[turn % len(texts)], percent / 100))
                break
    return found


def catalogue(split: str, kind: str) -> list[tuple[str, dict[str, float]]]:
    """Return the texts of a split and kind with the weights of their objectives.

    Mixes on the 5 % grid, grouped by weight.
    """
    validate.known(split, SPLITS, "split")
    validate.known(kind, kinds(), "kind of prompt")
    if kind == MIX:
        return [
            (text, {PAIR[0]: percent / 100, PAIR[1]: (100 - percent) / 100})
            for percent in GRID_PERCENT
            for text in mixes(split, percent)
        ]
    return [(text, {kind: 1.0}) for text in data.phrases_of(split, OBJECTIVES[kind])]


def objectives() -> list[tuple[str, str, str, int, int, tuple[str, ...]]]:
    """Return what prompts can ask for.

    Per kind: name, measure, unit, number of training and of held-out phrases, examples.
    A mix counts its wordings, each of which takes any weight it can say.
    """
    first, second = PAIR
    mix = f"w x {first} / local {first} + (1 - w) x {second} / local {second}"
    listed: list[tuple[Any, ...]] = [
        (row.name, row.measure, row.unit, *(data.phrases_of(split, row) for split in SPLITS))
        for row in OBJECTIVES.values()
    ]
    mixed = (tuple(wording.say(*PAIR, 70) for wording in wordings(split)) for split in SPLITS)
    return [
        (*about, len(train), len(held_out), train[:2] + train[22::22][:2])
        for *about, train, held_out in (*listed, (MIX, mix, "", *mixed))
    ]
