"""From instances to a network's inputs, and from its outputs to legal places and CPU.

Shapes: B instances, N UEs, M edge servers, P = M + 1 places, I inputs.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.neural.networks import PlaceNet
from lambo_env.offloading import observation, physics
from lambo_env.offloading.instances import LOCAL, Instances, one_hot_servers

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def columns(instances: Instances, latency_weight: Floats) -> NDArray[np.float32]:
    """Return a slot's inputs as flat rows [B, I].

    Static columns, F_m / largest F, weight of latency.
    """
    static = observation.static_columns(instances).reshape(len(instances), -1)
    capacity = instances.server_cpu_hz
    size = capacity / np.max(capacity, axis=-1, keepdims=True)
    return np.concatenate([static, size, latency_weight[:, None]], axis=1).astype(np.float32)


@torch.no_grad()
def place_logits(
    net: PlaceNet, instances: Instances, inputs: NDArray[np.float32]
) -> tuple[Floats, Floats | None]:
    """Return place logits [B, N, P] and share logits [B, N] or None.

    Places that can never meet the deadline have -inf; local stays open where no place can.
    """
    place, share = net(torch.from_numpy(inputs))
    open_ = physics.on_time(instances)
    open_[..., 0] |= ~np.any(open_, axis=-1)
    logits = np.where(open_, place.numpy().astype(np.float64), -np.inf)
    return logits, None if share is None else share.numpy().astype(np.float64)


def unsupported(net: PlaceNet, instances: Instances) -> str | None:
    """Return why a network cannot decide instances, or None."""
    made = net.config.num_ues, net.config.num_servers
    given = instances.num_ues, instances.num_servers
    return (
        None
        if made == given
        else (
            f"the network is made for {made[0]} UEs and {made[1]} servers; "
            f"these have {given[0]} and {given[1]}"
        )
    )


def rescaled(instances: Instances, place: Places, share: Floats) -> Floats:
    """Return CPU [B, N] in cycles/s in proportion to ``share`` [B, N] > 0; servers are used up."""
    member = one_hot_servers(place, instances.num_servers, np)
    wanted = np.where(member, share[..., None], 0.0)
    total = np.sum(wanted, axis=1, keepdims=True)
    used = wanted / np.where(total > 0, total, 1.0)
    return np.where(
        place == LOCAL, 0.0, np.sum(used * instances.server_cpu_hz[:, None, :], axis=-1)
    )
