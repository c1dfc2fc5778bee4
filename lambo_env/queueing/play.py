"""Whole episodes of agents that decide slot by slot."""

from __future__ import annotations

from typing import Any

import numpy as np

from lambo_env.prompts.arguments import as_prompts
from lambo_env.queueing.dynamics import Cells
from lambo_env.queueing.instances import Ints, QueueInstances, TaskOutcomes
from lambo_env.queueing.scenario import QueueScenario, load_scenario
from lambo_env.utils import validate
from lambo_env.utils.rows import read_only


def play(
    scenario: QueueScenario, agent: Any, prompts: Any, episodes: int, rng: np.random.Generator
) -> TaskOutcomes:
    """Play whole episodes side by side; the agent decides once per slot.

    They are those of ``sample_trace(scenario, episodes, rng)``, whatever the agent draws.

    Args:
        scenario: a QueueScenario, or what ``load_scenario`` reads.
        agent: with ``decide(instances, prompts, rng)``; its decision's ``place`` counts where there
            is a task.
        prompts: one per episode, or one for all.
        episodes: how many.
        rng: of the episodes and, passed on, of the agent.

    Returns:
        What became of each task [episodes, T, N].

    Raises:
        ValueError: a bad argument, a place that does not exist, or a decision that allots CPU.
    """
    scenario = load_scenario(scenario)
    episodes = validate.integer("episodes", episodes)
    validate.generator(rng)
    allowed = "an object with decide(instances, prompts, rng)"
    validate.check("agent", agent, callable(getattr(agent, "decide", None)), allowed)
    prompts = as_prompts("prompts", prompts)
    fits = len(prompts) in (1, episodes)
    validate.check("prompts", len(prompts), fits, f"1 or {episodes}, one per episode")
    prompts = prompts if len(prompts) == episodes else prompts.repeat(episodes)
    cells, rows = Cells(scenario, episodes), np.arange(episodes)
    plan = np.zeros((episodes, scenario.num_slots, scenario.num_ues), dtype=np.int64)
    cells.begin(rows, [rng] * episodes)
    for at in range(cells.end):
        cells.has_task(rows)  # draws the slot
        if at < scenario.num_slots:
            shown, _ = cells.show(rows)
            if at == 0:
                cells.price(rows, prompts.objective(shown))
            place = checked_places(agent.decide(read_only(shown), prompts, rng), shown)
            row, ue = np.nonzero(shown.has_task)
            cells.decide(row, ue, place[row, ue])
            plan[:, at] = place * shown.has_task
        cells.serve(rows)
    return cells.stations.outcomes(rows, plan)


def checked_places(decision: Any, instances: QueueInstances) -> Ints:
    """Return the places [B, N] of a decision.

    Raises:
        ValueError: another shape or kind of numbers, a place that does not exist, or CPU allotted.
    """
    place, has_task = np.asarray(decision.place), instances.has_task
    validate.check("Decision.place.shape", place.shape, place.shape == has_task.shape, "[B, N]")
    whole = place.dtype.kind in "iu"
    validate.check("Decision.place.dtype", str(place.dtype), whole, "an integer dtype")
    exists = (place >= 0) & (place <= instances.num_servers)
    allowed = f"0 (local) .. {instances.num_servers}"
    validate.each("Decision.place", place, exists | ~has_task, allowed)
    allotted = getattr(decision, "cpu_hz", None)
    if allotted is not None:
        allotted = np.asarray(allotted)
        allowed = "0: servers here share their CPU by their discipline"
        validate.each("Decision.cpu_hz", allotted, allotted == 0, allowed)
    return place.astype(np.int64)
