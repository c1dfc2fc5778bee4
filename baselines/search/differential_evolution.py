"""Differential evolution: scipy's, its whole population scored at once through physics.

Seeded from its generator alone.

Shapes: N UEs, M edge servers, P = M + 1 places, S members of a population.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy.optimize import differential_evolution

from baselines.search.dual import Floats, Places, Problem
from baselines.search.server_costs import fit, total_cost
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate

STRATEGIES = (
    *("best1bin", "best1exp", "rand1bin", "rand1exp", "rand2bin", "rand2exp"),
    *(
        "randtobest1bin",
        "randtobest1exp",
        "currenttobest1bin",
        "currenttobest1exp",
        "best2bin",
        "best2exp",
    ),
)
STARTS = ("uniform", "near")

# The best settings found on `paper` for a budget of about so many seconds per instance on one core,
# as DE(**BUDGETS[0.05]); gaps to the optimum for latency and energy: 6 % and 2 %, 0.6 % and 0.1 %
# (the defaults), 0.07 % and 0.01 %.
BUDGETS: dict[float, dict[str, Any]] = {
    0.05: {"population": 25, "generations": 60, "recombination": 0.3},
    0.2: {"population": 50, "generations": 200, "recombination": 0.2},
    1.0: {"population": 100, "generations": 300, "recombination": 0.05},
}


class DE:
    """Differential evolution over associations, the CPU allotted in closed form.

    A UE's gene lies in [0, P): its whole part ranks the UE's places from the cheapest to send to.
    Where a server cannot meet all deadlines the largest floors go home. Few genes of a trial should
    be the mutant's: ``BUDGETS`` has settings that were measured.

    Args:
        population: S, how many associations live at a time.
        generations: how many times each is challenged.
        mutation: the differential weight, one number or the ends of the range it is drawn from each
            generation.
        recombination: the probability that a gene is the mutant's.
        strategy: scipy's name.
        start: "uniform" over all places, or "near": squared uniforms, which favour the places that
            are cheap to send to.
    """

    evaluator_in_loop = True

    def __init__(
        self,
        population: int = 50,
        generations: int = 200,
        mutation: float | tuple[float, float] = (0.2, 0.6),
        recombination: float = 0.2,
        strategy: str = "best1bin",
        start: str = "near",
    ) -> None:
        self.population = validate.integer("DE.population", population, low=5)
        self.generations = validate.integer("DE.generations", generations)
        self.mutation = _mutation(mutation)
        self.recombination = validate.non_negative("DE.recombination", recombination)
        validate.check(
            "DE.recombination", recombination, self.recombination <= 1, "0 <= recombination <= 1"
        )
        self.strategy = validate.known(strategy, STRATEGIES, "DE.strategy")
        self.start = validate.known(start, STARTS, "DE.start")

    def decide(self, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> Decision:
        """Return the best association of each instance's last generation.

        Instances draw from ``rng`` one after the other.
        """
        validate.generator(rng)
        arrays = instances.to("numpy")
        problem = Problem.of(arrays, prompts.objective(arrays))
        rows = range(arrays.batch_size)
        place = np.stack([self._evolve(problem.take([row]), rng) for row in rows])
        return Decision(place, physics.allocate(arrays, place)).to(instances)

    def _evolve(self, problem: Problem, rng: np.random.Generator) -> Places:
        score = _Score(problem, self.population)
        first = rng.random((self.population, score.rank.shape[1]))
        if self.start == "near":
            first **= 2
        result = differential_evolution(
            score,
            bounds=[(0.0, float(len(score.rank)))] * score.rank.shape[1],
            init=first * len(score.rank),
            strategy=self.strategy,
            mutation=self.mutation,
            recombination=self.recombination,
            maxiter=self.generations,
            vectorized=True,
            updating="deferred",
            polish=False,
            tol=0.0,
            seed=rng,
        )
        return fit(problem, score.places(result.x[:, None]))[0]


def _mutation(value: float | tuple[float, float]) -> float | tuple[float, float]:
    allowed = "a number in [0, 2), or (low, high) of such numbers with low < high"
    if isinstance(value, (list, tuple)):
        validate.check("DE.mutation", value, len(value) == 2, allowed)
        low, high = (
            validate.number(f"DE.mutation[{k}]", end, allowed, 0.0) for k, end in enumerate(value)
        )
        validate.check("DE.mutation", value, low < high < 2, allowed)
        return low, high
    single = validate.number("DE.mutation", value, allowed, 0.0)
    validate.check("DE.mutation", value, single < 2, allowed)
    return single


class _Score:
    """The cost of a population, as scipy asks for it: genes [N, S] -> cost [S]."""

    def __init__(self, problem: Problem, population: int) -> None:
        self.problem, self.ues = problem, np.arange(problem.root.shape[1])
        self.rank = np.argsort(
            problem.fixed[0], axis=0
        )  # [P, N] places from the cheapest, compute time aside
        self.wide = self._repeat(population)

    def _repeat(self, count: int) -> Problem:
        """Return the problem ``count`` times, without a copy."""
        tables = (
            getattr(self.problem, field.name)[0] for field in dataclasses.fields(self.problem)
        )
        return Problem(*(np.broadcast_to(table, (count, *np.shape(table))) for table in tables))

    def places(self, genes: Floats) -> Places:
        """Return the places [S, N] that genes [N, S] stand for."""
        return self.rank[np.minimum(genes.T.astype(np.int64), len(self.rank) - 1), self.ues]

    def __call__(self, genes: Floats) -> Floats:
        """Return the cost [S] of genes [N, S]."""
        many = genes.shape[1]
        problem = self.wide if many == len(self.wide.root) else self._repeat(many)
        return total_cost(problem, fit(problem, self.places(genes)))
