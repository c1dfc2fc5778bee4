"""What a text asks for: ``parse(text)`` gives its latency weight or refuses.

Catalogue and mix grammar, never keywords.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from lambo_env.prompts import catalogue as phrases
from lambo_env.utils import validate

MAX_CHARS = 160
SPLITS = ("train", "held_out")
KINDS = ("latency", "energy", "mix")
GRID_PERCENT = tuple(range(5, 100, 5))  # the latency weights of drawn mixes
UNDERSTOOD = (
    "one of the catalogue's phrases, such as 'minimum latency' or 'minimum energy', or a mix, such as "
    "'70% latency, 30% energy', 'weigh latency 0.7 and energy 0.3', '3:1 latency to energy', 'balance latency and energy'"
)


def _more(kind: str) -> tuple[str, ...]:
    """Return further training phrasings, one a line.

    Many ways of speaking, so that a reader of texts learns words, not phrases.
    """
    path = Path(__file__).parent / "phrases" / f"{kind}.txt"
    return tuple(path.read_text(encoding="ascii").splitlines())


_PURE = {
    ("train", "latency"): phrases.LATENCY_TRAIN + _more("latency"),
    ("train", "energy"): phrases.ENERGY_TRAIN + _more("energy"),
    ("held_out", "latency"): phrases.LATENCY_HELD_OUT,
    ("held_out", "energy"): phrases.ENERGY_HELD_OUT,
}
_NOUNS = {"train": phrases.NOUNS_TRAIN, "held_out": phrases.NOUNS_HELD_OUT}
_WEIGHT = {"latency": 1.0, "energy": 0.0}
_NOUN = re.compile(
    r"\b(?:the )?("
    + "|".join(sorted((*phrases.LATENCY_NOUNS, *phrases.ENERGY_NOUNS), key=lambda noun: -len(noun)))
    + r")\b"
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?%?")
_HALF = Fraction(1, 2)


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


_WORDINGS = {
    "train": (
        *map(Wording, phrases.MIX_TRAIN),
        *(Wording(line, _HALF) for line in phrases.MAJORITY_TRAIN),
        *(Wording(line, _HALF, _HALF) for line in phrases.EQUAL_TRAIN),
    ),
    "held_out": (
        *map(Wording, phrases.MIX_HELD_OUT),
        *(Wording(line, _HALF) for line in phrases.MAJORITY_HELD_OUT),
        *(Wording(line, _HALF, _HALF) for line in phrases.EQUAL_HELD_OUT),
    ),
}


def check_text(text: Any, field: str = "prompt") -> str:
    """Return ``text`` if it can be a prompt.

    Raises:
        ValueError: if it is no str, blank, longer than 160 characters, or not printable 7-bit
            ASCII.
    """
    allowed = f"a str of 1 to {MAX_CHARS} printable ASCII characters, not blank"
    validate.check(field, text, isinstance(text, str), allowed)
    if len(text) > MAX_CHARS:
        validate.refuse(field, text, f"{allowed} (this has {len(text)} characters)")
    for position, char in enumerate(text):
        if not " " <= char <= "~":
            validate.refuse(field, text, f"{allowed} (character {position} is {char!a})")
    validate.check(field, text, bool(text.strip()), allowed)
    return str(text)


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


def _signature(text: str) -> tuple[str, list[str], list[str]]:
    """Split a normalised text into its wording (# a number, @ a quantity), its numbers and its quantities, in order."""
    text = normalise(text)
    wording = _NUMBER.sub("#", _NOUN.sub("@", text))
    return wording, _NUMBER.findall(text), [_quantity(noun) for noun in _NOUN.findall(text)]


def _quantity(noun: str) -> str:
    return "latency" if noun in phrases.LATENCY_NOUNS else "energy"


@functools.cache
def _by_text() -> dict[str, float]:
    return {normalise(text): _WEIGHT[kind] for (_, kind), texts in _PURE.items() for text in texts}


@functools.cache
def _by_signature() -> dict[str, Wording]:
    wordings = (wording for split in SPLITS for wording in _WORDINGS[split])
    return {_signature(wording.say("latency", "energy", 60))[0]: wording for wording in wordings}


def parse(text: str, field: str = "prompt") -> float:
    """Return the latency weight that ``text`` asks for: 1 is latency alone, 0 is energy alone.

    A text is understood if it is a phrase of the catalogue (either split) or one of its mix
    wordings with any numbers, up to case, spacing, final punctuation and -ise / -ize. There is no
    guess from key words.

    Args:
        text: the prompt.
        field: what an error calls it.

    Raises:
        ValueError: if the text is not understood or contradicts itself; it says what is understood
            and what is closest.

    >>> parse("Minimize latency."), parse("70 percent latency and 30 percent energy"), parse("1:3 latency to energy")
    (1.0, 0.7, 0.25)
    """
    found = _by_text().get(normalise(check_text(text, field)))
    if found is not None:
        return found
    wording, numbers, quantities = _signature(text)
    if wording in ("# @", "@ #"):
        shown = "the other quantity's share too, as in '70% latency, rest energy'; alone only 100%"
        validate.check(field, text, numbers[0] == "100%", shown)
        return _WEIGHT[quantities[0]]
    if wording not in _by_signature():
        _refuse_unknown(field, text)
    validate.check(
        field,
        text,
        quantities[0] != quantities[1],
        "a mix of latency and energy; this names one of them twice",
    )
    share = _share_of_first(_by_signature()[wording], numbers, field, text)
    weight = float(share if quantities[0] == "latency" else 1 - share)
    validate.check(
        field,
        text,
        share in (0, 1) or 0.0 < weight < 1.0,
        "shares that differ from 0 and 1 by at least 1e-15",
    )
    return weight


def _refuse_unknown(field: str, text: str) -> NoReturn:
    known = [*_by_text(), *(wording.say("latency", "energy", 50 if wording.high == _HALF else 70)
                            for split in SPLITS for wording in _WORDINGS[split])]  # fmt: skip
    near = validate.closest(normalise(text), known).removeprefix("; ").rstrip(";")
    validate.refuse(
        field,
        text,
        UNDERSTOOD + (f"; {near}" if near else "") + " (`lambo list prompts` shows all)",
    )


def _share_of_first(wording: Wording, numbers: list[str], field: str, text: str) -> Fraction:
    """Return the share in [0, 1] of the quantity named first, or refuse numbers that do not add up."""
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
    """Yield every text of a split that gives latency ``percent`` (1..99) of the weight."""
    for wording in _WORDINGS[split]:
        for latency, energy in _NOUNS[split]:
            for first, second, share in (
                (latency, energy, percent),
                (energy, latency, 100 - percent),
            ):
                if wording.allows(Fraction(share, 100)):
                    yield wording.say(first, second, share)


def mixture(
    split: str, rng: np.random.Generator, more: Sequence[Wording] = ()
) -> tuple[str, float, bool]:
    """Return a mix, its latency weight and whether it names latency first.

    Any wording of a split, percentage and names.
    """
    wordings = (*_WORDINGS[split], *more)
    while True:
        wording = wordings[int(rng.random() * len(wordings))]
        percent = 50 if wording.high == _HALF else 1 + int(rng.random() * 99)
        percent = 5 * max(1, percent // 5) if rng.random() < 0.5 else percent
        latency, energy = (
            names[int(rng.random() * len(names))]
            for names in (phrases.LATENCY_NOUNS, phrases.ENERGY_NOUNS)
        )
        swap = rng.random() < 0.5
        if wording.allows(Fraction(percent, 100)):
            text = (
                wording.say(energy, latency, percent)
                if swap
                else wording.say(latency, energy, percent)
            )
            return text, (100 - percent if swap else percent) / 100, not swap


def mix_examples(split: str, count: int) -> list[tuple[str, float]]:
    """Return ``count`` mixes (text, latency weight) that go through the split's wordings, weights, orders and nouns in turn."""
    found = []
    for turn in range(count):
        wording = _WORDINGS[split][turn * len(_WORDINGS[split]) // count]
        latency, energy = _NOUNS[split][turn // 2 % 2]
        for percent in (GRID_PERCENT[7 * turn % len(GRID_PERCENT)], 50, 25 + 50 * (turn % 2)):
            orders = [(latency, energy, percent), (energy, latency, 100 - percent)]
            texts = [
                wording.say(*order) for order in orders if wording.allows(Fraction(order[2], 100))
            ]
            if texts:
                found.append((texts[turn % len(texts)], percent / 100))
                break
    return found


def catalogue(split: str, kind: str) -> list[tuple[str, float]]:
    """Return the texts of a split and kind with their latency weights.

    Mixes on the 5 % grid, grouped by weight.
    """
    validate.known(split, SPLITS, "split")
    validate.known(kind, KINDS, "kind of prompt")
    if kind == "mix":
        return [(text, percent / 100) for percent in GRID_PERCENT for text in mixes(split, percent)]
    return [(text, _WEIGHT[kind]) for text in _PURE[split, kind]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectiveRow:
    """One line of the catalogue's listing."""

    name: str
    latency_weight: str
    meaning: str
    train_phrases: int
    held_out_phrases: int
    examples: tuple[str, ...]


def objectives() -> tuple[ObjectiveRow, ...]:
    """Return what prompts can ask for.

    A mix counts its wordings, each of which takes any weight it can say.
    """
    mix = "w x latency / local latency + (1 - w) x energy / local energy"
    about = {
        "latency": ("1", "mean latency, s"),
        "energy": ("0", "total energy, J"),
        "mix": ("0 < w < 1", mix),
    }
    rows = []
    for kind in KINDS:
        counts = [
            len(_WORDINGS[split]) if kind == "mix" else len(_PURE[split, kind]) for split in SPLITS
        ]
        texts = (
            _PURE["train", kind]
            if kind != "mix"
            else [Wording(w).say("latency", "energy", 70) for w in phrases.MIX_TRAIN]
        )
        weight, meaning = about[kind]
        rows.append(ObjectiveRow(name=kind, latency_weight=weight, meaning=meaning, train_phrases=counts[0],
                                 held_out_phrases=counts[1], examples=tuple(texts[k] for k in (0, 1, 22, 44))))  # fmt: skip
    return tuple(rows)
