"""Texts as words: a word is the sum of what its letter groups and its whole spelling are like.

Shapes: U texts of L characters, T words, W width. Letter groups are hashed into rows of a table, so
that a misspelt word is like the word that was meant, and an unknown one says nothing.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional

from lambo_agents.network.config import PROMPT_POSITIONS

WORDS = 64  # of a text; further ones are not read
_BASE, _MODULUS = 257, 2**31 - 1
_REACH = 2  # letters on either side of a group's middle: groups of 3 and of 5
_SPACE, _LETTER, _DIGIT, _SIGN = range(4)


def kinds() -> Tensor:
    """Return the kind of each character [128]: space or none, letter, digit, sign."""
    table = torch.full((128,), _SIGN)
    table[: ord(" ") + 1] = _SPACE
    table[ord("a") : ord("z") + 1] = _LETTER
    table[ord("0") : ord("9") + 1] = _DIGIT
    return table


@functools.cache
def _powers() -> list[int]:
    """Return the powers of the base by which a word's characters count."""
    return [pow(_BASE, place, _MODULUS) for place in range(PROMPT_POSITIONS + _REACH + 1)]


def segmented(tokens: Tensor, kind_of: Tensor) -> tuple[Tensor, Tensor]:
    """Return the word that each character belongs to [U, L], and which characters count.

    Letters make a word, digits make one, each other sign is one.
    """
    kind = kind_of[tokens.long()]
    before = functional.pad(kind, (1, -1))
    starts = (kind != _SPACE) & ((kind != before) | (kind == _SIGN))
    word = starts.cumsum(1) - 1
    return word.clamp(0, WORDS - 1), (kind != _SPACE) & (word < WORDS)


def hashed(tokens: Tensor, word: Tensor, counts: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Return rows of a table: each character's letter groups [U, L, 2], each word's [U, T]."""
    chars = torch.where(counts, tokens.long(), 0)
    groups = []
    for reach in range(1, _REACH + 1):
        code = torch.zeros_like(chars)
        for shift in range(-reach, reach + 1):
            near = functional.pad(chars, (-shift, shift))
            same = functional.pad(word, (-shift, shift), value=-1) == word
            code = (code * _BASE + torch.where(same, near, 1)) % _MODULUS
        groups.append((code * 2654435761 + reach) % _MODULUS % rows)
    first = functional.pad(word[:, 1:] != word[:, :-1], (1, 0), value=True)
    places = torch.arange(chars.shape[1], device=chars.device)
    run = first.cumsum(1) - 1  # of one word's characters
    begin = torch.zeros_like(run).scatter_add(1, run, torch.where(first, places, 0)).gather(1, run)
    power = torch.tensor(_powers(), device=chars.device)
    parts = chars * power[places - begin + 1] % _MODULUS
    whole = torch.zeros(len(chars), WORDS, dtype=torch.long, device=chars.device)
    whole = whole.scatter_add(1, word, parts) % _MODULUS
    return torch.stack(groups, dim=-1), (whole * 2654435761 + 7) % _MODULUS % rows


class WordEmbedding(nn.Module):
    """Texts [U, L] in, words [U, T, W] and which of them there are [U, T, 1] out."""

    kinds: Tensor

    def __init__(self, width: int, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.groups, self.whole = nn.Embedding(rows, width), nn.Embedding(rows, width)
        self.register_buffer("kinds", kinds(), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Let what was never seen say next to nothing."""
        nn.init.normal_(self.groups.weight, std=0.01)
        nn.init.normal_(self.whole.weight, std=0.01)

    def forward(self, tokens: Tensor, kept: float = 1.0) -> tuple[Tensor, Tensor]:
        """Embed; in training a word's whole spelling is left out where a draw exceeds ``kept``."""
        tokens = functional.pad(tokens, (0, _REACH))  # a last word ends as others do
        word, counts = segmented(tokens, self.kinds)
        groups, whole = hashed(tokens, word, counts, self.rows)
        letters = self.groups(groups).sum(2) * counts[..., None]
        size = torch.zeros(len(tokens), WORDS, device=tokens.device)
        size = size.scatter_add(1, word, counts.to(letters.dtype))[..., None]
        x = torch.zeros(len(tokens), WORDS, letters.shape[-1], device=tokens.device)
        x = x.scatter_add(1, word[..., None].expand_as(letters), letters) / size.clamp(min=1)
        there = (size > 0).to(x.dtype)
        spelt = self.whole(whole)
        if kept < 1:
            spelt = spelt * (torch.rand(spelt.shape[:2], device=x.device) < kept)[..., None]
        longest = max(1, int(there.sum(1).max())) if not torch.compiler.is_compiling() else WORDS
        return ((x + spelt) * there)[:, :longest], there[:, :longest]
