"""What words mean: a text as a row of symbols, each a class of ``phrases/lexicon/``.

A text is a list of words, punctuation marks and numbers. A phrase is matched where it is longest; a
word that no phrase has is read as the nearest one by its spelling, or left unknown.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import itertools
import re
from collections.abc import Iterable, Iterator

from lambo_env.prompts import catalogue as data
from lambo_env.prompts import number_words
from lambo_env.prompts.number_words import Symbol
from lambo_env.prompts.objectives import OBJECTIVES, ObjectiveKind

# classes of an objective's words, those that say more first
CLASSES = ("want", "zero", "good", "bad", "stock", "benefit", "harm", "cost", "loose")
_TOKEN = re.compile(r"\d+(?:\.\d+)?(?:st|nd|rd|th)?|\.\d+|[a-z]+|[^\sa-z\d]")
_STOPS = frozenset(",;.!?:")
_CONTRACTED = re.compile(r"(?<=[a-z])n't\b|(?<=[a-z])'(?:s|re|m|ve|d|ll)\b|(?<=s)'")
_APOSTROPHE_LOST = re.compile(
    r"\b(do|does|did|is|are|was|were|should|would|could|must|need|has|have)"
    r"(?:nt'?|'nt|n'|'t|n '?t)(?![a-z'])"
)
_CHARGED = r"(?:batter(?:y|ies)|(?:phone|handset|device|drone|sensor|laptop|tablet|headset)s?)"
_AT = r"(?:is|are|was) (?:only |still |already |)(?:at|on|down to)"
_SPELLINGS = (
    (r"(minim|maxim|optim|priorit|econom|util|real)iz", r"\1is"),
    (r"\b((?:[a-z]\.){2,})", lambda found: found[0].replace(".", "")),
    (r"(?<=[a-z])-(?=[a-z])|_", " "),
    (r"\b(min|max|approx|resp)\.", r"\1"),
    (r"\bavg\.?", "average"),
    (r"\bno\. ?(?=\d)", "number "),
    (r"\b(?:teh|hte)\b", "the"),
    (r"\b(?:ont|nott|nt|snot)\b", "not"),
    (r"\b(do|does|did|should|must|can|could|would|will|need) (?:nto|ot)\b", r"\1 not"),
    (r"\b(?:dno'?t|odn't|dn't|on't|dotn)\b", "do not"),
    ("favor", "favour"),
    (r"\bcant (?=(?:olerat|ak|rad|reat)(?:e|ed|ing)\b)", "can t"),
    (r"\b(?:can't|cant'?|ca'nt|ca't|cannot)\b|\bcan'(?![a-z])", "can not"),
    (r"\b(?:won'?t'?|wo'nt|wo't)\b|\bwon'(?![a-z])", "will not"),
    (_APOSTROPHE_LOST, r"\1 not"),
    (r"n't(?=[a-z])", " not "),
    (r"\b(?:(?:n|o|on) |no ?)need\b", "no need"),
    (r"^ever\b", "never"),
    (r"\b(go|goes|going|gone|went) lat\b", r"\1 flat"),
    (_CONTRACTED, lambda found: " not" if found[0] == "n't" else ""),
    (r"\?(?=.*[a-z])", " "),  # "Energy? Not important."
    (r"\bfor (?:every|each|one) (?:point|unit|part|share)(?: of| that)?\b", "1 part"),
    # how much charge is left is no share
    (
        rf"\b{_CHARGED} (?:{_AT}|at) \d+ ?(?:%|percent|per cent)(?: charge| battery)?(?= ?[,.;:])",
        "",
    ),
)
# a word that is joined to one of these by mistake is read where it is one of the weighty ones
_SMALL = frozenset(
    (
        *("a", "an", "the", "and", "or", "but", "is", "are", "was", "do", "does", "of", "in", "on"),
        *("to", "for", "at", "as", "by", "not", "no", "be", "that", "it"),
    )
)
_WEIGHTY = ("good", "bad", "stock", "benefit", "harm", "cost")
_NAME = 5  # letters of a name that is found in a word without its space
# words of other languages, which no misspelt English one is read as
_FOREIGN = frozenset(
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


@dataclasses.dataclass(frozen=True)
class Lexicon:
    """All phrases with what they mean, and all words of them, by first letter and at once."""

    phrases: dict[tuple[str, ...], Symbol]
    words: dict[str, tuple[str, ...]]
    every: frozenset[str]
    longest: int


def folded(text: str) -> str:
    """Return lower case with one spelling of -ise, of contractions and of abbreviations."""
    text = text.lower()
    for pattern, spelt in _SPELLINGS:
        text = re.sub(pattern, spelt, text)
    return text


def _entries(lists: dict[str, tuple[str, ...]], kind: str) -> Iterator[tuple[str, ...]]:
    """Yield the phrases of a class as words: every reading of its entries' (a|b)."""
    for entry in lists.get(kind, ()):
        split = _TOKEN.findall if re.search(r"\d", entry) else str.split
        parts = [part.split("|") for part in re.split(r"\(([^()]*)\)", entry)]
        for choice in itertools.product(*parts):
            if words := tuple(split("".join(choice))):
                yield words


