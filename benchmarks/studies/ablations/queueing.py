"""Studies of the world where tasks wait: cost above that of the tuned rule, paired by episode."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.report.statistics import Interval, seeds_interval
from benchmarks.studies.queue_card import RULE, SCENARIOS, rows
from lambo_env.prompts.objectives import PURE_PROMPTS

if TYPE_CHECKING:  # torch
    from lambo_agents.queueing.recipe import QueueRecipe

ABOUT = f"mean cost above {RULE} in %, and 95 % t-interval"
TITLES = tuple(f"{name}, {text.split()[-1]}" for name in SCENARIOS for text in PURE_PROMPTS)


def recipe(table: dict[str, Any]) -> QueueRecipe:
    """Return the recipe of a table."""
    from lambo_agents.queueing.recipe import QueueRecipe

    return QueueRecipe.from_dict(table)


def train(told: QueueRecipe, folder: Path) -> Path:
    """Train a network, or go on with it; return the file of its weights."""
    from lambo_agents.queueing.run import train as run

    return run(told, folder, lambda line: None)


def clock(weights: Path) -> dict[str, float]:
    """Return how much a training has done: parameters, updates, rollouts."""
    from lambo_agents import weights_io
    from lambo_agents.queueing import checkpoint

    meta, told = weights_io.load(weights, checkpoint.FORMAT).meta, checkpoint.load_network(weights)
    step, recipe = meta["row"]["step"], meta["recipe"]
    rollouts = step * recipe["episodes"] * recipe["copies"]
    return {"parameters": told.num_parameters, "step": step, "rollouts": rollouts}


def measure(weights: Path, count: int) -> list[float]:
    """Return the mean cost above the rule in percent on some episodes, for each of TITLES."""
    from lambo_agents.queueing.agent import QueueLambo

    agent = QueueLambo(weights)
    return [row["above_percent"] for row in rows(agent, count, PURE_PROMPTS)]


def summary(percent: list[float]) -> Interval:
    """Return the mean over seeds, with its interval."""
    return seeds_interval(percent)
