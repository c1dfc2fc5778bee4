"""One cell: an agent decides a block of instances, physics scores it, the clock runs beside it."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np

from lambo_agents.protocol import Agent
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.prompts.prompts import Prompts

SINGLE_RUNS = 8  # instances timed one by one
SINGLE_BUDGET_S = 1.0  # after which no further one is started
RESOLUTION_S = 0.02  # a batched decision shorter than this is timed more than once


@dataclasses.dataclass(frozen=True)
class Times:
    """Decision time an instance in ms."""

    single_ms: float  # batch 1, median
    batched_ms: float  # the whole block at once


def to_numpy(decision: Decision) -> Decision:
    """Return a decision of any array namespace as NumPy arrays."""
    place, cpu = (
        value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
        for value in (
            decision.place,
            decision.cpu_hz,
        )
    )
    return Decision(place, cpu.astype(float))


def score(instances: Instances, decision: Decision, prompts: Prompts) -> dict[str, list[float]]:
    """Return per-instance numbers.

    Cost in its native unit, mean latency a UE (s), total energy (J), share of late UEs.

    Raises:
        ValueError: an illegal decision (physics names what is wrong).
    """
    outcome = physics.evaluate(instances, decision, prompts.objective(instances))
    return {
        "cost": outcome.cost.tolist(),
        "latency_s": np.mean(outcome.latency_s, axis=-1).tolist(),
        "energy_j": np.sum(outcome.energy_j, axis=-1).tolist(),
        "late": np.mean(outcome.late, axis=-1).tolist(),
    }


def decide_timed(
    agent: Agent, instances: Instances, prompts: Prompts, rng: np.random.Generator
) -> tuple[Decision, Times]:
    """Return the decision of the whole block, and the decision times at batch 1 and batched.

    The block is decided first with ``rng``, so that timing changes no decision; the first call is a
    warm-up of batch 1.
    """
    spare = np.random.default_rng(0)
    agent.decide(instances.take(0), prompts.take([0]), spare)
    start = time.perf_counter()
    decision = agent.decide(instances, prompts, rng)
    batched_s = time.perf_counter() - start
    if batched_s < RESOLUTION_S:
        batched_s = min(batched_s, *(_once(agent, instances, prompts, spare) for _ in range(3)))
    singles: list[float] = []
    for row in range(min(SINGLE_RUNS, instances.batch_size)):
        singles.append(_once(agent, instances.take(row), prompts.take([row]), spare))
        if sum(singles) > SINGLE_BUDGET_S:
            break
    return to_numpy(decision), Times(
        1e3 * float(np.median(singles)), 1e3 * batched_s / instances.batch_size
    )


def _once(agent: Agent, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> float:
    start = time.perf_counter()
    agent.decide(instances, prompts, rng)
    return time.perf_counter() - start


def num_parameters(agent: Any) -> int | None:
    """Return how many learned parameters an agent has, or None where it tells none."""
    found = getattr(agent, "num_parameters", None)
    found = found() if callable(found) else found
    return None if found is None else int(found)
