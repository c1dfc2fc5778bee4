"""What the trainings of DROO and ARE share: the options, and the network that they ask for."""

from __future__ import annotations

import dataclasses
from typing import Any

from baselines.neural.networks import SIZES, NetConfig
from lambo_env.offloading.scenario import load_scenario
from lambo_env.utils import validate
from lambo_env.utils.rules import Ruled, count, name_of, optional, ruled

SOME = optional(validate.integer)


def known_scenario(field: str, value: str) -> str:
    """Return the name of a scenario that can be loaded; load_scenario says what is known."""
    load_scenario(value)
    return value


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetTraining(Ruled):
    """Options of a training; what is None is as ``settled`` for the size.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    size: str = ruled("pooled", name_of(SIZES))
    """pooled (weights shared over UEs and servers) or 60fc (60 fully connected layers)."""
    scenario: str = ruled("paper", known_scenario)
    """Preset or .toml file that the instances come from."""
    width: int | None = ruled(None, SOME)
    """Of the network's hidden layers."""
    batch: int | None = ruled(None, SOME)
    """Slots of an update."""
    seed: int = ruled(0, count)
    """Of the weights and of all draws."""
    learning_rate: float | None = ruled(None, optional(validate.positive))
    """Adam's, at first; it falls linearly to a hundredth."""

    def settled(self) -> dict[str, dict[str, Any]]:
        """Return the settings of each size."""
        raise NotImplementedError

    @property
    def values(self) -> dict[str, Any]:
        """All options by name, those left out as settled for the size."""
        settled = self.settled()[self.size]
        return {name: settled[name] if v is None else v for name, v in self.to_dict().items()}

    def net(self, share_head: bool) -> NetConfig:
        """Return the config of the network, cut for the scenario where it has to be."""
        scenario, config = load_scenario(self.scenario), SIZES[self.size]
        sizes = {"num_ues": scenario.num_ues, "num_servers": scenario.num_servers}
        cut = {name: value for name, value in sizes.items() if name in config.field_names()}
        return config(width=self.values["width"], share_head=share_head, **cut)
