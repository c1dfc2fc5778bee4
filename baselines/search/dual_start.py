"""Where a search starts: what UEs choose at the dual's prices, made to fit.

Shapes: B instances, N UEs, P places (0 is local).
"""

from __future__ import annotations

import numpy as np

from baselines.search.dual import Floats, Places, Problem, climb
from baselines.search.server_costs import Indices, members

_CHUNK = (
    2**16
)  # numbers per table that the dual works on at once: what stays in a processor's cache


def dual_start(problem: Problem, rounds: int, must_offload_first: bool = False) -> Places:
    """Return places [B, N] that fit, near what ``rounds`` of the dual's prices lead to.

    Where the UEs' own choices overfill a server they choose in turn: those with the largest regret
    first, or before them those that must offload (late at home), largest share of a server first.
    """
    step = max(1, _CHUNK // problem.fixed[0].size)
    chunks = [
        problem.take(slice(first, first + step)) for first in range(0, len(problem.root), step)
    ]
    return np.concatenate([_start(chunk, rounds, must_offload_first) for chunk in chunks])


def _start(problem: Problem, rounds: int, must_offload_first: bool) -> Places:
    price = climb(problem, rounds).price
    cost = np.concatenate(
        [problem.fixed[:, :1], problem.priced(problem.level(price), price)[0]], axis=1
    )
    place = np.argmin(cost, axis=1)
    used = np.where(members(place, cost.shape[1]), problem.floor, 0.0).sum(axis=2)
    tight = np.flatnonzero((used > problem.limit).any(axis=1))
    if tight.size:
        part, cost = problem.take(tight), cost[tight]
        least = np.partition(cost, 1, axis=1)
        share = (part.floor / part.capacity[..., None])[:, 1:].min(axis=1)
        urgent = np.where(part.must_offload & must_offload_first, share, 0.0)
        place[tight] = _in_turn(
            part, cost, np.lexsort((least[:, 0] - least[:, 1], -urgent), axis=1)
        )
    return place


def _in_turn(problem: Problem, cost: Floats, order: Indices) -> Places:
    """Give each UE in turn the cheapest place that still fits."""
    rows, left = np.arange(len(order)), problem.limit.copy()
    place = np.zeros(order.shape, dtype=np.int64)
    for ue in order.T:
        need = problem.floor[rows, :, ue]
        chosen = np.argmin(np.where(need <= left, cost[rows, :, ue], np.inf), axis=1)
        place[rows, ue] = chosen
        left[rows, chosen] -= need[rows, chosen]
    return place
