"""Cells that go on from what a slot shows: the start of a look ahead.

What is shown says how much waits where, and not which tasks it is made of. Here all that a UE has
waiting at one place is one task: what is under way came ``_WAY`` of a deadline ago, what waits at a
server ``_SERVER``. Local work that waits takes time and is charged to nobody.

Shapes: R rows, N UEs, M servers.
"""

from __future__ import annotations

import numpy as np

from lambo_env.queueing.dynamics import Cells
from lambo_env.queueing.instances import Floats, QueueInstances
from lambo_env.queueing.scenario import QueueScenario
from lambo_env.queueing.slots import Devices
from lambo_env.queueing.stations import TOLERANCE, Stations

_WAY, _SERVER = 0.2, 0.5


def resumed(scenario: QueueScenario, instances: QueueInstances) -> Cells:
    """Return cells [R] at the start of the slots that instances [R] show.

    The slots themselves, this one included, are given to ``Cells.put``.

    Args:
        scenario: whose deadline, discipline and number of further slots they have.
        instances: what is shown; their tasks join when they are decided.
    """
    cells, rows = Cells(scenario, len(instances)), np.arange(len(instances))
    cells.start(rows, Devices(*(getattr(instances, name) for name in Devices._fields)))
    stations, slot = cells.stations, cells.stations.sizes.deadline_slots
    local = np.flatnonzero(instances.cpu_wait_cycles)
    work = instances.cpu_wait_cycles.reshape(-1)[local]
    stations.free[local] = work / stations.cpu_cycles[local]
    at = local * slot + slot - 1  # the line of the slot before the first
    stations.run_cycles[at], stations.run_start[at] = work, 0.0
    stations.run_settles[at] = np.ceil(stations.free[local]) - 1
    coming = instances.coming_cycles
    total = np.maximum(coming.sum(axis=-1, keepdims=True), 1e-300)
    bits = instances.uplink_wait_bits[..., None] * (coming / total)
    _hold(stations, instances.edge_wait_cycles, np.zeros_like(bits), round(_SERVER * slot))
    stations.here[:] = stations.left > 0
    stations.head[:] = stations.tail
    _hold(stations, coming, bits, round(_WAY * slot))
    return cells


def _hold(stations: Stations, cycles: Floats, bits: Floats, age: int) -> None:
    """Let work [R, N, M] be tasks that came ``age`` slots ago, sent in the order of servers.

    A UE has room for half a deadline's tasks; the work of further ones is left out.
    """
    lines, ues = stations.sizes.deadline_slots, stations.sizes.num_ues
    for server in range(cycles.shape[-1]):
        held, sent = (values[..., server].reshape(-1) for values in (cycles, bits))
        queue = np.flatnonzero((held > 0) & (stations.tail < lines // 2))
        item = queue * lines + stations.tail[queue]
        stations.cycles[item] = stations.left[item] = held[queue]
        stations.bits[item], stations.slack_bits[item] = sent[queue], TOLERANCE * sent[queue]
        stations.server[item], stations.last[item] = server, max(lines - 1 - age, 1)
        row, ue = np.divmod(queue, ues)
        stations.task[item] = row * stations.sizes.num_slots * ues + ue
        stations.tail[queue] += 1
