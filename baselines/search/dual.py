"""The Lagrangian dual of an association problem.

A price of server CPU gives a certified lower bound and an almost optimal start.

With a price p_m >= 0 (cost per cycle/s) every UE decides for itself: a_ip(p) = fixed_ip + min over
f >= l_ip of (c_L / N) C_i / f + p f. L(p) = sum_i min_p a_ip(p) - sum_m p_m F_m bounds every
decision's cost from below, for any p (the minimum drops the capacities only). It is concave in p;
here it is climbed for a whole batch at once. Shapes: B instances, N UEs, M servers, P = M + 1
places.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambo_env.offloading import physics
from lambo_env.offloading.instances import LOCAL, Instances, Objective

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Places = NDArray[np.int64]

_NOTHING = 1e-30  # a price that no cost notices; keeps 0 / 0 out where c_L = 0
_MORE = 1.001  # of the tolerances: room for rounding


@dataclasses.dataclass(frozen=True)
class Problem:
    """What search and bound look up, UEs contiguous.

    Place 0 is local execution, or being late where that misses the deadline.
    """

    # [B, P, N] cost but for the server's compute time; inf where the place alone cannot be in time
    fixed: Floats
    floor: Floats  # [B, P, N] least CPU that meets the deadline; 0 at place 0, F where fixed is inf
    root: Floats  # [B, N] sqrt(C_i)
    capacity: Floats  # [B, P] F_m; inf at place 0
    per_s: Floats  # [B] c_L / N
    must_offload: Bools  # [B, N] late at place 0, but not on some server

    @classmethod
    def of(cls, instances: Instances, objective: Objective) -> Problem:
        """Build from NumPy instances and their objective."""
        tables = physics.place_tables(instances, objective)
        fixed, floor = (
            np.ascontiguousarray(np.moveaxis(t, 2, 1)) for t in (tables.fixed, tables.floor_hz)
        )
        capacity = tables.capacity_hz.copy()
        late = np.isinf(floor[:, LOCAL])
        capacity[:, LOCAL], floor[:, LOCAL] = np.inf, 0.0
        infeasible = floor > (capacity * (1 + physics.FIT_TOLERANCE))[..., None]
        fixed[infeasible] = np.inf
        floor = np.where(infeasible, capacity[..., None], floor)
        must_offload = late & ~infeasible[:, 1:].all(axis=1)
        return cls(fixed, floor, tables.root, capacity, tables.per_s, must_offload)

    @classmethod
    def forgiving(cls, instances: Instances, objective: Objective) -> Problem:
        """Build what bounds are proven on: a bit more CPU and time than ``evaluate`` forgives."""
        loose = Instances.unchecked(
            **vars(instances)
            | {
                "deadline_s": instances.deadline_s * (1 + _MORE * physics.LATE_TOLERANCE),
                "server_cpu_hz": instances.server_cpu_hz * (1 + _MORE * physics.CAPACITY_TOLERANCE),
            }
        )
        problem, late = cls.of(loose, objective), physics.late_cost(instances, objective)
        problem.fixed[:, LOCAL] = np.minimum(problem.fixed[:, LOCAL], late)
        return problem

    def take(self, rows: Any) -> Problem:
        """Return the instances at ``rows``."""
        return Problem(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    @property
    def limit(self) -> Floats:
        """The most that the floors of a place may sum to [B, P]."""
        return self.capacity * (1 + physics.FIT_TOLERANCE)

    def priced(self, level: Floats, price: Floats) -> tuple[Floats, Floats]:
        """Return a_im and the CPU that UEs would buy [B, M, N] at levels and prices [B, M]."""
        per_s, root, floor = self.per_s[:, None, None], self.root[:, None], self.floor[:, 1:]
        return physics.priced(
            self.fixed[:, 1:], per_s, root, floor, level[..., None], price[..., None], np
        )

    def level(self, price: Floats) -> Floats:
        """Return the water level [B, M] at which a price is what more CPU saves."""
        return np.sqrt(self.per_s[:, None] / price)


@dataclasses.dataclass(frozen=True)
class Dual:
    """The best prices found, and the bound that they prove."""

    price: Floats  # [B, M] cost per cycle/s
    bound: Floats  # [B]

    def take(self, rows: Any) -> Dual:
        """Return the instances at ``rows``."""
        return Dual(self.price[rows], self.bound[rows])


def lagrangian(problem: Problem, price: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return a_im and f_im [B, M, N], the least cost over places [B, N], and L(p) [B]."""
    cost, cpu = problem.priced(problem.level(price), price)
    least = np.minimum(cost.min(axis=1), problem.fixed[:, LOCAL])
    return cost, cpu, least, least.sum(axis=1) - (price * problem.capacity[:, 1:]).sum(axis=1)


