"""What each decision alone would have changed: the credit of single places in a whole decision.

Shapes: B instances, O decisions of each, N UEs, M servers, P = M + 1 places (0 is local).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambo_env.offloading import physics
from lambo_env.offloading.instances import LOCAL, Instances, Objective

Floats = NDArray[np.float64]


def regrets(
    instances: Instances, objective: Objective, place: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return by how much the cost grows if one UE alone goes elsewhere, and where it fits.

    Costs are those of the optimal CPU allocation, exact as long as the same floors bind before and
    after the move; a UE that moves may be clamped to its own.

    Args:
        instances: B NumPy problems.
        objective: of each.
        place: int64 [B, O, N].

    Returns:
        The growth [B, O, N, P] in units of the cost, 0 at the places chosen, and bool [B, O, N, P]:
        the place can serve it in time beside all others.
    """
    tables = physics.place_tables(instances, objective)
    servers, capacity = instances.num_servers, tables.capacity_hz[:, None, LOCAL + 1 :]
    there = place[:, :, None] == np.arange(1, servers + 1)[:, None]  # [B, O, M, N]
    floor = np.where(np.isfinite(tables.floor_hz), tables.floor_hz, 0.0)[:, None]
    held = np.where(there, floor[..., 1:].swapaxes(2, 3), 0.0)
    roots = np.where(there, tables.root[:, None, None], 0.0)
    load = physics.clamped_load(held, roots, np.broadcast_to(capacity, there.shape[:-1]), np)
    free = np.maximum(capacity - load.floor_hz, physics.TINY)
    room = capacity * (1 + physics.FIT_TOLERANCE) - held.sum(-1)  # [B, O, M]
    root, per_s = tables.root[:, None, :, None], tables.per_s[:, None, None, None]
    remote = (load.roots, load.level, free)
    arriving = per_s * _arriving(root, floor[..., 1:], *(part[:, :, None] for part in remote))
    cost = np.broadcast_to(tables.fixed[:, None], (*place.shape, servers + 1)).copy()
    cost[..., 1:] += arriving
    own = np.maximum(place - 1, 0)
    here = (np.take_along_axis(part, own, axis=2)[..., None] for part in remote)
    chosen = place[..., None]
    own_floor = np.take_along_axis(np.broadcast_to(floor, cost.shape), chosen, axis=-1)
    saved = per_s * _leaving(root, own_floor, *here)
    fixed = np.take_along_axis(np.broadcast_to(tables.fixed[:, None], cost.shape), chosen, axis=-1)
    growth = cost - (fixed + np.where(chosen > LOCAL, saved, 0.0))
    fits = np.broadcast_to(np.isfinite(tables.floor_hz)[:, None], cost.shape).copy()
    fits[..., 1:] &= floor[..., 1:] <= room[:, :, None]
    fits[..., LOCAL] = True  # at worst it is late there, and that has its cost
    np.put_along_axis(growth, chosen, 0.0, axis=-1)
    np.put_along_axis(fits, chosen, True, axis=-1)
    return growth, fits


def _arriving(root: Any, floor: Any, roots: Any, level: Any, free: Any) -> Floats:
    """Return by how much a server's compute time grows [s] as one more UE comes."""
    left = free - floor
    clamped = floor * (roots + root) > free * root
    with np.errstate(over="ignore"):
        bound = root * root / np.maximum(floor, physics.TINY) + roots * roots * (
            1 / np.maximum(left, physics.TINY) - 1 / free
        )
    return np.where(clamped & (left > 0), bound, root * (2 * roots + root) / free)


def _leaving(root: Any, floor: Any, roots: Any, level: Any, free: Any) -> Floats:
    """Return by how much a server's compute time falls [s] as one of its UEs goes."""
    clamped = floor > level * root
    bound = root * root / np.maximum(floor, physics.TINY) + roots * roots * (
        1 / free - 1 / (free + floor)
    )
    return np.where(clamped, bound, root * (2 * roots - root) / free)
