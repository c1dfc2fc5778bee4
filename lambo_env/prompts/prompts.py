"""Prompts: texts, their tokens (all that LAMBO reads) and their objective (what the others read).

B prompts; a token is one byte of 7-bit ASCII, 160 per text, zero after its end.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lambo_env.prompts import catalogue, grammar, objectives
from lambo_env.prompts.grammar import MAX_CHARS, parse_weights
from lambo_env.prompts.objectives import MIX, OBJECTIVES, PAIR, ObjectiveKind
from lambo_env.prompts.tokenizer import Tokens, encode_text
from lambo_env.utils import validate

__all__ = ["MAX_CHARS", "Prompts", "env_prompts"]

Weights = NDArray[np.float64]


def _fixed(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def _texts(field: str, texts: Any) -> tuple[str, ...]:
    """Return one text or a sequence of them as a tuple, each different one checked once."""
    if isinstance(texts, str):
        return (grammar.check_text(texts, field),)
    texts = list(texts) if isinstance(texts, np.ndarray) and texts.ndim else texts
    ok = isinstance(texts, Sequence) and not isinstance(texts, (bytes, bytearray))
    validate.check(field, texts, ok and len(texts) > 0, "a str or a sequence of at least one str")
    good: dict[str, str] = {}
    for row, text in enumerate(texts):
        if not isinstance(text, str) or text not in good:
            good[text] = grammar.check_text(text, f"{field}[{row}]")
    return tuple(good[text] for text in texts)


def _weights(field: str, weight: Any, count: int) -> Weights:
    """Return float64 [count], a scalar broadcast."""
    allowed = f"a number in [0, 1], or {count} of them, one per text"
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


class _Table(NamedTuple):
    """K different prompts."""

    texts: NDArray[np.object_]  # [K]
    weights: Mapping[str, Weights]  # [K] of each objective but the one that has the rest
    tokens: Tokens  # [K, 160]


def _tabulate(
    texts: Sequence[str], weights: Mapping[str, Weights], tokens: Tokens | None = None
) -> tuple[_Table, NDArray[np.intp]]:
    """Return the table of the different ones among B prompts, and their rows in it [B]."""
    rows: dict[tuple[Any, ...], int] = {}
    columns = (column.tolist() for column in weights.values())
    index = np.asarray(
        [rows.setdefault(row, len(rows)) for row in zip(texts, *columns, strict=True)], np.intp
    )
    first = np.unique(index, return_index=True)[1]
    table = _Table(
        np.asarray(texts, dtype=object)[first],
        {name: column[first] for name, column in weights.items()},
        np.stack([encode_text(texts[row]) for row in first]) if tokens is None else tokens[first],
    )
    return table, index


@dataclasses.dataclass(frozen=True, eq=False, init=False, repr=False)
class Prompts:
    """A batch of B prompts, each a text and what it means; what is the same is kept once.

    The texts may be any that ``encode_text`` takes, also such as the catalogue lacks; nothing is
    parsed, the weight is believed. ``Prompts.of`` parses instead.

    Args:
        texts: B texts, or one.
        latency_weight: in [0, 1], [B] or one for all; exactly 1 is latency alone, exactly 0 energy
            alone where there is no ``other``.
        other: weights of further objectives of the table, by name; energy has what is left to 1.

    Raises:
        ValueError: on a text that cannot be a prompt, or weights that are not in [0, 1], sum to
            more than 1, are not one per text or belong to no objective.

    >>> Prompts(["Hurry up, but be gentle"], 0.8).latency_weight
    array([0.8])
    """

    _table: _Table
    _index: NDArray[np.intp]

    def __init__(
        self,
        texts: str | Sequence[str],
        latency_weight: Any,
        other: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        checked = _texts("Prompts.texts", texts)
        weights = {PAIR[0]: _weights("Prompts.latency_weight", latency_weight, len(checked))}
        allowed = "a mapping of further objectives to weights"
        validate.check("Prompts.other", other, isinstance(other, Mapping), allowed)
        for name, weight in other.items():
            validate.known(name, set(OBJECTIVES) - set(PAIR), "further objective of Prompts.other")
            weights[name] = _weights(f"Prompts.other[{name!r}]", weight, len(checked))
        total = np.sum(list(weights.values()), axis=0)
        validate.each("Prompts (sum of weights)", total, total <= 1, "at most 1")
        table, index = _tabulate(checked, weights)
        self.__dict__.update(_table=table, _index=index)

    @classmethod
    def _with(cls, table: _Table, index: NDArray[np.intp]) -> Prompts:
        """Return the prompts at rows of a table."""
        prompts = object.__new__(cls)
        prompts.__dict__.update(_table=table, _index=index)
        return prompts

    @functools.cached_property
    def texts(self) -> tuple[str, ...]:
        """The B texts."""
        return tuple(self._table.texts[self._index].tolist())

    @functools.cached_property
    def tokens(self) -> Tokens:
        """Their tokens, uint8 [B, 160], read-only."""
        return _fixed(self._table.tokens[self._index])

    @functools.cached_property
    def latency_weight(self) -> Weights:
        """The weight of latency, float64 [B], read-only."""
        return _fixed(self._table.weights[PAIR[0]][self._index])

    @property
    def other(self) -> dict[str, Weights]:
        """The weights of all further objectives of the table, float64 [B], by name."""
        given, nothing = self._table.weights, np.zeros(len(self._table.texts))
        further = [name for name in OBJECTIVES if name not in PAIR]
        return {name: given.get(name, nothing)[self._index] for name in further}

    @property
    def weights(self) -> dict[str, Weights]:
        """The weights of all objectives of the table, float64 [B], by name."""
        first, other = self.latency_weight, self.other
        return {PAIR[0]: first, PAIR[1]: 1 - sum(other.values(), first), **other}

    def shown(self, objective: bool) -> dict[str, NDArray[Any]]:
        """Return what an observation shows of them: the objectives' weights, or the tokens."""
        if objective:
            weights = np.stack(list(self.weights.values()), axis=-1)
            return {"objective": weights.astype(np.float32)}
        return {"prompt": self.tokens}

    @classmethod
    def of(cls, texts: str | Sequence[str], batch: int | None = None) -> Prompts:
        """Parse texts that name known objectives.

        Args:
            texts: one text, or a sequence of them.
            batch: B; one text is given to all. None: as many as there are texts.

        Raises:
            ValueError: if ``parse_weights`` refuses a text, or the number of texts is neither 1 nor
                ``batch``.

        >>> Prompts.of(["minimum latency", "70% latency, 30% energy"]).latency_weight
        array([1. , 0.7])
        """
        several = not isinstance(texts, str)
        checked = _texts("Prompts.texts" if several else "prompt", texts)
        meaning: dict[str, dict[str, float]] = {}
        for row, text in enumerate(checked):
            if text not in meaning:
                meaning[text] = parse_weights(
                    text, f"Prompts.texts[{row}]" if several else "prompt"
                )
        prompts = cls._meaning(checked, [meaning[text] for text in checked])
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
    def _meaning(cls, texts: Sequence[str], weights: Sequence[Mapping[str, float]]) -> Prompts:
        """Return the prompts of texts whose weights are given by name."""
        named = [name for name in OBJECTIVES if any(name in row for row in weights)]
        columns = {name: [row.get(name, 0.0) for row in weights] for name in {*named, PAIR[0]}}
        further = {name: columns[name] for name in named if name not in PAIR}
        return cls(texts, columns[PAIR[0]], further)

    @classmethod
    def sample(
        cls,
        batch: int,
        rng: np.random.Generator,
        split: str = "train",
        kinds: Sequence[str] = (*PAIR, MIX),
    ) -> Prompts:
        """Draw prompts: a kind uniformly, then a phrase of it.

        A mix first its weight from 5 %, 10 %, ... 95 %.

        Args:
            batch: B.
            rng: where the draws come from: two of size [B], whatever they turn out to be.
            split: "train" or "held_out", whose wordings share nothing.
            kinds: among those of ``objectives.kinds``; one named twice is drawn twice as often.
        """
        batch = validate.integer("Prompts.sample(batch)", batch)
        validate.check("rng", rng, isinstance(rng, np.random.Generator), "a numpy.random.Generator")
        allowed = f"at least one of {', '.join(objectives.kinds())}"
        validate.check(
            "Prompts.sample(kinds)", kinds, isinstance(kinds, Sequence) and len(kinds) > 0, allowed
        )
        kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
        groups, bounds, table = _groups(
            validate.known(split, catalogue.SPLITS, "split"), tuple(OBJECTIVES.values())
        )
        spans = [groups[validate.known(kind, groups, "kind of prompt")] for kind in kinds]
        draw = rng.random(batch) * len(kinds)
        kind = draw.astype(np.intp)
        first, count = np.asarray(spans)[kind].T
        group = first + ((draw - kind) * count).astype(np.intp)
        low, high = bounds[group], bounds[group + 1]
        return table.take(low + (rng.random(batch) * (high - low)).astype(np.intp))

    def __len__(self) -> int:
        """Return B."""
        return len(self._index)

    def __repr__(self) -> str:
        """Return the texts and their weights."""
        return f"Prompts({list(self.texts)}, {self.latency_weight.tolist()})"

    def __eq__(self, other: object) -> bool:
        """Return whether texts and weights are the same."""
        if not isinstance(other, Prompts):
            return NotImplemented
        pairs = zip(self.weights.values(), other.weights.values(), strict=True)
        return self.texts == other.texts and all(np.array_equal(*pair) for pair in pairs)

    def __hash__(self) -> int:
        """Return a hash that agrees with equality."""
        return hash((self.texts, tuple(self.latency_weight.tolist())))

    def take(self, rows: Any) -> Prompts:
        """Return the prompts at ``rows`` (an int, slice, list, bool or index array)."""
        allowed = f"rows of 0..{len(self) - 1}, or a bool per row"
        try:
            one = isinstance(rows, (slice, int, np.integer))
            index = np.atleast_1d(self._index[rows if one or len(rows) else slice(0)])
        except (IndexError, TypeError):
            validate.refuse("Prompts.take(rows)", rows, allowed)
        validate.check("Prompts.take(rows)", rows, index.ndim == 1, allowed)
        return self._with(self._table, index)

    def pick(self, u: Any) -> NDArray[np.intp]:
        """Return the row 0..B-1 that each uniform in [0, 1) falls on, every row equally likely.

        Args:
            u: any shape, which is also that of the answer.
        """
        u = np.asarray(u, dtype=np.float64)
        validate.check("Prompts.pick(u)", u, bool(np.all((u >= 0) & (u < 1))), "numbers in [0, 1)")
        return np.minimum((u * len(self)).astype(np.intp), len(self) - 1)

    def put(self, rows: NDArray[np.int64], other: Prompts) -> Prompts:
        """Return these prompts with those of ``other`` [R] in ``rows`` int [R]."""
        index = np.arange(len(self))
        index[rows] = len(self) + np.arange(rows.size)
        return Prompts.concat([self, other]).take(index)

    def repeat(self, count: int) -> Prompts:
        """Return each prompt ``count`` times in a row: [B * count]."""
        count = validate.integer("Prompts.repeat(count)", count)
        return self.take(np.repeat(np.arange(len(self)), count))

    @staticmethod
    def concat(parts: Sequence[Prompts]) -> Prompts:
        """Join batches along B."""
        validate.check("Prompts.concat(parts)", len(parts), len(parts) > 0, "at least one batch")
        table = parts[0]._table
        if all(part._table is table for part in parts):
            return Prompts._with(table, np.concatenate([part._index for part in parts]))
        texts = [text for part in parts for text in part.texts]
        names = [name for name in OBJECTIVES if name != PAIR[1]]
        weights = {name: np.concatenate([part.weights[name] for part in parts]) for name in names}
        tokens = np.concatenate([part.tokens for part in parts])
        return Prompts._with(*_tabulate(texts, weights, tokens))

    def objective(self, instances: Any) -> Any:
        """Return the objective [B] that the world of ``instances`` makes of the weights.

        It is ``instances.objective(latency_weight, other)``, in their array namespace.

        Raises:
            ValueError: if there are not as many instances as prompts.
        """
        size = instances.batch_size
        validate.check(
            "Prompts.objective(instances).batch_size",
            size,
            size == len(self),
            f"{len(self)}, one per prompt",
        )
        return instances.objective(
            self.latency_weight.copy(), self.other
        )  # torch warns of read-only memory


