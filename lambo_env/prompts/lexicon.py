"""What words mean: a text as a row of symbols, each a class of ``phrases/lexicon/``.

A text is a list of words, punctuation marks and numbers. A phrase is matched where it is longest; a
word that no phrase has is read as the nearest one by its spelling, or left unknown.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Iterable, Iterator

from lambo_env.prompts import catalogue as data
from lambo_env.prompts import number_words, spelling
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
    for word in sorted(every - spelling.FOREIGN):
        spelt.setdefault(word[0], []).append(word)
    by_letter = {letter: tuple(words) for letter, words in spelt.items()}
    return Lexicon(phrases, by_letter, frozenset(every), max(map(len, phrases)))


def lexicon() -> Lexicon:
    """Return the phrases of all objectives of the table."""
    return _lexicon(tuple(OBJECTIVES.values()))


@functools.cache
def _bare() -> frozenset[str]:
    return frozenset(word for line in data.lines("lexicon", "bare") for word in line.split())


def tells(text: str, row: Iterable[Symbol]) -> bool:
    """Return whether a text has words, beside its symbols, that a bare wish has none of."""
    said = {word for symbol in row for word in symbol.words.split()}
    words = {word for word in _TOKEN.findall(folded(text)) if word.isalpha()}
    return not words - said <= _bare()


def symbols(text: str) -> tuple[list[Symbol], list[str]]:
    """Return a text's symbols, between two stops, and its words that nothing is known of."""
    known = lexicon()
    words = spelling.meant(_TOKEN.findall(folded(text)), known)
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
