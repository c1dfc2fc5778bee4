"""Local search: no UE can move, and no two can swap, at a gain.

Whole batches at once; the start comes from the dual's prices.

Shapes: B instances, N UEs, M edge servers, P = M + 1 places, K moves under trial.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from baselines.search.dual import Bools, Floats, Places, Problem
from baselines.search.dual_start import dual_start
from baselines.search.server_costs import (
    ENDLESS,
    Servers,
    fit,
    members,
    serve,
    serve_all,
    total_cost,
)
from lambo_env.offloading import physics
from lambo_env.offloading.instances import LOCAL, Decision, Instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate

Indices = NDArray[np.intp]

_CHUNK = 2**16  # numbers per table that is worked on at once: what stays in a processor's cache
_TRIED = 4  # candidates per row that are evaluated before the rest


class LocalSearch:
    """Moves and swaps from an almost optimal start down to a local optimum of both.

    The start is what UEs choose at the prices of the Lagrangian dual, made to fit; where that
    leaves a task late that a server could serve alone, a second start gives such tasks the first
    choice. Deterministic: ``rng`` is not used.

    Args:
        swaps: also try every exchange of two UEs, not only moves of one.
        dual_rounds: steps of the dual that the start is taken from.
    """

    evaluator_in_loop = True

    def __init__(self, swaps: bool = True, dual_rounds: int = 10) -> None:
        validate.check("LocalSearch.swaps", swaps, isinstance(swaps, bool), "True or False")
        self.swaps = swaps
        self.dual_rounds = validate.integer("LocalSearch.dual_rounds", dual_rounds)

    def decide(self, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> Decision:
        """Return a local optimum reached from the dual's start."""
        validate.generator(rng)
        arrays = instances.to("numpy")
        place = self.search(Problem.of(arrays, prompts.objective(arrays)))
        return Decision(place, physics.allocate(arrays, place)).to(instances)

    def improve(
        self, instances: Instances, prompts: Prompts, decision: Decision, rng: np.random.Generator
    ) -> Decision:
        """Return a local optimum reached from a legal decision.

        Where the decision's own allocation is already cheaper it is returned as it is.
        """
        arrays = instances.to("numpy")
        given = decision.to(arrays)
        objective = prompts.objective(arrays)
        before = physics.evaluate(arrays, given, objective)
        start = np.where(before.late, LOCAL, given.place).astype(np.int64)
        place = self.search(Problem.of(arrays, objective), start)
        cpu = physics.allocate(arrays, place)
        after = physics.evaluate(arrays, Decision(place, cpu), objective, check=False)
        keep = before.cost < after.cost
        place[keep], cpu[keep] = given.place[keep], given.cpu_hz[keep]
        return Decision(place, cpu).to(instances)

    def search(self, problem: Problem, start: Places | None = None) -> Places:
        """Return locally optimal places [B, N], from ``start`` or else from the dual."""
        if start is not None:
            return _Descent(problem, fit(problem, start)).run(self.swaps)
        start = dual_start(problem, self.dual_rounds)
        twice = np.flatnonzero((problem.must_offload & (start == LOCAL)).any(axis=1))
        if not twice.size:
            return _Descent(problem, start).run(self.swaps)
        other = dual_start(problem.take(twice), self.dual_rounds, must_offload_first=True)
        both = problem.take(np.concatenate([np.arange(len(start)), twice]))
        found = _Descent(both, np.concatenate([start, other])).run(self.swaps)
        cost = total_cost(both, found)
        better = cost[len(start) :] < cost[twice]
        found[twice[better]] = found[len(start) :][better]
        return found[: len(start)]


# ---- the search ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Moves:
    """Candidates, the most promising of a row first.

    UE ``ue`` goes to ``to`` and, unless it is the same, ``other`` to ``away``.
    """

    row: Indices
    ue: Indices
    to: Places
    other: Indices
    away: Places

    def take(self, index: Indices) -> _Moves:
        """Return the candidates at ``index``."""
        return _Moves(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))


