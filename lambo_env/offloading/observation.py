"""The one featuriser (array API, batched).

Environments, adapter and the AED all see a slot through these columns.

``ues`` [B, N, M + 7]: M upload times / deadline, local latency / deadline, load, relative deadline,
power ratio (static, squashed by x / (1 + x)); then 'is current', 'decided place / M', 'taken /
total of its server'. ``servers`` [B, M, 2]: left / total, total / largest. All in [0, 1] in every
scenario.
"""

from __future__ import annotations

from typing import Any

from lambo_env.offloading import physics
from lambo_env.offloading.instances import LOCAL, Array, Instances, at_place, over_places

NUM_DYNAMIC = 3
NUM_STATIC_BESIDE_SERVERS = 4


def num_static(num_servers: int) -> int:
    """Return the number of static columns, M + 4."""
    return num_servers + NUM_STATIC_BESIDE_SERVERS


def _squash(ratio: Array) -> Array:
    """Map [0, inf] to [0, 1] by x / (1 + x); infinite becomes 1."""
    return 1 - 1 / (1 + ratio)


def static_columns(instances: Instances) -> Array:
    """Return the columns [B, N, M + 4] that a slot's decisions do not change, in [0, 1].

    Upload time over deadline to each server; local latency over deadline; load: N l / sum of F with
    l = C_i / T_i, the share of all servers' cycles that N such tasks would need; deadline over the
    slot's mean deadline; transmit over local power.
    """
    xp = instances.xp
    return xp.concat(static_parts(instances), axis=-1)


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
        _squash(upload),
        *(_squash(ratio)[..., None] for ratio in (local, load, relative, power)),
    ]


def server_columns(left_hz: Array, server_cpu_hz: Array, xp: Any) -> Array:
    """Return (left / total clipped at 0, total / largest) of each server [..., M, 2] from left [..., M] and F [..., M]."""
    left = left_hz / server_cpu_hz
    largest = xp.max(server_cpu_hz, axis=-1)[..., None]
    size = xp.broadcast_to(server_cpu_hz / largest, left.shape)
    return xp.stack([xp.where(left > 0, left, 0.0), size], axis=-1)


def dynamic_columns(
    current: Array, place: Array, taken_hz: Array, server_cpu_hz: Array, xp: Any
) -> Array:
    """Return ('is current', 'decided place / M', 'taken / total of its server') [B, N, 3].

    Args:
        current: bool [B, N], the UE that is to be decided now.
        place: int [B, N]; LOCAL where local or not yet decided.
        taken_hz: CPU that the decision took from what was left [B, N]: allotted in v0, the floor in
            Association.
        server_cpu_hz: [B, M].
        xp: array namespace.
    """
    dtype = taken_hz.dtype
    ones = xp.ones_like(taken_hz)
    capacity = at_place(
        over_places(ones, xp.zeros_like(ones)[..., None] + server_cpu_hz[:, None, :], xp), place, xp
    )
    taken = xp.where(place == LOCAL, 0.0, taken_hz / capacity)
    return xp.stack(
        [xp.astype(current, dtype), xp.astype(place, dtype) / server_cpu_hz.shape[-1], taken],
        axis=-1,
    )


def encode(
    instances: Instances,
    current: Array,
    place: Array,
    taken_hz: Array,
    left_hz: Array,
    static: Array | None = None,
) -> dict[str, Array]:
    """Return the observation {"ues": [B, N, M + 7], "servers": [B, M, 2]} of a slot in progress.

    ``static`` may be passed in when known.
    """
    xp = instances.xp
    static = static_columns(instances) if static is None else static
    dynamic = dynamic_columns(current, place, taken_hz, instances.server_cpu_hz, xp)
    return {
        "ues": xp.concat([static, dynamic], axis=-1),
        "servers": server_columns(left_hz, instances.server_cpu_hz, xp),
    }