@functools.cache
def _lexicon(rows: tuple[ObjectiveKind, ...]) -> Lexicon:
    lists = {row.name: {**data.lexicon(row.name), **dict(row.words)} for row in rows}
    common = data.lexicon("common")
    classes = [(kind, row.name, lists[row.name]) for kind in CLASSES for row in rows]
    classes += [(kind, "", common) for kind in common]
    phrases: dict[tuple[str, ...], Symbol] = {}
    for kind, name, entries in classes:
        for phrase in _entries(entries, kind):
            phrases.setdefault(phrase, Symbol(kind, name))
    single = (word for line in data.lines("lexicon", "context") for word in line.split())
    for text in (*data.lines("lexicon", "phrases"), *single):
        phrases.setdefault(tuple(_TOKEN.findall(folded(text))), Symbol(""))
    every = {word for phrase in phrases for word in phrase if word.isalpha()}
    every.update(number_words.words())
    spelt: dict[str, list[str]] = {}
    for word in sorted(every - _FOREIGN):
        spelt.setdefault(word[0], []).append(word)
    by_letter = {letter: tuple(words) for letter, words in spelt.items()}
    return Lexicon(phrases, by_letter, frozenset(every), max(map(len, phrases)))


def lexicon() -> Lexicon:
    """Return the phrases of all objectives of the table."""
    return _lexicon(tuple(OBJECTIVES.values()))


def slipped(word: str) -> bool:
    """Return whether an unknown word may be a misspelt one that turns a sentence round.

    It is very short, close to such a word, or has a word that says something glued to another.
    """
    known = lexicon()
    if not word.isalpha():
        return False
    if len(word) < _SHORTEST or difflib.get_close_matches(word, _TURNING, 1, _CLOSE):
        return True
    parts = ((word[:k], word[k:]) for k in range(3, len(word) - 2))
    return any(
        one in known.every and two in known.every and (_says(one, known) or _says(two, known))
        for one, two in parts
    )


@functools.cache
def _bare() -> frozenset[str]:
    return frozenset(word for line in data.lines("lexicon", "bare") for word in line.split())


def tells(text: str, row: Iterable[Symbol]) -> bool:
    """Return whether a text has words, beside its symbols, that a bare wish has none of."""
    said = {word for symbol in row for word in symbol.words.split()}
    words = {word for word in _TOKEN.findall(folded(text)) if word.isalpha()}
    return not words - said <= _bare()


def _says(word: str, known: Lexicon) -> bool:
    return known.phrases.get((word,), Symbol("")).kind not in ("", "counted", "numbered")


def _spaced(words: list[str], known: Lexicon) -> list[str]:
    """Return the words with a space moved, or left out, where only so both sides are known."""
    out = words[:1]
    for word in words[1:]:
        one = out[-1]
        whole = all(_spelt(part, known) in known.every for part in (word, one))
        if word.isalpha() and one.isalpha() and not whole:
            splits = ((one[:-1], one[-1] + word), (one + word[0], word[1:]), (one + word, ""))
            for left, right in splits:
                if left and left in known.every and (not right or right in known.every):
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
    telling = [word for word in whole if known.phrases.get((word,), Symbol("")).kind in _WEIGHTY]
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


def _parted(word: str, known: Lexicon) -> tuple[str, ...]:
    """Return the word as it was meant, or two words that lost the space between them."""
    if word not in known.every:
        for k in range(1, len(word)):
            if {word[:k], word[k:]} <= _SMALL:
                return word[:k], word[k:]
    spelt = _spelt(word, known)
    if spelt in known.every or not word.isalpha():
        return (spelt,)
    for k in range(1, len(word)):
        for part, other in ((word[:k], word[k:]), (word[k:], word[:k])):
            kind = known.phrases.get((part,), Symbol("")).kind
            small = other in _SMALL and kind in (*_WEIGHTY, "loose", "not", "no")
            long = len(part) >= _NAME and len(other) >= _SHORTEST and kind in _WEIGHTY
            if small or (long and other in known.every):
                return word[:k], word[k:]
    return (spelt,)


def symbols(text: str) -> tuple[list[Symbol], list[str]]:
    """Return a text's symbols, between two stops, and its words that nothing is known of."""
    known = lexicon()
    words = _spaced(_TOKEN.findall(folded(text)), known)
    words = [part for word in words for part in _parted(word, known)]
    row, unknown, at = [Symbol("stop")], [], 0
    while at < len(words):
        start = at
        found, at = _next(words, at, known)
        if found.kind == "unknown":
            unknown.append(found.words)
            row.append(found)
        elif found.kind in ("", "counted", "numbered"):
            continue
        elif found.kind != "number" or not _counts(words, start, at, known):
            row.append(found)
    return [*row, Symbol("stop")], unknown


def _next(words: list[str], at: int, known: Lexicon) -> tuple[Symbol, int]:
    """Return the symbol that begins at a word, and where the next one does."""
    number = number_words.number(words, at)
    for end in range(min(at + known.longest, len(words)), at, -1):
        symbol = known.phrases.get(tuple(words[at:end]))
        if symbol is not None and (number is None or end > number[1]):
            return dataclasses.replace(symbol, words=" ".join(words[at:end])), end
    if number is not None:
        return number
    kind = "unknown" if words[at][0].isalnum() else "stop" if words[at] in _STOPS else ""
    return Symbol(kind, words=words[at]), at + 1


def _counts(words: list[str], start: int, end: int, known: Lexicon) -> bool:
    """Return whether a number says how many ("two days") or which ("ticket 12"), no weight."""
    before, after = words[start - 1 : start] if start else [], words[end : end + 1]
    return any(
        known.phrases.get(tuple(side), Symbol("")).kind == kind
        for side, kind in ((before, "numbered"), (after, "counted"))
    )


def objectives_in(row: Iterable[Symbol]) -> set[str]:
    """Return the objectives that symbols speak of."""
    return {symbol.objective for symbol in row if symbol.objective}
