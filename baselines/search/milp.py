"""One instance as a mixed-integer linear program (scipy's HiGHS).

It is small because the dual has already ruled out most places.

minimise sum x_ip fixed_ip + sum z_m over binaries x, with sum_p x_ip = 1, sum_i l_im x_im <= F_m,
and for prices lam > 0 the valid cuts z_m >= sum_i g_im(lam) x_im - lam F_m, g_im(lam) = min over f
>= l_im of (c_L / N) C_i / f + lam f, which are tight at lam = (c_L / N) / mu^2 of the association.
Shapes: N UEs, M servers, P = M + 1 places, K places still open (of the UEs that have several).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csc_array

from baselines.search.dual import Bools, Floats, Places, Problem
from lambo_env.offloading import physics

_ROW = 100.0  # capacity rows are scaled to this, so that the solver's 1e-6 is 1e-8 of a server
_INFEASIBLE, _FAILED = 2, 4  # of scipy's statuses


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send to the error stream what HiGHS prints past Python, a line of its own debugging."""
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # there are no such streams
        yield
        return
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one run of the solver says."""

    place: Places | None  # [N]; None where it found nothing
    bound: float  # nothing among the open places costs less; the cutoff where nothing lies below it


class Model:
    """The program of one instance; grows by cuts.

    Args:
        problem: a batch of one.
        open_places: bool [P, N], the places that may be in a solution worth finding; at least one a
            UE.
        scale: a cost of the size of the optimum, which the solver sees as 1.
    """

    def __init__(self, problem: Problem, open_places: Bools, scale: float) -> None:
        self.problem, self.scale = problem, scale
        self.fixed, self.floor, self.root = problem.fixed[0], problem.floor[0], problem.root[0]
        self.capacity, self.per_s = problem.capacity[0, 1:], float(problem.per_s[0])
        free = open_places.sum(axis=0) > 1
        self.home = np.argmax(open_places, axis=0)  # of the UEs that have one place left
        self.ue, self.to = np.nonzero((open_places & free).T)
        self.settled = np.flatnonzero(~free)
        self.free = np.flatnonzero(free)
        self.settled_cost = float(self.fixed[self.home[self.settled], self.settled].sum())
        self.rows: list[Floats] = []
        self.low: list[float] = []
        self.high: list[float] = []
        for ue in self.free:
            self._add(self._row(self.ue == ue), 1.0, 1.0)
        self._capacities()
        self._counts()

    def _add(self, row: Floats, low: float, high: float) -> None:
        self.rows.append(row)
        self.low.append(low)
        self.high.append(high)

    def _row(self, options: NDArray[np.generic], server: int | None = None) -> Floats:
        """Return a row: coefficients of the K options, and 1 for z of a server."""
        row = np.zeros(self.ue.size + 2 * self.capacity.size)
        row[: self.ue.size] = options
        if server is not None:
            row[self.ue.size + server] = 1.0
        return row

    def _on(self, server: int, values: Floats) -> tuple[Floats, float]:
        """Return a server's values [N] as coefficients, and their sum over the settled UEs."""
        options = np.where(self.to == server + 1, values[self.ue], 0.0)
        return options, float(values[self.settled[self.home[self.settled] == server + 1]].sum())

    def _capacities(self) -> None:
        for server, capacity in enumerate(self.capacity):
            options, taken = self._on(server, self.floor[server + 1] * (_ROW / capacity))
            limit = _ROW * (1 + 0.9 * physics.FIT_TOLERANCE)
            if taken + options.sum() > limit:
                self._add(self._row(options), -np.inf, limit - taken)

    def _counts(self) -> None:
        """Add how many UEs each server takes, as integers of their own.

        Branching on them settles near ties of many UEs at once.
        """
        for server in range(self.capacity.size):
            row = self._row(self.to == server + 1)
            row[self.ue.size + self.capacity.size + server] = -1.0
            self._add(row, 0.0, 0.0)

    def cut(self, price: Floats) -> None:
        """Add the cuts at prices [M]."""
        level, due = np.sqrt(self.per_s / price)[:, None], price[:, None]
        paid, _ = physics.priced(0.0, self.per_s, self.root, self.floor[1:], level, due, np)
        for server in range(self.capacity.size):
            options, constant = self._on(server, paid[server] / self.scale)
            constant -= price[server] * self.capacity[server] / self.scale
            self._add(self._row(-options, server), constant, np.inf)

    def forbid(self, place: Places) -> None:
        """Rule out that any overfull server of ``place`` [N] gets this set of UEs again."""
        for server, capacity in enumerate(self.capacity):
            member = place == server + 1
            if self.floor[server + 1, member].sum() > capacity * (1 + physics.FIT_TOLERANCE):
                options, constant = self._on(server, member.astype(float))
                self._add(self._row(options), -np.inf, member.sum() - 1 - constant)

    def solve(self, cutoff: float, gap: float, time_limit_s: float) -> Answer:
        """Run the solver for an association of cost <= ``cutoff``, to a gap in its units."""
        objective = np.concatenate(
            [
                self.fixed[self.to, self.ue] / self.scale,
                np.ones(self.capacity.size),
                np.zeros(self.capacity.size),
            ]
        )
        budget = (cutoff - self.settled_cost) / self.scale
        binary = np.arange(objective.size) < self.ue.size
        whole = binary | (np.arange(objective.size) >= self.ue.size + self.capacity.size)
        rows = LinearConstraint(
            csc_array(np.stack([*self.rows, objective])), [*self.low, -np.inf], [*self.high, budget]
        )
        bounds = Bounds(0.0, np.where(binary, 1.0, np.inf))
        options = {"mip_rel_gap": gap / self.scale / max(budget, 1e-9), "time_limit": time_limit_s}
        for presolve in (True, False):  # HiGHS now and then fails on its own reductions
            with _quiet():
                result = milp(
                    objective,
                    integrality=whole.astype(int),
                    bounds=bounds,
                    constraints=rows,
                    options=options | {"presolve": presolve},
                )
            if result.status != _FAILED:
                break
        if result.status == _INFEASIBLE:
            return Answer(None, cutoff)
        bound = (
            -np.inf
            if result.mip_dual_bound is None
            else result.mip_dual_bound * self.scale + self.settled_cost
        )
        return Answer(None if result.x is None else self._place(result.x), bound)

    def _place(self, solution: Floats) -> Places:
        place = self.home.copy()
        chosen = solution[: self.ue.size] > 0.5
        place[self.ue[chosen]] = self.to[chosen]
        return place
