"""Decision times of agents as a ratio to LocalSearch in the same run.

Absolute times say more about the machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from lambo_agents.protocol import Agent, unsupported
from lambo_agents.registry import make_agent
from lambo_env.cell.seeding import decision_rng, evaluation_rng
from lambo_env.offloading.instances import Instances
from lambo_env.offloading.scenario import Scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate
from lambo_env.utils.timing import measure

REFERENCE = "local-search"
LARGEST_BATCH = 1000
ROUNDS = 5  # each times the agent and the reference in turn, so that a busy moment hits both


@dataclasses.dataclass(frozen=True)
class Speed:
    """Decision time per instance at one batch size."""

    batch: int
    milliseconds: float  # per instance, median over rounds
    ratio: float  # to the reference at the same batch size, median over rounds


@dataclasses.dataclass(frozen=True)
class AgentSpeed:
    """An agent's speeds one by one and batched, or why there are none."""

    agent: str
    single: Speed | None = None
    batched: Speed | None = None
    reason: str | None = None


@dataclasses.dataclass(frozen=True)
class Clock:
    """The instances that everything is timed on."""

    instances: Instances
    prompts: Prompts
    seed: tuple[int, str, int]

    @classmethod
    def of(cls, scenario: Scenario, prompt: str, largest: int = LARGEST_BATCH) -> Clock:
        """Return the clock of a scenario's first evaluation block under a prompt."""
        instances = sample_instances(scenario, largest, evaluation_rng(0, scenario, 0))
        return cls(instances, Prompts.of(prompt, largest), (0, scenario.hash, 0))

    def seconds(self, agent: Agent, batch: int) -> float:
        """Return how long one decision of the first ``batch`` instances takes."""
        rows = slice(0, batch)
        given = self.instances.take(rows), self.prompts.take(rows), decision_rng(*self.seed)
        return float(measure(lambda: agent.decide(*given)).wall_s[0])

    def speed(self, agent: Agent, reference: Agent, batch: int, rounds: int = ROUNDS) -> Speed:
        """Return the speed of an agent at a batch size; it and the reference take turns."""
        spent_s = np.array(
            [[self.seconds(agent, batch), self.seconds(reference, batch)] for _ in range(rounds)]
        )
        return Speed(
            batch,
            1e3 * float(np.median(spent_s[:, 0])) / batch,
            float(np.median(spent_s[:, 0] / spent_s[:, 1])),
        )


def agent_speeds(
    names: Sequence[str], scenario: Scenario, prompt: str, budget_s: float = 5.0
) -> list[AgentSpeed]:
    """Return the speeds of agents; one that cannot run is listed with its reason.

    Args:
        names: registered agents.
        scenario: where the instances come from.
        prompt: the objective in words.
        budget_s: about how long the timing of one agent at one batch size may take; slow agents get
            smaller batches.

    Raises:
        ValueError: an unknown agent or prompt, or a budget that is not above 0.
    """
    budget_s = validate.positive("--budget-s", budget_s)
    clock, reference = Clock.of(scenario, prompt), make_agent(REFERENCE)
    clock.seconds(reference, 1)
    return [_agent_speed(name, clock, reference, budget_s) for name in names]


def _affordable(clock: Clock, agent: Agent, limit_s: float, once_s: float) -> int:
    """Return the largest of 1, 10, 100, 1000 instances whose decision takes at most ``limit_s``.

    It is foretold from the time of the batch a tenth its size.
    """
    batch, spent_s = 1, once_s
    while batch < LARGEST_BATCH and 10 * spent_s <= limit_s:
        batch *= 10
        spent_s = clock.seconds(agent, batch)
    return batch


def _agent_speed(name: str, clock: Clock, reference: Agent, budget_s: float) -> AgentSpeed:
    try:
        agent = make_agent(name)
        reason = unsupported(agent, clock.instances.take([0]), clock.prompts.take([0]))
        if reason is not None:
            return AgentSpeed(name, reason=reason)
        clock.seconds(agent, 1)  # warm-up: imports, caches
        once_s = clock.seconds(agent, 1)
    except ImportError as error:
        return AgentSpeed(name, reason=str(error))
    rounds = int(np.clip(budget_s / max(once_s, 1e-9), 1, ROUNDS))
    batch = _affordable(clock, agent, budget_s / rounds, once_s)
    return AgentSpeed(
        name, clock.speed(agent, reference, 1, rounds), clock.speed(agent, reference, batch, rounds)
    )
