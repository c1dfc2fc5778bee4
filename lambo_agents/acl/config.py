"""What actor-critic learning (ACL) is told: one frozen dataclass, the flags of ``lambo train``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from lambo_agents.network.config import PRESETS, AEDConfig, preset
from lambo_env.prompts.objectives import MIX, PAIR
from lambo_env.utils import validate

Range = tuple[float, float]
BASELINES = ("mean", "critic", "both")
PRECISIONS = ("fp32", "bf16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ACLConfig:
    """How to train; the defaults are those of the shipped ``lambo-s``.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    preset: str = "lambo_s"
    """Network: lambo_xs, lambo_s, lambo_b, lambo_m or lambo_l."""

    layers: tuple[int, int] | None = None
    """Encoder and decoder layers in place of the preset's."""

    steps: int = 6000
    """Updates in all, imitation included; the learning rate falls to 0 by a cosine over them."""

    minutes: float | None = None
    """Wall-clock budget over all resumptions; the cosine follows it where it is further on."""

    seed: int = 0
    """Root of every draw; what a step draws depends on it and the step alone."""

    scenario: str = "paper"
    """Preset or TOML file that most batches are drawn from."""

    varied: float = 0.5
    """Share of batches drawn from a variation of a scenario instead, by the ranges below."""

    others: tuple[str, ...] = ("hetero", "are2020")
    """Scenarios that a varied batch may start from beside ``scenario``."""

    num_ues: tuple[int, int] = (6, 200)
    """Range of N in varied batches, even on a logarithmic scale."""

    capacity_scale: Range = (0.4, 2.5)
    """Range of the factor on every server's capacity in varied batches."""

    data_scale: Range = (0.6, 1.7)
    """Range of the factor on the bits to upload in varied batches."""

    bandwidth_scale: Range = (0.5, 1.3)
    """Range of the factor on the bandwidth in varied batches."""

    cycles_scale: Range = (1.0, 1.0)
    """Range of the factor on the cycles to run in varied batches."""

    servers: tuple[int, int] | None = None
    """Range of M in varied batches, servers drawn from the scenario's; None keeps its M."""

    kinds: tuple[str, ...] = (*PAIR, MIX)
    """Prompts that batches hold: of latency, energy and mix."""

    shuffled: bool = True
    """Learn shuffled orders of the UEs too; False: only the order in which the network decides."""

    instances: int = 64
    """Instances an update."""

    rollouts: int = 8
    """Rollouts per instance; they share the encoder and, but for ``baseline`` critic, a mean."""

    share_rows: float = 0.25
    """Share of the instances whose CPU the sigmoid shares allot; elsewhere the closed form does."""

    share_weight: float = 1.0
    """Weight of the share head's loss: through the cost, in imitation the closed form's shares."""

    pretraining_steps: int = 1600
    """First updates: the prompt encoder (presets xs, s, b) learns latency shares of texts."""

    pretraining_texts: int = 192
    """Texts of such an update."""

    pretraining_rate: float = 2e-3
    """Learning rate of such an update, falling to 0 by a cosine over them."""

    start: str | None = None
    """Shipped weights or a file to begin from, where names and shapes agree; None begins anew."""

    baseline: str = "mean"
    """Subtracted from a cost: the rollouts' mean, critic (the paper), or both, averaged."""

    teacher: str = "local-search"
    """Registered agent that labels the warm start's instances; it is asked under their prompts."""

    include_teacher: bool = False
    """In the policy gradient the teacher's decision is one more rollout."""

    imitation_steps: int = 1500
    """Next updates, which imitate the teacher; 0 goes on to the policy gradient."""

    imitation_instances: int = 64
    """Instances an update while imitating."""

    imitation_orders: int = 2
    """Shuffled orders of the UEs in which each labelled decision is learned."""

    entropy: float = 0.0
    """Weight of an entropy bonus on the places."""

    learning_rate: float = 1e-3
    """AdamW's, after the warm-up."""

    gradient_rate: float = 0.5
    """Factor on the learning rate in the policy gradient, which is noisier than imitation."""

    warmup_steps: int = 200
    """Updates over which the learning rate rises from 0."""

    weight_decay: float = 0.01
    """AdamW's."""

    clip: float = 1.0
    """Largest norm of the gradient."""

    ema: float = 0.998
    """Decay of the running mean of the weights, which is evaluated and shipped; 0 keeps none."""

    precision: str = "fp32"
    """fp32 or bf16 (autocast of the network)."""

    device: str = "cpu"
    """cpu, cuda or another torch device of the network."""

    threads: int = 0
    """Threads of torch; 0 keeps its choice."""

    validation_instances: int = 128
    """Instances of the fixed block that the gap is measured on."""

    validation_solver: str = "local-search"
    """Registered agent whose bound (by ``solve``, else cost) the gap is measured against."""

    validate_every: int = 250
    """Updates between two measurements."""

    checkpoint_every: int = 250
    """Updates between two checkpoints."""

    tensorboard: bool = False
    """Also write the curve for TensorBoard."""

    def __post_init__(self) -> None:
        """Validate every field."""
        validate.known(self.preset.replace("-", "_"), PRESETS, "AED preset")
        for name in ("steps", "instances", "rollouts", "imitation_instances", "imitation_orders"):
            validate.integer(f"ACLConfig.{name}", getattr(self, name))
        for name in (
            "pretraining_texts",
            "validation_instances",
            "validate_every",
            "checkpoint_every",
        ):
            validate.integer(f"ACLConfig.{name}", getattr(self, name))
        for name in ("seed", "pretraining_steps", "imitation_steps", "warmup_steps", "threads"):
            validate.integer(f"ACLConfig.{name}", getattr(self, name), low=0)
        for name in ("learning_rate", "pretraining_rate", "clip", "gradient_rate"):
            validate.positive(f"ACLConfig.{name}", getattr(self, name))
        for name in ("weight_decay", "entropy", "share_weight"):
            validate.non_negative(f"ACLConfig.{name}", getattr(self, name))
        self._check_choices()
        self._check_ranges()

    def _check_choices(self) -> None:
        for name, options in (("baseline", BASELINES), ("precision", PRECISIONS)):
            value = getattr(self, name)
            validate.check(f"ACLConfig.{name}", value, value in options, " or ".join(options))
        for name in ("varied", "share_rows", "ema"):
            value = validate.number(
                f"ACLConfig.{name}", getattr(self, name), "a number in [0, 1]", 0.0
            )
            validate.check(f"ACLConfig.{name}", value, value <= 1, "a number in [0, 1]")
        validate.boolean("ACLConfig.shuffled", self.shuffled)
        validate.boolean("ACLConfig.include_teacher", self.include_teacher)
        known = (
            isinstance(self.kinds, tuple)
            and self.kinds != ()
            and all(k in (*PAIR, MIX) for k in self.kinds)
        )
        validate.check(
            "ACLConfig.kinds", self.kinds, known, f"one or more of {', '.join((*PAIR, MIX))}"
        )
        if self.minutes is not None:
            validate.positive("ACLConfig.minutes", self.minutes)
        paired = self.rollouts > 1 or self.baseline == "critic"
        validate.check(
            "ACLConfig.rollouts", self.rollouts, paired, ">= 2 where their mean is the baseline"
        )

    def _check_ranges(self) -> None:
        for name in (
            "num_ues",
            "capacity_scale",
            "data_scale",
            "bandwidth_scale",
            "cycles_scale",
            "servers",
        ):
            ends = getattr(self, name)
            if ends is None and name == "servers":
                continue
            ok = len(ends) == 2 and 0 < ends[0] <= ends[1]
            validate.check(f"ACLConfig.{name}", ends, ok, "(low, high) with 0 < low <= high")
        if self.layers is not None:
            pair = self.layers if isinstance(self.layers, tuple) else ()
            whole = len(pair) == 2 and all(type(part) is int and part > 0 for part in pair)
            validate.check(
                "ACLConfig.layers",
                self.layers,
                whole,
                "two positive integers: encoder, decoder; or None",
            )

    def network(self) -> AEDConfig:
        """Return the shape of the network."""
        shape = preset(self.preset)
        if self.layers is None:
            return shape
        return dataclasses.replace(
            shape, encoder_layers=self.layers[0], decoder_layers=self.layers[1]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ACLConfig:
        """Build from what ``to_dict`` gave, JSON's lists for tuples included.

        Unknown fields are refused.
        """
        validate.known_keys("ACLConfig", fields, [field.name for field in dataclasses.fields(cls)])
        values: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()
        }
        return cls(**values)
