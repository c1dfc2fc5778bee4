"""Local search: no UE can move, and no two can swap, at a gain. Whole batches at once; the start comes from the dual's prices.

Shapes: B instances, N UEs, M edge servers, P = M + 1 places, K moves under trial.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from baselines.dual import Bools, Floats, Places, Problem, climb
from lambo_env import physics, validate
from lambo_env.instances import LOCAL, Array, Decision, Instances
from lambo_env.prompt import Prompts

Indices = NDArray[np.intp]

_CHUNK = 2**18  # numbers in the table of swaps that is worked on at once: what stays in a processor's cache
_ENDLESS = 1e15  # water level of an empty server: finite, so that no product is inf * 0


class LocalSearch:
    """Moves and swaps from an almost optimal start down to a local optimum of both, for every objective.

    The start is what UEs choose at the prices of the Lagrangian dual, made to fit. Deterministic: ``rng`` is not used.

    Args:
        swaps: also try every exchange of two UEs, not only moves of one.
        dual_rounds: steps of the dual that the start is taken from.
    """

    evaluator_in_loop = True

    def __init__(self, swaps: bool = True, dual_rounds: int = 12) -> None:
        validate.check("LocalSearch.swaps", swaps, isinstance(swaps, bool), "True or False")
        self.swaps = swaps
        self.dual_rounds = validate.integer("LocalSearch.dual_rounds", dual_rounds)

    def decide(self, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> Decision:
        """Return a local optimum reached from the dual's start."""
        arrays = instances.to("numpy")
        problem = Problem.of(arrays, prompts.objective(arrays))
        return in_kind(instances, arrays, self.search(problem))

    def improve(
        self, instances: Instances, prompts: Prompts, decision: Decision, rng: np.random.Generator
    ) -> Decision:
        """Return a local optimum reached from a legal decision, or that decision where its allocation is already cheaper."""
        arrays = instances.to("numpy")
        given = Decision(np.asarray(decision.place), np.asarray(decision.cpu_hz))
        goal = prompts.objective(arrays)
        before = physics.evaluate(arrays, given, goal)
        start = np.where(before.late, LOCAL, given.place).astype(np.int64)
        place = self.search(Problem.of(arrays, goal), start)
        cpu = physics.allocate(arrays, place)
        after = physics.evaluate(arrays, Decision(place, cpu), goal, check=False)
        keep = (before.cost < after.cost)[:, None]
        return in_kind(instances, arrays, np.where(keep, given.place, place), np.where(keep, given.cpu_hz, cpu))

    def search(self, problem: Problem, start: Places | None = None) -> Places:
        """Return locally optimal places [B, N], from ``start`` or else from the dual."""
        batch, ues = problem.root.shape
        step = max(1, _CHUNK // (ues * ues))
        parts = []
        for first in range(0, batch, step):
            part = problem.take(slice(first, first + step))
            begin = dual_start(part, self.dual_rounds) if start is None else start[first : first + step]
            parts.append(_Descent(part, fit(part, begin)).run(self.swaps))
        return np.concatenate(parts)


def in_kind(instances: Instances, arrays: Instances, place: Places, cpu_hz: Floats | None = None) -> Decision:
    """Return NumPy places (and CPU, else the optimal) as a Decision in the namespace and on the device of ``instances``."""
    cpu_hz = physics.allocate(arrays, place) if cpu_hz is None else cpu_hz
    if arrays.xp is instances.xp:
        return Decision(place, cpu_hz)
    xp, like = instances.xp, instances.cycles
    return Decision(
        xp.asarray(place, device=like.device), xp.asarray(cpu_hz, device=like.device, dtype=like.dtype)
    )


# ---- starts ---------------------------------------------------------------------------------------------------------


def dual_start(problem: Problem, rounds: int) -> Places:
    """Return what UEs choose at the dual's prices, the most reluctant to go elsewhere first, while it fits [B, N]."""
    price = climb(problem, rounds).price
    cost = np.concatenate([problem.fixed[:, :1], problem.server_costs(problem.level(price), price)], axis=1)
    place = np.argmin(cost, axis=1)
    used = _floor_sums(problem, place)
    tight = np.flatnonzero((used > problem.limit).any(axis=1))
    if tight.size:
        place[tight] = _in_turn(problem.take(tight), cost[tight])
    return place


def _in_turn(problem: Problem, cost: Floats) -> Places:
    """Give each UE in turn, those with the largest regret first, the cheapest place that still fits."""
    batch, _, ues = cost.shape
    least = np.partition(cost, 1, axis=1)
    order = np.argsort(least[:, 0] - least[:, 1], axis=1)
    rows, left = np.arange(batch), problem.limit.copy()
    place = np.zeros((batch, ues), dtype=np.int64)
    for turn in range(ues):
        ue = order[:, turn]
        need = problem.floor[rows, :, ue]
        chosen = np.argmin(np.where(need <= left, cost[rows, :, ue], np.inf), axis=1)
        place[rows, ue] = chosen
        left[rows, chosen] -= need[rows, chosen]
    return place


def fit(problem: Problem, place: Places) -> Places:
    """Return the places with what cannot be served sent home: hopeless tasks, and the largest floors of an overfull server."""
    fixed = np.take_along_axis(problem.fixed, place[:, None], axis=1)[:, 0]
    place = np.where(np.isfinite(fixed), place, LOCAL)
    if (_floor_sums(problem, place) <= problem.limit).all():
        return place
    member = place[:, None] == np.arange(problem.fixed.shape[1])[:, None]
    member[:, 1:] = physics.served(problem.floor[:, 1:], member[:, 1:], problem.capacity[:, 1:], np)
    return np.where(member.any(axis=1), place, LOCAL)


def _floor_sums(problem: Problem, place: Places) -> Floats:
    """Return the sum of floors of each place [B, P]."""
    member = place[:, None] == np.arange(problem.fixed.shape[1])[:, None]
    return np.where(member, problem.floor, 0.0).sum(axis=2)


# ---- servers --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Servers:
    """What the servers of an association cost, and the terms that bound what a change would cost; place 0 costs nothing.

    The arrays may have any shape, one entry a server.
    """

    value: Floats  # cost of compute time
    used: Floats  # sum of floors
    level: Floats  # mu
    room: Floats  # F minus the floors that bind
    brink: Floats  # the least l / sqrt(C) among floors that bind; endless where none does

    def put(self, rows: Indices, places: Places, new: _Servers) -> None:
        """Overwrite the entries [rows, places]."""
        for field in dataclasses.fields(self):
            getattr(self, field.name)[rows, places] = getattr(new, field.name)

    def take(self, rows: Indices) -> _Servers:
        """Return the entries at ``rows``."""
        return _Servers(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


def _servers(floor: Floats, root: Floats, member: Bools, capacity: Floats, per_s: Floats) -> _Servers:
    """Return what members [..., N] make of servers [...]."""
    need, part = np.where(member, floor, 0.0), np.where(member, root, 0.0)
    total = part.sum(axis=-1)
    level = np.minimum(np.where(total > 0, capacity / np.where(total > 0, total, 1.0), np.inf), _ENDLESS)
    out = _Servers(per_s * total**2 / capacity, need.sum(axis=-1), level, capacity.copy(), np.full(total.shape, _ENDLESS))
    tight = (need > level[..., None] * part).any(axis=-1)
    if tight.any():
        _clamp(out, tight, need[tight], part[tight], capacity[tight], per_s[tight])
    return out


def _clamp(out: _Servers, tight: Bools, need: Floats, part: Floats, capacity: Floats, per_s: Floats) -> None:
    """Correct the entries whose floors bind."""
    level = physics.water_level(need, part, capacity, np)
    share = level[:, None] * part
    binds = need > share
    cpu = np.where(part > 0, np.maximum(need, share), 1.0)
    out.level[tight] = level
    out.value[tight] = per_s * (part * part / cpu).sum(axis=-1)
    out.room[tight] = np.maximum(capacity - np.where(binds, need, 0.0).sum(axis=-1), 1e-3 * capacity)
    out.brink[tight] = np.min(np.where(binds, need / np.where(binds, part, 1.0), _ENDLESS), axis=-1)


# ---- the search -----------------------------------------------------------------------------------------------------


class _Descent:
    """A batch on its way down: places, what their servers cost, and the moves that the bounds do not rule out."""

    def __init__(self, problem: Problem, place: Places) -> None:
        self.problem, self.place = problem, place
        self.places = np.arange(problem.fixed.shape[1])
        self.least_gain = 1e-10 * np.abs(problem.fixed[:, LOCAL]).mean(axis=1) + 1e-300
        per_s = np.broadcast_to(problem.per_s[:, None], problem.capacity.shape)
        member = place[:, None] == self.places[:, None]
        self.servers = _servers(problem.floor, problem.root[:, None], member, problem.capacity, per_s)

    def run(self, swaps: bool) -> Places:
        """Move until no move gains, then swap; again until neither gains."""
        active = np.arange(len(self.place))
        while active.size:
            moved = self.attempt(*self.moves(active))[active]
            quiet, active = active[~moved], active[moved]
            if swaps and quiet.size:
                swapped = self.attempt(*self.swaps(quiet))
                active = np.concatenate([active, quiet[swapped[quiet]]])
        return self.place

    def priced(self, rows: Indices) -> tuple[Problem, Floats]:
        """Return the problems of ``rows`` and what their UEs cost at the servers' present prices [K, P, N]."""
        part = self.problem.take(rows)
        level = self.servers.level[rows, 1:]
        cost = part.server_costs(level, part.per_s[:, None] / level**2)
        return part, np.concatenate([part.fixed[:, :1], cost], axis=1)

    def moves(self, rows: Indices) -> tuple[Indices, Indices, Places, Indices | None]:
        """Return the moves (row, UE, place) of one UE that may gain, the most promising of a row first.

        What is compared are bounds, from convexity: leaving saves at most the price paid, less the curvature where no floor
        stops binding; arriving costs at least the price, and at least the marginal cost where floors that bind stay.
        """
        part, cost = self.priced(rows)
        place, level, room = self.place[rows], self.servers.level[rows], self.servers.room[rows]
        per_s, root = part.per_s[:, None], part.root
        here = np.take_along_axis(cost, place[:, None], axis=1)[:, 0]
        its_level, its_room, brink = (
            np.take_along_axis(values, place, axis=1) for values in (level, room, self.servers.brink[rows])
        )
        rest = its_room / its_level - root
        floor = np.take_along_axis(part.floor, place[:, None], axis=1)[:, 0]
        smooth = (brink == _ENDLESS) | ((floor <= its_level * root) & (its_room <= brink * rest))
        here = here - np.where(smooth, per_s * root * root / its_room, 0.0)
        load = (room / level)[:, 1:, None]
        arrive = physics.marginal_cost(part.fixed[:, 1:], per_s[..., None], root[:, None], load, room[:, 1:, None])
        cost[:, 1:] = np.maximum(cost[:, 1:], arrive)
        gain = here[:, None] - cost
        gain[part.floor > (part.limit - self.servers.used[rows])[..., None]] = -np.inf
        np.put_along_axis(gain, place[:, None], -np.inf, axis=1)
        row, to, ue = np.nonzero(gain > self.least_gain[rows, None, None])
        order = np.lexsort((-gain[row, to, ue], row))
        return rows[row[order]], ue[order], to[order], None

    def swaps(self, rows: Indices) -> tuple[Indices, Indices, Places, Indices | None]:
        """Return the swaps (row, UE, its new place, the UE there) that may gain, the most promising of a row first."""
        part, cost = self.priced(rows)
        place, index = self.place[rows], np.arange(len(rows))[:, None]
        here = np.take_along_axis(cost, place[:, None], axis=1)[:, 0]
        floor = np.take_along_axis(part.floor, place[:, None], axis=1)[:, 0]
        free = np.take_along_axis(part.limit - self.servers.used[rows], place, axis=1) + floor
        gain = here[:, None] - cost[index, place]  # [K, N, N]: of UE n at the place of UE k
        gain[part.floor[index, place] > free[..., None]] = -np.inf
        both = gain + gain.transpose(0, 2, 1)
        row, other, ue = np.nonzero(both > self.least_gain[rows, None, None])
        once = (ue < other) & (place[row, ue] != place[row, other])
        row, other, ue = row[once], other[once], ue[once]
        order = np.lexsort((-both[row, other, ue], row))
        row, other, ue = row[order], other[order], ue[order]
        return rows[row], ue, place[row, other], other

    def attempt(self, row: Indices, ue: Indices, to: Places, other: Indices | None) -> Bools:
        """Make those moves that gain indeed, a row's one after the other; return which rows moved [B]."""
        moved = np.zeros(len(self.place), dtype=bool)
        first = np.flatnonzero(np.diff(row, prepend=-1))
        rank = np.arange(row.size) - np.repeat(first, np.diff(np.append(first, row.size)))
        for turn in range(int(rank.max(initial=-1)) + 1):
            at = np.flatnonzero(rank == turn)
            moved[self._attempt(row[at], ue[at], to[at], None if other is None else other[at])] = True
        return moved

    def _attempt(self, row: Indices, ue: Indices, to: Places, other: Indices | None) -> Indices:
        """Evaluate one move a row exactly and make it if it gains; return the rows that moved."""
        problem, place = self.problem, self.place[row]
        index, pair = np.arange(row.size), np.stack([self.place[row, ue], to], axis=1)
        place[index, ue] = to
        if other is not None:
            place[index, other] = pair[:, 0]
        new = _servers(
            problem.floor[row[:, None], pair],
            problem.root[row][:, None],
            place[:, None] == pair[..., None],
            problem.capacity[row[:, None], pair],
            np.broadcast_to(problem.per_s[row][:, None], pair.shape),
        )
        fixed = problem.fixed[row]
        change = fixed[index, to, ue] - fixed[index, pair[:, 0], ue]
        if other is not None:
            change += fixed[index, pair[:, 0], other] - fixed[index, to, other]
        change += (new.value - self.servers.value[row[:, None], pair]).sum(axis=1)
        fits = (new.used <= problem.limit[row[:, None], pair]).all(axis=1)
        good = np.flatnonzero(fits & (change < -self.least_gain[row]) & (pair[:, 0] != to))
        self.place[row[good]] = place[good]
        self.servers.put(row[good, None], pair[good], new.take(good))
        return row[good]
