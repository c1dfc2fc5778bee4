"""How well texts are read: by the environments' rules, by LAMBO's network, by both together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lambo_agents.network import checkpoint
from lambo_agents.reading import TextReader, by_rules, network_reading
from lambo_env.utils import validate

READERS = ("rules", "network", "both")
_SURE = 0.5  # confidence below which a text counts as refused

Floats = NDArray[np.float64]


class Score(NamedTuple):
    """Percentages of the texts that ask for something, and of those that do not."""

    read: float  # within the text's tolerance
    opposite: float  # the other objective weighs more
    wrong: float  # otherwise
    refused: float
    none_refused: float  # of the texts without an objective; nan where there are none


def load(path: str | Path) -> list[dict[str, Any]]:
    """Return the texts of a file of JSON lines.

    Each has ``kind``, ``text``, ``latency_weight`` (null: it asks for nothing) and ``tolerance``.
    """
    allowed = "an existing file of JSON lines: text, latency_weight, tolerance"
    validate.check("--test", str(path), Path(path).is_file(), allowed)
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
    except (ValueError, RecursionError) as error:  # not UTF-8, or not JSON
        raise ValueError(f"--test is {str(path)!r}; allowed: {allowed} ({error})") from error
    validate.check("--test", str(path), len(rows) > 0, allowed)
    for number, row in enumerate(rows, 1):
        fits = isinstance(row, dict) and {"text", "latency_weight"} <= set(row)
        validate.check(
            f"--test {path} (line {number})", row, fits, "text, latency_weight, tolerance"
        )
    return rows


def readings(texts: Sequence[str], weights: str) -> dict[str, tuple[Floats, Floats]]:
    """Return the latency weights and confidences [B] of each of ``READERS``."""
    summary: Any = checkpoint.load_network(checkpoint.weights_path(weights))[0].prompt
    ruled = np.array([by_rules(text) or (0.5, 0.0) for text in texts])
    return {
        "rules": (ruled[:, 0], ruled[:, 1]),
        "network": network_reading(summary, texts),
        "both": tuple(TextReader(summary)(texts)),  # type: ignore[dict-item]
    }


def score(rows: Sequence[Mapping[str, Any]], weight: Floats, confidence: Floats) -> Score:
    """Return how texts are read whose latency weight and confidence [B] are these."""
    asked = np.array([row["latency_weight"] is not None for row in rows])
    true = np.array([row["latency_weight"] if row["latency_weight"] is not None else 0.5
                     for row in rows], dtype=float)  # fmt: skip
    tolerance = np.array([row.get("tolerance", 0.05) for row in rows]) + 1e-6
    sure = confidence >= _SURE
    near = np.abs(weight - true) <= tolerance
    other_side = (weight - 0.5) * (true - 0.5) < 0
    counted = (sure & near, sure & ~near & other_side, sure & ~near & ~other_side, ~sure)
    read, opposite, wrong, refused = (100 * float(part[asked].mean()) for part in counted)
    none = 100 * float((~sure)[~asked].mean()) if (~asked).any() else float("nan")
    return Score(read, opposite, wrong, refused, none)
