"""What the training of ``lambo-q`` is told: a recipe, read from a TOML file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from lambo_agents.queueing.network import QueueNetConfig
from lambo_env.queueing.scenario import QueueScenario, load_scenario
from lambo_env.utils import rules, toml, validate
from lambo_env.utils.rules import Ruled, Within, optional, ruled

RECIPES = Path(__file__).parent / "recipes"
WORLD = "queueing"


def _scenario(field: str, value: Any) -> str:
    load_scenario(value)
    return str(value)


def _range(field: str, value: Any) -> tuple[float, float]:
    pair = isinstance(value, (list, tuple)) and len(value) == 2
    validate.check(field, value, pair, "two probabilities, the lower first")
    low, high = (Within(1e-6, 1.0)(f"{field}[{k}]", end) for k, end in enumerate(value))
    validate.check(field, value, low <= high, "two probabilities, the lower first")
    return low, high


@dataclasses.dataclass(frozen=True, kw_only=True)
class QueueWorld(Ruled):
    """Where episodes of a training come from.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    scenario: str = ruled("queue", _scenario)
    """Preset or TOML file of the queueing world."""

    share: float = ruled(1.0, validate.positive)
    """How many of the episodes come from it, relative to the other worlds' shares."""

    arrival_probability: tuple[float, float] | None = ruled(None, optional(_range))
    """Range that an episode's is drawn from evenly; None keeps the scenario's."""

    def draw(self, count: int, rng: np.random.Generator) -> list[tuple[QueueScenario, int]]:
        """Draw the scenarios of some episodes, each with how many it has."""
        scenario = load_scenario(self.scenario)
        if self.arrival_probability is None:
            return [(scenario, count)] if count else []
        drawn = rng.uniform(*self.arrival_probability, count)
        return [(scenario.replace(arrival_probability=float(p)), 1) for p in drawn]


@dataclasses.dataclass(frozen=True, kw_only=True)
class QueueRecipe(Ruled):
    """How the network is trained.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    world: str = ruled(WORLD, rules.one_of(WORLD))
    """Tells the recipe from others'."""

    worlds: tuple[QueueWorld, ...] = ruled((QueueWorld(),), lambda field, value: _worlds(value))
    """Where episodes come from; all have the same UEs, servers and slots."""

    network: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Fields of ``QueueNetConfig``."""

    updates: int = ruled(150, validate.integer)
    """How many; a run can be extended."""

    seed: int = ruled(0, rules.seed)
    """Root of every draw; what an update draws depends on it and the update's number alone."""

    start: str | None = None
    """Registered rule whose weights score places at first; None: the earliest finish."""

    sharpness: float = ruled(5.0, validate.positive)
    """Median distance of the two best scores at first: how seldom another place is drawn."""

    episodes: int = ruled(16, validate.integer)
    """Of an update."""

    copies: int = ruled(16, validate.integer)
    """Of each episode, whose mean is the baseline."""

    seen: float = ruled(0.1, rules.share)
    """Share of the slots that the layers below the last learn from."""

    linear_updates: int = ruled(40, rules.count)
    """Updates after which the hidden layer, too, learns; before them the linear score alone."""

    step: float = ruled(12.0, validate.positive)
    """Length of a first step along the natural gradient of standardised advantages."""

    divergence: float = ruled(0.03, validate.positive)
    """Nats by which a step may change the chances of a decision."""

    latency_share: float = ruled(0.45, rules.share)
    """Of the episodes are under latency alone."""

    energy_share: float = ruled(0.35, rules.share)
    """Of the episodes are under energy alone; the rest under a mix drawn evenly."""

    critic: bool = ruled(True, validate.boolean)
    """Whether a critic speaks of what lies beyond a few slots."""

    discount: float = ruled(1.0, rules.share)
    """Of what comes a slot later."""

    trace: float = ruled(0.98, rules.share)
    """Share of what a slot later says against the critic at once (lambda)."""

    learning_rate: float = ruled(1e-4, validate.positive)
    """Adam's, of the layers below the last."""

    critic_rate: float = ruled(5e-3, validate.positive)
    """Adam's, of the critic."""

    batch: int = ruled(512, validate.integer)
    """Slots of a gradient step."""

    ema: float = ruled(0.9, rules.share)
    """Decay of the running mean of the weights, which is measured and shipped."""

    validation_episodes: int = ruled(8, validate.integer)
    """Of each scenario and prompt that is measured on."""

    validate_every: int = ruled(10, validate.integer)
    """Updates between two measurements."""

    checkpoint_every: int = ruled(5, validate.integer)
    """Updates between two checkpoints."""

    def __post_init__(self) -> None:
        """Validate every field, and what they say together."""
        super().__post_init__()
        self.check("copies", self.copies >= 2, ">= 2, since their mean is the baseline")
        both = self.latency_share + self.energy_share
        self.check("energy_share", both <= 1 + 1e-9, f"<= {1 - self.latency_share:g}")
        self.shape()

    def shape(self) -> QueueNetConfig:
        """Return the shape of the network."""
        return QueueNetConfig.from_dict(self.network)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        fields = {name: getattr(self, name) for name in self.field_names()}
        worlds = [world.to_dict() for world in self.worlds]
        return fields | {"worlds": worlds, "network": dict(self.network)}

    @classmethod
    def load(cls, name: str | Path, **fields: Any) -> Self:
        """Read a recipe that ships, by name, or a TOML file; ``fields`` replace some of its own.

        Raises:
            ValueError: no such recipe, no TOML, or what the recipe says is not allowed.
        """
        return cls.from_dict({**toml.load(_path(name), "recipe"), **fields})


def _path(name: str | Path) -> Path:
    return Path(name) if Path(name).suffix == ".toml" else RECIPES / f"{name}.toml"


def is_queueing(name: str | Path) -> bool:
    """Return whether a recipe's name or TOML file is of this world."""
    path = _path(name)
    return path.is_file() and toml.load(path, "recipe").get("world") == WORLD


def _worlds(value: Any) -> tuple[QueueWorld, ...]:
    tables = isinstance(value, (list, tuple)) and len(value) > 0
    validate.check("QueueRecipe.worlds", value, tables, "one table or more")
    return tuple(
        entry if isinstance(entry, QueueWorld) else QueueWorld.from_dict(entry) for entry in value
    )
