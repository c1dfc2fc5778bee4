"""Random places under a chosen allocation.

Shapes: B instances, N UEs, M edge servers, P = M + 1 places.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from baselines.heuristics.allocation import ALLOCATIONS, allotted
from lambo_env.cell.places import over_places
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.instances import QueueInstances
from lambo_env.utils import validate


class Random:
    """UE by UE a place drawn uniformly, by default among those that can still meet the deadline.

    Args:
        feasible: draw among the places whose floor still fits (local where none does); False: among
            all places. Tasks that wait are drawn among all places, whatever is said here.
        allocation: "optimal", the closed form, or "equal" shares of each server.
    """

    world = ("offloading", "queueing")

    def __init__(self, feasible: bool = True, allocation: str = "optimal") -> None:
        validate.check("Random.feasible", feasible, isinstance(feasible, bool), "True or False")
        self.feasible = feasible
        self.allocation = validate.known(allocation, ALLOCATIONS, "Random.allocation")

    def decide(
        self, instances: Instances | QueueInstances, prompts: Prompts, rng: np.random.Generator
    ) -> Decision:
        """Return a random association under the chosen allocation; one uniform per UE is drawn."""
        validate.generator(rng)
        uniform = rng.random((instances.batch_size, instances.num_ues))
        anywhere = np.floor(uniform * (instances.num_servers + 1)).astype(np.int64)
        if isinstance(instances, QueueInstances):
            return Decision(anywhere, np.zeros_like(uniform))
        place = _draw_feasible(instances.to("numpy"), uniform) if self.feasible else anywhere
        return allotted(instances, place, self.allocation)


def _draw_feasible(instances: Instances, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return places [B, N], drawn UE by UE where the floor fits what is left of the server."""
    in_time = physics.on_time(instances)
    floor = over_places(np.zeros_like(uniform), physics.floors_hz(instances), np)
    limit = instances.server_cpu_hz * (1 + physics.FIT_TOLERANCE)
    limit = over_places(np.full(len(uniform), np.inf), limit, np)  # [B, P]
    place, rows = np.zeros(uniform.shape, np.int64), np.arange(len(uniform))
    for ue in range(uniform.shape[1]):
        legal = in_time[:, ue] & (floor[:, ue] <= limit)
        rank = np.cumsum(legal, axis=1)  # the k-th legal place is the first with rank k + 1
        target = np.floor(uniform[:, ue] * rank[:, -1]) + 1
        place[:, ue] = np.argmax(
            rank >= target[:, None], axis=1
        )  # none legal: rank never gets there, so local
        limit[rows, place[:, ue]] -= floor[rows, ue, place[:, ue]]
    return place