class _Descent:
    """A batch on its way down.

    Places, what their servers cost, and the moves that the bounds do not rule out.
    """

    def __init__(self, problem: Problem, place: Places) -> None:
        self.problem, self.place = problem, place
        self.least_gain = 1e-10 * np.abs(problem.fixed[:, LOCAL]).mean(axis=1) + 1e-300
        self.servers = serve_all(problem, place)

    def run(self, swaps: bool) -> Places:
        """Move until no move gains, then exchange; again until neither gains."""
        active = np.arange(len(self.place))
        while active.size:
            part, cost, leave, gain = self.table(active)
            moved = self.attempt(self.moves(active, gain))[active]
            quiet = np.flatnonzero(~moved)
            active, rows = active[moved], active[quiet]
            if swaps and quiet.size:
                swapped = self.attempt(
                    self.exchanges(rows, part.take(quiet), cost[quiet], leave[quiet], gain[quiet])
                )
                active = np.concatenate([active, rows[swapped[rows]]])
        return self.place

    def table(self, rows: Indices) -> tuple[Problem, Floats, Floats, Floats]:
        """Return problems, costs, what leaving saves [K, N] and what moving gains [K, P, N].

        Costs [K, P, N] are at the servers' present prices.

        The last two are upper bounds, from convexity: leaving saves at most the price paid, less
        the curvature where no floor stops binding; arriving costs at least the price, and at least
        the marginal cost where the floors that bind stay.
        """
        part, place = self.problem.take(rows), self.place[rows]
        if part.per_s.any():
            cost, leave, gain = self._priced(rows, part, place)
        else:  # nobody's compute time costs anything, and all is exact
            cost, leave = part.fixed, _at(part.fixed, place)
            gain = leave[:, None] - cost
        gain[part.floor > (part.limit - self.servers.used[rows])[..., None]] = -np.inf
        np.put_along_axis(gain, place[:, None], -np.inf, axis=1)
        return part, cost, leave, gain

    def _priced(self, rows: Indices, part: Problem, place: Places) -> tuple[Floats, Floats, Floats]:
        """Return costs, what leaving saves, and gains as if every place had room."""
        level, free = self.servers.level[rows], self.servers.free_capacity[rows]
        paid, _ = part.priced(level[:, 1:], part.per_s[:, None] / level[:, 1:] ** 2)
        cost = np.concatenate([part.fixed[:, :1], paid], axis=1)
        per_s, root = part.per_s[:, None], part.root
        own_level, own_capacity, next_clamp = (
            _of(values, place) for values in (level, free, self.servers.next_clamp[rows])
        )
        smooth = (_at(part.floor, place) <= own_level * root) & (
            own_capacity <= next_clamp * (own_capacity / own_level - root)
        )
        smooth |= next_clamp == ENDLESS
        leave = _at(cost, place) - np.where(smooth, per_s * root * root / own_capacity, 0.0)
        load, free = (free / level)[:, 1:, None], free[:, 1:, None]
        arrive = physics.marginal_cost(
            part.fixed[:, 1:], per_s[..., None], root[:, None], load, free
        )
        gain = leave[:, None] - cost
        gain[:, 1:] = leave[:, None] - np.maximum(paid, arrive)
        return cost, leave, gain

    def moves(self, rows: Indices, gain: Floats) -> _Moves:
        """Return the moves of one UE that may gain."""
        row, to, ue = np.nonzero(gain > self.least_gain[rows, None, None])
        order = np.lexsort((-gain[row, to, ue], row))
        row, to, ue = row[order], to[order], ue[order]
        return _Moves(rows[row], ue, to, ue, to)

    def exchanges(
        self, rows: Indices, part: Problem, cost: Floats, leave: Floats, gain: Floats
    ) -> _Moves:
        """Return what may gain of.

        One UE takes another's place, which takes the first one's or goes where it gains most alone.

        A UE is looked at only if the most that it can gain where the largest floor there would make
        room for it, added to the most that any other can, is a gain.
        """
        place = self.place[rows]
        there = members(place, cost.shape[1])
        spare = part.limit - self.servers.used[rows] + np.where(there, part.floor, 0.0).max(axis=2)
        best = np.where(there | (part.floor > spare[..., None]), np.inf, cost).min(axis=1)
        best = _at(cost, place) - best
        count = np.count_nonzero(
            best + best.max(axis=1, keepdims=True) > self.least_gain[rows, None], axis=1
        )
        likely, order, found = np.argsort(-best, axis=1), np.argsort(count), []
        order = order[count[order] > 1]
        while order.size:
            most = count[order[-1]]
            chunk, order = np.split(order, [-(_CHUNK // most**2 + 1)])[::-1]
            ue = likely[chunk, :most]
            some = (
                np.take_along_axis(table[chunk], ue[:, None], axis=2)
                for table in (cost, gain, part.floor)
            )
            found.append(self._pairs(rows[chunk], ue, leave[chunk[:, None], ue], *some))
        none = np.zeros(0, dtype=np.int64)
        return (
            _Moves(*map(np.concatenate, zip(*found, strict=True)))
            if found
            else _Moves(none, none, none, none, none)
        )

    def _pairs(
        self, rows: Indices, ues: Indices, leave: Floats, cost: Floats, gain: Floats, floor: Floats
    ) -> tuple[Indices, ...]:
        """Return the exchanges among ``ues`` [K, k] of ``rows``, whose tables are [K, P, k]."""
        index, place = np.arange(len(rows))[:, None], self.place[rows[:, None], ues]
        free = _of((self.problem.limit - self.servers.used)[rows], place) + _at(floor, place)
        here = _at(cost, place)
        takes = (
            here[:, None] - cost[index, place]
        )  # [K, k, k]: what UE n gains at the place of UE j
        takes[
            (floor[index, place] > free[..., None]) | (place[..., None] == place[:, None])
        ] = -np.inf
        # Nobody fills the gap that the first leaves if the other does not come: then leaving saves
        # less than the price.
        swap, alone = (
            takes.transpose(0, 2, 1),
            gain.max(axis=1)[..., None] - (here - leave)[:, None],
        )
        both = takes + np.maximum(swap, alone)
        row, other, ue = np.nonzero(both > self.least_gain[rows, None, None])
        swapped = swap[row, other, ue] >= alone[row, other, ue]
        once = ~swapped | (ue < other)
        row, other, ue, swapped = row[once], other[once], ue[once], swapped[once]
        order = np.lexsort((-both[row, other, ue], row))
        row, other, ue, swapped = row[order], other[order], ue[order], swapped[order]
        away = np.where(swapped, place[row, ue], gain.argmax(axis=1)[row, other])
        return rows[row], ues[row, ue], place[row, other], ues[row, other], away

    def attempt(self, moves: _Moves) -> Bools:
        """Make the best moves of each row that gain; return which rows moved [B].

        Exact. The most promising are tried first, the others only where those fail, and of
        three-way moves none.
        """
        moved = np.zeros(len(self.place), dtype=bool)
        first = np.flatnonzero(np.diff(moves.row, prepend=-1))
        rank = np.arange(moves.row.size) - np.repeat(
            first, np.diff(np.append(first, moves.row.size))
        )
        self._make_best(moves.take(np.flatnonzero(rank < _TRIED)), moved)
        two_way = (moves.other == moves.ue) | (moves.away == self.place[moves.row, moves.ue])
        self._make_best(
            moves.take(np.flatnonzero((rank >= _TRIED) & two_way & ~moved[moves.row])), moved
        )
        return moved

    def _make_best(self, moves: _Moves, moved: Bools) -> None:
        """Evaluate all moves and make each row's best that gains.

        Then the best of those left that share no server or UE with it, and so on.
        """
        if not moves.row.size:
            return
        change, touched, servers = self._evaluate(moves)
        order = np.lexsort((change, moves.row))
        order = order[change[order] < -self.least_gain[moves.row[order]]]
        busy, gone = (
            np.zeros(self.problem.capacity.shape, dtype=bool),
            np.zeros(self.place.shape, dtype=bool),
        )
        while order.size:
            best = order[np.flatnonzero(np.diff(moves.row[order], prepend=-1))]
            row, ue, other = moves.row[best], moves.ue[best], moves.other[best]
            self.place[row, ue], self.place[row, other] = moves.to[best], moves.away[best]
            self.servers.put(row[:, None], touched[best], servers.take(best))
            moved[row] = True
            busy[row[:, None], touched[best]] = True
            busy[:, LOCAL] = False
            gone[row, ue] = gone[row, other] = True
            row = moves.row[order]
            met = (
                busy[row[:, None], touched[order]].any(axis=1)
                | gone[row, moves.ue[order]]
                | gone[row, moves.other[order]]
            )
            order = order[~met]

    def _evaluate(self, moves: _Moves) -> tuple[Floats, Places, Servers]:
        """Return the exact change of cost [K], the places concerned [K, 3] and what they become.

        The change is inf where the move does not fit.
        """
        problem, row, index = self.problem, moves.row, np.arange(moves.row.size)
        place = self.place[row]
        ue_from, other_from = place[index, moves.ue], place[index, moves.other]
        third = np.where((moves.away == moves.to) | (moves.away == ue_from), LOCAL, moves.away)
        touched = np.stack([ue_from, moves.to, third], axis=1)
        place[index, moves.ue], place[index, moves.other] = moves.to, moves.away
        change = problem.fixed[row, moves.to, moves.ue] - problem.fixed[row, ue_from, moves.ue]
        two = (
            problem.fixed[row, moves.away, moves.other]
            - problem.fixed[row, other_from, moves.other]
        )
        change += np.where(moves.other == moves.ue, 0.0, two)
        which, slot = np.nonzero(touched)
        entry, at = (row[which], touched[which, slot]), row[which]
        on, ues = np.nonzero(place[which] == entry[1][:, None])
        need, root = problem.floor[at[on], entry[1][on], ues], problem.root[at[on], ues]
        new = serve(on, need, root, problem.capacity[entry], problem.per_s[at])
        change += np.bincount(which, new.value - self.servers.value[entry], minlength=row.size)
        change[which[new.used > problem.limit[entry]]] = np.inf
        return change, touched, new.scattered(touched.shape, which, slot)


def _of(values: Floats, place: Places) -> Floats:
    """Pick from values of places [K, P] those of UEs' places [K, N]."""
    return np.take_along_axis(values, place, axis=1)


def _at(table: Floats, place: Places) -> Floats:
    """Pick from a table [K, P, N] the entries at UEs' places [K, N]."""
    return np.take_along_axis(table, place[:, None], axis=1)[:, 0]
