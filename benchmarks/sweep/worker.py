"""What a worker does: an agent decides a block of instances, physics scores it, a clock runs.

Whatever the agent raises becomes the reason why its cell has no result.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.sweep import provenance
from benchmarks.sweep.config import SweepCell
from benchmarks.sweep.instance_sources import Episodes
from benchmarks.sweep.results import CellResult, finite_or_none
from lambo_agents import guard, registry
from lambo_agents.protocol import Agent, unsupported
from lambo_env.cell.seeding import decision_rng
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.prompts.grammar import parse_weights
from lambo_env.prompts.objectives import PAIR
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.play import checked_places
from lambo_env.queueing.policies.simulation import Simulation
from lambo_env.registration import DEFAULT_WORLD, evaluate, world_of
from lambo_env.utils import validate
from lambo_env.utils.rows import read_only
from lambo_env.utils.timing import measure

SINGLE_RUNS = 8  # instances timed one by one
SINGLE_BUDGET_S = 1.0  # after which no further one is started
Watch = Callable[[Any], None]
RESOLUTION_S = 0.02  # a batched decision shorter than this is timed more than once


@dataclasses.dataclass(frozen=True)
class NoResult:
    """Why a cell stays empty."""

    reason: str
    failed: bool = False  # the agent raised


@dataclasses.dataclass(frozen=True)
class DecisionTimes:
    """Decision time per instance in ms; 0 where nothing decided."""

    single_ms: float = 0.0  # batch 1, median
    batched_ms: float = 0.0  # the whole block at once


def identity(cell: SweepCell) -> dict[str, Any]:
    """Return the fields of a ``CellResult`` that say what is played."""
    return {
        "cell": cell.id,
        "agent": cell.agent.label,
        "name": cell.agent.name,
        "kwargs": dict(cell.agent.kwargs),
        "version": cell.version,
        "scenario": cell.source.name,
        "scenario_hash": cell.source.hash,
        "prompt": cell.prompt,
        "latency_weight": parse_weights(cell.prompt).get(PAIR[0], 0.0),
        "block": cell.block,
        "root": cell.root,
    }


def play_cell(
    played: dict[str, Any],
    spec: registry.AgentSpec | None,
    instances: Instances | Episodes,
    labels: Decision | None,
    watch: Watch = lambda place: None,
) -> CellResult | NoResult:
    """Play one cell; its result lacks the bounds.

    Args:
        played: the ``identity`` of the cell, without its source, which may hold a whole file.
        spec: the agent; None scores ``labels``.
        instances: the cell's block.
        labels: the decisions that a file ships.
        watch: called with the places [B, N] of each slot.
    """
    try:
        with guard.guarded():
            if isinstance(instances, Episodes):
                return _play_episodes(played, spec, instances, watch)
            return _play(played, spec, read_only(instances), labels, watch)  # all cells share them
    except Exception as error:  # an agent's own bug must not end the sweep
        return NoResult(validate.told(error), failed=True)


def _play(
    played: dict[str, Any],
    spec: registry.AgentSpec | None,
    instances: Instances,
    labels: Decision | None,
    watch: Watch,
) -> CellResult | NoResult:
    start = time.perf_counter()
    facts: dict[str, Any] = {}
    prompts = Prompts.of(played["prompt"], instances.batch_size)
    if spec is None:
        if labels is None:
            return NoResult("the file ships no decisions")
        decision, times = labels, DecisionTimes()
    else:
        try:
            agent = spec.make(**played["kwargs"])
        except Exception as error:  # missing extras or weights: no bug of a decision
            return NoResult(str(error))
        reason = unsupported(agent, instances, prompts)
        if reason is not None:
            return NoResult(str(reason))
        rng = decision_rng(played["root"], played["scenario_hash"], played["block"])
        decision, times = decide_timed(agent, instances, prompts, rng)
        facts = _facts(agent, spec)
    decision = to_numpy(decision)
    watch(decision.place)
    return CellResult(
        **played,
        **score(instances, decision, prompts),
        **dataclasses.asdict(times),
        **facts,
        instances=instances.batch_size,
        bound=[None] * instances.batch_size,
        proven=[False] * instances.batch_size,
        finished=provenance.now(),
        seconds=0.0 if spec is None else round(time.perf_counter() - start, 3),
        first=_first(instances, decision),
    )


def _first(instances: Instances, decision: Decision) -> dict[str, Any] | None:
    """Return the decision of the first instance as JSON holds it; None of other worlds."""
    if world_of(instances, "instances").name != DEFAULT_WORLD:
        return None
    cpu_hz = finite_or_none(decision.cpu_hz[0])
    return {"place": decision.place[0].tolist(), "cpu_hz": cpu_hz}


def _play_episodes(
    played: dict[str, Any], spec: registry.AgentSpec | None, episodes: Episodes, watch: Watch
) -> CellResult | NoResult:
    """Play a block of whole episodes; times are those of a slot."""
    start = time.perf_counter()
    if spec is None:
        return NoResult("episodes ship no decisions")
    prompts = Prompts.of(played["prompt"], episodes.batch_size)
    try:
        agent = spec.make(**played["kwargs"])
    except Exception as error:  # missing extras or weights: no bug of a decision
        return NoResult(str(error))
    simulation = Simulation(episodes.scenario, episodes.traces, prompts.latency_weight)
    rng = decision_rng(played["root"], played["scenario_hash"], played["block"])
    spare, spent_s, singles_s = np.random.default_rng(0), list[float](), list[float]()
    for _ in range(simulation.num_slots):
        shown: Any = read_only(simulation.enter())
        reason = None if spent_s else unsupported(agent, shown, prompts)
        if reason is not None:
            return NoResult(reason)
        timed = measure(functools.partial(agent.decide, shown, prompts, rng))
        spent_s.append(timed.wall_s[0])
        if len(singles_s) < SINGLE_RUNS and sum(singles_s) < SINGLE_BUDGET_S:
            one = read_only(shown.take(0)), prompts.take([0])
            singles_s.append(measure(functools.partial(agent.decide, *one, spare)).wall_s[0])
        place = checked_places(timed.result, shown)
        watch(place[shown.has_task])
        simulation.serve(place)
    for _ in range(episodes.scenario.deadline_slots - 1):
        simulation.serve()
    outcome = simulation.outcomes()
    tasks = np.maximum(np.count_nonzero(~np.isnan(outcome.cost), axis=(1, 2)), 1)
    ended = np.isfinite(outcome.latency_s)
    latency_s = np.where(ended, outcome.latency_s, 0.0).sum(axis=(1, 2))
    return CellResult(
        **played,
        **_facts(agent, spec),
        cost=finite_or_none(outcome.episode_cost),
        latency_s=finite_or_none(latency_s / np.maximum(ended.sum(axis=(1, 2)), 1)),
        energy_j=finite_or_none(np.nansum(outcome.energy_j, axis=(1, 2))),
        late=finite_or_none(outcome.late.sum(axis=(1, 2)) / tasks),
        single_ms=1e3 * float(np.median(singles_s)),
        batched_ms=1e3 * float(np.mean(spent_s)) / episodes.batch_size,
        instances=episodes.batch_size,
        bound=[None] * episodes.batch_size,
        proven=[False] * episodes.batch_size,
        finished=provenance.now(),
        seconds=round(time.perf_counter() - start, 3),
    )


def _facts(agent: Any, spec: registry.AgentSpec) -> dict[str, Any]:
    """Return what an agent says of itself, or else its registration does."""
    parameters: Any = getattr(agent, "num_parameters", None)
    parameters = parameters() if callable(parameters) else parameters
    return {
        "parameters": None if parameters is None else int(parameters),
        "labels_used": int(getattr(agent, "labels_used", spec.labels_used) or 0),
        "evaluator_in_loop": bool(getattr(agent, "evaluator_in_loop", spec.evaluator_in_loop)),
    }


def to_numpy(decision: Decision) -> Decision:
    """Return a decision of any array namespace as NumPy arrays."""
    place, cpu = (
        value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
        for value in (decision.place, decision.cpu_hz)
    )
    return Decision(place, cpu.astype(float))


def score(instances: Instances, decision: Decision, prompts: Prompts) -> dict[str, Any]:
    """Return what a ``CellResult`` keeps of each instance.

    Cost in its native unit, mean latency per UE (s), total energy (J), share of late UEs.

    Raises:
        ValueError: an illegal decision (physics names what is wrong).
    """
    if world_of(instances, "instances").name != DEFAULT_WORLD:
        outcome = evaluate(instances, decision, prompts)
        unknown = dict.fromkeys(("latency_s", "energy_j", "late"), [None] * len(outcome.cost))
        return {"cost": finite_or_none(outcome.cost), **unknown}
    outcome = evaluate(instances, decision, prompts.objective(instances))
    return {
        "cost": finite_or_none(outcome.cost),
        "latency_s": finite_or_none(np.mean(outcome.latency_s, axis=-1)),
        "energy_j": finite_or_none(np.sum(outcome.energy_j, axis=-1)),
        "late": finite_or_none(np.mean(outcome.late, axis=-1)),
    }


def decide_timed(
    agent: Agent, instances: Instances, prompts: Prompts, rng: np.random.Generator
) -> tuple[Decision, DecisionTimes]:
    """Return the decision of the whole block, and the decision times at batch 1 and batched.

    The block is decided first with ``rng``, so that timing changes no decision; the first call is a
    warm-up of batch 1.
    """
    spare = np.random.default_rng(0)
    agent.decide(read_only(instances.take(0)), prompts.take([0]), spare)
    block = measure(lambda: agent.decide(instances, prompts, rng))
    batched_s = block.wall_s[0]
    if batched_s < RESOLUTION_S:
        repeats = measure(lambda: agent.decide(instances, prompts, spare), 3)
        batched_s = min(batched_s, *repeats.wall_s)
    singles_s: list[float] = []
    for row in range(min(SINGLE_RUNS, instances.batch_size)):
        one = read_only(instances.take(row)), prompts.take([row])
        singles_s.append(measure(functools.partial(agent.decide, *one, spare)).wall_s[0])
        if sum(singles_s) > SINGLE_BUDGET_S:
            break
    single_ms, batched_ms = 1e3 * np.median(singles_s), 1e3 * batched_s / instances.batch_size
    return block.result, DecisionTimes(float(single_ms), float(batched_ms))
