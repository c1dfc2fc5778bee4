"""How the heuristics allot server CPU to an association."""

from __future__ import annotations

from collections.abc import Callable

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from lambo_env.offloading import physics
from lambo_env.offloading.instances import Array, Decision, Instances

ALLOCATIONS: dict[str, Callable[[Instances, Array], Array]] = {
    "optimal": physics.allocate,
    "equal": physics.allocate_equal,
}


def allotted(instances: Instances, place: NDArray[np.int64], allocation: str) -> Decision:
    """Return the decision of an association in the instances' own namespace and device."""
    places = instances.xp.asarray(place, device=array_api_compat.device(instances.cycles))
    return Decision(places, ALLOCATIONS[allocation](instances, places))