def _first_price(problem: Problem) -> Floats:
    """Return first prices [B, M].

    Half of what CPU would save if all UEs shared all servers, plus a tenth of the mean worth of a
    UE's floor.
    """
    together = problem.root.sum(axis=1) / problem.capacity[:, 1:].sum(axis=1)
    saved = (
        np.maximum(problem.fixed[:, None, LOCAL] - problem.fixed[:, 1:], 0.0) / problem.floor[:, 1:]
    )
    return 0.5 * (problem.per_s * together**2)[:, None] + 0.1 * saved.mean(axis=2) + _NOTHING


def climb(problem: Problem, rounds: int) -> Dual:
    """Return prices after ``rounds`` of resilient steps.

    A server's log price follows the sign of load - F, steps adapt (Rprop).
    """
    price = _first_price(problem)
    best, bound = price, np.full(len(price), -np.inf)
    step, last = np.full(price.shape, 0.5), np.zeros(price.shape)
    for _ in range(rounds):
        cost, cpu, least, value = lagrangian(problem, price)
        better = value > bound
        best, bound = np.where(better[:, None], price, best), np.where(better, value, bound)
        load = np.where(cost == least[:, None], cpu, 0.0).sum(axis=2)
        excess = load / problem.capacity[:, 1:] - 1
        sign = np.sign(excess)
        step = np.where(sign * last < 0, 0.6 * step, np.where(sign * last > 0, 1.1 * step, step))
        price = price * np.exp(np.minimum(1.0, 4 * np.abs(excess)) * sign * step) + _NOTHING
        last = sign
    return Dual(best, bound)


def polish(problem: Problem, start: Dual, rounds: int) -> Dual:
    """Return better prices.

    Newton on the dual smoothed by a softmin over places whose temperature falls to nothing.
    """
    price, best, bound = start.price, start.price, start.bound
    capacity, spread = problem.capacity[:, 1:], problem.fixed[:, LOCAL].mean(axis=1)
    spread = np.where(spread > 0, spread, 1.0)  # nothing costs anything at home
    diagonal = np.arange(price.shape[1])
    for temperature in np.geomspace(0.1, 1e-3, rounds):
        cost, cpu, least, value = lagrangian(problem, price)
        better = value > bound
        best, bound = np.where(better[:, None], price, best), np.where(better, value, bound)
        heat = (temperature * spread)[:, None]
        weight = np.exp((least[:, None] - cost) / heat[..., None])
        weight /= (weight.sum(axis=1) + np.exp((least - problem.fixed[:, LOCAL]) / heat))[:, None]
        load = weight * cpu
        curve = -np.matmul(load, load.transpose(0, 2, 1)) / heat[..., None]
        elastic = np.where(cpu > problem.floor[:, 1:], load, 0.0).sum(axis=2) / (2 * price)
        curve[:, diagonal, diagonal] += (
            (load * cpu).sum(axis=2) / heat + elastic + 0.02 * capacity / price
        )
        step = np.linalg.solve(curve, (load.sum(axis=2) - capacity)[..., None])[..., 0]
        price = np.clip(price + step, price / 4, price * 4) + _NOTHING
    return Dual(best, bound)
