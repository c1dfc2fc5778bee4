"""``lambo-q``: LAMBO where tasks wait, each slot's tasks decided in turn by a learned network."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lambo_agents.queueing.checkpoint import load_network
from lambo_agents.queueing.network import QueueNet, QueueSlot
from lambo_env.offloading.instances import Decision
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.instances import QueueInstances
from lambo_env.queueing.policies.columns import latency_share
from lambo_env.utils import validate


class QueueLambo:
    """Each task goes where the network's score is least, counting the choices before it.

    Args:
        weights: shipped ones by name, a file of ``lambo train --recipe lambo-q``, or a network.
    """

    world = "queueing"

    def __init__(self, weights: str | Path | QueueNet = "lambo-q") -> None:
        self.net = weights if isinstance(weights, QueueNet) else load_network(weights)

    @property
    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return self.net.num_parameters

    def decide(
        self, instances: QueueInstances, prompts: Prompts, rng: np.random.Generator
    ) -> Decision:
        """Return the places [B, N]."""
        validate.generator(rng)
        share = latency_share(instances, prompts.objective(instances))
        place = QueueSlot(self.net, instances, share).decide()
        return Decision(place, np.zeros(place.shape))
