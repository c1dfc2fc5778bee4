"""The covariance matrix adaptation evolution strategy, as a state that can be kept in a file.

Hansen, The CMA evolution strategy: a tutorial (arXiv 1604.00772), with its default settings and
without negative weights. Shapes: K coordinates, P candidates of a generation.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Strategy:
    """Where the search stands after some generations."""

    mean: Floats  # [K]
    step: float  # sigma
    covariance: Floats  # [K, K]
    step_path: Floats  # [K]
    path: Floats  # [K]
    generation: int = 0

    @classmethod
    def begin(cls, mean: Floats, step: float) -> Strategy:
        """Return the start of a search about ``mean``."""
        zero = np.zeros_like(mean, dtype=float)
        return cls(np.asarray(mean, dtype=float), step, np.eye(zero.size), zero, zero)

    def ask(self, candidates: int, rng: np.random.Generator) -> Floats:
        """Return the candidates [P, K] of the next generation."""
        values, axes = self._axes()
        return self.mean + self.step * (rng.standard_normal((candidates, values.size)) * values) @ (
            axes.T
        )

    def tell(self, candidates: Floats, costs: Floats) -> Strategy:
        """Return where the search stands once the candidates [P, K] have cost [P]."""
        size, count = self.mean.size, len(costs) // 2
        weights = math.log(count + 0.5) - np.log(np.arange(1, count + 1))
        weights /= weights.sum()
        effective = 1 / float(np.sum(weights**2))
        slow = (4 + effective / size) / (size + 4 + 2 * effective / size)
        step_slow = (effective + 2) / (size + effective + 5)
        rank_one = 2 / ((size + 1.3) ** 2 + effective)
        rank_many = min(
            1 - rank_one, 2 * (effective - 2 + 1 / effective) / ((size + 2) ** 2 + effective)
        )
        damping = 1 + step_slow + 2 * max(0.0, math.sqrt((effective - 1) / (size + 1)) - 1)
        usual = math.sqrt(size) * (1 - 1 / (4 * size) + 1 / (21 * size**2))

        best = np.argsort(costs, kind="stable")[:count]
        moves = (candidates[best] - self.mean) / self.step
        move = weights @ moves
        values, axes = self._axes()
        white = axes @ ((axes.T @ move) / values)
        step_path = (1 - step_slow) * self.step_path
        step_path += math.sqrt(step_slow * (2 - step_slow) * effective) * white
        length, generation = float(np.linalg.norm(step_path)), self.generation + 1
        settled = math.sqrt(1 - (1 - step_slow) ** (2 * generation))
        short = length / settled < (1.4 + 2 / (size + 1)) * usual
        path = (1 - slow) * self.path + short * math.sqrt(slow * (2 - slow) * effective) * move
        covariance = (
            (1 - rank_one - rank_many) * self.covariance
            + rank_one * np.outer(path, path)
            + rank_many * (moves.T * weights) @ moves
        )
        return Strategy(
            self.mean + self.step * move,
            self.step * math.exp(step_slow / damping * (length / usual - 1)),
            covariance,
            step_path,
            path,
            generation,
        )

    def _axes(self) -> tuple[Floats, Floats]:
        """Return the lengths [K] and directions [K, K] of the covariance's axes."""
        values, axes = np.linalg.eigh(self.covariance)
        return np.sqrt(np.maximum(values, 1e-20)), axes

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: np.asarray(value).tolist() for name, value in plain.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Strategy:
        """Return the state of JSON values."""
        arrays = {name: np.asarray(value, dtype=float) for name, value in values.items()}
        step, generation = float(arrays.pop("step")), int(arrays.pop("generation"))
        return cls(**arrays, step=step, generation=generation)
