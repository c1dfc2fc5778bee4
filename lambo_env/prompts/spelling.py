"""Words as they were meant: letters lost or swapped, spaces lost or moved.

A word that no phrase has is read as the nearest one; where that is none, it may still be a slip of
one that turns a sentence round.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lambo_env.prompts.number_words import Symbol

if TYPE_CHECKING:
    from lambo_env.prompts.lexicon import Lexicon

# a word that is joined to one of these by mistake is read where it is one of the weighty ones
_SMALL = frozenset(
    (
        *("a", "an", "the", "and", "or", "but", "is", "are", "was", "do", "does", "of", "in", "on"),
        *("to", "for", "at", "as", "by", "not", "no", "be", "that", "it"),
    )
)
_WEIGHTY = ("good", "bad", "stock", "benefit", "harm", "cost")
_SILENT = {"", "counted", "numbered"}  # kinds of words that change nothing
_NAME = 5  # letters of a name that is found in a word without its space
# words of other languages, which no misspelt English one is read as
FOREIGN = frozenset(
    (
        *("statt", "das", "die", "der", "dem", "den", "und", "oder", "nicht", "kein", "keine"),
        *("nur", "zeit", "ist"),
    )
)
# a word like one of these, but none of them, could turn a sentence round
_TURNING = (
    *("not", "none", "never", "stop", "quit", "than", "even", "only", "less", "more", "rather"),
    *("instead", "apart", "half", "three", "four", "five", "seven", "eight", "nine", "times"),
    *("twice", "while", "since", "without", "ignore", "least", "last", "what", "when", "does"),
    *("time", "delay", "power", "fast", "slow", "high", "long", "lost", "wasted"),
)
_CLOSE = 0.74  # likeness to one of them
_NEAR = 0.79  # least likeness of a misspelt word
_SHORTEST = 4  # letters of a word that may be misspelt
_LONG = 8  # letters of a word in which two may be wrong


def meant(words: Sequence[str], known: Lexicon) -> list[str]:
    """Return the words that misspelt, joined or parted ones were meant to be."""
    spelt = functools.cache(lambda word: _spelt(word, known))
    spaced = _spaced(list(words), known, spelt)
    return [part for word in spaced for part in _parted(word, known, spelt)]


def slipped(word: str, known: Lexicon) -> bool:
    """Return whether an unknown word may be a misspelt one that turns a sentence round.

    It is very short, close to such a word, or has a word that says something glued to another.
    """
    if not word.isalpha():
        return False
    if len(word) < _SHORTEST or difflib.get_close_matches(word, _TURNING, 1, _CLOSE):
        return True
    parts = ((word[:k], word[k:]) for k in range(3, len(word) - 2))
    return any(
        {one, two} <= known.every and not {_kind(one, known), _kind(two, known)} <= _SILENT
        for one, two in parts
    )


def _kind(word: str, known: Lexicon) -> str:
    return known.phrases.get((word,), Symbol("")).kind


def _spaced(words: list[str], known: Lexicon, spelt: Callable[[str], str]) -> list[str]:
    """Return the words with a space moved, or left out, where only so both sides are known."""
    out = words[:1]
    for word in words[1:]:
        one = out[-1]
        whole = all(spelt(part) in known.every for part in (word, one))
        if word.isalpha() and one.isalpha() and not whole:
            splits = ((one[:-1], one[-1] + word), (one + word[0], word[1:]), (one + word, ""))
            for left, right in splits:
                if min(len(left), len(right) or 2) > 1 and {left, right or left} <= known.every:
                    out[-1], word = left, right
                    break
        if word:
            out.append(word)
    return out


def _spelt(word: str, known: Lexicon) -> str:
    """Return the word that a misspelt one was meant to be, or itself."""
    options = known.words.get(word[:1], ())
    if word in known.every or len(word) < _SHORTEST or not word.isalpha():
        return word
    for k in range(len(word) - 1):  # two letters in the wrong order: "dealy"
        turned = word[:k] + word[k + 1] + word[k] + word[k + 2 :]
        if turned in known.every:
            return turned
    whole = [first + word for first in known.words if first + word in known.every]
    telling = [word for word in whole if _kind(word, known) in _WEIGHTY]
    if len(telling or whole) == 1:  # the first letter lost: "atency"
        return (telling or whole)[0]
    reach = 1 if len(word) < _LONG else 2
    near = [
        option
        for option in options
        if len(option) >= _SHORTEST and abs(len(option) - len(word)) <= reach
    ]
    best = difflib.get_close_matches(word, near, n=1, cutoff=_NEAR)
    return best[0] if best else word


def _parted(word: str, known: Lexicon, spelt: Callable[[str], str]) -> tuple[str, ...]:
    """Return the word as it was meant, or two words that lost the space between them."""
    if word not in known.every:
        for k in range(1, len(word)):
            if {word[:k], word[k:]} <= _SMALL:
                return word[:k], word[k:]
    whole = spelt(word)
    if whole in known.every or not word.isalpha():
        return (whole,)
    for k in range(1, len(word)):
        for part, other in ((word[:k], word[k:]), (word[k:], word[:k])):
            kind = _kind(part, known)
            small = other in _SMALL and kind in (*_WEIGHTY, "loose", "not", "no")
            long = len(part) >= _NAME and len(other) >= _SHORTEST and kind in _WEIGHTY
            if small or (long and other in known.every):
                return word[:k], word[k:]
    return (whole,)
