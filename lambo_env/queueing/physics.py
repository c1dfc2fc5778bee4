"""Given plans played through given traces, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from lambo_env.queueing.instances import QueueInstances, TaskOutcomes, Trace, local_scales
from lambo_env.queueing.slots import Devices
from lambo_env.queueing.stations import Prices, Sizes, Stations
from lambo_env.utils import validate
from lambo_env.utils.rows import map_arrays

_TASK = ("has_task", "data_bits", "cycles")


def replay(
    trace: Trace | Sequence[Trace],
    place: NDArray[np.integer[Any]],
    objective: tuple[Any, Any] = (1.0, 0.0),
) -> TaskOutcomes:
    """Run a plan through a trace, several plans through one, or one through each of several.

    Args:
        trace: what comes; several must have the same sizes, slots and discipline.
        place: int [T, N], or [K, T, N] for K plans or traces; 0 local, m server m; ignored where
            there is no task.
        objective: (c_L, c_E), what a second and a joule cost: numbers, or arrays [K].

    Returns:
        The outcome of each task, [T, N] or [K, T, N].

    Raises:
        ValueError: plans and traces of different sizes, or a place that does not exist.
    """
    traces = [*trace] if isinstance(trace, Sequence) else [trace]
    good = len(traces) > 0 and all(isinstance(one, Trace) for one in traces)
    validate.check("trace", trace, good, "a Trace, or a list of at least one")
    sizes = [_sizes(one) for one in traces]
    validate.check("trace", sizes, len(set(sizes)) == 1, "traces of the same sizes and discipline")
    place, shape = np.asarray(place), (sizes[0].num_slots, sizes[0].num_ues)
    validate.check("place.dtype", str(place.dtype), place.dtype.kind in "iu", "an integer dtype")
    counts = [(), (len(traces),)] if len(traces) > 1 else [(), place.shape[:-2]]
    fits = place.shape[-2:] == shape and place.ndim < 4 and place.shape[:-2] in counts
    allowed = f"[T, N] = {shape}, or [K, T, N], K as there are traces"
    validate.check("place.shape", place.shape, fits, allowed)
    has_task = np.stack([one.has_task for one in traces])
    real = (place >= 0) & (place <= sizes[0].num_servers)
    allowed = f"0 (local) .. {sizes[0].num_servers}"
    validate.each("place", place, real | ~(has_task if len(traces) > 1 else has_task[0]), allowed)
    plans = np.broadcast_to(place, (max(len(traces), *place.shape[:-2], 1), *shape))
    out = _played(traces, sizes[0]._replace(rows=len(plans)), plans.astype(np.int64), objective)
    single = place.ndim == 2 and isinstance(trace, Trace)
    return map_arrays(lambda values: values[0], out) if single else out


def _sizes(trace: Trace) -> Sizes:
    slots, ues = trace.has_task.shape
    servers = trace.server_cpu_hz.size
    return Sizes(1, ues, servers, slots, trace.deadline_slots, trace.slot_s, trace.discipline)


def _played(
    traces: list[Trace], sizes: Sizes, place: NDArray[np.int64], objective: tuple[Any, Any]
) -> TaskOutcomes:
    def stacked(name: str) -> Any:
        return np.stack([getattr(one, name) for one in traces])

    rows = np.arange(sizes.rows)
    stations = Stations(sizes, watched=False)
    devices = [np.broadcast_to(x, (sizes.rows, x.shape[-1])) for x in map(stacked, Devices._fields)]
    stations.begin(rows, Devices(*devices), Prices(*objective, stacked("late_penalty")))
    has_task = np.broadcast_to(stacked("has_task"), place.shape)
    by_slot = [np.broadcast_to(stacked(name), place.shape).swapaxes(0, 1) for name in _TASK]
    task = np.nonzero(by_slot[0])
    by_slot[0] = place.swapaxes(0, 1)
    joins: list[Any] = [*task[1:], *(values[task] for values in by_slot)]
    first = np.searchsorted(task[0], np.arange(sizes.num_slots + 1))
    for slot in range(len(traces[0].uplink_bps)):
        if slot < sizes.num_slots:
            new = slice(first[slot], first[slot + 1])
            stations.join(*(values[new] for values in joins))
        stations.serve(rows, np.stack([one.uplink_bps[slot] for one in traces]))
    return stations.outcomes(rows, np.where(has_task, place, 0))


def local_cost(instances: QueueInstances, prompts: Any) -> Any:
    """Return c_L t0 + c_E e0 [B]: what a mean task costs that a mean UE runs itself."""
    objective = prompts.objective(instances)
    t0_s, e0_j = local_scales(
        instances.mean_cycles, instances.local_cpu_hz, instances.local_power_w, instances.xp
    )
    return objective.cost_per_s * t0_s + objective.cost_per_j * e0_j


def evaluate(*_: Any, **__: Any) -> NoReturn:
    """Refuse: one slot's decision has no outcome here.

    Raises:
        ValueError: always.
    """
    raise ValueError(
        "evaluate means nothing for QueueInstances: what a decision costs shows in later slots; "
        "lambo_env.play plays whole episodes, lambo_env.queueing.replay a given plan"
    )
