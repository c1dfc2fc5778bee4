"""The mask rule: where a task could end in time, by what waits now and at present rates."""

from __future__ import annotations

import numpy as np

from lambo_env.cell.places import LOCAL
from lambo_env.queueing.instances import Bools, Ints, QueueInstances, Totals, totals_of

_EDGE = 1e-9  # relative: a task that fits exactly fits


def legal_places(instances: QueueInstances, totals: Totals | None = None) -> Bools:
    """Return the places [B, N, M + 1] where tasks could end in time; local alone where none is.

    Local where cpu_wait + C <= f D; server m where max(u, W_m / F_m) + C / F_m <= D, with u the
    uplink queue and the task's own upload, rounded up to slots, and W_m what waits at m (not what
    is still to be uploaded). ``totals`` are those of ``instances``, where
    they are known.
    """
    deadline_s = instances.deadline_s * (1 + _EDGE)
    work = instances.cpu_wait_cycles + instances.cycles
    capacity, slot_s = instances.server_cpu_hz[:, None], instances.slot_s[:, None, None]
    totals = totals_of(instances) if totals is None else totals
    slots = (instances.uplink_wait_s[..., None] + totals.upload_s) / slot_s
    upload_s = np.ceil(slots * (1 - _EDGE)) * slot_s
    wait_s = totals.waiting_cycles[:, None] / capacity
    end_s = np.maximum(upload_s, wait_s) + instances.cycles[..., None] / capacity
    legal = np.empty((*deadline_s.shape, capacity.shape[-1] + 1), dtype=bool)
    legal[..., LOCAL] = work <= instances.local_cpu_hz * deadline_s
    np.less_equal(end_s, deadline_s[..., None], out=legal[..., LOCAL + 1 :])
    legal &= instances.has_task[..., None]
    legal[..., LOCAL] |= ~legal.any(axis=-1)
    return legal


def of_current(legal: Bools, ue: Ints) -> Bools:
    """Return the masks [B, P] of the UEs ``ue`` [B] to be decided; local alone for N, nobody.

    ``legal`` is bool [B, N, P].
    """
    ues = legal.shape[1]
    masks = legal[np.arange(ue.size), np.minimum(ue, ues - 1)]
    none = ue == ues
    if none.any():
        masks[none] = np.arange(masks.shape[1]) == 0
    return masks
