"""The phases that a training may have, and what each is told: its stages."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Self

from lambo_env.prompts.objectives import MIX, PAIR
from lambo_env.utils import rules, validate
from lambo_env.utils.rules import Ruled, ruled

KINDS = (*PAIR, MIX)


def some_kinds(field: str, value: Any) -> tuple[str, ...]:
    """Return kinds of prompts; one named twice is drawn twice as often."""
    kinds = tuple(value) if isinstance(value, (list, tuple)) else ()
    known = kinds != () and all(kind in KINDS for kind in kinds)
    validate.check(field, value, known, f"one or more of {', '.join(KINDS)}")
    return kinds


def _world_shares(field: str, value: Any) -> tuple[float, ...]:
    listed = isinstance(value, (list, tuple)) and len(value) > 0
    allowed = "a number >= 0 per world, one of them above 0"
    validate.check(field, value, listed, allowed)
    shares = tuple(validate.non_negative(f"{field}[{k}]", share) for k, share in enumerate(value))
    validate.check(field, value, sum(shares) > 0, allowed)
    return shares


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage(Ruled):
    """A stretch of a training's updates, all of one phase; each phase adds what it asks for.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    updates: int = ruled(None, validate.integer)
    """How many."""

    learning_rate: float = ruled(1e-3, validate.positive)
    """AdamW's, after the warm-up."""

    final_rate: float = ruled(0.0, validate.non_negative)
    """What the learning rate falls to by a cosine over these updates."""

    warmup_updates: int = ruled(0, rules.count)
    """Updates over which the learning rate rises from 0."""

    BATCH: ClassVar[str]  # the field that says how much an update holds

    @property
    def batch(self) -> int:
        """How much an update holds."""
        return int(getattr(self, self.BATCH))

    def piece(self, shards: int) -> Self:
        """Return the stage of one of ``shards`` equal pieces of every update."""
        return self.replace(**{self.BATCH: self.batch // shards})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadingStage(Stage):
    """The prompt encoder learns the latency weights of texts; nothing else changes."""

    BATCH: ClassVar[str] = "texts"

    texts: int = ruled(192, validate.integer)
    """Texts of an update."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecisionStage(Stage):
    """What all phases share that learn to decide."""

    BATCH: ClassVar[str] = "instances"

    instances: int = ruled(32, validate.integer)
    """Instances of an update of 50 UEs; more of smaller ones, fewer of larger ones."""

    share_rows: float = ruled(0.25, rules.share)
    """Part of the instances whose CPU the sigmoid shares allot; elsewhere the closed form does."""

    share_weight: float = ruled(1.0, validate.non_negative)
    """Weight of the share head's loss: the cost itself, in imitation the closed form's shares."""

    shuffled: bool = ruled(True, validate.boolean)
    """Learn shuffled orders of the UEs too; False: only the order in which the network decides."""

    world_shares: tuple[float, ...] | None = ruled(None, rules.optional(_world_shares))
    """Shares of the recipe's worlds in these updates; None: the worlds' own."""

    kinds: tuple[str, ...] | None = ruled(None, rules.optional(some_kinds))
    """Prompts of these updates, of latency, energy and mix; None: the recipe's."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImitationStage(DecisionStage):
    """The network learns the teacher's places, and the closed form's shares."""

    orders: int = ruled(2, validate.integer)
    """Orders of the UEs in which each labelled decision is learned."""

    temperature: float = ruled(0.0, validate.non_negative)
    """Labels are softened by what each other place would cost: of the mean cost of a UE; 0 not."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientStage(DecisionStage):
    """The network learns from the costs of its own rollouts."""

    rollouts: int = ruled(8, validate.integer)
    """Rollouts per instance; they share the encoder and, but for ``baseline`` critic, a mean."""

    reinforce_weight: float = ruled(1.0, validate.non_negative)
    """Weight of whole rollouts' excess over the baseline."""

    regret_weight: float = ruled(0.0, validate.non_negative)
    """Weight of single decisions' regret, all others of the rollout as they are."""

    include_teacher: bool = ruled(False, validate.boolean)
    """The teacher's decision is one more rollout."""

    entropy: float = ruled(0.0, validate.non_negative)
    """Weight of an entropy bonus on the places."""


STAGES: dict[str, type[Stage]] = {
    "reading": ReadingStage,
    "imitation": ImitationStage,
    "policy_gradient": GradientStage,
}
"""What a phase is told, by its name."""
STAGE_FIELDS = sorted({name for kind in STAGES.values() for name in kind.field_names()})


def name_of(stage: Stage) -> str:
    """Return the name of the phase that a stage is of."""
    return next(name for name, kind in STAGES.items() if type(stage) is kind)
