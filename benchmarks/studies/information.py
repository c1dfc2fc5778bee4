"""What information is worth where tasks wait: the same episodes at each level of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.heuristics.local import Local
from baselines.heuristics.random import Random
from baselines.queueing.bound import lower_bound
from baselines.queueing.hindsight import HindsightSearch
from baselines.queueing.linear import LinearRule
from baselines.queueing.rules import LocalIfFits, Lyapunov, ShortestFinish
from benchmarks.report.statistics import Interval, mean_interval
from lambo_env.cell.seeding import decision_rng, evaluation_rng
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.instances import TaskOutcomes, Trace
from lambo_env.queueing.physics import replay
from lambo_env.queueing.policies.simulation import Simulation
from lambo_env.queueing.scenario import QueueScenario
from lambo_env.queueing.slots import sample_trace

Floats = NDArray[np.float64]
# who plays, what it knows
LEVELS: tuple[tuple[str, str, Callable[[], Any]], ...] = (
    ("random", "nothing", Random),
    ("local", "nothing", Local),
    ("shortest-finish", "servers' work a slot ago", lambda: ShortestFinish("stale")),
    ("shortest-finish", "servers' work now", lambda: ShortestFinish("fresh")),
    ("shortest-finish", "and the slot's choices", ShortestFinish),
    ("local-if-fits", "the same", LocalIfFits),
    ("lyapunov", "the same", Lyapunov),
    ("linear-rule", "the same, and what tasks cost each other", LinearRule),
)
HINDSIGHT = ("hindsight", "all that comes")
RULE = len(LEVELS) - 1  # what the others are compared with


@dataclasses.dataclass(frozen=True)
class Level:
    """What one level of information costs."""

    agent: str
    knows: str
    cost: Interval  # per task
    above: Interval | None  # percent above the rule's, paired by episode; None for the rule
    late: float  # percent of tasks
    median_s: float  # latency of the tasks that ended
    high_s: float  # their 95th percentile
    energy_j: float  # per task
    closed: float  # percent of the way from the rule to hindsight


@dataclasses.dataclass(frozen=True)
class Assessment:
    """All levels, and the bound that lies below them."""

    levels: list[Level]
    bound: Interval


def assess(
    scenario: QueueScenario, prompt: str, episodes: int, search: HindsightSearch, root: int = 0
) -> Assessment:
    """Return what each level of information costs on the same episodes.

    Args:
        scenario: of the queueing world.
        prompt: the objective in words.
        episodes: how many.
        search: how long hindsight searches, from the plan of the last rule.
        root: root seed of the episodes.
    """
    traces = sample_trace(scenario, episodes, evaluation_rng(root, scenario, 0))
    prompts = Prompts.of(prompt, episodes)
    outcomes = []
    for _, _, make in LEVELS:
        agent, rng = make(), decision_rng(root, scenario.hash, 0)
        simulation = Simulation(scenario, traces, prompts.latency_weight)
        outcomes.append(
            simulation.play(lambda shown: agent.decide(shown, prompts, rng).place)  # noqa: B023
        )
    objective = prompts.objective(Simulation(scenario, traces).enter())
    pairs = list(zip(objective.cost_per_s, objective.cost_per_j, strict=True))
    outcomes.append(_foresight(traces, outcomes[RULE], pairs, search, root))
    names = [(agent, knows) for agent, knows, _ in LEVELS] + [HINDSIGHT]
    lower = [lower_bound(trace, pair) for trace, pair in zip(traces, pairs, strict=True)]
    levels = [
        _level(*name, outcome, outcomes[RULE], outcomes[-1])
        for name, outcome in zip(names, outcomes, strict=True)
    ]
    return Assessment(levels, mean_interval(lower))


def _foresight(
    traces: list[Trace],
    start: TaskOutcomes,
    pairs: list[tuple[float, float]],
    search: HindsightSearch,
    root: int,
) -> TaskOutcomes:
    """Return the outcomes of plans that hindsight finds."""
    rngs = np.random.default_rng(root).spawn(len(traces))
    plans = [
        search.improve(trace, place, rng, pair).place
        for trace, place, rng, pair in zip(traces, start.place, rngs, pairs, strict=True)
    ]
    per_s, per_j = np.array(pairs).T
    single = len(traces) == 1  # one trace and one plan have no axis of episodes
    if single:
        found = replay(traces[0], plans[0][None], pairs[0])
    else:
        found = replay(traces, np.stack(plans), (per_s, per_j))
    return found


def _level(
    agent: str, knows: str, outcome: TaskOutcomes, rule: TaskOutcomes, best: TaskOutcomes
) -> Level:
    cost, reference, least = (each.episode_cost for each in (outcome, rule, best))
    ended = outcome.latency_s[np.isfinite(outcome.latency_s)]
    tasks = max(1, int(np.count_nonzero(~np.isnan(outcome.cost))))
    way = reference.mean() - least.mean()
    return Level(
        agent,
        knows,
        mean_interval(cost),
        None if outcome is rule else mean_interval(100 * (cost - reference) / reference),
        late=100 * float(outcome.late.sum()) / tasks,
        median_s=float(np.median(ended)) if ended.size else np.nan,
        high_s=float(np.quantile(ended, 0.95)) if ended.size else np.nan,
        energy_j=float(np.nansum(outcome.energy_j)) / tasks,
        closed=100 * float((reference.mean() - cost.mean()) / way) if way > 0 else np.nan,
    )
