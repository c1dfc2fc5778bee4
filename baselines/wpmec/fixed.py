"""One mode for every device: all local, or all offloading."""

from __future__ import annotations

import numpy as np

from lambo_env.offloading.instances import Decision
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate
from lambo_env.wpmec.instances import Frames


class FixedMode:
    """Every device in the same mode, frame by frame.

    Args:
        offload: all offload; False: all compute locally.
    """

    world = "wpmec"

    def __init__(self, offload: bool = False) -> None:
        self.offload = validate.boolean("FixedMode.offload", offload)

    def decide(self, instances: Frames, prompts: Prompts, rng: np.random.Generator) -> Decision:
        """Return the modes [B, N] as places, 1 where offloaded; servers allot nothing."""
        validate.generator(rng)
        place = np.full(instances.gain.shape, int(self.offload))
        return Decision(place, np.zeros(place.shape))
