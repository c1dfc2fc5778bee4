"""What the network and the rules read of slots, as NumPy columns. Importing this loads no torch.

Shapes: B instances, N UEs, M servers, P = M + 1 places.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lambo_env.cell.places import over_places
from lambo_env.offloading import observation, physics
from lambo_env.offloading.instances import Instances

REPAIR_WEIGHTS = (0.0, 10.0, 100.0)  # of a floor against its place, where tasks are late


class SlotColumns(NamedTuple):
    """B slots before the first decision."""

    ues: NDArray[np.float32]  # [B, N, M + 4] static observation columns
    size: NDArray[np.float32]  # [B, M] total / largest
    # [B, N, P] floor / total of the place; 0 where local is in time, inf where infeasible
    need: NDArray[np.float64]


def slot_columns(instances: Instances) -> SlotColumns:
    """Return the columns of NumPy instances."""
    capacity = instances.server_cpu_hz
    floors = physics.floors_hz(instances) / capacity[:, None, :]
    local = np.where(physics.is_late(physics.local_s(instances), instances.deadline_s), np.inf, 0.0)
    size = observation.server_columns(capacity, capacity, np)[..., 1]
    ues = observation.static_columns(instances)
    need = over_places(local, floors, np)
    return SlotColumns(ues.astype(np.float32), size.astype(np.float32), need)


def missed(need: Any, place: Any) -> Any:
    """Return how many tasks [B] are late in places [B, N] though an empty server would fit.

    Of NumPy or torch.
    """
    late = (place == 0) & (need[..., 0] > 1)
    return (late & (need[..., 1:] <= 1).any(-1)).sum(-1)


def meanings(latency_weight: NDArray[Any], bins: int) -> NDArray[np.float32]:
    """Return distributions over even latency shares [B, bins], on the two next to each weight."""
    at = (np.asarray(latency_weight, dtype=np.float64) * (bins - 1)).astype(np.float32)
    apart = np.abs(at[:, None] - np.arange(bins, dtype=np.float32))
    return np.maximum(np.float32(1) - apart, np.float32(0))
