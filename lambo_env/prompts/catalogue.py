"""The catalogue's data: how people say what they want minimised, one file per split and kind.

The folders under ``phrases/`` are splits. ``frozen`` is what environments draw from, by position:
its lines and their order are part of the registered ids. ``train`` holds further training phrases.
``held_out`` is what no training sees. ``nouns`` holds what a mix may call an objective, ``words``
the lists that training texts are composed of, ``spoken`` whole ones that people may say. A line
that begins with # is a comment.

In the wordings of a mix ``{A}`` and ``{B}`` are the two quantities in either order, ``{pa}`` and
``{pb}`` their shares in percent, ``{fa}`` and ``{fb}`` as fractions, ``{ra}`` and ``{rb}`` as a
ratio in lowest terms.
"""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path

from lambo_env.prompts.objectives import PAIR, ObjectiveKind

SPLITS = ("train", "held_out")
_FOLDER = Path(__file__).parent / "phrases"


@functools.cache
def lines(folder: str, name: str) -> tuple[str, ...]:
    """Return the lines of a file under ``phrases/``; none where there is no such file."""
    path = _FOLDER / folder / f"{name}.txt"
    found = path.read_text(encoding="ascii").splitlines() if path.is_file() else []
    return tuple(line for line in found if line and not line.startswith("#"))


def phrases(split: str, name: str) -> tuple[str, ...]:
    """Return a split's phrases of an objective, or its wordings of a kind of mix.

    The frozen ones come first in the training split.
    """
    frozen = lines("frozen", name) if split == "train" else ()
    return frozen + lines(split, name)


def phrases_of(split: str, row: ObjectiveKind) -> tuple[str, ...]:
    """Return a split's phrases of a row of the table, its own included."""
    return phrases(split, row.name) + (row.train if split == "train" else row.held_out)


def pairs(split: str) -> tuple[tuple[str, ...], ...]:
    """Return the pairs of nouns that a split's drawn mixes name, in the order of ``PAIR``."""
    return tuple(tuple(line.split(" | ")) for line in phrases(split, "pairs"))


def nouns() -> tuple[tuple[str, ...], ...]:
    """Return what a mix may call each quantity of ``PAIR``."""
    return tuple(lines("nouns", name) for name in PAIR)


def words(name: str) -> dict[str, tuple[str, ...]]:
    """Return the lists of a file of ``phrases/words/``, whose entries semicolons separate."""
    return _lists("words", name)


def lexicon(name: str) -> dict[str, tuple[str, ...]]:
    """Return the lists of a file of ``phrases/lexicon/``; none where there is no such file."""
    return _lists("lexicon", name)


@functools.cache
def _lists(folder: str, name: str) -> dict[str, tuple[str, ...]]:
    path = _FOLDER / folder / f"{name}.toml"
    lists = tomllib.loads(path.read_text(encoding="ascii")) if path.is_file() else {}
    return {
        key: tuple(" ".join(part.split()) for part in text.split(";"))
        for key, text in lists.items()
    }
