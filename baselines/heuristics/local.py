"""Everything local: the baseline that asks for nothing."""

from __future__ import annotations

import array_api_compat
import numpy as np

from lambo_env.offloading.instances import LOCAL, Decision, Instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate


class Local:
    """Every UE runs its own task, late or not."""

    world = ("offloading", "queueing")

    def decide(self, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> Decision:
        """Return place 0 and no server CPU for all."""
        validate.generator(rng)
        xp, device = instances.xp, array_api_compat.device(instances.cycles)
        place = xp.full(tuple(instances.cycles.shape), LOCAL, dtype=xp.int64, device=device)
        return Decision(place, xp.zeros_like(instances.cycles))
