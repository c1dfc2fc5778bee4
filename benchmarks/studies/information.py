"""What information is worth where tasks wait: the same episodes at each level of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from functools import partial
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
from lambo_agents.registry import make_agent
from lambo_env.cell.seeding import decision_rng, evaluation_rng
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.instances import QueueInstances, TaskOutcomes, Trace
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
    # CPU time per slot and episode
    decision_ms: float = dataclasses.field(compare=False)
    servers: tuple[float, ...]  # what waits at servers or is under way as a slot begins, and
    cpus: tuple[float, ...]  # at UEs' CPUs; of a deadline of all their capacity, by slot


@dataclasses.dataclass(frozen=True)
class Assessment:
    """All levels, and the bound that lies below them."""

    levels: list[Level]
    bound: Interval


class _Player:
    """An agent or a plan on the episodes, with what is seen of its queues."""

    def __init__(self, decide: Callable[[QueueInstances, int], Any]) -> None:
        self._decide, self.spent_s = decide, 0.0
        self.servers: list[float] = []
        self.cpus: list[float] = []

    def decide(self, shown: QueueInstances) -> Any:
        """Return the places [B, N] of a slot."""
        work = (shown.edge_wait_cycles + shown.coming_cycles).sum(axis=(1, 2))
        edge, local = shown.server_cpu_hz.sum(axis=1), shown.local_cpu_hz.sum(axis=1)
        deadline_s = shown.deadline_s[:, 0]
        self.servers.append(float((work / edge / deadline_s).mean()))
        self.cpus.append(float((shown.cpu_wait_cycles.sum(axis=1) / local / deadline_s).mean()))
        begun = time.process_time()
        place = self._decide(shown, len(self.servers) - 1)
        self.spent_s += time.process_time() - begun
        return place


def assess(
    scenario: QueueScenario,
    prompt: str,
    episodes: int,
    search: HindsightSearch,
    root: int = 0,
    agents: Sequence[str] = (),
) -> Assessment:
    """Return what each level of information costs on the same episodes.

    Args:
        scenario: of the queueing world.
        prompt: the objective in words.
        episodes: how many.
        search: how long hindsight searches, from the plan of the last rule.
        root: root seed of the episodes.
        agents: further ones by name, which know what the last rule knows.
    """
    traces = sample_trace(scenario, episodes, evaluation_rng(root, scenario, 0))
    prompts = Prompts.of(prompt, episodes)
    known: list[tuple[str, str, Callable[[], Any]]] = [*LEVELS]
    known += [(name, "the same", partial(make_agent, name)) for name in agents]

    def played(decide: Callable[[QueueInstances, int], Any]) -> tuple[TaskOutcomes, _Player]:
        player = _Player(decide)
        simulation = Simulation(scenario, traces, prompts.latency_weight)
        return simulation.play(player.decide), player

    found = []
    for _, _, make in known:
        agent, rng = make(), decision_rng(root, scenario.hash, 0)
        found.append(
            played(lambda shown, at: agent.decide(shown, prompts, rng).place)  # noqa: B023
        )
    objective = prompts.objective(Simulation(scenario, traces).enter())
    pairs = list(zip(objective.cost_per_s, objective.cost_per_j, strict=True))
    plan = _foresight(traces, found[RULE][0], pairs, search, root)
    found.append(played(lambda shown, at: plan[:, at]))
    names = [(agent, knows) for agent, knows, _ in known] + [HINDSIGHT]
    lower = [lower_bound(trace, pair) for trace, pair in zip(traces, pairs, strict=True)]
    levels = [
        _level(*name, *each, found[RULE][0], found[-1][0])
        for name, each in zip(names, found, strict=True)
    ]
    return Assessment(levels, mean_interval(lower))


def _foresight(
    traces: list[Trace],
    start: TaskOutcomes,
    pairs: list[tuple[float, float]],
    search: HindsightSearch,
    root: int,
) -> Any:
    """Return the plans [B, T, N] that hindsight finds."""
    rngs = np.random.default_rng(root).spawn(len(traces))
    plans = [
        search.improve(trace, place, rng, pair).place
        for trace, place, rng, pair in zip(traces, start.place, rngs, pairs, strict=True)
    ]
    return np.stack(plans)


def _level(
    agent: str,
    knows: str,
    outcome: TaskOutcomes,
    player: _Player,
    rule: TaskOutcomes,
    best: TaskOutcomes,
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
        decision_ms=1000 * player.spent_s / (len(player.servers) * len(cost)),
        servers=tuple(player.servers),
        cpus=tuple(player.cpus),
    )
