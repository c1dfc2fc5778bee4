"""What actor-critic learning (ACL) is told: a recipe, read from a TOML file.

A recipe names a network, the worlds that its instances come from, and the phases of the training
in their order, counted in updates.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from lambo_agents.acl.stages import (
    KINDS,
    STAGES,
    DecisionStage,
    GradientStage,
    ImitationStage,
    ReadingStage,
    Stage,
    name_of,
    some_kinds,
)
from lambo_agents.network.config import PRESETS, AEDConfig, preset
from lambo_env.offloading.scenario import Scenario, load_scenario
from lambo_env.offloading.variation import Variation, counts, factors, known_scenario
from lambo_env.utils import rules, toml, validate
from lambo_env.utils.rules import Ruled, ruled

RECIPES = Path(__file__).parent / "recipes"
Range = tuple[float, float]
BASELINES = ("mean", "critic", "both")
PRECISIONS = ("fp32", "bf16")


def _preset_name(field: str, value: str) -> str:
    validate.known(str(value).replace("-", "_"), PRESETS, "AED preset")
    return value


@dataclasses.dataclass(frozen=True, kw_only=True)
class World(Ruled):
    """Where instances of a training come from: a scenario, as it is or its relatives.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    scenario: str = ruled("paper", known_scenario)
    """Preset or TOML file."""

    share: float = ruled(1.0, validate.non_negative)
    """How many of the updates draw from it, relative to the other worlds' shares; 0: those of
    phases alone that say so (``world_shares``)."""

    num_ues: tuple[int, int] | None = ruled(None, rules.optional(counts))
    """Range of N, even on a logarithmic scale; None keeps the scenario's."""

    servers: tuple[int, int] | None = ruled(None, rules.optional(counts))
    """Range of M, servers drawn from the scenario's, the total as before; None keeps its M."""

    capacity_scale: Range = ruled((1.0, 1.0), factors)
    """Range of the factor on every server's capacity."""

    data_scale: Range = ruled((1.0, 1.0), factors)
    """Range of the factor on the bits to upload."""

    bandwidth_scale: Range = ruled((1.0, 1.0), factors)
    """Range of the factor on the bandwidth."""

    cycles_scale: Range = ruled((1.0, 1.0), factors)
    """Range of the factor on the cycles to run."""

    def draw(self, rng: np.random.Generator) -> Scenario:
        """Draw the scenario of an update."""
        base, ranges = _loaded(self.scenario), self.to_dict()
        del ranges["share"]
        ranges["num_ues"] = self.num_ues or (base.num_ues, base.num_ues)
        return Variation(**ranges).relative(base, rng)


