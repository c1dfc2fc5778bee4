"""UE by UE inside a slot: what each place promises a task, counting the choices before it.

Shapes: B episodes, N UEs, M edge servers, P = M + 1 places, J tasks of the row that got most.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray

from lambo_env.cell.places import over_places
from lambo_env.queueing.instances import QueueInstances

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_WHOLE = 1e-9  # of a slot: less than this above a whole number of slots counts as whole
# (the turn j, estimated finish in s [B, P], seconds of work ahead at each server [B, M]) -> [B]
Choose = Callable[[int, Floats, Floats], Ints]


@dataclasses.dataclass(frozen=True, eq=False)
class Turns:
    """The tasks of a slot in the order of their UEs; turns that a row lacks have zeros."""

    ue: Ints  # [B, J]
    cycles: Floats  # [B, J]
    deadline_s: Floats  # [B, J]
    local_wait_s: Floats  # [B, J] of the UE's CPU queue
    local_run_s: Floats  # [B, J]
    local_power_w: Floats  # [B, J]
    tx_power_w: Floats  # [B, J]
    uplink_wait_s: Floats  # [B, J] at present rates
    upload_s: Floats  # [B, J, M] the task alone, at present rates
    ready_s: Floats  # [B, J, M] until its upload has ended: a whole number of slots
    run_s: Floats  # [B, J, M] the task alone on the whole server
    work_s: Floats  # [B, M] of the server's time that waits or is under way to it
    coming_s: Floats  # [B, M] the part under way
    later_s: Floats  # [B, J] all servers' time that the tasks of later turns would take
    capacity_share: Floats  # [B, M] of all servers' capacity

    @property
    def local_s(self) -> Floats:
        """When a local run would end [B, J]."""
        return self.local_wait_s + self.local_run_s


def whole_slots(time_s: Floats, slot_s: Floats) -> Floats:
    """Return times rounded up to whole slots; both in seconds, or in another unit."""
    return cast(Floats, np.ceil(time_s / slot_s - _WHOLE) * slot_s)


def turns(instances: QueueInstances) -> Turns:
    """Return the turns of a slot."""
    most = max(1, int(np.count_nonzero(instances.has_task, axis=1).max()))
    ue = np.argsort(~instances.has_task, axis=1, kind="stable")[:, :most]

    def of(values: Floats) -> Floats:
        index = ue.reshape(*ue.shape, *(1,) * (values.ndim - 2))
        return cast(Floats, np.take_along_axis(values, index, axis=1))

    cpu_hz, capacity, slot_s = instances.local_cpu_hz, instances.server_cpu_hz, instances.slot_s
    cycles, wait_s = of(instances.cycles), of(instances.uplink_wait_s)
    upload_s = of(instances.data_bits)[..., None] / of(instances.uplink_bps)
    coming_s = instances.coming_cycles.sum(axis=1) / capacity
    total = capacity.sum(axis=1)[:, None]
    all_s = cycles / total
    return Turns(
        ue=ue,
        cycles=cycles,
        deadline_s=of(instances.deadline_s),
        local_wait_s=of(instances.cpu_wait_cycles / cpu_hz),
        local_run_s=cycles / of(cpu_hz),
        local_power_w=of(instances.local_power_w),
        tx_power_w=of(instances.tx_power_w),
        uplink_wait_s=wait_s,
        upload_s=upload_s,
        ready_s=whole_slots(wait_s[..., None] + upload_s, slot_s[:, None, None]),
        run_s=cycles[..., None] / capacity[:, None],
        work_s=coming_s + instances.edge_wait_cycles.sum(axis=1) / capacity,
        coming_s=coming_s,
        later_s=np.cumsum(all_s[:, ::-1], axis=1)[:, ::-1] - all_s,
        capacity_share=capacity / total,
    )


def decide(instances: QueueInstances, turns: Turns, choose: Choose, count: bool = True) -> Ints:
    """Return the places [B, N] of a slot, chosen turn by turn; 0 where there is no task.

    Args:
        instances: B cells at the start of a slot.
        turns: theirs.
        choose: what takes a turn.
        count: whether a turn knows the choices of those before it.
    """
    work_s, local_s = turns.work_s.copy(), turns.local_s
    place = np.zeros(instances.has_task.shape, dtype=np.int64)
    rows = np.arange(len(place))
    for j in range(turns.ue.shape[1]):
        edge_s = np.maximum(turns.ready_s[:, j], work_s) + turns.run_s[:, j]
        chosen = choose(j, over_places(local_s[:, j], edge_s, np), work_s)
        place[rows, turns.ue[:, j]] = chosen
        if count:
            sent = rows[chosen > 0]
            server = chosen[sent] - 1
            work_s[sent, server] += turns.run_s[sent, j, server]
    return np.where(instances.has_task, place, 0)
