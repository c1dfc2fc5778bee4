"""What texts ask for: ``read(texts)``, by the rules of the environments and by LAMBO's network.

Where the rules are sure, they answer or refuse; the network reads the rest. Both see the text
alone. Importing this loads no torch.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lambo_env.prompts import grammar
from lambo_env.prompts.objectives import PAIR
from lambo_env.prompts.prompts import Prompts
from lambo_env.prompts.shares import RefusedError

if TYPE_CHECKING:
    from lambo_agents.network.prompt_encoder import PromptSummary

_KEPT = 4096  # texts of a reader that are remembered
_NEAR = 1  # steps of 5 % beside the likeliest share that count as the same answer

Floats = NDArray[np.float64]


class TextReading(NamedTuple):
    """What B texts ask for."""

    latency_weight: Floats  # [B] 1: latency alone, 0: energy alone
    confidence: Floats  # [B] probability that it is right; small where nothing is asked for


def read(texts: str | Sequence[str], weights: str | os.PathLike[str] = "lambo-s") -> TextReading:
    """Return the latency weight [B] that each text asks for, and how sure that is [B], 0 to 1.

    A text that names no objective, or asks for more latency or energy, has a confidence below 0.5.

    Args:
        texts: B texts, or one.
        weights: shipped weights, or a file, of a network that reads to meanings.

    Raises:
        ValueError: a text that cannot be a prompt: empty, longer than 160 characters, of characters
            that have no ASCII form; or a network that has no meanings.

    >>> read(["bring the RTT down", "energy is no concern", "hello"]).latency_weight[:2]
    array([1., 1.])
    """
    return _shipped(os.fspath(weights))(Prompts(texts, 0.5).texts)


@functools.lru_cache(maxsize=4)
def _shipped(weights: str) -> TextReader:
    from lambo_agents.network import checkpoint

    aed, _ = checkpoint.load_network(checkpoint.weights_path(weights))
    return TextReader(aed.prompt)


class TextReader:
    """Reads texts by rules and by a network's own reader; a text is read once.

    Args:
        summary: the network's; one without meanings is refused.
    """

    def __init__(self, summary: PromptSummary | Any) -> None:
        if getattr(summary, "meanings", None) is None:
            raise ValueError(
                "TextReader(summary): a network with prompt_bins; this has no meanings"
            )
        self.summary = summary
        self._known: dict[str, tuple[float, float]] = {}
        self._state: tuple[Any, ...] = ()

    def __call__(self, texts: Sequence[str]) -> TextReading:
        """Return what B texts ask for."""
        state = tuple((w.data_ptr(), w._version) for w in self.summary.reader.parameters())
        known = self._known if state == self._state and len(self._known) < _KEPT else {}
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, self._read(new), strict=True))
        self._state, self._known = state, known  # threads may share a reader
        rows = np.asarray([known[text] for text in texts], dtype=np.float64)
        return TextReading(*rows.reshape(-1, 2).T)

    def _read(self, texts: Sequence[str]) -> list[tuple[float, float]]:
        weights, confidence = network_reading(self.summary, texts)
        rows = zip(texts, weights.tolist(), confidence.tolist(), strict=True)
        return [by_rules(text) or (weight, sure) for text, weight, sure in rows]


@functools.lru_cache(maxsize=_KEPT)
def by_rules(text: str) -> tuple[float, float] | None:
    """Return latency weight and confidence where the rules are sure, else None."""
    try:
        found = grammar.understood(text)
    except RefusedError as refused:
        return (0.5, 0.0) if refused.sure else None
    except ValueError:  # shares that contradict each other
        return 0.5, 0.0
    inside = set(found) <= set(PAIR)
    return (float(found.get(PAIR[0], 0.0)), 1.0) if inside else (0.5, 0.0)


def network_reading(summary: PromptSummary, texts: Sequence[str]) -> tuple[Floats, Floats]:
    """Return the latency weight that the network alone reads in each text [B], and how sure [B].

    It is the likeliest share, exactly 0 or 1 at the ends; its confidence is the probability that
    less of something is asked for, times that of the shares within 5 points of it.
    """
    import torch

    device = summary.reader.out.weight.device
    tokens = torch.from_numpy(Prompts(texts, 0.5).tokens.copy()).to(device)
    with torch.inference_mode():
        found = summary.read(tokens)
    meaning, asked = found.meaning.exp().cpu().double().numpy(), found.asks.exp()[:, 0]
    steps = np.arange(meaning.shape[1])
    top = meaning.argmax(-1)
    near = meaning * (np.abs(steps - top[:, None]) <= _NEAR)
    mass = near.sum(-1)
    mean = (near * steps).sum(-1) / mass / steps[-1]
    ends = np.isin(top, (0, steps[-1]))
    return np.where(ends, top / steps[-1], mean), asked.cpu().double().numpy() * mass
