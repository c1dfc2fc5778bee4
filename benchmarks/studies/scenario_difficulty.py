"""How hard a scenario is.

Can anything be late, what do old measurements cost, and is greedy already optimal?
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report.statistics import Interval, mean_interval
from lambo_agents.registry import make_agent
from lambo_env.cell.draws import draw
from lambo_env.cell.seeding import evaluation_rng
from lambo_env.offloading import physics, slots
from lambo_env.offloading.instances import LOCAL, Decision, Instances
from lambo_env.offloading.scenario import Scenario
from lambo_env.prompts.objectives import PURE_PROMPTS
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils.gaps import gap_percent

EASY_PERCENT = 0.3  # greedy nearer to the optimum than this: the scenario tells agents apart badly
GAP = 1e-4  # to which the optimum is proven here
PROMPTS = PURE_PROMPTS


@dataclasses.dataclass(frozen=True)
class Deadlines:
    """Shares in percent."""

    must_offload: float  # UEs whose local run is late
    hopeless: float  # UEs that can meet the deadline nowhere
    # instances where a UE's local run is late, so that lateness is not avoided by staying local
    can_be_late: float
    overflow: float  # servers that a uniformly random association asks for more CPU than they have
    # instances where the optimal latency decision gives a UE no more than its deadline needs
    tight: float


@dataclasses.dataclass(frozen=True)
class Objectives:
    """What one prompt costs: in its unit, and in percent of the optimum."""

    prompt: str
    optimum: Interval
    greedy_gap: Interval
    stale_gap: Interval  # the optimum of the last slot's CSI, CPU allotted with the fresh one
    stale_late: float  # percent of UEs late when the CPU too was allotted with the last slot's CSI

    @property
    def easy(self) -> bool:
        """Whether greedy is next to optimal."""
        return self.greedy_gap.mean < EASY_PERCENT


def deadlines(instances: Instances, optimal: Decision, rng: np.random.Generator) -> Deadlines:
    """Return how tight deadlines are; ``optimal`` is a decision of least latency."""
    timely = physics.on_time(instances)
    local_late = ~timely[..., LOCAL]
    place = rng.integers(0, instances.num_servers + 1, instances.cycles.shape)
    floors = physics.floors_hz(instances)
    asked = [
        np.sum(np.where(place == m + 1, floors[..., m], 0.0), axis=-1)
        for m in range(instances.num_servers)
    ]
    over = np.stack(asked, axis=-1) > instances.server_cpu_hz * (1 + physics.FIT_TOLERANCE)
    return Deadlines(
        must_offload=_percent(local_late),
        hopeless=_percent(~timely.any(axis=-1)),
        can_be_late=_percent(local_late.any(axis=-1)),
        overflow=_percent(over),
        tight=_percent(_at_floor(instances, optimal).any(axis=-1)),
    )


def _at_floor(instances: Instances, decision: Decision) -> NDArray[np.bool_]:
    """Return which UEs are allotted no more than their floor."""
    offloaded = (decision.place != LOCAL) & (decision.cpu_hz > 0)
    latency = physics.evaluate(
        instances, decision, Prompts.of(PROMPTS[0], len(instances)).objective(instances)
    ).latency_s
    return offloaded & (latency >= instances.deadline_s * (1 - 1e-6))


def _percent(share: Any) -> float:
    return 100 * float(np.mean(share))


def two_slots(
    scenario: Scenario, count: int, rng: np.random.Generator
) -> tuple[Instances, Instances]:
    """Return a slot's instances, and the same with the last slot's positions and channel."""
    moving = slots.MovingSlots(scenario)
    before, _ = moving.first(draw(rng, count, moving.first_draws))
    draws = draw(rng, count, moving.next_draws)
    _, fresh = moving.next(before, np.ones(count), draws)
    return fresh, slots.snapshot(before, scenario, slots.split(scenario, draws.uniforms)[0])


def objectives(
    fresh: Instances, stale: Instances, text: str, rng: np.random.Generator
) -> tuple[Objectives, Decision]:
    """Return what a prompt costs on ``fresh``, and the optimal decision."""
    solver: Any = make_agent("exact", gap=GAP)
    prompts = Prompts.of(text, len(fresh))
    objective = prompts.objective(fresh)
    solved = solver.solve(fresh, prompts)
    optimum = physics.evaluate(fresh, solved.decision, objective).cost
    old = solver.solve(stale, prompts).decision
    outcome = physics.evaluate(fresh, old, objective)
    greedy = make_agent("greedy").decide(fresh, prompts, rng)
    found = Objectives(
        prompt=text,
        optimum=mean_interval(optimum),
        greedy_gap=mean_interval(
            gap_percent(physics.evaluate(fresh, greedy, objective).cost, optimum)
        ),
        stale_gap=mean_interval(
            gap_percent(physics.association_cost(fresh, old.place, objective), optimum)
        ),
        stale_late=_percent(outcome.late),
    )
    return found, solved.decision


def assess(scenario: Scenario, count: int, root: int = 0) -> tuple[Deadlines, list[Objectives]]:
    """Return how hard a scenario is, on ``count`` instances.

    Raises:
        ValueError: Exact does not support the scenario, or ``count`` is below 1.
    """
    rng = evaluation_rng(root, scenario, 0)
    fresh, stale = two_slots(scenario, count, rng)
    found = [objectives(fresh, stale, text, rng) for text in PROMPTS]
    return deadlines(fresh, found[0][1], rng), [each for each, _ in found]
