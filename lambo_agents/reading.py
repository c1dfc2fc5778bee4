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

from lambo_env.prompts import grammar, lexicon
from lambo_env.prompts.objectives import PAIR
from lambo_env.prompts.prompts import Prompts
from lambo_env.prompts.shares import RefusedError

if TYPE_CHECKING:
    from lambo_agents.network.prompt_encoder import PromptSummary

_KEPT = 4096  # texts of a reader that are remembered
_NAMELESS = 0.05  # odds that a text without any word of an objective asks for something
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
        state = self.state()
        known = self._known if state == self._state and len(self._known) < _KEPT else {}
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, self._read(new), strict=True))
        self._state, self._known = state, known  # threads may share a reader
        rows = np.asarray([known[text] for text in texts], dtype=np.float64)
        return TextReading(*rows.reshape(-1, 2).T)

    def asked(self, texts: Sequence[str], least: float, agent: str) -> Floats:
        """Return the latency weights [B] that the texts ask for; refuse one that is not clear.

        Raises:
            ValueError: a text that is read with less confidence than ``least``, by an agent's name.
        """
        weights, confidence = self(texts)
        for row in np.flatnonzero(confidence < least)[:1]:
            shown = f"{texts[row]!r} (row {row}, read with confidence {confidence[row]:.2f})"
            raise ValueError(
                f"{agent}.decide(prompts) is {shown}; allowed: a text that asks for less "
                f"{' or '.join(PAIR)}, with confidence >= {least:g}"
                f"{_reason(texts[row])} ({agent}(min_confidence=0) decides under any)"
            )
        return weights

    def state(self) -> tuple[Any, ...]:
        """Return what changes when the network does."""
        return tuple((w.data_ptr(), w._version) for w in self.summary.reader.parameters())

    def by_network(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """Return what the network reads in each text [B], and how sure it is [B]."""
        return network_reading(self.summary, texts)

    def _read(self, texts: Sequence[str]) -> list[tuple[float, float]]:
        ruled = {text: by_rules(text) for text in texts}
        open_to_it = [text for text, answer in ruled.items() if answer is None]
        found = self.by_network(open_to_it) if open_to_it else ((), ())
        answers = {
            text: (weight, sure if _named(text) else _nameless(sure))
            for text, weight, sure in zip(open_to_it, *map(list, found), strict=True)
        }
        return [answers[text] if (row := ruled[text]) is None else row for text in texts]


def _named(text: str) -> bool:
    """Return whether a text has a word that the rules know of an objective."""
    return bool(lexicon.objectives_in(lexicon.symbols(text)[0]))


def _nameless(confidence: float) -> float:
    """Return a confidence by the odds that a text without such a word asks for something."""
    asked = _NAMELESS * confidence
    return asked / (asked + 1 - confidence) if confidence < 1 else 1.0


def _reason(text: str) -> str:
    """Return what the rules would allow in place of a text that they refuse too."""
    try:
        grammar.understood(text)
    except ValueError as error:
        return f"; by the rules: {str(error).rpartition('; allowed: ')[2]}"
    return ""


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
    return likeliest(found.meaning.exp().cpu().numpy(), found.asks.exp().cpu().numpy())


def likeliest(meaning: NDArray[Any], asks: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return the latency weight [U] of texts, and how sure that is [U].

    Args:
        meaning: probabilities [U, bins] of even latency shares.
        asks: probabilities [U, 3] that less of something is asked for, nothing known, or more.
    """
    meaning, asked = meaning.astype(np.float64), asks[:, 0].astype(np.float64)
    steps = np.arange(meaning.shape[1])
    top = meaning.argmax(-1)
    near = meaning * (np.abs(steps - top[:, None]) <= _NEAR)
    mass = near.sum(-1)
    mean = (near * steps).sum(-1) / mass / steps[-1]
    ends = np.isin(top, (0, steps[-1]))
    return np.where(ends, top / steps[-1], mean), asked * mass
