"""The slot's certified optimum beside the running cost.

Told by whoever can prove it, since environments know no solver.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambo_env.offloading.instances import Instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate

Prove = Callable[
    [Instances, Prompts], Any
]  # a batch of one -> its optimum (or a lower bound of it), in units of the cost
Optimum = Prove | float | NDArray[Any] | None


class Optima:
    """What is known of the optima of B rows' slots.

    A prover is asked at the first picture of a slot.
    """

    def __init__(self, rows: int) -> None:
        self._known = np.full(rows, np.nan)
        self._prove: Prove | None = None

    def tell(self, optimum: Optimum) -> None:
        """Take numbers for the slots under way, a prover for these and all further ones, or None to forget.

        Raises:
            ValueError: anything but finite numbers, one or one a row, or a callable.
        """
        numbers = np.full(self._known.shape, np.nan)
        if optimum is not None and not callable(optimum):
            numbers[:] = _finite("show_optimum(optimum)", optimum, (), numbers.shape)
        self._prove, self._known = optimum if callable(optimum) else None, numbers

    def forget(self, rows: NDArray[np.int64]) -> None:
        """New slots begin in ``rows``."""
        self._known[rows] = np.nan

    def of(self, row: int, instances: Instances, prompts: Prompts) -> float | None:
        """Return the optimum of a row's slot, given as a batch of one; None where nobody told."""
        if np.isnan(self._known[row]) and self._prove is not None:
            found = self._prove(instances, prompts)
            self._known[row] = _finite(
                "what show_optimum's callable returned", found, (), (1,)
            ).item()
        return None if np.isnan(self._known[row]) else float(self._known[row])


def _finite(field: str, value: Any, *shapes: tuple[int, ...]) -> NDArray[np.float64]:
    allowed = " or ".join(
        "a finite number" if not shape else f"{shape[0]} of them" for shape in shapes
    )
    array = np.asarray(value)
    ok = array.dtype.kind in "fiu" and array.shape in shapes and bool(np.isfinite(array).all())
    validate.check(field, value, ok, f"{allowed}, a callable of (instances, prompts), or None")
    return array.astype(np.float64)


class ShowsOptimum:
    """The method that the single and the vector environment share."""

    _engine: Any

    def _check_started(self) -> None:
        raise NotImplementedError

    def show_optimum(self, optimum: Optimum) -> None:
        """Show the slot's certified optimum beside the running cost, in pictures and text.

        Nothing else changes.

        Args:
            optimum: a number (in a vector environment also one a row) for the slot being played; or
                a callable that gets instances and prompts, a batch of one each, and returns it,
                asked once a slot at its first picture, such as ``lambda instances, prompts:
                exact.solve(instances, prompts).lower_bound``; or None: no more.

        Raises:
            ValueError: anything else, or a number that is not finite.
            ResetNeeded: a number before the first ``reset``.
        """
        if optimum is not None and not callable(optimum):
            self._check_started()
        self._engine.optima.tell(optimum)
