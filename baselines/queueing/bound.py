"""A lower bound of an episode's cost that knows all arrivals and rates: a time-indexed LP.

It is loose: tasks may be split over places and slots and share a slot in any order, and uplinks
only say when a task can be at a server at the earliest, whoever else sends.

Shapes: T slots with arrivals, L slots of the deadline, N UEs, M servers, K tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_TOLERANCE = 1e-9  # of the simulation: exceeding is meant by more


class Columns(NamedTuple):
    """Variables of one place: the share of a task that a slot serves, one per task and slot."""

    task: NDArray[np.int64]
    station: NDArray[np.int64]  # row of the capacity that it takes from
    load: Floats  # of that capacity, the whole task
    cost: Floats


def lower_bound(trace: Any, objective: tuple[float, float] = (1.0, 0.0)) -> float:
    """Return what no plan's mean cost per task can undercut; 0 where there is no task.

    Args:
        trace: one episode.
        objective: cost per s and per J.

    Raises:
        RuntimeError: HiGHS finds no optimum.
    """
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    arrival, ue = np.nonzero(trace.has_task)
    if not arrival.size:
        return 0.0
    cycles = trace.cycles[arrival, ue]
    parts = list(_places(trace, arrival, ue, objective))
    task, station, load, cost = (np.concatenate(column) for column in zip(*parts, strict=True))
    local_j = trace.local_power_w[ue] * cycles / trace.local_cpu_hz[ue]
    late = objective[0] * trace.deadline_s + objective[1] * local_j
    cost = np.concatenate([cost, (1 + trace.late_penalty) * late])
    used, row = np.unique(station, return_inverse=True)
    variables = np.arange(task.size)
    capacity = coo_array((load, (row, variables)), shape=(used.size, cost.size))
    whole = np.concatenate([task, np.arange(arrival.size)])
    served = coo_array((np.ones(cost.size), (whole, np.arange(cost.size))))
    solved = linprog(
        cost,
        A_ub=capacity.tocsr(),
        b_ub=np.ones(used.size),
        A_eq=served.tocsr(),
        b_eq=np.ones(arrival.size),
        method="highs",
    )
    if solved.status:
        raise RuntimeError(f"the LP bound of an episode has no optimum: {solved.message}")
    return float(solved.fun) / arrival.size


def _places(
    trace: Any, arrival: NDArray[np.int64], ue: NDArray[np.int64], objective: tuple[float, float]
) -> Iterator[Columns]:
    """Yield the columns of the local place, then of each server."""
    slots, ues, servers = trace.uplink_bps.shape
    limit = slots - len(trace.has_task) + 1  # L
    cycles, bits = trace.cycles[arrival, ue], trace.data_bits[arrival, ue]
    window = arrival[:, None] + np.arange(limit)  # [K, L] slots in which a task can be served
    share = cycles / (trace.local_cpu_hz[ue] * trace.slot_s)  # slots that it takes
    spent_j = trace.local_power_w[ue] * cycles / trace.local_cpu_hz[ue]
    zero = np.zeros_like(arrival)
    yield _columns(trace, window, ue, share, (zero, spent_j), objective)
    for m in range(servers):
        rate = trace.uplink_bps[window[:, :-1], ue[:, None], m]
        sent = np.cumsum(rate * trace.slot_s, axis=1) < bits[:, None] * (1 - _TOLERANCE)
        first = sent.sum(axis=1) + 1  # slots until it can be at the server
        spent_j = trace.tx_power_w[ue] * bits / rate.max(axis=1)
        share = cycles / (trace.server_cpu_hz[m] * trace.slot_s)
        station = np.full_like(ue, ues + m)
        yield _columns(trace, window, station, share, (first, spent_j), objective)


def _columns(
    trace: Any,
    window: NDArray[np.int64],
    station: NDArray[np.int64],
    share: Floats,
    start: tuple[NDArray[np.int64], Floats],
    objective: tuple[float, float],
) -> Columns:
    first, spent_j = start
    end = np.arange(1, window.shape[1] + 1)  # the latency in slots of what each slot ends
    least = first + np.maximum(np.ceil(share * (1 - _TOLERANCE)), 1)
    task, slot = np.nonzero((end > first[:, None]) & (least[:, None] <= len(end)))
    latency_s = np.maximum(end[slot], least[task]) * trace.slot_s
    return Columns(
        task,
        station[task] + window[task, slot] * sum(trace.uplink_bps.shape[1:]),
        share[task],
        objective[0] * latency_s + objective[1] * spent_j[task],
    )
