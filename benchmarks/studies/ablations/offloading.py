"""Studies of the one-shot world: gaps of greedy decisions to proven bounds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report.statistics import Interval, seeds_interval
from benchmarks.studies.model_card import BLOCK, BOUND_GAP, BOUND_LIMIT_S, PROMPTS
from benchmarks.sweep import bounds
from lambo_agents.acl.config import Recipe
from lambo_agents.registry import make_agent
from lambo_env.cell.seeding import decision_rng, evaluation_rng
from lambo_env.offloading import physics
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils.gaps import gap_percent

ABOUT = "geometric mean gap in % and 95 % t-interval of its logarithm"
TITLES = ("latency", "energy", "mix", "latency, its own shares")
_CASES = (*((text, "optimal") for text in PROMPTS), (PROMPTS[0], "share"))
_LEAST = 1e-3  # percent: bounds are no tighter than 0.01 %


def recipe(table: dict[str, Any]) -> Recipe:
    """Return the recipe of a table."""
    return Recipe.from_dict(table)


def train(told: Recipe, folder: Path) -> Path:
    """Train a network, or go on with it; return the file of its weights."""
    from lambo_agents.acl.run import train as run

    return run(told, folder, report=lambda row: None)


def clock(weights: Path) -> dict[str, float]:
    """Return how much a training has done: parameters, updates, rollouts."""
    from lambo_agents.network import checkpoint

    aed, meta = checkpoint.load_network(weights)
    done = {name: meta["row"][name] for name in ("step", "rollouts", "labels")}
    return {"parameters": aed.num_parameters, **done}


def measure(weights: Path, count: int) -> list[float]:
    """Return the mean gap in percent to bounds proven to 0.01 %, greedy, for each of TITLES."""
    scenario = load_scenario("paper")
    instances = sample_instances(scenario, count, evaluation_rng(0, scenario, BLOCK))
    found = []
    for text, allocation in _CASES:
        prompts = Prompts.of(text, count)
        key = bounds.bound_key(
            scenario.hash, 0, BLOCK, count, float(prompts.latency_weight[0]), BOUND_GAP
        )
        bound = bounds.obtain(instances, text, key, BOUND_GAP, BOUND_LIMIT_S, bounds.cache_folder())
        agent = make_agent("lambo-s", weights=str(weights), allocation=allocation)
        decision = agent.decide(instances, prompts, decision_rng(0, scenario.hash, BLOCK))
        cost = physics.evaluate(instances, decision, prompts.objective(instances)).cost
        found.append(float(np.mean(gap_percent(cost, bound.lower))))
    return found


def summary(percent: list[float]) -> Interval:
    """Return the geometric mean over seeds, with the interval of its logarithm."""
    log = seeds_interval(np.log([max(value, _LEAST) for value in percent]))
    return Interval(*(math.exp(end) for end in (log.mean, log.low, log.high)))
