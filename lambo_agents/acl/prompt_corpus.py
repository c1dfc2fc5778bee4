"""The texts of prompt pretraining.

Catalogue phrases, sentences composed of word lists, and typing errors.

The catalogue's ``words`` hold how people speak of either quantity; a composed text is a clause of
one of them, sometimes with the other one dismissed ("..., whatever it costs in joules"), sometimes
with words around it. Held-out phrases are never drawn.
"""

from __future__ import annotations

import functools
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from lambo_env.prompts.catalogue import phrases, words
from lambo_env.prompts.grammar import Wording, mixture, normalise
from lambo_env.prompts.objectives import PAIR
from lambo_env.prompts.prompts import MAX_CHARS, Prompts

_KINDS = ("bad", "good", "adjective", "adverb", "clause")
_MIXED = 0.5  # share of the texts that are mixes: numbers are harder to read than words
_CATALOGUE = 0.4  # share of the pure texts that are the catalogue's own phrases
_DISMISS = 0.2  # share of composed texts that also dismiss the other quantity
_AROUND = 0.35  # chance of words before, and of words after
_SLIP = 0.3  # share of the pure texts with an error: a word lost or a letter wrong
_TURNS = 5  # times that a half of an uneven wording is used
_OTHERS = dict(zip(PAIR, reversed(PAIR), strict=True))


@functools.cache
def _held_out() -> frozenset[str]:
    return frozenset(normalise(text) for name in PAIR for text in phrases("held_out", name))


@functools.cache
def _wordings() -> tuple[Wording, ...]:
    """Return further wordings of mixes.

    Of those that only say how little the lesser quantity gets, each half with a few of the others.
    """
    lists, half = words("common"), Fraction(1, 2)
    most, little = lists["most"], lists["little"]
    pairs = [
        (most[k], little[(7 * k + 5 * turn) % len(little)])
        for turn in range(_TURNS)
        for k in range(len(most))
    ]
    uneven = [
        Wording(f"{head}{(', ', ' ')[k % 2]}{tail}", half) for k, (head, tail) in enumerate(pairs)
    ]
    return (
        *map(Wording, lists["mix"]),
        *(Wording(text, half, half) for text in lists["even"]),
        *uneven,
    )


def _pick(lists: dict[str, tuple[str, ...]], key: str, rng: np.random.Generator) -> str:
    options = lists[key]
    return options[int(rng.random() * len(options))]


def compose(quantity: str, rng: np.random.Generator) -> str:
    """Return a text that asks for one quantity alone, lower case, at most 160 characters."""
    own, common = words(quantity), words("common")
    kind = _KINDS[int(rng.random() * len(_KINDS))]
    text = _pick(own, "clause", rng) if kind == "clause" else _pick(common, kind, rng)
    for slot, key in (
        ("{n}", kind),
        ("{a}", kind),
        ("{d}", kind),
        ("{v}", "do"),
        ("{o}", "object"),
    ):
        if slot in text:
            text = text.replace(slot, _pick(own, key, rng))
    if rng.random() < _DISMISS:
        other = _pick(common, "dismissal", rng).replace(
            "{n}", _pick(words(_OTHERS[quantity]), "bad", rng)
        )
        joint = (", ", " and ", "; ", ", ")[int(rng.random() * 4)]
        text = f"{other}{joint}{text}" if rng.random() < 0.3 else f"{text}{joint}{other}"
    if rng.random() < _AROUND:
        text = f"{_pick(common, 'before', rng)} {text}"
    if rng.random() < _AROUND:
        text = f"{text} {_pick(common, 'after', rng)}"
    text = text[:MAX_CHARS].strip()
    return compose(quantity, rng) if normalise(text) in _held_out() else text


def slip(text: str, rng: np.random.Generator) -> str:
    """Return the text with a word lost, or a letter lost, doubled, swapped or changed."""
    parts = text.split()
    if len(parts) > 3 and rng.random() < 0.5:
        del parts[int(rng.random() * len(parts))]
        return " ".join(parts)
    at, kind = int(rng.random() * len(text)), int(rng.random() * 4)
    if kind == 0 and len(text) > 3:
        return (text[:at] + text[at + 1 :]).strip() or text
    if kind == 1:
        return (text[:at] + text[at] + text[at:])[:MAX_CHARS]
    if kind == 2 and at > 0:
        return (text[: at - 1] + text[at] + text[at - 1] + text[at + 1 :]).strip()
    return (text[:at] + chr(97 + int(rng.random() * 26)) + text[at + 1 :]).strip()


def sample(count: int, rng: np.random.Generator) -> tuple[Prompts, NDArray[np.bool_]]:
    """Return ``count`` texts and whether each asks for the first of ``PAIR``, or names it first.

    Mixes, phrases of the catalogue, composed texts.
    """
    mixed, known = int(count * _MIXED), int(count * (1 - _MIXED) * _CATALOGUE)
    rows = [mixture("train", rng, _wordings()) for _ in range(mixed)]
    if known:
        drawn = Prompts.sample(known, rng, kinds=PAIR)
        rows += [
            (text, w, w == 1)
            for text, w in zip(drawn.texts, drawn.latency_weight.tolist(), strict=True)
        ]
    for _ in range(count - len(rows)):
        first = rng.random() < 0.5
        rows.append((compose(PAIR[0] if first else PAIR[1], rng), float(first), first))
    slips = rng.random(count) < _SLIP
    texts = [
        slip(text, rng) if weight in (0.0, 1.0) and s else text
        for (text, weight, _), s in zip(rows, slips, strict=True)
    ]
    return Prompts(tuple(texts), np.asarray([weight for _, weight, _ in rows])), np.asarray(
        [first for *_, first in rows]
    )
