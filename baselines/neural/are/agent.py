"""ARE (Jiang et al., IEEE Network 2021).

A fully connected network supervised by the decisions of a global optimiser.

The optimiser (the expert) is any agent, passed in. Online the network keeps learning where it is
unsure: a slot whose mean entropy over UEs exceeds a threshold is handed to the expert, its answer
joins a memory of fixed length, and the network trains on all of it.
Shapes: B instances, N UEs, M edge servers, P = M + 1 places.
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from baselines.neural import checkpoint, features
from baselines.neural.features import Floats, Places
from baselines.neural.networks import NetConfig, PlaceNet, parameters
from lambo_agents.protocol import Agent, refuse_unsupported
from lambo_env.offloading import physics
from lambo_env.offloading.instances import LOCAL, Decision, Instances
from lambo_env.prompts.objectives import PAIR
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate

ALLOCATIONS = ("optimal", "head")
LABELS = 20_000  # that the shipped weights learnt from


class Are:
    """ARE: a 60-layer network supervised on an optimiser's decisions decides in one pass.

    The CPU follows by the closed form.

    Args:
        weights: shipped weights by name, or a path; None: a new network (``net``, ``seed``) that
            knows nothing.
        expert: the agent that ``adapt`` asks for labels, or "module:Class" of one, as plans of
            ``lambo adapt`` write it.
        entropy_bits: mean entropy over UEs above which a slot is worth a label, at most
            log2(M + 1) = 2.32 bits.
        memory: labelled slots kept, first in first out.
        epochs: over the memory, after each call of ``adapt`` that brought labels.
        learning_rate: Adam's.
        allocation: "optimal", the closed form, or "head", the network's own shares, rescaled to use
            up each server.
        net: size of a new network.
        seed: of a new network's weights.
    """

    objectives = PAIR
    evaluator_in_loop = False
    labels_used = LABELS

    def __init__(
        self,
        weights: str | None = "are",
        expert: str | Agent | None = None,
        entropy_bits: float = 0.7,
        memory: int = 200,
        epochs: int = 10,
        learning_rate: float = 1e-3,
        allocation: str = "optimal",
        net: NetConfig | None = None,
        seed: int = 0,
    ) -> None:
        self.net, meta = checkpoint.net_of("Are", weights, "are", net, seed)
        self.labels_used = meta["labels"]
        self.allocation = validate.known(allocation, ALLOCATIONS, "Are.allocation")
        headed = self.net.config.share_head or allocation == "optimal"
        validate.check(
            "Are.allocation", allocation, headed, "'optimal': this network has no share head"
        )
        self.expert = _expert(expert)
        self.entropy_bits = validate.non_negative("Are.entropy_bits", entropy_bits)
        self.epochs = validate.integer("Are.epochs", epochs)
        self.optimiser = torch.optim.Adam(
            self.net.parameters(), validate.positive("Are.learning_rate", learning_rate), fused=True
        )
        self._room = validate.integer("Are.memory", memory)
        self._memory: Lesson | None = None

    @property
    def num_parameters(self) -> int:
        """Learned numbers."""
        return parameters(self.net)

    def supports(self, instances: Instances) -> str | None:
        """Return why these instances do not fit the network, or None."""
        return features.unsupported(self.net, instances)

    def decide(self, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> Decision:
        """Return everyone's most likely place and its CPU."""
        refuse_unsupported(self, instances, prompts)
        arrays = instances.to("numpy")
        logits, share = features.place_logits(
            self.net, arrays, features.columns(arrays, prompts.latency_weight)
        )
        place = np.argmax(logits, axis=-1)
        if self.allocation == "head" and share is not None:
            cpu = features.rescaled(arrays, place, 1 / (1 + np.exp(-share)))
        else:
            cpu = physics.allocate(arrays, place)
            # dropped tasks are sent back, as the authors do; nobody else's share changes
            place = np.where(cpu == 0, LOCAL, place)
        return Decision(place, cpu).to(instances)

    def entropies(self, instances: Instances, prompts: Prompts) -> Floats:
        """Return the mean entropy over UEs in bits [B]: how unsure the network is of a slot."""
        arrays = instances.to("numpy")
        logits, _ = features.place_logits(
            self.net, arrays, features.columns(arrays, prompts.latency_weight)
        )
        return entropy_bits(logits)

    def adapt(
        self, instances: Instances, prompts: Prompts, decision: Decision, rng: np.random.Generator
    ) -> int:
        """Ask the expert about unsure slots, learn from all remembered labels.

        Return how many were asked for.
        """
        arrays = instances.to("numpy")
        unsure = np.flatnonzero(self.entropies(arrays, prompts) > self.entropy_bits)
        if not unsure.size:
            return 0
        if self.expert is None:
            raise ValueError(
                "Are.expert is None; allowed: an agent to ask for labels, "
                "as adapt has found unsure slots"
            )
        asked, wishes = arrays.take(unsure), prompts.take(unsure)
        new = Lesson.of(asked, wishes, label(self.expert, asked, wishes, rng))
        self._memory = (new if self._memory is None else self._memory.joined(new)).last(self._room)
        for _ in range(self.epochs):
            learn(self.net, self.optimiser, self._memory)
        return len(unsure)


