"""Prompts: texts in natural language, their tokens (all that LAMBO reads) and their objective (all that the others read).

B prompts; a token is one byte of 7-bit ASCII, 160 a text, zero after its end.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambo_env.offloading import physics
from lambo_env.offloading.instances import Instances, Objective
from lambo_env.prompts import catalogue as phrases
from lambo_env.prompts import grammar
from lambo_env.prompts.grammar import MAX_CHARS, ObjectiveRow, catalogue, objectives, parse
from lambo_env.utils import validate

__all__ = [
    "MAX_CHARS",
    "TRAIN_PHRASES",
    "ObjectiveRow",
    "PromptSet",
    "Prompts",
    "catalogue",
    "encode_text",
    "objectives",
    "parse",
    "phrase_at",
    "train_set",
]

Tokens = NDArray[np.uint8]
Weights = NDArray[np.float64]


def encode_text(text: str, field: str = "prompt") -> Tokens:
    """Return the tokens of a text: uint8 [160], its lower-cased ASCII bytes, then zeros.

    Raises:
        ValueError: if it is no str, blank, longer than 160 characters, or not printable 7-bit
            ASCII.

    >>> encode_text("Hi")[:3].tolist()
    [104, 105, 0]
    """
    data = grammar.check_text(text, field).lower().encode("ascii")
    return np.frombuffer(data.ljust(MAX_CHARS, b"\0"), dtype=np.uint8).copy()


def _encode_all(texts: Sequence[str]) -> Tokens:
    """Return uint8 [B, 160]; each different text is encoded once."""
    rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    table = np.stack([encode_text(text) for text in rows])
    return table[[rows[text] for text in texts]]


def _fixed(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def _texts(field: str, texts: Any) -> tuple[str, ...]:
    """Return one text or a sequence of them as a tuple, each different one checked once."""
    if isinstance(texts, str):
        return (grammar.check_text(texts, field),)
    allowed = "a str or a sequence of at least one str"
    texts = list(texts) if isinstance(texts, np.ndarray) and texts.ndim else texts
    ok = isinstance(texts, Sequence) and not isinstance(texts, (bytes, bytearray))
    validate.check(field, texts, ok and len(texts) > 0, allowed)
    good: dict[str, str] = {}
    for row, text in enumerate(texts):
        if not isinstance(text, str) or text not in good:
            good[text] = grammar.check_text(text, f"{field}[{row}]")
    return tuple(good[text] for text in texts)


def _weights(field: str, weight: Any, count: int) -> Weights:
    """Return float64 [count], a scalar broadcast."""
    allowed = f"a number in [0, 1], or {count} of them, one a text"
    try:
        out = np.asarray(weight)
    except (TypeError, ValueError):
        validate.refuse(field, weight, allowed)
    validate.check(field, weight, out.dtype.kind in "fiu" and out.shape in ((), (count,)), allowed)
    out = np.broadcast_to(out, (count,)).astype(np.float64)
    bad = np.flatnonzero(~((out >= 0) & (out <= 1)))
    if bad.size:
        validate.refuse(
            f"{field}[{bad[0]}]" if np.ndim(weight) else field,
            float(out[bad[0]]),
            "a number in [0, 1]",
        )
    return out


@dataclasses.dataclass(frozen=True, eq=False)
class Prompts:
    """A batch of B prompts, each a text and what it means.

    The texts may be any that ``encode_text`` takes, also such as the catalogue lacks; nothing is
    parsed, the weight is believed. ``Prompts.of`` parses instead.

    Args:
        texts: B texts, or one.
        latency_weight: in [0, 1], [B] or one for all; exactly 1 is latency alone, exactly 0 energy
            alone.

    Raises:
        ValueError: on a text that cannot be a prompt, or weights that are not in [0, 1] or not one
            a text.

    >>> Prompts(["Hurry up, but be gentle"], 0.8).latency_weight
    array([0.8])
    """

    texts: tuple[str, ...]
    latency_weight: Weights  # float64 [B], read-only
    tokens: Tokens = dataclasses.field(init=False, repr=False)  # uint8 [B, 160], read-only

    def __post_init__(self) -> None:
        """Check, broadcast the weight, encode."""
        texts = _texts("Prompts.texts", self.texts)
        weight = _weights("Prompts.latency_weight", self.latency_weight, len(texts))
        self._fill(texts, weight, _encode_all(texts))

    def _fill(self, texts: tuple[str, ...], weight: Weights, tokens: Tokens) -> None:
        object.__setattr__(self, "texts", texts)
        object.__setattr__(self, "latency_weight", _fixed(weight))
        object.__setattr__(self, "tokens", _fixed(tokens))

    @classmethod
    def _unchecked(cls, texts: tuple[str, ...], weight: Weights, tokens: Tokens) -> Prompts:
        self = object.__new__(cls)
        self._fill(texts, weight, tokens)
        return self

    @classmethod
    def of(cls, texts: str | Sequence[str], batch: int | None = None) -> Prompts:
        """Parse texts that name known objectives.

        Args:
            texts: one text, or a sequence of them.
            batch: B; one text is given to all. None: as many as there are texts.

        Raises:
            ValueError: if a text is not understood (see ``parse``) or the number of texts is
                neither 1 nor ``batch``.

        >>> Prompts.of(["minimum latency", "70% latency, 30% energy"]).latency_weight
        array([1. , 0.7])
        """
        several = not isinstance(texts, str)
        checked = _texts("Prompts.texts" if several else "prompt", texts)
        meaning: dict[str, float] = {}
        for row, text in enumerate(checked):
            if text not in meaning:
                meaning[text] = parse(text, f"Prompts.texts[{row}]" if several else "prompt")
        prompts = cls(checked, np.asarray([meaning[text] for text in checked]))
        if batch is None:
            return prompts
        batch = validate.integer("Prompts.of(batch)", batch)
        validate.check(
            "Prompts.of(batch)",
            batch,
            len(prompts) in (1, batch),
            f"the number of texts, {len(prompts)}",
        )
        return prompts if len(prompts) == batch else prompts.repeat(batch)

    @classmethod
    def sample(
        cls,
        batch: int,
        rng: np.random.Generator,
        split: str = "train",
        kinds: Sequence[str] = grammar.KINDS,
    ) -> Prompts:
        """Draw prompts: a kind uniformly, then a phrase of it.

        A mix first its weight from 5 %, 10 %, ... 95 %.

        Args:
            batch: B.
            rng: where the draws come from: two of size [B], whatever they turn out to be.
            split: "train" or "held_out", whose wordings share nothing.
            kinds: among "latency", "energy" and "mix"; one named twice is drawn twice as often.
        """
        batch = validate.integer("Prompts.sample(batch)", batch)
        validate.check("rng", rng, isinstance(rng, np.random.Generator), "a numpy.random.Generator")
        allowed = f"at least one of {', '.join(grammar.KINDS)}"
        validate.check(
            "Prompts.sample(kinds)", kinds, isinstance(kinds, Sequence) and len(kinds) > 0, allowed
        )
        kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
        groups, bounds, table = _groups(validate.known(split, grammar.SPLITS, "split"))
        spans = [groups[validate.known(kind, grammar.KINDS, "kind of prompt")] for kind in kinds]
        draw = rng.random(batch) * len(kinds)
        kind = draw.astype(np.intp)
        first, count = np.asarray(spans)[kind].T
        group = first + ((draw - kind) * count).astype(np.intp)
        low, high = bounds[group], bounds[group + 1]
        return table.prompts(low + (rng.random(batch) * (high - low)).astype(np.intp))

    def __len__(self) -> int:
        """Return B."""
        return len(self.texts)

    def __eq__(self, other: object) -> bool:
        """Return whether texts and weights are the same."""
        if not isinstance(other, Prompts):
            return NotImplemented
        return self.texts == other.texts and np.array_equal(
            self.latency_weight, other.latency_weight
        )

    def __hash__(self) -> int:
        """Return a hash that agrees with equality."""
        return hash((self.texts, tuple(self.latency_weight.tolist())))

    def take(self, rows: Any) -> Prompts:
        """Return the prompts at ``rows`` (an int, slice, list, bool or index array)."""
        allowed = f"rows of 0..{len(self) - 1}, or a bool a row"
        index = np.arange(len(self))
        try:
            index = np.atleast_1d(
                index[rows if isinstance(rows, (slice, int, np.integer)) or len(rows) else slice(0)]
            )
        except (IndexError, TypeError):
            validate.refuse("Prompts.take(rows)", rows, allowed)
        validate.check("Prompts.take(rows)", rows, index.ndim == 1, allowed)
        texts = tuple(self.texts[row] for row in index.tolist())
        return Prompts._unchecked(texts, self.latency_weight[index], self.tokens[index])

    def repeat(self, count: int) -> Prompts:
        """Return each prompt ``count`` times in a row: [B * count]."""
        count = validate.integer("Prompts.repeat(count)", count)
        return self.take(np.repeat(np.arange(len(self)), count))

    @staticmethod
    def concat(parts: Sequence[Prompts]) -> Prompts:
        """Join batches along B."""
        validate.check("Prompts.concat(parts)", len(parts), len(parts) > 0, "at least one batch")
        texts = tuple(text for part in parts for text in part.texts)
        weight = np.concatenate([part.latency_weight for part in parts])
        return Prompts._unchecked(texts, weight, np.concatenate([part.tokens for part in parts]))

    def objective(self, instances: Instances) -> Objective:
        """Return c_L and c_E of each instance [B], in the array namespace of ``instances`` (``physics.objective``).

        Raises:
            ValueError: if there are not as many instances as prompts.
        """
        size = instances.batch_size
        validate.check(
            "Prompts.objective(instances).batch_size",
            size,
            size == len(self),
            f"{len(self)}, one a prompt",
        )
        return physics.objective(
            instances, self.latency_weight.copy()
        )  # torch warns of read-only memory


class PromptSet:
    """K texts to draw from, encoded once.

    ``tokens[pick(u)]`` turns uniforms [B] into tokens [B, 160].

    Args:
        texts: one text or K.
        latency_weight: their weights; None: parsed.
    """

    def __init__(self, texts: str | Sequence[str], latency_weight: Any = None) -> None:
        """Parse (or believe the weights) and encode."""
        self._all = Prompts.of(texts) if latency_weight is None else Prompts(texts, latency_weight)  # type: ignore[arg-type]
        self._objects = np.asarray(self.texts, dtype=object)

    @property
    def texts(self) -> tuple[str, ...]:
        """The K texts."""
        return self._all.texts

    @property
    def tokens(self) -> Tokens:
        """Their tokens, uint8 [K, 160], read-only."""
        return self._all.tokens

    @property
    def latency_weight(self) -> Weights:
        """Their weights, float64 [K], read-only."""
        return self._all.latency_weight

    def __len__(self) -> int:
        """Return K."""
        return len(self._all)

    def pick(self, u: Any) -> NDArray[np.intp]:
        """Return the index 0..K-1 that each uniform in [0, 1) falls on, every text equally likely; shape of ``u``."""
        u = np.asarray(u, dtype=np.float64)
        validate.check(
            "PromptSet.pick(u)", u, bool(np.all((u >= 0) & (u < 1))), "numbers in [0, 1)"
        )
        return np.minimum((u * len(self)).astype(np.intp), len(self) - 1)

    def prompts(self, index: NDArray[np.intp]) -> Prompts:
        """Return the Prompts at ``index`` [B]."""
        texts = tuple(self._objects[index].tolist())
        return Prompts._unchecked(texts, self.latency_weight[index], self.tokens[index])


def phrase_at(u: float, phrases: Sequence[tuple[str, float]]) -> tuple[str, float]:
    """Return the (text, weight) that one uniform in [0, 1) falls on, every phrase equally likely."""
    validate.check("phrase_at(u)", u, 0 <= u < 1, "a number in [0, 1)")
    return phrases[min(int(u * len(phrases)), len(phrases) - 1)]


def _env_phrases() -> tuple[tuple[str, float], ...]:
    pure = [(text, 1.0) for text in phrases.LATENCY_TRAIN] + [
        (text, 0.0) for text in phrases.ENERGY_TRAIN
    ]
    return (*pure, *grammar.mix_examples("train", len(pure) // 2))


# (text, latency weight): as many for latency as for energy as for mixes; frozen with the
# environments' ids
TRAIN_PHRASES = _env_phrases()


@functools.cache
def train_set() -> PromptSet:
    """Return TRAIN_PHRASES as a PromptSet."""
    return PromptSet([text for text, _ in TRAIN_PHRASES], [weight for _, weight in TRAIN_PHRASES])


@functools.cache
def _groups(split: str) -> tuple[dict[str, tuple[int, int]], NDArray[np.intp], PromptSet]:
    """Return each kind's first group and number of groups, the groups' first rows, and the table of a split's texts.

    A group is all texts of one kind and one weight: one for each pure objective, one a weight for
    mixes.
    """
    rows = [(kind, *phrase) for kind in grammar.KINDS for phrase in catalogue(split, kind)]
    starts = [k for k in range(len(rows)) if k == 0 or rows[k][::2] != rows[k - 1][::2]]
    kinds = [rows[start][0] for start in starts]
    spans = {kind: (kinds.index(kind), kinds.count(kind)) for kind in grammar.KINDS}
    _, texts, weights = zip(*rows, strict=True)
    return spans, np.asarray([*starts, len(rows)]), PromptSet(texts, weights)
