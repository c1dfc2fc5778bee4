"""Reading CSV tables: one place for the errors that a missing, foreign or damaged one deserves."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lambo_env.utils import validate


def existing(path: str | os.PathLike[str], what: str, kind: str = "file") -> Path:
    """Return the path of a file that is there.

    Raises:
        ValueError: it is not; the text says what belongs there.
    """
    known = isinstance(path, str | os.PathLike) and Path(path).is_file()
    validate.check("path", str(path), known, f"an existing {kind} of {what}")
    return Path(path)


def read_columns(
    lines: Iterable[str], names: Sequence[str], what: str
) -> dict[str, NDArray[np.float64]]:
    """Return the columns ``names`` of a CSV table as float64 [rows].

    Raises:
        ValueError: a column is missing, the table is empty, or an entry is no finite number; the
            text names column and row.
    """
    reader = csv.DictReader(lines)
    missing = set(names) - set(reader.fieldnames or ())
    validate.check(f"columns of {what}", reader.fieldnames, not missing, ", ".join(names))
    columns: dict[str, list[float]] = {name: [] for name in names}
    for number, row in enumerate(reader, 2):
        for name, values in columns.items():
            values.append(_number(f"{what}, line {number}, {name}", row[name]))
    out = {name: np.asarray(values) for name, values in columns.items()}
    rows = out[names[0]].size
    validate.check(f"rows of {what}", rows, rows > 0, "at least one")
    return out


def _number(field: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        validate.refuse(field, text, "a number")
    validate.check(field, text, bool(np.isfinite(value)), "a finite number")
    return value
