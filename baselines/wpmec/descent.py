"""Coordinate descent over modes, the search that DROO was compared with.

Shapes: B frames, N devices.
"""

from __future__ import annotations

import numpy as np

from lambo_env.offloading.instances import Decision
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate
from lambo_env.wpmec import physics
from lambo_env.wpmec.instances import Frames

_LEAST_GAIN = 1e-7  # relative; rates are solved to about 1e-8


class CoordinateDescent:
    """From all local, flip the device that gains most until no flip gains (Bi and Zhang 2018)."""

    world = "wpmec"
    evaluator_in_loop = True

    def decide(self, instances: Frames, prompts: Prompts, rng: np.random.Generator) -> Decision:
        """Return the modes [B, N] as places, 1 where offloaded; servers allot nothing."""
        validate.generator(rng)
        mode = np.zeros(instances.gain.shape, dtype=bool)
        rate, active = physics.rate_bps(instances, mode), np.arange(len(mode))
        flip = np.eye(instances.num_devices, dtype=np.bool_)
        while active.size:
            gained = physics.rate_bps(instances.take(active), mode[active, None] ^ flip)
            best, rows = np.argmax(gained, axis=1), np.arange(active.size)
            better = gained[rows, best] > rate[active] * (1 + _LEAST_GAIN)
            rows, best, active = rows[better], best[better], active[better]
            mode[active, best] ^= True
            rate[active] = gained[rows, best]
        return Decision(mode.astype(np.int64), np.zeros(mode.shape))