@functools.cache
def _loaded(name: str) -> Scenario:
    return load_scenario(name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(Ruled):
    """How a network is trained, from the first update to the last.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    phases: tuple[Stage, ...] = ruled((), lambda field, value: _stages(value))
    """In their order; tables with ``phase``, its name, and its fields."""

    worlds: tuple[World, ...] = ruled((World(),), lambda field, value: _worlds(value))
    """Where instances come from."""

    preset: str = ruled("lambo_s", _preset_name)
    """Network: lambo_xs, lambo_s, lambo_b, lambo_m or lambo_l."""

    network: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Fields of ``AEDConfig`` in place of the preset's."""

    seed: int = ruled(0, rules.seed)
    """Root of every draw; what an update draws depends on it and the update's number alone."""

    start: str | None = None
    """Shipped weights or a file to begin from, where names and shapes agree; None begins anew."""

    scenario: str = ruled("paper", known_scenario)
    """Preset or TOML file that the gap is measured on while the network trains."""

    kinds: tuple[str, ...] = ruled(KINDS, some_kinds)
    """Prompts that batches hold: of latency, energy and mix."""

    baseline: str = ruled("mean", rules.one_of(*BASELINES))
    """Subtracted from a cost: the rollouts' mean, critic (the paper), or both, averaged."""

    teacher: str = ruled("local-search", rules.instance_of(str))
    """Registered agent that labels instances; it is asked under their prompts."""

    deep: bool = ruled(False, validate.boolean)
    """Residual branches begin smaller, by the root of their number."""

    weight_decay: float = ruled(0.01, validate.non_negative)
    """AdamW's."""

    clip: float = ruled(1.0, validate.positive)
    """Largest norm of the gradient."""

    ema: float = ruled(0.998, rules.share)
    """Decay of the running mean of the weights, which is evaluated and shipped; 0 keeps none."""

    precision: str = ruled("fp32", rules.one_of(*PRECISIONS))
    """fp32 or bf16 (autocast of the network)."""

    device: str = ruled("cpu", rules.instance_of(str))
    """cpu, cuda or another torch device of the network."""

    threads: int = ruled(1, rules.count)
    """Threads of torch; 0 keeps its choice."""

    shards: int = ruled(1, validate.integer)
    """Equal pieces of an update, each drawn by itself: their gradients are summed, so a batch may
    be larger than the memory, and processes share the pieces."""

    fully_shard: bool = ruled(False, validate.boolean)
    """Each of several processes keeps its part of the encoder's layers, their gradients and moments
    (FSDP2), and all else whole: for a network that is larger than one device's memory."""

    recompute: bool = ruled(False, validate.boolean)
    """Keep no activations within layers; they are computed again for the gradient."""

    workers: int = ruled(0, rules.count)
    """Processes that draw and label the updates to come; 0: none, each update draws its own."""

    validation_instances: int = ruled(128, validate.integer)
    """Instances of the fixed block that the gap is measured on."""

    validation_solver: str = ruled("local-search", rules.instance_of(str))
    """Registered agent whose bound (by ``solve``, else cost) the gap is measured against."""

    validate_every: int = ruled(250, validate.integer)
    """Updates between two measurements."""

    checkpoint_every: int = ruled(100, validate.integer)
    """Updates between two checkpoints."""

    def __post_init__(self) -> None:
        """Validate every field, and what they say together."""
        super().__post_init__()
        bins = self.shape().prompt_bins
        shares = [world.share for world in self.worlds]
        self.check("worlds", sum(shares) > 0, "at least one with a share above 0")
        for index, stage in enumerate(self.phases):
            reads = isinstance(stage, ReadingStage)
            allowed = "a phase that decides: this network has no reader of its own (prompt_bins)"
            name = f"Recipe.phases[{index}]"
            validate.check(f"{name}.phase", "reading", bins > 0 or not reads, allowed)
            if isinstance(stage, GradientStage) and self.baseline != "critic":
                allowed = ">= 2 where their mean is the baseline"
                validate.check(f"{name}.rollouts", stage.rollouts, stage.rollouts > 1, allowed)
            if isinstance(stage, DecisionStage) and stage.world_shares is not None:
                fits = len(stage.world_shares) == len(self.worlds)
                allowed = f"one number per world ({len(self.worlds)})"
                validate.check(f"{name}.world_shares", stage.world_shares, fits, allowed)
            allowed = f"a multiple of Recipe.shards ({self.shards})"
            even = stage.batch % self.shards == 0
            validate.check(f"{name}.{stage.BATCH}", stage.batch, even, allowed)

    @property
    def updates(self) -> int:
        """How many updates the training has."""
        return sum(stage.updates for stage in self.phases)

    @property
    def needs_teacher(self) -> bool:
        """Whether a phase asks the teacher."""
        return any(
            isinstance(stage, ImitationStage) or getattr(stage, "include_teacher", False)
            for stage in self.phases
        )

    def shape(self) -> AEDConfig:
        """Return the shape of the network."""
        return preset(self.preset).replace(**self.network)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        fields = {name: getattr(self, name) for name in self.field_names()}
        phases = [{"phase": name_of(stage), **stage.to_dict()} for stage in self.phases]
        worlds = [world.to_dict() for world in self.worlds]
        return fields | {"phases": phases, "worlds": worlds, "network": dict(self.network)}

    @classmethod
    def load(cls, name: str | Path, **fields: Any) -> Self:
        """Read a recipe that ships, by name, or a TOML file; ``fields`` replace some of its own.

        Raises:
            ValueError: no such recipe, no TOML, or what the recipe says is not allowed.
        """
        path = Path(name)
        if path.suffix != ".toml":
            path = RECIPES / f"{validate.known(str(name), list_recipes(), 'recipe')}.toml"
        return cls.from_dict({**toml.load(path, "recipe"), **fields})


def list_recipes() -> list[str]:
    """Return the names of the recipes that ship."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def _worlds(value: Any) -> tuple[World, ...]:
    return tuple(
        _table(f"Recipe.worlds[{index}]", entry, World)
        for index, entry in _entries("worlds", value)
    )


def _stages(value: Any) -> tuple[Stage, ...]:
    stages = []
    for index, entry in _entries("phases", value):
        where = f"Recipe.phases[{index}]"
        if isinstance(entry, Stage):
            stages.append(entry)
            continue
        fields = dict(entry)
        name = validate.known(fields.pop("phase", None), STAGES, f"phase in {where}")
        stages.append(_table(where, fields, STAGES[name]))
    return tuple(stages)


def _entries(name: str, value: Any) -> Any:
    tables = isinstance(value, (list, tuple)) and len(value) > 0
    tables = tables and all(isinstance(entry, (Mapping, Ruled)) for entry in value)
    validate.check(f"Recipe.{name}", value, tables, "one table or more")
    return enumerate(value)


def _table(where: str, entry: Any, kind: type[Any]) -> Any:
    """Return a table of a recipe as what it stands for; an error says where it stands."""
    if isinstance(entry, kind):
        return entry
    try:
        return kind.from_dict(entry)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
