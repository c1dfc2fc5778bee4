"""The gap of a cost to its bound: one formula for tables, trainings and studies."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def gap_percent(cost: ArrayLike, bound: ArrayLike) -> NDArray[np.float64]:
    """Return how far each cost lies above its bound, in percent of the bound.

    NaN without a bound; 0 where the two are equal, zero bounds included.
    """
    value, low = np.asarray(cost, dtype=float), np.asarray(bound, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = 100 * (value - low) / low
    return np.where(value == low, 0.0, gap)
