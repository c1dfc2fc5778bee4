"""From instances to the networks' inputs, and from shares to CPU.

Shapes: B instances, N UEs, M edge servers. All columns are finite and in [0, 1] in every scenario.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lambo_env.cell.squash import squash
from lambo_env.offloading import observation, physics
from lambo_env.offloading.instances import LOCAL, Decision, Instances, one_hot_servers
from lambo_env.offloading.physics import TINY

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Columns = NDArray[np.float32]
NUM_OWN, NUM_PAIR, NUM_SERVER = 6, 4, 4  # blocks of the pooled network's columns


def flat_columns(instances: Instances, latency_weight: Floats) -> Columns:
    """Return the inputs of the fully connected network [B, N, 2 M + 5].

    A UE's static columns, then what is the same for all UEs: F_m / largest F, weight of latency.
    """
    capacity = instances.server_cpu_hz
    size = capacity / np.max(capacity, axis=-1, keepdims=True)
    return _joined(
        observation.static_columns(instances),
        size[:, None],
        latency_weight[:, None, None],
    )


def pooled_columns(instances: Instances, latency_weight: Floats) -> Columns:
    """Return the inputs of the pooled network [B, N, M, 14], a row for each pair of UE and server.

    Of the UE: its static columns beside the servers', weight of latency, sqrt(C_i) over the mean.
    Of the pair: upload time, floor over F_m, whether no server is nearer, how much longer the
    upload is than to the nearest. Of the server: F_m over the largest F and over the sum, its
    demand, the share of all sqrt(C) of the UEs nearest to it, and that over its share of the CPU.
    """
    capacity, root = instances.server_cpu_hz, np.sqrt(instances.cycles)
    static = observation.static_columns(instances)
    upload, own = static[..., : instances.num_servers], static[..., instances.num_servers :]
    floor = squash(physics.floors_hz(instances) / capacity[:, None])
    longer = upload - np.min(upload, axis=-1, keepdims=True)
    wanted = root / np.maximum(np.sum(root, axis=-1, keepdims=True), TINY)
    demand = np.sum((longer == 0) * wanted[..., None], axis=1)
    part = capacity / np.sum(capacity, axis=-1, keepdims=True)
    size = capacity / np.max(capacity, axis=-1, keepdims=True)
    return _joined(
        own[:, :, None],
        latency_weight[:, None, None, None],
        squash(instances.num_ues * wanted)[:, :, None, None],
        np.stack([upload, floor, longer == 0, longer], axis=-1),
        np.stack([size, part, demand, squash(demand / part)], axis=-1)[:, None],
    )


def _joined(*blocks: Floats) -> Columns:
    """Return blocks side by side, each repeated where another has more rows."""
    rows = np.broadcast_shapes(*(block.shape[:-1] for block in blocks))
    whole = [np.broadcast_to(block, (*rows, block.shape[-1])) for block in blocks]
    return np.concatenate(whole, axis=-1, dtype=np.float32)


def allotted(instances: Instances, place: Places) -> Decision:
    """Return an association with its optimal CPU.

    Tasks that the closed form drops are sent back, as ARE's authors do; nobody else's share
    changes.
    """
    cpu = physics.allocate(instances, place)
    return Decision(np.where(cpu == 0, LOCAL, place), cpu)


def rescaled(instances: Instances, place: Places, share: Floats) -> Floats:
    """Return CPU [B, N] in cycles/s in proportion to ``share`` [B, N] > 0; servers are used up."""
    member = one_hot_servers(place, instances.num_servers, np)
    wanted = np.where(member, share[..., None], 0.0)
    total = np.sum(wanted, axis=1, keepdims=True)
    used = wanted / np.where(total > 0, total, 1.0)
    return np.where(
        place == LOCAL, 0.0, np.sum(used * instances.server_cpu_hz[:, None, :], axis=-1)
    )
