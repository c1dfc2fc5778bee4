"""The observation of the queueing world: its columns, the one writer and the one reader (batched).

Ratios x are squashed by x / (1 + x), so that all entries are in [0, 1] in every scenario.

``ues`` [B, N, 2 M + 10]: the ``UE`` columns, then upload time / deadline to each server at present
rates, then own work that waits at each server / (F_m D). ``servers`` [B, M, 4]: the ``SERVER``
columns. What has been decided in a slot stands in its queues at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lambo_env.cell.places import LOCAL
from lambo_env.cell.squash import squash
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.instances import Floats, Ints, QueueInstances, Totals, totals_of
from lambo_env.utils.rows import Array


class UE:
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
    COUNT = 10  # how many there are


class SERVER:
    """Columns of ``servers``."""

    WAITING = 0  # work / (F D)
    COMING = 1  # work of tasks that are still to be uploaded / (F D)
    USERS = 2  # UEs with work there / N
    SIZE = 3  # F / that of the largest
    COUNT = 4  # how many there are


def width(num_servers: int) -> int:
    """Return the number of columns of ``ues``."""
    return UE.COUNT + 2 * num_servers


class QueueObservations:
    """The observations of B cells, written slot by slot and decision by decision."""

    def __init__(self, num_envs: int, num_ues: int, num_servers: int) -> None:
        self.ues = np.zeros((num_envs, num_ues, width(num_servers)), dtype=np.float32)
        self.servers = np.zeros((num_envs, num_servers, SERVER.COUNT), dtype=np.float32)
        self._coming = np.zeros((num_envs, num_servers))  # in deadlines, before the squash

    def begin(
        self, rows: Any, instances: QueueInstances, current: Ints, totals: Totals | None = None
    ) -> None:
        """Show the start of slots in ``rows`` [R]; ``current`` [R] is to be decided, N: nobody.

        ``totals`` are those of ``instances``, where they are known.
        """
        batch, ues, servers = instances.uplink_bps.shape
        totals = totals_of(instances) if totals is None else totals
        once, middle = UE.COUNT, UE.COUNT + servers
        deadline_s = instances.deadline_s[:, :1]
        local_cycles = instances.local_cpu_hz * deadline_s
        edge_cycles = instances.server_cpu_hz * deadline_s  # [R, M]
        computing = np.maximum(instances.local_power_w, 1e-200)
        largest = instances.server_cpu_hz.max(axis=-1, keepdims=True)
        seen = np.empty((batch, ues, width(servers)))
        seen[..., UE.DATA] = instances.data_bits / instances.mean_bits[:, None]
        seen[..., UE.LOCAL] = instances.cycles / local_cycles
        seen[..., UE.LOAD] = instances.cycles * (ues / edge_cycles.sum(axis=-1, keepdims=True))
        seen[..., UE.POWER] = instances.tx_power_w / computing * instances.has_task
        seen[..., UE.CPU_QUEUE] = instances.cpu_wait_cycles / local_cycles
        seen[..., UE.UPLINK_QUEUE] = instances.uplink_wait_s / deadline_s
        seen[..., UE.SPEED] = instances.local_cpu_hz / largest
        np.divide(totals.upload_s, deadline_s[..., None], out=seen[..., once:middle])
        np.divide(instances.edge_wait_cycles, edge_cycles[:, None], out=seen[..., middle:])
        squashed = seen[..., UE.DATA :]
        squashed += 1
        np.subtract(1, np.reciprocal(squashed, out=squashed), out=squashed)
        seen[..., UE.HAS_TASK] = instances.has_task
        seen[..., UE.PLACE] = 0.0
        seen[..., UE.CURRENT] = np.arange(ues) == current[:, None]
        self.ues[rows] = seen
        coming = totals.coming_cycles / edge_cycles
        servers_seen = np.empty((batch, servers, SERVER.COUNT))
        servers_seen[..., SERVER.WAITING] = squash(totals.waiting_cycles / edge_cycles)
        servers_seen[..., SERVER.COMING] = squash(coming)
        servers_seen[..., SERVER.USERS] = totals.users / ues
        servers_seen[..., SERVER.SIZE] = instances.server_cpu_hz / largest
        self.servers[rows], self._coming[rows] = servers_seen, coming

    def decide(
        self, rows: Ints, ue: Ints, place: Ints, current: Ints, queue: Floats, work: Floats
    ) -> None:
        """Show the decision on one UE in each of ``rows`` and who is next.

        Args:
            rows: int [R], like the rest.
            ue: the UE decided.
            place: where its task goes.
            current: who is next; N: nobody.
            queue: length in deadlines of the queue that the task has joined.
            work: of the task, in deadlines of its server; 0 where local.
        """
        _, ues, columns = self.ues.shape
        servers = self.servers.shape[1]
        flat, at = self.ues.reshape(-1), (rows * ues + ue) * columns
        flat[at + UE.CPU_QUEUE + (place != LOCAL)] = squash(queue)
        flat[at + UE.PLACE] = place / servers
        flat[at + UE.CURRENT] = 0.0
        on = np.flatnonzero(current < ues)
        flat[(rows.take(on) * ues + current.take(on)) * columns + UE.CURRENT] = 1.0
        off = np.flatnonzero(place != LOCAL)
        server = rows.take(off) * servers + place.take(off) - 1
        coming = self._coming.take(server) + work.take(off)
        self._coming.reshape(-1)[server] = coming
        self.servers.reshape(-1)[server * SERVER.COUNT + SERVER.COMING] = squash(coming)

    def shown(self, prompts: Prompts, objective: bool, copy: bool) -> dict[str, NDArray[Any]]:
        """Return the observations [B, ...] with the prompts' tokens, or the objective's weights.

        Without ``copy`` the buffers themselves.
        """
        out = {"ues": self.ues, "servers": self.servers, **prompts.shown(objective)}
        return {key: array.copy() for key, array in out.items()} if copy else out


def joined(
    place: Ints,
    cycles: Floats,
    data_bits: Floats,
    rate_bps: Floats,
    cpu_wait_cycles: Floats,
    uplink_wait_s: Floats,
    local_cpu_hz: Floats,
    server_cpu_hz: Floats,
    deadline_s: Any,
) -> tuple[Floats, Floats]:
    """Return the length of the queue that tasks join, and their work at a server, in deadlines [K].

    Args:
        place: where they go; the work of a local one is 0.
        cycles: of the tasks, like ``data_bits``.
        data_bits: of the tasks.
        rate_bps: to the server; of any server where local, like ``server_cpu_hz``.
        cpu_wait_cycles: what waits before them, like ``uplink_wait_s``.
        uplink_wait_s: at present rates.
        local_cpu_hz: of the UE.
        server_cpu_hz: of the server.
        deadline_s: of all, or [K].
    """
    own_s = (cpu_wait_cycles + cycles) / local_cpu_hz
    away_s = uplink_wait_s + data_bits / rate_bps
    local = place == LOCAL
    work_s = np.where(local, 0.0, cycles / server_cpu_hz)
    return np.where(local, own_s, away_s) / deadline_s, work_s / deadline_s


class QueueColumns(NamedTuple):
    """The columns of ``ues`` [..., N, 2 M + 10] by what they say."""

    once: Array  # [..., N, UE.COUNT] those of ``UE``
    upload: Array  # [..., N, M]
    own_work: Array  # [..., N, M]
    place: Array  # [..., N] a whole number; 0 where local or undecided


def read(ues: Array, num_servers: int, xp: Any = np) -> QueueColumns:
    """Return the columns of observations: the inverse of what ``QueueObservations`` lays out."""
    once, middle = UE.COUNT, UE.COUNT + num_servers
    place = xp.round(ues[..., UE.PLACE] * num_servers)
    return QueueColumns(ues[..., :once], ues[..., once:middle], ues[..., middle:], place)