@functools.cache
def env_prompts() -> Prompts:
    """Return the prompts that environments draw from unless told otherwise.

    As many for latency as for energy as for mixes; frozen with the environments' ids.
    """
    pure = [(text, {name: 1.0}) for name in PAIR for text in catalogue.lines("frozen", name)]
    mixed = grammar.mix_examples("train", len(pure) // 2)
    rows = [*pure, *((text, {PAIR[0]: weight}) for text, weight in mixed)]
    return Prompts._meaning(*zip(*rows, strict=True))


@functools.cache
def _groups(
    split: str, table: tuple[ObjectiveKind, ...]
) -> tuple[dict[str, tuple[int, int]], NDArray[np.intp], Prompts]:
    """Return each kind's first group and its number of groups, the groups' first rows, the texts.

    A group is all texts of one kind and one weight: one for each pure objective, one per weight for
    mixes.
    """
    kinds = objectives.kinds()
    rows = [(kind, *phrase) for kind in kinds for phrase in grammar.catalogue(split, kind)]
    starts = [k for k in range(len(rows)) if k == 0 or rows[k][::2] != rows[k - 1][::2]]
    names = [rows[start][0] for start in starts]
    spans = {kind: (names.index(kind), names.count(kind)) for kind in kinds if kind in names}
    _, texts, weights = zip(*rows, strict=True)
    return spans, np.asarray([*starts, len(rows)]), Prompts._meaning(texts, weights)
