"""The gap of a cost to its bound: one formula for tables, trainings and studies."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lambo_env.utils import validate

BELOW = 1e-5  # relative: what tolerances excuse of a cost below its bound


def below(cost: ArrayLike, bound: ArrayLike) -> NDArray[np.intp]:
    """Return the instances whose cost lies below a certified bound: something is wrong there."""
    value, low = np.asarray(cost, dtype=float), np.asarray(bound, dtype=float)
    return np.flatnonzero(value < low - BELOW * np.abs(low))


def refuse_below(what: str, cost: ArrayLike, bound: ArrayLike) -> None:
    """Raise ValueError that names the first instance ``below`` its bound."""
    for row in below(cost, bound)[:1]:
        allowed = f"at least its certified bound {float(np.asarray(bound)[row]):.9g}"
        validate.refuse(f"cost of {what}, instance {row}", np.asarray(cost)[row].item(), allowed)


def gap_percent(cost: ArrayLike, bound: ArrayLike) -> NDArray[np.float64]:
    """Return how far each cost lies above its bound, in percent of the bound.

    NaN without a bound; 0 where the two are equal, zero bounds included.
    """
    value, low = np.asarray(cost, dtype=float), np.asarray(bound, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = 100 * (value - low) / low
    return np.where(value == low, 0.0, gap)