def _expert(expert: str | Agent | None) -> Agent | None:
    """Return the agent that labels, imported and made where it is named."""
    allowed = "an agent with decide(instances, prompts, rng), 'module:Class' of one, or None"
    if isinstance(expert, str):
        module, _, kind = expert.partition(":")
        try:
            return _expert(getattr(importlib.import_module(module), kind)())
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"Are.expert is {expert!r}; allowed: {allowed} ({error})") from error
    decides = expert is None or callable(getattr(expert, "decide", None))
    validate.check("Are.expert", expert, decides, allowed)
    return expert


@dataclasses.dataclass(frozen=True)
class Lesson:
    """Labelled slots, ready for the network."""

    inputs: NDArray[np.float32]  # [B, I]
    place: Places  # [B, N]
    share: NDArray[np.float32]  # [B, N] of the server's CPU; 0 where local

    @classmethod
    def of(cls, instances: Instances, prompts: Prompts, decision: Decision) -> Lesson:
        """Return NumPy instances with their labels."""
        share = decision.shares(instances)
        inputs = features.columns(instances, prompts.latency_weight)
        return cls(inputs, decision.place.astype(np.int64), share.astype(np.float32))

    def take(self, rows: Any) -> Lesson:
        """Return the slots at ``rows``."""
        return Lesson(self.inputs[rows], self.place[rows], self.share[rows])

    def joined(self, *others: Lesson) -> Lesson:
        """Return these slots and then the others."""
        columns = (
            [getattr(lesson, f.name) for lesson in (self, *others)]
            for f in dataclasses.fields(self)
        )
        return Lesson(*(np.concatenate(column) for column in columns))

    def last(self, count: int) -> Lesson:
        """Return the newest slots."""
        return self.take(slice(-count, None))


def label(
    expert: Agent, instances: Instances, prompts: Prompts, rng: np.random.Generator
) -> Decision:
    """Return an expert's decisions, checked.

    A label that is illegal, or late without need, would teach lateness.

    Raises:
        ValueError: naming the expert and the first UE that is late though its own CPU would be in
            time.
    """
    decision = validate.of_kind(
        f"{type(expert).__name__}'s labels", expert.decide(instances, prompts, rng), Decision
    )
    late = physics.evaluate(instances, decision, prompts.objective(instances)).late
    needless = late & ~physics.is_late(physics.local_s(instances), instances.deadline_s)
    if needless.any():
        row, ue = (int(k) for k in np.argwhere(needless)[0])
        place = int(decision.place[row, ue])
        name = f"{type(expert).__name__}'s label of instance {row}, UE {ue}"
        validate.refuse(
            name,
            f"late at place {place}",
            "labels on time wherever the UE itself could be: pass a better expert",
        )
    return decision


def entropy_bits(logits: Floats) -> Floats:
    """Return the mean entropy over UEs in bits [B] of place logits [B, N, P]."""
    top = np.max(logits, axis=-1, keepdims=True)
    weight = np.exp(logits - top)
    chance = weight / np.sum(weight, axis=-1, keepdims=True)
    return np.mean(-np.sum(chance * np.log2(np.where(chance > 0, chance, 1.0)), axis=-1), axis=-1)


def loss_of(net: PlaceNet, lesson: Lesson) -> Tensor:
    """Return the mean cross-entropy of places in nats, plus that of shares with a share head."""
    place = torch.from_numpy(lesson.place)
    logits, share = net(torch.from_numpy(lesson.inputs))
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), place.flatten())
    if share is None:
        return loss
    each = nn.functional.binary_cross_entropy_with_logits(
        share, torch.from_numpy(lesson.share), reduction="none"
    )
    remote = place != LOCAL
    return loss + (each * remote).sum() / remote.sum().clamp_min(1)


def learn(net: PlaceNet, optimiser: torch.optim.Optimizer, lesson: Lesson) -> float:
    """Take one step on a batch and return its loss."""
    net.train()
    optimiser.zero_grad(set_to_none=True)
    loss = loss_of(net, lesson)
    loss.backward()
    optimiser.step()
    net.eval()
    return loss.item()
