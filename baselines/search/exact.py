"""The certified optimum.

The dual's bound and local search where they meet, else a small integer program between them.

Shapes: B instances, N UEs, M edge servers, P = M + 1 places.
"""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from baselines.search.dual import Dual, Places, Problem, climb, polish
from baselines.search.local_search import LocalSearch
from baselines.search.milp import Model
from baselines.search.server_costs import total_cost
from lambo_agents.protocol import Solved, refuse_unsupported
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances, Objective
from lambo_env.prompts.objectives import PAIR
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate

_CLIMB, _POLISH = 12, 20  # rounds of the dual
_LEVELS = np.linspace(
    0.92, 1.08, 9
)  # water levels, relative to the dual's, at which the program's first cuts are tight
_ENDLESS = 1e15  # stands for the level of an empty server


class Exact:
    """The cheapest decision of all, with a proof, for latency, energy and their mixes.

    Args:
        gap: relative distance of cost and lower bound at which an instance counts as solved; 1e-4
            is 0.01 %.
        time_limit_s: for one instance; past it the best decision and the bound reached are
            returned, ``proven`` False.
    """

    objectives = PAIR
    evaluator_in_loop = True

    def __init__(self, gap: float = 1e-4, time_limit_s: float = 60.0) -> None:
        self.gap = validate.positive("Exact.gap", gap)
        validate.check(
            "Exact.gap",
            gap,
            1e-5 <= self.gap < 1,
            "1e-5 <= gap < 1 (the solver's own tolerances are near 1e-6)",
        )
        self.time_limit_s = validate.positive("Exact.time_limit_s", time_limit_s)

    def decide(self, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> Decision:
        """Return the decision of ``solve``."""
        validate.generator(rng)
        return self.solve(instances, prompts, rng).decision

    @np.errstate(under="ignore")
    def solve(
        self, instances: Instances, prompts: Prompts, rng: np.random.Generator | None = None
    ) -> Solved:
        """Return decisions, lower bounds that hold for every decision (to 1e-5), and if they meet.

        ``rng`` is not used.
        """
        refuse_unsupported(self, instances, prompts)
        arrays = instances.to("numpy")
        objective = prompts.objective(arrays)
        strict, loose = Problem.of(arrays, objective), Problem.forgiving(arrays, objective)
        dual = polish(loose, climb(loose, _CLIMB), _POLISH)
        place = LocalSearch().search(strict)
        cost = physics.association_cost(arrays, place, objective)
        bound = np.clip(dual.bound, 0.0, cost)
        for row in np.flatnonzero(cost - bound > self.gap * cost):
            deadline_s, priced = time.monotonic() + self.time_limit_s, dual.take([row])
            best = _Best(arrays.take([row]), objective.take([row]), place[row], float(cost[row]))
            branch = _Branch(best, loose.take([row]))
            bound[row] = branch.close(priced, self.gap, deadline_s)
            if branch.brink < best.cost:  # a set that fits only by what evaluate forgives
                _Branch(best, strict.take([row])).close(priced, self.gap, deadline_s)
            place[row], cost[row] = best.place, best.cost
        xp, like = instances.xp, instances.cycles
        return Solved(
            Decision(place, physics.allocate(arrays, place)).to(instances),
            xp.asarray(np.minimum(bound, cost), dtype=like.dtype, device=like.device),
            xp.asarray(bound >= cost * (1 - self.gap * (1 + 1e-9)), device=like.device),
        )


@dataclasses.dataclass
class _Best:
    """The cheapest place [N] found so far, and what it costs under the closed form."""

    instances: Instances  # a batch of one
    objective: Objective
    place: Places
    cost: float

    def offer(self, place: Places) -> None:
        """Keep a place that is cheaper."""
        cost = float(physics.association_cost(self.instances, place[None], self.objective)[0])
        if cost < self.cost:
            self.place, self.cost = place, cost


class _Branch:
    """The search for the optimum of one instance: the best so far, and the program that is left.

    Args:
        best: what improves on the way.
        problem: the tables that the program is made of, a batch of one.
    """

    def __init__(self, best: _Best, problem: Problem) -> None:
        self.best, self.problem = best, problem
        # the least cost, by the tables, of a place that costs more by the closed form
        self.brink = np.inf

    def close(self, dual: Dual, gap: float, deadline_s: float) -> float:
        """Search until the gap is closed or the clock says so; return the lower bound."""
        bound, target = max(float(dual.bound[0]), 0.0), self.best.cost * (1 - gap)
        model = self._model(dual, target)
        while bound < (wanted := self._least() * (1 - gap)) and time.monotonic() < deadline_s:
            left_s = max(deadline_s - time.monotonic(), 0.01)
            answer = model.solve(wanted, 0.5 * gap * self._least(), left_s)
            bound = max(bound, min(target, answer.bound))
            if answer.place is None:
                break
            self._learn(answer.place, model, gap)
        return bound

    def _least(self) -> float:
        return min(self.best.cost, self.brink)

    def _model(self, dual: Dual, target: float) -> Model:
        """Return the program of the places that the dual does not rule out.

        Bound + reduced cost > target is no place to look.
        """
        problem, price = self.problem, dual.price
        paid, _ = problem.priced(problem.level(price), price)
        cost = np.concatenate([problem.fixed[:, :1], paid], axis=1)[0]
        model = Model(problem, cost - cost.min(axis=0) <= target - dual.bound[0], self.best.cost)
        if problem.per_s[0] > 0:
            for level in _LEVELS:
                model.cut(price[0] / level**2)
        return model

    def _learn(self, place: Places, model: Model, gap: float) -> None:
        """Keep a place that is better.

        Give the program the cuts that tell it what the place costs, or that it does not fit.
        """
        problem = self.problem
        member = place == np.arange(problem.fixed.shape[1])[:, None]
        floor, root = (
            np.where(member, problem.floor[0], 0.0)[1:],
            np.where(member, problem.root, 0.0)[1:],
        )
        if (floor.sum(axis=-1) > problem.limit[0, 1:]).any():
            model.forbid(place)
            return
        self.best.offer(place)
        told = float(total_cost(problem, place[None])[0])
        if told <= self.best.cost * (1 - gap):  # the program would find it again and again
            self.brink = min(self.brink, told)
        if problem.per_s[0] > 0:
            level = physics.water_level(floor, root, problem.capacity[0, 1:], np)
            model.cut(problem.per_s[0] / np.minimum(level, _ENDLESS) ** 2)
