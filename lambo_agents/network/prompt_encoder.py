"""The small network that reads a prompt's text, a character a token, and decides what it asks for.

Shapes: U texts of L characters, W width. Convolutions see words and numbers; a running maximum
tells each place what came before it, so that "70% latency, 30% energy" and "30% latency, 70%
energy" differ; gated convolutions bind numbers to what they count.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lambo_agents.network.config import VOCABULARY, AEDConfig

_STRIDE = 3  # characters a place, after the first two convolutions
_DROPOUT = 0.1  # while it is trained
_KEPT = 256  # readings
_FEW = 16  # texts of a reading that is kept

Summary = tuple[Tensor, Tensor | None, Tensor]


class Readings(NamedTuple):
    """What was read with the weights as they were; aliases keep their memory from new ones."""

    weights: list[Tensor]
    state: list[tuple[int, int]]
    by_tokens: dict[tuple[tuple[int, ...], bytes], Summary]


class Gated(nn.Module):
    """A gated convolution over the places, ``reach`` places apart."""

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


class Reader(nn.Module):
    """Texts [U, L] in; ``outputs`` numbers per text, and how surely latency is named first, out."""

    def __init__(self, config: AEDConfig, outputs: int) -> None:
        super().__init__()
        width = config.prompt_width
        self.chars = nn.Embedding(VOCABULARY, width // 2)
        self.letters, self.words = (
            nn.Conv1d(width // 2, width, 5, padding=2),
            nn.Conv1d(width, width, 5, padding=2),
        )
        self.before = nn.Linear(2 * width, width)
        self.blocks = nn.ModuleList(Gated(width, 2**depth) for depth in range(config.prompt_layers))
        self.hidden, self.drop = nn.Linear(2 * width, 2 * width), nn.Dropout(_DROPOUT)
        self.out, self.first = nn.Linear(2 * width, outputs), nn.Linear(2 * width, 2)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs [U, outputs] and the logits [U, 2] of latency or energy first.

        Padding changes nothing.
        """
        tokens = functional.pad(tokens, (0, -tokens.shape[1] % _STRIDE))
        there = (tokens > 0)[:, None]
        x = self.chars(tokens.int()).transpose(1, 2) * there
        x = functional.relu(self.letters(x)) * there
        x = functional.relu(self.words(x)) * there
        x = self.drop(functional.max_pool1d(x, _STRIDE).transpose(1, 2))
        valid = there[:, 0, ::_STRIDE, None].to(x.dtype)
        seen = functional.pad(x.cummax(1).values, (0, 0, 1, -1))
        x = x + functional.relu(self.before(torch.cat([x, seen], dim=-1)))
        for block in self.blocks:
            x = block(x, valid)
        mean, most = (
            (x * valid).sum(1) / valid.sum(1).clamp(min=1),
            torch.where(valid > 0, x, -1e3).amax(1),
        )
        x = self.drop(functional.relu(self.hidden(torch.cat([mean, most], dim=-1))))
        return self.out(x), self.first(x)


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

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-probabilities: meaning, first quantity's share [U, bins], its kind [U, 2].

        A meaning is a latency share in even steps: the first quantity's where that is latency, else
        what it leaves.
        """
        share, first = (logits.log_softmax(-1) for logits in self.reader(tokens))
        return torch.logaddexp(first[:, :1] + share, first[:, 1:] + share.flip(-1)), share, first

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
