"""What actor-critic learning (ACL) is told: one frozen dataclass, the flags of ``lambo train``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from lambo_agents.network.config import PRESETS, AEDConfig, preset
from lambo_env.offloading.variation import Variation
from lambo_env.prompts.objectives import MIX, PAIR
from lambo_env.utils import rules, validate
from lambo_env.utils.rules import ruled

BASELINES = ("mean", "critic", "both")
PRECISIONS = ("fp32", "bf16")
_KINDS = (*PAIR, MIX)

_some_kinds = rules.such_that(
    lambda kinds: isinstance(kinds, tuple) and kinds != () and set(kinds) <= set(_KINDS),
    f"one or more of {', '.join(_KINDS)}",
)
_two_depths = rules.such_that(
    lambda pair: (
        isinstance(pair, tuple)
        and len(pair) == 2
        and all(type(part) is int and part > 0 for part in pair)
    ),
    "two positive integers: encoder, decoder; or None",
)


def _preset_name(field: str, value: str) -> str:
    validate.known(value.replace("-", "_"), PRESETS, "AED preset")
    return value


@dataclasses.dataclass(frozen=True, kw_only=True)
class ACLConfig(Variation):
    """How to train; the defaults are those of the shipped ``lambo-s``.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    preset: str = ruled("lambo_s", _preset_name)
    """Network: lambo_xs, lambo_s, lambo_b, lambo_m or lambo_l."""

    layers: tuple[int, int] | None = ruled(None, rules.optional(_two_depths))
    """Encoder and decoder layers in place of the preset's."""

    steps: int = ruled(6000, validate.integer)
    """Updates in all, imitation included; the learning rate falls to 0 by a cosine over them."""

    minutes: float | None = ruled(None, rules.optional(validate.positive))
    """Wall-clock budget over all resumptions; the cosine follows it where it is further on."""

    seed: int = ruled(0, rules.count)
    """Root of every draw; what a step draws depends on it and the step alone."""

    kinds: tuple[str, ...] = ruled((*PAIR, MIX), _some_kinds)
    """Prompts that batches hold: of latency, energy and mix."""

    shuffled: bool = ruled(True, validate.boolean)
    """Learn shuffled orders of the UEs too; False: only the order in which the network decides."""

    instances: int = ruled(64, validate.integer)
    """Instances per update."""

    rollouts: int = ruled(8, validate.integer)
    """Rollouts per instance; they share the encoder and, but for ``baseline`` critic, a mean."""

    share_rows: float = ruled(0.25, rules.share)
    """Share of the instances whose CPU the sigmoid shares allot; elsewhere the closed form does."""

    share_weight: float = ruled(1.0, validate.non_negative)
    """Weight of the share head's loss: through the cost, in imitation the closed form's shares."""

    pretraining_steps: int = ruled(1600, rules.count)
    """First updates: the prompt encoder (presets xs, s, b) learns latency shares of texts."""

    pretraining_texts: int = ruled(192, validate.integer)
    """Texts of such an update."""

    pretraining_rate: float = ruled(2e-3, validate.positive)
    """Learning rate of such an update, falling to 0 by a cosine over them."""

    start: str | None = None
    """Shipped weights or a file to begin from, where names and shapes agree; None begins anew."""

    baseline: str = ruled("mean", rules.one_of(*BASELINES))
    """Subtracted from a cost: the rollouts' mean, critic (the paper), or both, averaged."""

    teacher: str = "local-search"
    """Registered agent that labels the warm start's instances; it is asked under their prompts."""

    include_teacher: bool = ruled(False, validate.boolean)
    """In the policy gradient the teacher's decision is one more rollout."""

    imitation_steps: int = ruled(1500, rules.count)
    """Next updates, which imitate the teacher; 0 goes on to the policy gradient."""

    imitation_instances: int = ruled(64, validate.integer)
    """Instances an update while imitating."""

    imitation_orders: int = ruled(2, validate.integer)
    """Shuffled orders of the UEs in which each labelled decision is learned."""

    entropy: float = ruled(0.0, validate.non_negative)
    """Weight of an entropy bonus on the places."""

    learning_rate: float = ruled(1e-3, validate.positive)
    """AdamW's, after the warm-up."""

    gradient_rate: float = ruled(0.5, validate.positive)
    """Factor on the learning rate in the policy gradient, which is noisier than imitation."""

    warmup_steps: int = ruled(200, rules.count)
    """Updates over which the learning rate rises from 0."""

    weight_decay: float = ruled(0.01, validate.non_negative)
    """AdamW's."""

    clip: float = ruled(1.0, validate.positive)
    """Largest norm of the gradient."""

    ema: float = ruled(0.998, rules.share)
    """Decay of the running mean of the weights, which is evaluated and shipped; 0 keeps none."""

    precision: str = ruled("fp32", rules.one_of(*PRECISIONS))
    """fp32 or bf16 (autocast of the network)."""

    device: str = "cpu"
    """cpu, cuda or another torch device of the network."""

    threads: int = ruled(0, rules.count)
    """Threads of torch; 0 keeps its choice."""

    validation_instances: int = ruled(128, validate.integer)
    """Instances of the fixed block that the gap is measured on."""

    validation_solver: str = "local-search"
    """Registered agent whose bound (by ``solve``, else cost) the gap is measured against."""

    validate_every: int = ruled(250, validate.integer)
    """Updates between two measurements."""

    checkpoint_every: int = ruled(250, validate.integer)
    """Updates between two checkpoints."""

    tensorboard: bool = False
    """Also write the curve for TensorBoard."""

    def __post_init__(self) -> None:
        """Validate every field, and rollouts against the baseline."""
        super().__post_init__()
        paired = self.rollouts > 1 or self.baseline == "critic"
        self.check("rollouts", paired, ">= 2 where their mean is the baseline")

    def network(self) -> AEDConfig:
        """Return the shape of the network."""
        shape = preset(self.preset)
        if self.layers is None:
            return shape
        return dataclasses.replace(
            shape, encoder_layers=self.layers[0], decoder_layers=self.layers[1]
        )

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Build from what ``to_dict`` gave, JSON's lists for tuples included.

        Unknown fields are refused.
        """
        return super().from_dict(
            {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
        )
