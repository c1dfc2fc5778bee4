"""What a worker does: an agent decides one block, physics scores it.

Whatever the agent raises becomes a reason.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable
from typing import Any

from benchmarks.sweep import provenance
from benchmarks.sweep.config import Cell
from benchmarks.sweep.results import Row
from benchmarks.sweep.score import Times, decide_timed, num_parameters, score, to_numpy
from lambo_agents import registry
from lambo_agents.protocol import unsupported
from lambo_env.cell.seeding import decision_rng
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.prompts.prompts import Prompts


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a worker hands back of one cell."""

    fields: Row | None = None
    empty: str | None = None
    failed: str | None = None


@dataclasses.dataclass(frozen=True)
class CellPlan:
    """What a worker needs to know of a cell besides its instances."""

    spec: registry.AgentSpec | None
    kwargs: dict[str, Any]
    prompt: str
    seed: tuple[int, str, int]  # of decision_rng


def cell_plan(cell: Cell, spec: registry.AgentSpec | None) -> CellPlan:
    """Return the plan of a cell."""
    return CellPlan(
        spec, dict(cell.agent.kwargs), cell.prompt, (cell.root, cell.source.hash, cell.block)
    )


def play_cell(plan: CellPlan, instances: Instances, labels: Decision | None) -> Answer:
    """Play one cell in a worker.

    Whatever an agent raises becomes the cell's reason, and the sweep goes on.
    """
    start = time.perf_counter()
    try:
        prompts = Prompts.of(plan.prompt, instances.batch_size)
        if plan.spec is None:
            return _shipped(instances, labels, prompts)
        try:
            agent = plan.spec.make(**plan.kwargs)
        except (
            Exception
        ) as error:  # missing extras, missing weights: nothing that a decision could show
            return Answer(empty=str(error))
        reason = unsupported(agent, instances)
        if reason is not None:
            return Answer(empty=str(reason))
        decision, times = decide_timed(agent, instances, prompts, decision_rng(*plan.seed))
        fields = _fields(instances, decision, prompts, times)
        fields |= {
            "parameters": num_parameters(agent),
            "labels_used": int(getattr(agent, "labels_used", plan.spec.labels_used)),
        }
        fields |= {
            "evaluator_in_loop": bool(
                getattr(agent, "evaluator_in_loop", plan.spec.evaluator_in_loop)
            )
        }
    except Exception as error:  # an agent's own bug must not end the sweep
        return Answer(failed=f"{type(error).__name__}: {error}")
    return Answer({**fields, "seconds": round(time.perf_counter() - start, 3)})


def _fields(instances: Instances, decision: Decision, prompts: Prompts, times: Times) -> Row:
    scores = {name: plain(values) for name, values in score(instances, decision, prompts).items()}
    timing = {"single_ms": times.single_ms, "batched_ms": times.batched_ms, "threads": 1}
    return {"instances": instances.batch_size, **scores, **timing, "finished": provenance.now()}


def _shipped(instances: Instances, labels: Decision | None, prompts: Prompts) -> Answer:
    if labels is None:
        return Answer(empty="the file ships no decisions")
    fields = _fields(instances, to_numpy(labels), prompts, Times(0.0, 0.0))
    return Answer(
        {**fields, "parameters": None, "labels_used": 0, "evaluator_in_loop": False, "seconds": 0.0}
    )


def plain(values: Iterable[float]) -> list[float | None]:
    """Return numbers that JSON can hold: 12 digits, and None for what is not finite."""
    return [float(f"{value:.12g}") if math.isfinite(value) else None for value in values]
