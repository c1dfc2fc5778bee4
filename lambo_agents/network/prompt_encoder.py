"""The small network that reads a prompt's text and decides what it asks for.

Shapes: U texts of L characters, T words, W width. Gated convolutions bind words to their
neighbours, attention to the whole text; what a text asks for is told from the words' mean and
maximum. Beside the share of the objective that comes first, so that "70% latency, 30% energy" and
"30% latency, 70% energy" differ, it decides whether anything is asked for, and less or more of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lambo_agents.network.columns import meanings
from lambo_agents.network.config import AEDConfig
from lambo_agents.network.prompt_words import WordEmbedding

ASKS = ("less", "none", "more")  # what a text asks for: of an objective, or of nothing known
_ROWS = 4096  # of the tables of letter groups and of words
_DROPOUT = 0.1  # while it is trained
_KEPT_WORDS = 0.7  # words whose whole spelling is seen then; of the others, their letter groups
_KEPT = 256  # readings
_FEW = 16  # texts of a reading that is kept

Summary = tuple[Tensor, Tensor | None, Tensor]


class Meaning(NamedTuple):
    """Log-probabilities of what U texts ask for."""

    meaning: Tensor  # [U, bins] latency shares in even steps
    share: Tensor  # [U, bins] that of the objective that is named first, or alone
    first: Tensor  # [U, 2] which that is
    asks: Tensor  # [U, 3] ``ASKS``


class Readings(NamedTuple):
    """What was read with the weights as they were; aliases keep their memory from new ones."""

    weights: list[Tensor]
    state: list[tuple[int, int]]
    by_tokens: dict[tuple[tuple[int, ...], bytes], Summary]


def meaning_of(latency_weight: np.ndarray[Any, Any], bins: int) -> Tensor:
    """Return distributions over even latency shares [U, bins], on the two next to each weight [U].

    A network with meanings is told so what to minimise.
    """
    return torch.from_numpy(meanings(latency_weight, bins))


class Gated(nn.Module):
    """A gated convolution over the words, ``reach`` words apart."""

    def __init__(self, width: int, reach: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, 2 * width, 5, padding=2 * reach, dilation=reach)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Return x [U, T, W] with what the neighbours say added."""
        value, gate = (
            self.conv((self.norm(x) * valid).transpose(1, 2)).transpose(1, 2).chunk(2, dim=-1)
        )
        return x + value * gate.sigmoid()


class Attention(nn.Module):
    """Self-attention over the words of a text."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Return x [U, T, W] with what all words say added."""
        parts = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        seen = valid[:, None, None, :, 0] > 0
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return x + self.out(mixed.transpose(1, 2).flatten(2))


class Reader(nn.Module):
    """Texts [U, L] in; what they ask for, its share and which objective it is of, out."""

    def __init__(self, config: AEDConfig, outputs: int) -> None:
        super().__init__()
        width = config.prompt_width
        self.words = WordEmbedding(width, _ROWS)
        local = [Gated(width, 1 + depth % 2) for depth in range(config.prompt_layers)]
        self.blocks = nn.ModuleList([*local[:-1], Attention(width), local[-1]])
        self.norm = nn.LayerNorm(width)
        self.hidden, self.drop = nn.Linear(2 * width, 2 * width), nn.Dropout(_DROPOUT)
        self.out, self.first = nn.Linear(2 * width, outputs), nn.Linear(2 * width, 2)
        self.asks = nn.Linear(2 * width, len(ASKS))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits: outputs [U, outputs], of which objective they are [U, 2], ``ASKS`` [U, 3].

        Padding changes nothing.
        """
        x, valid = self.words(tokens, _KEPT_WORDS if self.training else 1.0)
        x = self.drop(x)
        for block in self.blocks:
            x = block(x, valid)
        x = self.norm(x)
        mean = (x * valid).sum(1) / valid.sum(1).clamp(min=1)
        most = torch.where(valid > 0, x, -1e3).amax(1)
        x = self.drop(functional.relu(self.hidden(torch.cat([mean, most], dim=-1))))
        return self.out(x), self.first(x), self.asks(x)


class PromptSummary(nn.Module):
    """A reader turns the text into one token; each distinct text is read once.

    With bins it decides between meanings, by a softmax, and each meaning has an embedding: all
    texts that are understood alike then look alike, to the last digit, and a slip of reading
    between them cannot blur the decisions.
    """

    def __init__(self, config: AEDConfig) -> None:
        super().__init__()
        bins = config.prompt_bins
        self.reader = Reader(config, bins or config.d_model)
        self.meanings = nn.Linear(bins, config.d_model, bias=False) if bins else None
        self._readings = Readings([], [], {})

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle holds: no readings."""
        return {**self.__dict__, "_readings": Readings([], [], {})}

    def read(self, tokens: Tensor) -> Meaning:
        """Return what texts [U, L] are read as.

        A meaning is a latency share in even steps: the first quantity's where that is latency, else
        what it leaves.
        """
        share, first, asks = (logits.log_softmax(-1) for logits in self.reader(tokens))
        meaning = torch.logaddexp(first[:, :1] + share, first[:, 1:] + share.flip(-1))
        return Meaning(meaning, share, first, asks)

    def forward(self, tokens: Tensor) -> Summary:
        """Return one token [U, 1, D], None (it counts), and itself [U, D].

        In inference mode the last readings are kept, each of the very texts that it was made of, so
        that what is decided does not hinge on what was read before. A change of the weights drops
        them; one through ``.data``, which PyTorch does not count, is seen only where it moves them.
        """
        inference = torch.is_inference_mode_enabled() and not torch.compiler.is_compiling()
        if not inference or self.training or len(tokens) > _FEW:
            return self._summary(tokens)
        weights = [w for part in self.modules() for w in part._parameters.values() if w is not None]
        if any(weight.is_inference() for weight in weights):  # whose changes are not counted
            return self._summary(tokens)
        state, readings = (
            [(weight.data_ptr(), weight._version) for weight in weights],
            self._readings,
        )
        if state != readings.state or len(readings.by_tokens) >= _KEPT:
            readings = Readings([weight.detach() for weight in weights], state, {})
            self._readings = readings
        key = (tuple(tokens.shape), tokens.cpu().numpy().tobytes())
        found = readings.by_tokens.get(key)
        if found is None:
            found = readings.by_tokens[key] = self._summary(tokens)
        return found

    def _summary(self, tokens: Tensor) -> Summary:
        summary = (
            self.reader(tokens)[0]
            if self.meanings is None
            else self.meanings(self.read(tokens)[0].exp())
        )
        return summary[:, None], None, summary
