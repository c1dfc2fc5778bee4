"""The observation of the queueing world: its columns, the one writer and the one reader (batched).

Ratios x are squashed by x / (1 + x), so that all entries are in [0, 1] in every scenario.

``ues`` [B, N, 2 M + 10]: the ``UE`` columns, then upload time / deadline to each server at present
rates, then own work that waits at each server / (F_m D). ``servers`` [B, M, 4]: the ``SERVER``
columns. What has been decided in a slot stands in its queues at once.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from lambo_env.cell.places import LOCAL
from lambo_env.queueing.instances import Ints, QueueInstances
from lambo_env.utils.rows import Array


class UE(IntEnum):
    """Columns of ``ues`` that are there once, whatever M."""

    CURRENT = 0  # its task is to be decided now
    PLACE = 1  # decided in this slot / M
    HAS_TASK = 2  # got one in this slot
    DATA = 3  # bits / mean bits of the scenario; this and the next three 0 without a task
    LOCAL = 4  # cycles / (f D)
    LOAD = 5  # N C / (D x sum of F)
    POWER = 6  # transmit / local power
    CPU_QUEUE = 7  # / (f D)
    UPLINK_QUEUE = 8  # seconds at present rates / D
    SPEED = 9  # f / (f + the fastest server)


class SERVER(IntEnum):
    """Columns of ``servers``."""

    WAITING = 0  # work / (F D)
    COMING = 1  # work of tasks that are still to be uploaded / (F D)
    USERS = 2  # UEs with work there / N
    SIZE = 3  # F / that of the largest


def width(num_servers: int) -> int:
    """Return the number of columns of ``ues``."""
    return len(UE) + 2 * num_servers


def squash(ratio: Array) -> Array:
    """Map [0, inf] to [0, 1] by x / (1 + x); infinite becomes 1."""
    return 1 - 1 / (1 + ratio)


class QueueObservations:
    """The observations of B cells, written slot by slot and decision by decision."""

    def __init__(self, num_envs: int, num_ues: int, num_servers: int) -> None:
        self.ues = np.zeros((num_envs, num_ues, width(num_servers)), dtype=np.float32)
        self.servers = np.zeros((num_envs, num_servers, len(SERVER)), dtype=np.float32)
        # in deadlines, before the squash: what a decision adds to
        self._coming = np.zeros((num_envs, num_servers))
        self._queue = np.zeros((num_envs, num_ues, 2))  # CPU, uplink
        self._adds = np.zeros((num_envs, num_ues, 2 * num_servers + 1))

    def begin(self, rows: Any, instances: QueueInstances, current: Ints) -> None:
        """Show the start of slots in ``rows`` [R]; ``current`` [R] is to be decided, N: nobody."""
        batch, ues, servers = instances.uplink_bps.shape
        deadline_s, has_task = instances.deadline_s, instances.has_task
        f_cycles = instances.local_cpu_hz * deadline_s
        edge_cycles = instances.server_cpu_hz * deadline_s[:, :1]  # [R, M]
        local = instances.cycles / f_cycles
        upload = instances.data_bits[..., None] / instances.uplink_bps / deadline_s[..., None]
        computing = np.maximum(instances.local_power_w, 1e-200)
        queue = np.stack(
            [instances.cpu_wait_cycles / f_cycles, instances.uplink_wait_s / deadline_s], axis=-1
        )
        largest = instances.server_cpu_hz.max(axis=-1)[:, None]
        total = edge_cycles.sum(axis=-1)[:, None]
        own = instances.edge_wait_cycles / edge_cycles[:, None]
        ratios = np.empty((batch, ues, width(servers)))
        ratios[..., UE.DATA] = instances.data_bits / instances.mean_bits[:, None]
        ratios[..., UE.LOCAL] = local
        ratios[..., UE.LOAD] = ues * instances.cycles / total
        ratios[..., UE.POWER] = instances.tx_power_w / computing * has_task
        ratios[..., UE.CPU_QUEUE : UE.UPLINK_QUEUE + 1] = queue
        ratios[..., UE.SPEED] = instances.local_cpu_hz / largest
        ratios[..., len(UE) : len(UE) + servers] = upload
        ratios[..., len(UE) + servers :] = own
        seen = squash(ratios[..., UE.DATA :])
        self.ues[rows, :, UE.DATA :] = seen
        self.ues[rows, :, UE.HAS_TASK] = has_task
        self.ues[rows, :, UE.PLACE] = 0.0
        self.ues[rows, :, UE.CURRENT] = np.arange(ues) == current[:, None]
        waiting = instances.edge_wait_cycles.sum(axis=1) / edge_cycles
        coming = instances.coming_cycles.sum(axis=1) / edge_cycles
        users = np.count_nonzero(instances.edge_wait_cycles, axis=1) / ues
        size = instances.server_cpu_hz / largest
        parts = [squash(waiting), squash(coming), users, size]
        self.servers[rows] = np.stack(parts, axis=-1)
        self._coming[rows], self._queue[rows] = coming, queue
        work = instances.cycles[..., None] / edge_cycles[:, None]
        self._adds[rows] = np.concatenate([local[..., None], upload, work], axis=-1)

    def decide(self, rows: Ints, ue: Ints, place: Ints, current: Ints) -> None:
        """Show the decision on one UE in each of ``rows`` and who is next; all int [R].

        ``current`` N: nobody.
        """
        servers = self.servers.shape[1]
        away = (place != LOCAL).astype(np.int64)
        queue = self._queue[rows, ue, away] + self._adds[rows, ue, place]
        self._queue[rows, ue, away] = queue
        self.ues[rows, ue, UE.CPU_QUEUE + away] = squash(queue)
        self.ues[rows, ue, UE.PLACE] = place / servers
        self.ues[rows, ue, UE.CURRENT] = 0.0
        on = np.flatnonzero(current < self.ues.shape[1])
        self.ues[rows[on], current[on], UE.CURRENT] = 1.0
        off = np.flatnonzero(away)
        rows, ue, place = rows[off], ue[off], place[off]
        coming = self._coming[rows, place - 1] + self._adds[rows, ue, servers + place]
        self._coming[rows, place - 1] = coming
        self.servers[rows, place - 1, SERVER.COMING] = squash(coming)


class QueueColumns(NamedTuple):
    """The columns of ``ues`` [..., N, 2 M + 10] by what they say."""

    once: Array  # [..., N, len(UE)] those of ``UE``
    upload: Array  # [..., N, M]
    own_work: Array  # [..., N, M]
    place: Array  # [..., N] a whole number; 0 where local or undecided


def read(ues: Array, num_servers: int, xp: Any = np) -> QueueColumns:
    """Return the columns of observations: the inverse of what ``QueueObservations`` lays out."""
    once, middle = len(UE), len(UE) + num_servers
    place = xp.round(ues[..., UE.PLACE] * num_servers)
    return QueueColumns(ues[..., :once], ues[..., once:middle], ues[..., middle:], place)
