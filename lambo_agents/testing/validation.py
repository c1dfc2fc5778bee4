"""How far decisions are from the best, on one fixed block of instances, while something trains."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambo_agents.protocol import Agent, Solver
from lambo_env import registration
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.offloading.scenario import Scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.objectives import KIND_PROMPTS
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils.gaps import gap_percent

Costs = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Validation:
    """One block of instances under several prompts, and what each costs at best."""

    instances: Instances  # [B]
    best: dict[str, Costs]  # name of the prompt -> [B] bound, or the solver's cost
    reference: str  # class of the solver

    @classmethod
    def of(
        cls, scenario: Scenario, size: int, solver: Agent, rng: np.random.Generator
    ) -> Validation:
        """Draw the block and solve it.

        An agent with ``solve`` gives its proven bounds, another its costs.
        """
        drawn, best = sample_instances(scenario, size, rng), {}
        for name, text in KIND_PROMPTS.items():
            prompts = Prompts.of(text, size)
            best[name] = (
                np.asarray(solver.solve(drawn, prompts).lower_bound)
                if isinstance(solver, Solver)
                else decision_cost(drawn, prompts, solver.decide(drawn, prompts, rng))
            )
        return cls(drawn, best, type(solver).__name__)

    def gaps(self, decide: Callable[[Instances, Prompts], Decision]) -> dict[str, float]:
        """Return the mean relative gap of decisions in per cent, under each prompt."""
        out = {}
        for name, text in KIND_PROMPTS.items():
            prompts = Prompts.of(text, self.instances.batch_size)
            cost = decision_cost(self.instances, prompts, decide(self.instances, prompts))
            out[name] = float(np.mean(gap_percent(cost, self.best[name])))
        return out


@dataclasses.dataclass(frozen=True)
class EpisodeValidation:
    """Whole episodes of a world whose slots go on, under several prompts, beside an agent's costs.

    A gap is the difference of the mean costs per task, over the agent's.
    """

    scenario: Any
    episodes: int
    seed: int
    best: dict[str, float]  # name of the prompt -> mean cost per task of the agent
    reference: str  # class of the agent

    @classmethod
    def of(
        cls, scenario: Any, episodes: int, agent: Any, rng: np.random.Generator
    ) -> EpisodeValidation:
        """Draw a seed of the episodes and let the agent play them."""
        drawn = cls(scenario, episodes, int(rng.integers(2**31)), {}, type(agent).__name__)
        best = drawn._costs(agent)
        return dataclasses.replace(drawn, best=best)

    def _costs(self, agent: Any) -> dict[str, float]:
        return {
            name: float(
                np.nanmean(
                    registration.play(
                        self.scenario, agent, text, self.episodes, np.random.default_rng(self.seed)
                    ).cost
                )
            )
            for name, text in KIND_PROMPTS.items()
        }

    def gaps(self, decide: Callable[[Any, Prompts], Any]) -> dict[str, float]:
        """Return the gap of decisions, one per slot, in per cent under each prompt."""
        player = SimpleNamespace(decide=lambda shown, prompts, rng: decide(shown, prompts))
        costs = self._costs(player)
        return {name: 100 * (cost / self.best[name] - 1) for name, cost in costs.items()}


def decision_cost(instances: Instances, prompts: Prompts, decision: Decision) -> Costs:
    """Return what a decision costs [B]."""
    objective = prompts.objective(instances)
    return np.asarray(physics.evaluate(instances, decision, objective, check=False).cost)
