"""WpmecScenario: the distribution of frames, and how it is written down."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from lambo_env.cell.scenario import WorldScenario
from lambo_env.utils import validate
from lambo_env.utils.rules import ruled, whole
from lambo_env.wpmec.instances import Frames, generate


@dataclasses.dataclass(frozen=True)
class WpmecScenario(WorldScenario):
    """Frames of N devices at DROO's distances, Rayleigh fading.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    num_devices: int = ruled(10, whole, "N, the number of devices")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, with the world."""
        return {"world": "wpmec", **super().to_dict()}


def load_scenario(source: Mapping[str, Any] | WpmecScenario) -> WpmecScenario:
    """Return the scenario of a mapping of fields, or as it is.

    Raises:
        ValueError: anything else, or an unknown field.
    """
    if isinstance(source, WpmecScenario):
        return source
    allowed = "a mapping of fields or a WpmecScenario"
    validate.check("scenario", source, isinstance(source, Mapping), allowed)
    return WpmecScenario.from_dict(source)


def sample_instances(
    scenario: WpmecScenario, num_instances: int, rng: np.random.Generator
) -> Frames:
    """Return frames drawn from a scenario."""
    return generate(scenario.num_devices, num_instances, rng)
