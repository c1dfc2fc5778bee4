"""What one update of the training is fed.

Instances of a family of scenarios, prompts, and which of them use the shares.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from lambo_agents.acl.config import DecisionStage, Recipe
from lambo_env.cell import seeding
from lambo_env.offloading.instances import Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.objectives import PAIR
from lambo_env.prompts.prompts import Prompts

_USUAL, _LEAST_INSTANCES = 50 * (10 + 5), 4  # of an update: what it costs, in UEs x (10 + places)


_SHARES = "{:.6f}% latency, {:.6f}% energy"  # what a teacher reads that goes by the text alone
_PURE = {PAIR[0]: 1.0, PAIR[1]: 0.0}  # latency weights of the kinds that are no mix


class Batch(NamedTuple):
    """One update's problems."""

    instances: Instances
    prompts: Prompts
    shares: torch.Tensor  # bool [B], whose CPU the sigmoid shares allot


def update_rng(recipe: Recipe, stream: int) -> np.random.Generator:
    """Return the generator of one update.

    It depends on the seed and the stream alone, so a resumed run draws the same.
    """
    return seeding.training_rng(recipe.seed, load_scenario(recipe.scenario), stream)


def sample_batch(recipe: Recipe, stage: DecisionStage, rng: np.random.Generator) -> Batch:
    """Draw the problems of one update.

    One world, as it is or varied, training phrasings of all kinds mixed.
    """
    shares = np.array([world.share for world in recipe.worlds])
    world = recipe.worlds[int(rng.choice(len(shares), p=shares / shares.sum()))]
    scenario = world.draw(rng)
    weight = scenario.num_ues * (11 + len(scenario.server_cpu_hz))
    size = max(_LEAST_INSTANCES, int(stage.instances * min(2.0, _USUAL / weight)))  # as much to do
    instances = sample_instances(scenario, size, rng)
    prompts = _prompts(recipe, size, rng)
    return Batch(instances, prompts, torch.from_numpy(rng.random(size) < stage.share_rows))


def _prompts(recipe: Recipe, size: int, rng: np.random.Generator) -> Prompts:
    """Draw what instances are for: training phrasings, or plain shares for a network with meanings.

    Such a network is told what its texts say while it learns to decide, so that which phrasings
    there are changes nothing about its decisions. A third each: latency, energy, any mix of them.
    """
    if not recipe.shape().prompt_bins:
        return Prompts.sample(size, rng, kinds=recipe.kinds)
    kind, mix = rng.integers(len(recipe.kinds), size=size), rng.random(size)
    weights = np.array([_PURE.get(name, np.nan) for name in recipe.kinds])[kind]
    told = np.where(np.isnan(weights), mix, weights)
    return Prompts([_SHARES.format(100 * w, 100 - 100 * w) for w in told], told)
