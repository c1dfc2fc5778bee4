"""What servers make of the UEs that an association gives them. Shapes: B instances, N UEs, P places (0 is local and has no limit)."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from baselines.dual import Bools, Floats, Places, Problem
from lambo_env import physics
from lambo_env.instances import LOCAL

Indices = NDArray[np.intp]

ENDLESS = 1e15  # water level of an empty server: finite, so that no product is inf * 0


@dataclasses.dataclass(frozen=True)
class Servers:
    """What the servers of an association cost, and the terms that bound what a change would cost; place 0 costs nothing.

    The arrays may have any shape, one entry a server.
    """

    value: Floats  # cost of compute time
    used: Floats  # sum of floors
    level: Floats  # mu
    room: Floats  # F minus the floors that bind
    brink: Floats  # the least l / sqrt(C) among floors that bind; endless where none does

    def put(self, rows: Indices, places: Places, new: Servers) -> None:
        """Overwrite the entries [rows, places]."""
        for field in dataclasses.fields(self):
            getattr(self, field.name)[rows, places] = getattr(new, field.name)

    def take(self, rows: Indices) -> Servers:
        """Return the entries at ``rows``."""
        return Servers(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    def scattered(self, shape: tuple[int, ...], index: tuple[Indices, ...]) -> Servers:
        """Return entries of ``shape`` that are these at ``index`` and place 0 elsewhere."""
        local = Servers(0.0, 0.0, ENDLESS, np.inf, ENDLESS)
        out = Servers(*(np.full(shape, getattr(local, field.name)) for field in dataclasses.fields(self)))
        out.put(*index, self)
        return out


def serve(floor: Floats, root: Floats, member: Bools, capacity: Floats, per_s: Floats) -> Servers:
    """Return what members [..., N] make of servers [...]."""
    need, part = np.where(member, floor, 0.0), np.where(member, root, 0.0)
    total = part.sum(axis=-1)
    level = np.minimum(np.where(total > 0, capacity / np.where(total > 0, total, 1.0), np.inf), ENDLESS)
    out = Servers(per_s * total**2 / capacity, need.sum(axis=-1), level, capacity.copy(), np.full(total.shape, ENDLESS))
    tight = (need > level[..., None] * part).any(axis=-1) & (per_s > 0)
    if tight.any():
        _clamp(out, tight, need[tight], part[tight], capacity[tight], per_s[tight])
    return out


def _clamp(out: Servers, tight: Bools, need: Floats, part: Floats, capacity: Floats, per_s: Floats) -> None:
    """Correct the entries whose floors bind."""
    level = physics.water_level(need, part, capacity, np)
    share = level[:, None] * part
    binds = need > share
    cpu = np.where(part > 0, np.maximum(need, share), 1.0)
    out.level[tight] = level
    out.value[tight] = per_s * (part * part / cpu).sum(axis=-1)
    out.room[tight] = np.maximum(capacity - np.where(binds, need, 0.0).sum(axis=-1), 1e-3 * capacity)
    out.brink[tight] = np.min(np.where(binds, need / np.where(binds, part, 1.0), ENDLESS), axis=-1)


def members(place: Places, num_places: int) -> Bools:
    """Return whether UE n is at place p [B, P, N]."""
    return place[:, None] == np.arange(num_places)[:, None]


def fit(problem: Problem, place: Places) -> Places:
    """Return the places with what cannot be served sent home: hopeless tasks, and the largest floors of an overfull server."""
    fixed = np.take_along_axis(problem.fixed, place[:, None], axis=1)[:, 0]
    place = np.where(np.isfinite(fixed), place, LOCAL)
    member = members(place, problem.fixed.shape[1])
    full = np.nonzero(np.where(member, problem.floor, 0.0).sum(axis=2) > problem.limit)
    if full[0].size:
        stays = physics.served(problem.floor[full], member[full], problem.capacity[full], np)
        row, ue = np.nonzero(member[full] & ~stays)
        place[full[0][row], ue] = LOCAL
    return place
