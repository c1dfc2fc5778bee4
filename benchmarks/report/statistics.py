"""Intervals: BCa bootstrap of a mean, and of the mean difference between two agents.

Both agents decide the same instances. Student's t for a few seeds.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lambo_env.utils import validate

LEVEL = 0.95
RESAMPLES = 4999
_SEED = 20230829  # the same resamples at every report of the same numbers


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval; the ends are NaN where one value alone was given."""

    mean: float
    low: float
    high: float

    def scaled(self, factor: float) -> Interval:
        """Return the interval in a unit ``factor`` times smaller."""
        return Interval(self.mean * factor, self.low * factor, self.high * factor)


def mean_interval(values: ArrayLike) -> Interval:
    """Return the mean of independent ``values`` with its BCa bootstrap interval (Efron 1987).

    Of 32 skewed values it covers the true mean in 92 % of cases, of 200 in 94 %.

    Raises:
        ValueError: no values, or not one dimension.
    """
    data = np.asarray(values, dtype=float)
    validate.check(
        "mean_interval(values).shape", data.shape, data.ndim == 1 and data.size > 0, "[n], n >= 1"
    )
    mean = float(np.mean(data))
    if not np.all(np.isfinite(data)) or data.size == 1:
        return Interval(mean, math.nan, math.nan)
    if np.ptp(data) <= 1e-12 * max(1.0, abs(mean)):  # equal but for rounding: nothing to resample
        return Interval(mean, mean, mean)
    low, high = _bca(data)
    return Interval(mean, low, high)


@functools.lru_cache(maxsize=1)
def _drawn(count: int) -> NDArray[np.int64]:
    """Return the resamples [RESAMPLES, count] that all means of so many values share."""
    return np.random.default_rng(_SEED).integers(0, count, size=(RESAMPLES, count))


def _bca(data: NDArray[np.float64]) -> tuple[float, float]:
    from scipy.stats import bootstrap  # 0.6 s that only reports pay

    options: dict[str, Any] = {
        "confidence_level": LEVEL,
        "n_resamples": 0,  # none but those of ``_drawn``
        "vectorized": True,
        "bootstrap_result": types.SimpleNamespace(
            bootstrap_distribution=data[_drawn(data.size)].mean(axis=-1)
        ),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # degenerate resamples give NaN, dealt with below
        found = bootstrap((data,), np.mean, method="BCa", **options)
        if not math.isfinite(found.confidence_interval.low + found.confidence_interval.high):
            found = bootstrap((data,), np.mean, method="percentile", **options)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def seeds_interval(values: ArrayLike) -> Interval:
    """Return the mean of a few independent ``values`` with Student's t interval.

    Too few to resample.

    Raises:
        ValueError: no values, or not one dimension.
    """
    data = np.asarray(values, dtype=float)
    validate.check(
        "seeds_interval(values).shape", data.shape, data.ndim == 1 and data.size > 0, "[n], n >= 1"
    )
    mean, half = float(np.mean(data)), float(student_half_width(data))
    return Interval(mean, mean - half, mean + half)


def student_half_width(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return half the width [...] of Student's t interval of the mean of ``values`` [n, ...].

    NaN for one value.
    """
    from scipy.special import stdtrit  # lazily: only reports pay for it

    count = len(values)
    if count == 1:
        return np.full(values.shape[1:], math.nan)
    quantile = stdtrit(count - 1, (1 + LEVEL) / 2)
    return np.asarray(quantile * values.std(axis=0, ddof=1) / math.sqrt(count))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How agent A's values differ from agent B's on the same instances; lower is better."""

    difference: Interval  # mean of A - B
    wins: float  # share of instances where A is lower, ties half
    instances: int

    @property
    def verdict(self) -> str:
        """A sentence's end: which is lower, or that the interval holds zero."""
        low, high = self.difference.low, self.difference.high
        if high < 0:
            return "A is lower"
        if low > 0:
            return "B is lower"
        return "no difference shown" if low <= 0 <= high else "too few instances"


def compare(a: ArrayLike, b: ArrayLike) -> Comparison:
    """Return the paired comparison of two agents' values on the same instances.

    Raises:
        ValueError: the two differ in length, or are empty.
    """
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    validate.check(
        "compare(a, b)",
        (first.shape, second.shape),
        first.shape == second.shape,
        "as many values of A as of B",
    )
    gap = first - second
    same = np.abs(gap) <= 1e-9 * np.maximum(np.abs(first), np.abs(second))  # equal but for rounding
    gap = np.where(same, 0.0, gap)
    wins = float(np.mean(np.where(same, 0.5, gap < 0)))
    return Comparison(mean_interval(gap), wins, int(gap.size))
