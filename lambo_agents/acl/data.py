"""What one update of the training is fed.

Instances of a family of scenarios, prompts, and which of them use the shares.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from lambo_agents.acl.config import ACLConfig
from lambo_env.cell import seeding
from lambo_env.offloading.instances import Instances
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts


class Batch(NamedTuple):
    """One update's problems."""

    instances: Instances
    prompts: Prompts
    shares: torch.Tensor  # bool [B], whose CPU the sigmoid shares allot


def step_rng(config: ACLConfig, step: int) -> np.random.Generator:
    """Return the generator of one update.

    It depends on the seed and the step alone, so a resumed run draws the same.
    """
    return seeding.training_rng(config.seed, config.base, step)


def sample_batch(config: ACLConfig, size: int, rng: np.random.Generator) -> Batch:
    """Draw the problems of one update.

    One scenario or a variation, training phrasings of all kinds mixed.
    """
    scenario, size = config.draw(size, rng)
    instances = sample_instances(scenario, size, rng)
    prompts = Prompts.sample(size, rng, kinds=config.kinds)
    return Batch(instances, prompts, torch.from_numpy(rng.random(size) < config.share_rows))
