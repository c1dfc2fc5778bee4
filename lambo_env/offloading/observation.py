"""The observation: its columns, the one writer and the one inverse (batched).

Environments, adapters and networks all see a slot through these columns.

``ues`` [B, N, M + 7]: M upload times / deadline, local latency / deadline, load, relative deadline,
power ratio (static, squashed by x / (1 + x)); then 'is current', 'decided place / M', 'taken /
total of its server'; where N varies also 'present', 0 for padding. ``servers`` [B, M, 2]: left /
total, total / largest. All in [0, 1] in every scenario.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lambo_env.cell.squash import squash, unsquash
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Array, Instances

NUM_DYNAMIC = 3
IS_CURRENT, PLACE, TAKEN = range(NUM_DYNAMIC)  # the dynamic columns, after the static ones
PRESENT = NUM_DYNAMIC  # after those, where N varies
_PASSED_ON = np.array([0.0, 1.0], dtype=np.float32)  # 'is current' of a decided UE and the next
NUM_STATIC_BESIDE_SERVERS = 4


def num_static(num_servers: int) -> int:
    """Return the number of static columns, M + 4."""
    return num_servers + NUM_STATIC_BESIDE_SERVERS


def static_columns(instances: Instances) -> Array:
    """Return the columns [B, N, M + 4] that a slot's decisions do not change, in [0, 1].

    Upload time over deadline to each server; local latency over deadline; load: N l / sum of F with
    l = C_i / T_i, the share of all servers' cycles that N such tasks would need; deadline over the
    slot's mean deadline; transmit over local power.
    """
    return instances.xp.concat(static_parts(instances), axis=-1)


def static_parts(instances: Instances, upload: Array | None = None) -> list[Array]:
    """Return the blocks of ``static_columns`` in their order.

    [B, N, M] of the servers, then [B, N, 1] each.

    ``upload``: ``physics.upload_s``, where it is known.
    """
    xp = instances.xp
    deadline = instances.deadline_s
    upload = (physics.upload_s(instances) if upload is None else upload) / deadline[..., None]
    local = physics.local_s(instances) / deadline
    load = (
        instances.num_ues
        * instances.cycles
        / (deadline * xp.sum(instances.server_cpu_hz, axis=-1)[:, None])
    )
    relative = deadline / xp.mean(deadline, axis=-1)[:, None]
    computing = instances.local_power_w
    power = xp.where(
        computing > 0, instances.tx_power_w / xp.where(computing > 0, computing, 1.0), xp.inf
    )
    return [
        squash(upload),
        *(squash(ratio)[..., None] for ratio in (local, load, relative, power)),
    ]


def server_columns(left_hz: Array, server_cpu_hz: Array, xp: Any) -> Array:
    """Return (left / total, at least 0; total / largest) of each server [..., M, 2]."""
    left = left_hz / server_cpu_hz
    size = xp.broadcast_to(server_cpu_hz / xp.max(server_cpu_hz, axis=-1)[..., None], left.shape)
    return xp.stack([xp.where(left > 0, left, 0.0), size], axis=-1)


class Observations:
    """The observations of B slots, written decision by decision (NumPy, float32).

    ``present`` adds the column of that name: slots may have fewer UEs than are shown.
    """

    def __init__(
        self, num_envs: int, num_ues: int, num_servers: int, present: bool = False
    ) -> None:
        self._static = num_static(num_servers)
        width = self._static + NUM_DYNAMIC + present
        self.ues = np.zeros((num_envs, num_ues, width), dtype=np.float32)
        self._count = np.full(num_envs, num_ues)  # UEs that are there
        # places, so that a place is an index; the local one's are never shown
        self._places = np.zeros((num_envs, num_servers + 1, 2), dtype=np.float32)

    @property
    def servers(self) -> Array:
        """The servers' columns, float32 [B, M, 2]."""
        return self._places[:, 1:]

    def begin(self, rows: Any, instances: Instances, upload: Array) -> None:
        """Show new slots in ``rows`` (an index array or a slice), the first UE current."""
        start, count = 0, instances.num_ues
        for part in static_parts(instances, upload):
            self.ues[rows, :count, start : start + part.shape[-1]] = part
            start += part.shape[-1]
        self.ues[rows, :, start:] = 0.0
        self.ues[rows, count:] = 0.0
        self.ues[rows, :count, start + NUM_DYNAMIC :] = 1.0
        self.ues[rows, 0, start + IS_CURRENT], self._count[rows] = 1.0, count
        capacity = instances.server_cpu_hz
        self._places[rows, 1:] = server_columns(capacity, capacity, instances.xp)

    def decide(
        self, rows: Array, ue: Array | int, place: Array, server: Array, taken: Array, left: Array
    ) -> None:
        """Show the decisions on one UE in each of ``rows`` and pass on to the next UE.

        Args:
            rows: int [R], like the rest.
            ue: the UE decided; a number where ``rows`` are all and at the same one.
            place: int.
            server: flat index into [B, P] of that place.
            taken: CPU that the decision took, of the total of its server.
            left: what that server can still commit, of its total.
        """
        where, num_ues, first = place / (self._places.shape[1] - 1), self.ues.shape[1], self._static
        if isinstance(ue, int):
            self.ues[:, ue, first + PLACE], self.ues[:, ue, first + TAKEN] = where, taken
            self.ues[:, ue : ue + 2, first + IS_CURRENT] = _PASSED_ON[: num_ues - ue]
        else:
            self.ues[rows, ue, first + PLACE], self.ues[rows, ue, first + TAKEN] = where, taken
            self.ues[rows, ue, first + IS_CURRENT] = 0.0
            onward = ue + 1 < self._count[rows]
            self.ues[rows[onward], ue[onward] + 1, first + IS_CURRENT] = 1.0
        self._places.reshape(-1)[2 * server] = np.maximum(left, 0.0)


