"""The gap of a network on fixed blocks while it trains.

Greedy, under both pure objectives and both allocations.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from lambo_agents.network import decoding
from lambo_agents.network.aed import AED
from lambo_agents.protocol import Agent, Solver
from lambo_env.cell import seeding
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.offloading.scenario import Scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.objectives import KIND_PROMPTS
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils.gaps import gap_percent

_STREAM = 2**31 - 1  # of the training draws: no update ever gets there


@dataclasses.dataclass(frozen=True)
class Validation:
    """One block of instances under several prompts, and what each costs at best."""

    instances: Instances  # [B]
    best: dict[str, np.ndarray[Any, Any]]  # name of the prompt -> [B] bound, or the solver's cost

    @classmethod
    def of(cls, scenario: Scenario, size: int, solver: Agent, seed: int) -> Validation:
        """Draw the block and solve it.

        An agent with ``solve`` gives its proven bounds, another its costs.
        """
        rng = seeding.training_rng(seed, scenario, _STREAM)
        instances = sample_instances(scenario, size, rng)
        return cls(
            instances,
            {
                name: _best(instances, Prompts.of(text, size), solver, rng)
                for name, text in KIND_PROMPTS.items()
            },
        )

    def gaps(self, aed: AED, device: str) -> dict[str, float]:
        """Return the mean relative gap in per cent, greedy.

        "latency", "energy", and each with "_share".
        """
        out = {}
        for name, text in KIND_PROMPTS.items():
            prompts = Prompts.of(text, self.instances.batch_size)
            for shares in (False, True):
                cost = greedy_cost(aed, self.instances, prompts, shares, device)
                key = f"{name}_share" if shares else name
                out[key] = float(np.mean(gap_percent(cost, self.best[name])))
        return out


def _best(
    instances: Instances, prompts: Prompts, solver: Agent, rng: np.random.Generator
) -> np.ndarray[Any, Any]:
    if isinstance(solver, Solver):
        return np.asarray(solver.solve(instances, prompts).lower_bound)
    decision = solver.decide(instances, prompts, rng)
    return np.asarray(physics.evaluate(instances, decision, prompts.objective(instances)).cost)


@torch.inference_mode()
def greedy_cost(
    aed: AED, instances: Instances, prompts: Prompts, shares: bool, device: str
) -> np.ndarray[Any, Any]:
    """Return the cost [B] of the greedy decisions of NumPy instances."""
    slots = decoding.slot(instances, prompts.tokens, shares, device)
    place, taken = (part[:, 0].cpu().numpy() for part in decoding.decide_all(aed, slots))
    cpu = decoding.cpu_hz(instances, place, taken) if shares else physics.allocate(instances, place)
    return np.asarray(
        physics.evaluate(instances, Decision(place, cpu), prompts.objective(instances)).cost
    )
