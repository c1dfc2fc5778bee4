"""The linear rule: each task goes where a weighted sum of the place's columns is least.

Shapes: B episodes, P places, K columns.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from lambo_env.offloading.instances import Decision
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.instances import QueueInstances
from lambo_env.queueing.policies.columns import COLUMNS, PlaceColumns, latency_share
from lambo_env.queueing.policies.turns import Floats, Ints, decide, turns
from lambo_env.utils import files, jsons, validate

SHIPPED = Path(__file__).parents[1] / "weights" / "linear-rule.json"
KNOTS = (0.0, 0.5, 1.0)  # weights of latency that the rule is tuned for; linear between


class LinearRule:
    """Each task goes where a weighted sum of what the place promises is least.

    Its weights are tuned by ``lambo tune linear-rule``, on training seeds alone.

    Args:
        weights: a file of that command, or weights [len(KNOTS), K]; None: those that are shipped.
    """

    world = "queueing"

    def __init__(self, weights: str | os.PathLike[str] | Floats | None = None) -> None:
        if weights is None or isinstance(weights, str | os.PathLike):
            weights = load(SHIPPED if weights is None else weights)
        allowed = f"numbers of shape {(len(KNOTS), len(COLUMNS))}, or a file"
        try:
            self.weights = np.asarray(weights, dtype=float)
        except (TypeError, ValueError):
            validate.refuse("LinearRule.weights", weights, allowed)
        fits = self.weights.shape == (len(KNOTS), len(COLUMNS))
        validate.check("LinearRule.weights", weights, fits, allowed)

    @property
    def num_parameters(self) -> int:
        """How many numbers are tuned."""
        return self.weights.size

    def decide(
        self, instances: QueueInstances, prompts: Prompts, rng: np.random.Generator
    ) -> Decision:
        """Return the places [B, N]."""
        validate.generator(rng)
        place = places(instances, self.at(latency_share(instances, prompts.objective(instances))))
        return Decision(place, np.zeros(place.shape))

    def at(self, share: Floats) -> Floats:
        """Return the weights [B, K] at weights of latency [B]."""
        return np.stack([np.interp(share, KNOTS, column) for column in self.weights.T], axis=-1)


def places(instances: QueueInstances, weights: Floats, second: Ints | None = None) -> Ints:
    """Return the places [B, N] of least score under weights [B, K].

    ``second`` [B, N], where given, is filled with the next best places.
    """
    now, rows = turns(instances), np.arange(len(instances))
    columns = PlaceColumns(now, instances.slot_s)

    def choose(j: int, finish_s: Floats, work_s: Floats) -> Ints:
        score = np.einsum("bpk,bk->bp", columns.at(j, finish_s, work_s), weights)
        best = np.argmin(score, axis=1)
        if second is not None:
            score[rows, best] = np.inf
            second[rows, now.ue[:, j]] = np.argmin(score, axis=1)
        return best

    return decide(instances, now, choose)


def load(path: str | os.PathLike[str]) -> Floats:
    """Return the weights [len(KNOTS), K] of a file.

    Raises:
        ValueError: no such file, or not of that form.
    """
    field, known = "weights", Path(path)
    validate.check(field, str(path), known.is_file(), "a file of `lambo tune linear-rule`")
    try:
        held: dict[str, Any] = jsons.loads(known.read_text(encoding="utf-8"))
        rows = [[held["weights"][str(knot)][name] for name in COLUMNS] for knot in KNOTS]
        out = np.asarray(rows, dtype=float)
        validate.each("weights", out, np.isfinite(out), "finite")
    except (ValueError, KeyError, TypeError) as error:
        allowed = f"a whole file of `lambo tune linear-rule` ({error})"
        validate.refuse(field, str(path), allowed)
    return out


def save(path: str | os.PathLike[str], weights: Floats, **facts: Any) -> None:
    """Write weights [len(KNOTS), K] and facts of their tuning, atomically."""
    named = {
        str(knot): dict(zip(COLUMNS, map(float, row), strict=True))
        for knot, row in zip(KNOTS, weights, strict=True)
    }
    files.write_text(path, json.dumps({**facts, "weights": named}, indent=1) + "\n")
