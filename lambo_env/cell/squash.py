"""Ratios as observations show them: squashed to [0, 1], and back (array API)."""

from __future__ import annotations

from typing import Any

from lambo_env.utils.rows import Array


def squash(ratio: Array) -> Array:
    """Map [0, inf] to [0, 1] by x / (1 + x); infinite becomes 1."""
    return 1 - 1 / (1 + ratio)


def unsquash(column: Array, xp: Any, least: float = 0.0) -> Array:
    """Return the ratio of a squashed column.

    ``least`` bounds what the column lacks of 1 from below; 0 makes a column of 1 infinite.
    """
    return column / xp.clip(1 - column, min=least)
