"""What servers make of the UEs that an association gives them.

Shapes: B instances, N UEs, P places (0 is local and has no limit).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from baselines.search.dual import Bools, Floats, Places, Problem
from lambo_env.offloading import physics
from lambo_env.offloading.instances import LOCAL

Indices = NDArray[np.intp]

ENDLESS = 1e15  # water level of an empty server: finite, so that no product is inf * 0


@dataclasses.dataclass(frozen=True)
class Servers:
    """What servers cost, and the terms that bound what a change would cost.

    Place 0 costs nothing. One entry per server, any shape.
    """

    value: Floats  # cost of compute time
    used: Floats  # sum of floors
    level: Floats  # mu
    free_capacity: Floats  # F minus the floors that bind
    next_clamp: Floats  # the least l / sqrt(C) among floors that bind; endless where none does

    def put(self, rows: Indices, places: Places, new: Servers) -> None:
        """Overwrite the entries [rows, places]."""
        for field in dataclasses.fields(self):
            getattr(self, field.name)[rows, places] = getattr(new, field.name)

    def reshape(self, *shape: int) -> Servers:
        """Return the entries in another shape."""
        return Servers(
            *(getattr(self, field.name).reshape(shape) for field in dataclasses.fields(self))
        )

    def take(self, rows: Indices) -> Servers:
        """Return the entries at ``rows``."""
        return Servers(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    def scattered(self, shape: tuple[int, ...], row: Indices, slot: Indices) -> Servers:
        """Return entries of ``shape`` [K, slots]: these at [row, slot], place 0 elsewhere."""
        local = (0.0, 0.0, ENDLESS, np.inf, ENDLESS)
        out = Servers(*(np.full(shape, value) for value in local))
        out.put(row, slot, self)
        return out


def serve(which: Indices, need: Floats, root: Floats, capacity: Floats, per_s: Floats) -> Servers:
    """Return what K servers make of their UEs.

    Args:
        which: the server of each UE that is on one, 0 .. K - 1; in any order.
        need: the floor of each of them.
        root: sqrt(C_i) of each of them.
        capacity: F [K].
        per_s: c_L / N [K].
    """
    many = len(capacity)
    total, used = (np.bincount(which, weights, many).astype(np.float64) for weights in (root, need))
    level = np.minimum(
        np.where(total > 0, capacity / np.where(total > 0, total, 1.0), np.inf), ENDLESS
    )
    out = Servers(per_s * total**2 / capacity, used, level, capacity.copy(), np.full(many, ENDLESS))
    tight = np.zeros(many, dtype=bool)
    tight[which[need > level[which] * root]] = True
    tight &= per_s > 0
    on = np.flatnonzero(tight[which])
    if on.size:
        on = on[np.argsort(which[on], kind="stable")]
        row = np.cumsum(tight)[which[on]] - 1
        count = np.bincount(row)
        at = (row, np.arange(on.size) - np.repeat(np.cumsum(count) - count, count))
        needs, roots = np.zeros((2, len(count), count.max()))
        needs[at], roots[at] = need[on], root[on]
        _clamp(out, tight, needs, roots)
    return out


def _clamp(out: Servers, tight: Bools, need: Floats, root: Floats) -> None:
    """Correct the entries whose floors bind; their UEs' [T, n], 0 where a server has fewer."""
    capacity = out.free_capacity[tight]
    level = physics.water_level(need, root, capacity, np)
    share = level[:, None] * root
    binds = need > share
    run_s = (root * root / np.where(root > 0, np.maximum(need, share), 1.0)).sum(axis=-1)
    out.value[tight] *= run_s * capacity / root.sum(axis=-1) ** 2
    out.level[tight] = level
    out.free_capacity[tight] = np.maximum(
        capacity - np.where(binds, need, 0.0).sum(axis=-1), 1e-3 * capacity
    )
    out.next_clamp[tight] = np.min(
        np.where(binds, need / np.where(binds, root, 1.0), ENDLESS), axis=-1
    )


def members(place: Places, num_places: int) -> Bools:
    """Return whether UE n is at place p [B, P, N]."""
    return place[:, None] == np.arange(num_places)[:, None]


def fit(problem: Problem, place: Places) -> Places:
    """Return the places with what cannot be served sent home.

    Infeasible tasks, and the largest floors of an overfull server.
    """
    fixed = np.take_along_axis(problem.fixed, place[:, None], axis=1)[:, 0]
    place = np.where(np.isfinite(fixed), place, LOCAL)
    member = members(place, problem.fixed.shape[1])
    full = np.nonzero(np.where(member, problem.floor, 0.0).sum(axis=2) > problem.limit)
    if full[0].size:
        stays = physics.served(problem.floor[full], member[full], problem.capacity[full], np)
        row, ue = np.nonzero(member[full] & ~stays)
        place[full[0][row], ue] = LOCAL
    return place


def serve_all(problem: Problem, place: Places) -> Servers:
    """Return what places [B, N] cost on every server [B, P]."""
    batch, count, ues = problem.fixed.shape
    row = np.arange(batch)[:, None]
    need = problem.floor[row, place, np.arange(ues)]
    per_s = np.repeat(problem.per_s, count)
    which = (row * count + place).ravel()
    return serve(
        which, need.ravel(), problem.root.ravel(), problem.capacity.ravel(), per_s
    ).reshape(batch, count)


def total_cost(problem: Problem, place: Places) -> Floats:
    """Return the cost [B] of places [B, N] that fit."""
    fixed = np.take_along_axis(problem.fixed, place[:, None], axis=1)[:, 0]
    return fixed.sum(axis=1) + serve_all(problem, place).value.sum(axis=1)
