"""What the trainings of DROO and ARE share: the options, and the network that they ask for."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from baselines.neural.networks import SIZES, NetConfig
from lambo_env.offloading.instances import Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.offloading.variation import Variation, counts, known_scenario
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import rules, validate
from lambo_env.utils.rules import name_of, optional, ruled

SOME = optional(validate.integer)
GROUP = 25  # slots that are drawn of a relative at once


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetTraining(Variation):
    """Options of a training; what is None is as ``settled`` for the size.

    Batches are of ``scenario``, or ``varied`` of them of its relatives.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    size: str = ruled("pooled", name_of(SIZES))
    """pooled (weights shared over UEs and servers) or 60fc (60 fully connected layers)."""
    scenario: str = ruled("paper", known_scenario)
    """Preset or .toml file that most instances come from."""
    varied: float | None = ruled(None, optional(rules.share))  # type: ignore[assignment]
    """Share of slots drawn from a variation of a scenario instead, by the ranges below."""
    servers: tuple[int, int] | None = ruled((2, 16), rules.optional(counts))
    """Range of M in varied slots, servers drawn from the scenario's; None keeps its M."""
    width: int | None = ruled(None, SOME)
    """Of the network's hidden layers."""
    batch: int | None = ruled(None, SOME)
    """Slots of an update."""
    seed: int = ruled(0, rules.seed)
    """Of the weights and of all draws."""
    learning_rate: float | None = ruled(None, optional(validate.positive))
    """Adam's, at first; it falls linearly to a hundredth."""

    def __post_init__(self) -> None:
        """Check every field, and that a network for one N and M is not given others."""
        super().__post_init__()
        fits = self.values["varied"] == 0 or self.size == "pooled"
        self.check("varied", fits, f"0 for size {self.size!r}")

    @functools.cached_property
    def ranges(self) -> Variation:
        """Which relatives are drawn, and how often: as settled where ``varied`` is None."""
        return Variation(**{name: self.values[name] for name in Variation.field_names()})

    def sample(self, count: int, rng: np.random.Generator) -> tuple[Instances, Prompts]:
        """Return slots of one scenario with prompts; about ``count`` of a relative."""
        ranges = self.ranges
        scenario, count = ranges.draw(count, rng) if ranges.varied else (self.base, count)
        return sample_instances(scenario, count, rng), Prompts.sample(count, rng)

    def groups(self, count: int, rng: np.random.Generator) -> list[tuple[Instances, Prompts]]:
        """Return ``count`` slots, those of one scenario together."""
        found: list[tuple[Instances, Prompts]] = []
        while count > 0:
            drawn, prompts = self.sample(GROUP if self.ranges.varied else count, rng)
            rows = slice(count)
            found.append((drawn.take(rows), prompts.take(np.arange(len(drawn))[rows])))
            count -= len(drawn)
        return found

    def settled(self) -> dict[str, dict[str, Any]]:
        """Return the settings of each size."""
        raise NotImplementedError

    @property
    def values(self) -> dict[str, Any]:
        """All options by name as JSON has them, those left out as settled for the size."""
        settled, given = self.settled()[self.size], self.to_dict()
        return {
            name: list(v) if isinstance(v, tuple) else settled.get(name) if v is None else v
            for name, v in given.items()
        }

    def net(self, share_head: bool) -> NetConfig:
        """Return the config of the network, cut for the scenario where it has to be."""
        scenario, config = load_scenario(self.scenario), SIZES[self.size]
        sizes = {"num_ues": scenario.num_ues, "num_servers": scenario.num_servers}
        cut = {name: value for name, value in sizes.items() if name in config.field_names()}
        return config(width=self.values["width"], share_head=share_head, **cut)