class Columns(NamedTuple):
    """The columns of ``ues`` [..., N, M + 7] by what they say."""

    static: Array  # [..., N, M + 4]
    current: Array  # [..., N] 1 for the UE to be decided, else 0
    place: Array  # [..., N] a whole number; 0 where local or undecided
    taken: Array  # [..., N] of the total of its server
    present: Array  # [..., N] 1 for a UE that is there, 0 for padding


def read(ues: Array, num_servers: int, xp: Any) -> Columns:
    """Return the columns of observations; the inverse of what ``Observations`` writes."""
    static = num_static(num_servers)
    dynamic = ues[..., static:]
    place = xp.round(dynamic[..., PLACE] * num_servers)
    there = dynamic[..., PRESENT] if dynamic.shape[-1] > PRESENT else xp.ones_like(place)
    return Columns(ues[..., :static], dynamic[..., IS_CURRENT], place, dynamic[..., TAKEN], there)


class Ratios(NamedTuple):
    """The static columns before they were squashed."""

    upload: Array  # [..., M] upload time over deadline
    local: Array  # [..., 1] local latency over deadline
    load: Array  # [..., 1] N C / T over the capacity of all servers
    deadline: Array  # [..., 1] over the slot's mean
    power: Array  # [..., 1] transmit over local power


def ratios(static: Array, num_servers: int, xp: Any, least: float = 0.0) -> Ratios:
    """Return the ratios of static columns [..., M + 4]: the inverse of the squash.

    ``least`` bounds what a column lacks of 1 from below; 0 makes a column of 1 infinite.
    """
    ratio = unsquash(static, xp, least)
    ends = [num_servers + column for column in range(NUM_STATIC_BESIDE_SERVERS)]
    return Ratios(ratio[..., :num_servers], *(ratio[..., end : end + 1] for end in ends))


def fair_share(load: Array, size: Array, num_ues: int, xp: Any) -> Array:
    """Return C / T over each server's total [..., M] from load [..., 1] and sizes [..., M].

    Sizes are total / largest, as observed.
    """
    return load * xp.sum(size, axis=-1)[..., None] / (size * num_ues)


def floor_share(upload: Array, fair: Array, xp: Any, least: float = 0.0) -> Array:
    """Return the least share of a server's total that meets the deadline [..., M].

    Infinite where the upload alone is too long. ``least`` bounds the time left for the CPU from
    below, in deadlines.
    """
    return xp.where(upload < 1, fair / xp.clip(1 - upload, min=least), xp.inf)
