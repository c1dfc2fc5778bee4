"""Local search over a whole plan that knows all arrivals and rates: what foresight achieves.

A candidate plan tries changes that lie so far apart in time that what each costs can be told from
the tasks about it; the best of many candidates are joined, and kept where a replay says so.

Shapes: T slots that bring tasks, N UEs, C candidates of a round.
"""

from __future__ import annotations

import dataclasses
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lambo_env.queueing.instances import Trace
from lambo_env.queueing.physics import replay
from lambo_env.utils import validate
from lambo_env.utils.rules import Ruled, optional, ruled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_APART = 2.5  # deadlines between two changes of a candidate
_PAIRED = 0.5  # share of changes that move two tasks
_NEAR = 3  # slots within which the two arrive


class Found(NamedTuple):
    """A plan, and how the search came to it."""

    place: Ints  # [T, N]
    cost: float  # of the plan, per task
    curve: list[tuple[float, float]]  # CPU seconds spent, cost: the start's, then by round


@dataclasses.dataclass(frozen=True, kw_only=True)
class HindsightSearch(Ruled):
    """How long is searched.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    rounds: int = ruled(400, validate.integer)
    candidates: int = ruled(96, validate.integer)  # of a round
    # CPU seconds after which no further round begins; the plan then depends on the machine
    limit_s: float | None = ruled(None, optional(validate.positive))

    def improve(
        self,
        trace: Trace,
        place: Ints,
        rng: np.random.Generator,
        objective: tuple[float, float] = (1.0, 0.0),
    ) -> Found:
        """Return a plan [T, N] that costs no more than ``place``.

        Args:
            trace: the episode.
            place: the plan to start from.
            rng: what changes are drawn from.
            objective: cost per s and per J.
        """
        validate.generator(rng)
        best, begun = np.asarray(place), time.process_time()
        tasks = np.argwhere(trace.has_task)
        first = replay(trace, best, objective)
        cost, costs = float(first.episode_cost), _by_slot(first.cost)
        curve = [(0.0, cost)]
        for _ in range(self.rounds if len(tasks) else 0):
            candidates, changes = self._draw(trace, best, tasks, rng)
            tried = _by_slot(replay(trace, candidates, objective).cost) - costs
            joined = _join(trace, best, candidates, changes, tried)
            outcome = replay(trace, joined, objective)
            winner = int(np.argmin(outcome.episode_cost))
            if outcome.episode_cost[winner] < cost:
                best, cost = joined[winner], float(outcome.episode_cost[winner])
                costs = _by_slot(outcome.cost[winner])
            spent_s = time.process_time() - begun
            curve.append((spent_s, cost))
            if self.limit_s is not None and spent_s > self.limit_s:
                break
        return Found(best, cost, curve)

    def _draw(
        self, trace: Trace, best: Ints, tasks: Ints, rng: np.random.Generator
    ) -> tuple[Ints, Ints]:
        """Return candidates [C, T, N], and the slots [C, G] about which each has its changes."""
        slots, servers = trace.num_slots, trace.server_cpu_hz.size
        apart = int(_APART * trace.deadline_slots)
        at = rng.integers(0, apart, (self.candidates, 1)) + np.arange(0, slots, apart)
        candidates = np.repeat(best[None], self.candidates, axis=0)
        starts = np.searchsorted(tasks[:, 0], np.arange(slots + _NEAR + 1))
        for moved in range(2):
            slot = np.minimum(at + (rng.integers(0, _NEAR, at.shape) if moved else 0), slots - 1)
            low, high = starts[slot], starts[slot + 1]
            picked = low + (rng.random(at.shape) * (high - low)).astype(np.int64)
            acts = (high > low) & (rng.random(at.shape) < (_PAIRED if moved else 1.0))
            row, column = np.nonzero(acts)
            when, ue = tasks[picked[row, column]].T
            step = rng.integers(1, servers + 1, row.size)
            candidates[row, when, ue] = (candidates[row, when, ue] + step) % (servers + 1)
        return candidates, at


def _by_slot(cost: Floats) -> Floats:
    """Return the costs of the tasks that came in each slot [..., T]."""
    return np.nansum(cost, axis=-1)


def _join(trace: Trace, best: Ints, candidates: Ints, changes: Ints, tried: Floats) -> Ints:
    """Return plans that join the changes that gained most: the first 1, 2, 4, ... of them."""
    reach, slots = trace.deadline_slots, trace.num_slots
    total = np.concatenate([np.zeros((len(tried), 1)), np.cumsum(tried, axis=1)], axis=1)
    low = np.clip(changes - reach + 1, 0, slots)
    high = np.concatenate([low[:, 1:], np.full((len(low), 1), slots)], axis=1)
    rows = np.arange(len(tried))[:, None]
    gain = np.where(changes < slots, total[rows, low] - total[rows, high], 0.0)
    order = np.argsort(-gain, axis=None, kind="stable")
    plan, plans, taken = best.copy(), [], np.zeros(slots, dtype=bool)
    for flat in order[: np.count_nonzero(gain > 0)]:
        row, column = divmod(int(flat), gain.shape[1])
        at = int(changes[row, column])
        near = slice(at, min(at + _NEAR, slots))
        if taken[max(0, at - reach) : at + reach].any():
            continue
        plan[near], taken[at] = candidates[row, near], True
        plans.append(plan.copy())
    if not plans:
        return best[None]
    kept = [k for k in range(len(plans)) if (k + 1) & k == 0 or k == len(plans) - 1]
    return np.stack([plans[k] for k in kept])
