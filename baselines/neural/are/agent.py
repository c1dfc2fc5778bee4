"""ARE (Jiang et al., IEEE Network 2021).

A network supervised by the decisions of a global optimiser.

The optimiser (the expert) is any agent, passed in. Online the network keeps learning where it is
unsure: a slot whose mean entropy over UEs exceeds a threshold is handed to the expert, its answer
joins a memory of fixed length, and the network trains on all of it.
Shapes: B instances, N UEs, M edge servers, P = M + 1 places.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from baselines.neural import checkpoint, features
from baselines.neural.features import Floats, Places
from baselines.neural.networks import NetAgent, NetConfig, PlaceNet, place_logits
from baselines.neural.replay import shuffled_ues
from lambo_agents.protocol import Agent, refuse_unsupported
from lambo_agents.registry import list_agents, make_agent
from lambo_env.offloading import physics
from lambo_env.offloading.instances import LOCAL, Decision, Instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate

ALLOCATIONS = ("optimal", "head")
LABELS = 20_000  # that the shipped weights learnt from


class Are(NetAgent):
    """ARE online: a network supervised on an optimiser's decisions decides in one pass.

    The CPU follows by the closed form. It asks the optimiser where it is unsure.

    Args:
        weights: shipped weights by name, or a path; None: a new network (``net``, ``seed``) that
            knows nothing.
        expert: whom ``adapt`` asks for labels: a registered agent's name, or an agent.
        entropy_bits: mean entropy over UEs above which a slot is worth a label, at most
            log2(M + 1) = 2.32 bits.
        labels_per_slot: the most that are asked for in one call of ``adapt``, the least sure first;
            None: all.
        budget: labels in all; None: no end.
        start_slot: calls of ``adapt`` before the first that may ask.
        every: ask in every so many calls only.
        memory: labelled slots kept, first in first out.
        epochs: over the memory, after each call of ``adapt`` that brought labels.
        learning_rate: Adam's.
        allocation: "optimal", the closed form, or "head", the network's own shares, rescaled to use
            up each server.
        size: of its network: "pooled", shared over UEs and servers, or "60fc", the paper's layers.
        net: config of a new network; None: that of ``size``.
        seed: of a new network's weights.
        online: learn in ``adapt``; False: stay as it is.
    """

    evaluator_in_loop = False
    labels_used = LABELS

    def __init__(
        self,
        weights: str | None = "are",
        expert: str | Agent = "local-search",
        entropy_bits: float = 0.3,
        labels_per_slot: int | None = None,
        budget: int | None = None,
        start_slot: int = 0,
        every: int = 1,
        memory: int = 200,
        epochs: int = 10,
        learning_rate: float = 1e-3,
        allocation: str = "optimal",
        size: str = "pooled",
        net: NetConfig | None = None,
        seed: int = 0,
        online: bool = True,
    ) -> None:
        self.net, meta = checkpoint.net_of("Are", weights, size, net, seed)
        self.labels_used = meta["labels"]
        self.allocation = validate.known(allocation, ALLOCATIONS, "Are.allocation")
        headed = self.net.config.share_head or allocation == "optimal"
        validate.check(
            "Are.allocation", allocation, headed, "'optimal': this network has no share head"
        )
        self.expert, self.online = _expert(expert), validate.boolean("Are.online", online)
        self.entropy_bits = validate.non_negative("Are.entropy_bits", entropy_bits)
        for name, most in (("labels_per_slot", labels_per_slot), ("budget", budget)):
            validate.integer(f"Are.{name}", 1 if most is None else most)
        self.labels_per_slot, self.budget = labels_per_slot, budget
        self.start_slot = validate.integer("Are.start_slot", start_slot, low=0)
        self.every, self.slot, self.asked = validate.integer("Are.every", every), 0, 0
        self.epochs = validate.integer("Are.epochs", epochs)
        self.optimiser = torch.optim.Adam(
            self.net.parameters(), validate.positive("Are.learning_rate", learning_rate), fused=True
        )
        self._room = validate.integer("Are.memory", memory)
        self._memory: Lesson | None = None

    def decide(self, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> Decision:
        """Return everyone's most likely place and its CPU."""
        validate.generator(rng)
        refuse_unsupported(self, instances, prompts)
        arrays = instances.to("numpy")
        logits, share = self._logits(arrays, prompts)
        place = np.argmax(logits, axis=-1)
        if self.allocation == "head" and share is not None:
            cpu = features.rescaled(arrays, place, 1 / (1 + np.exp(-share)))
            return Decision(place, cpu).to(instances)
        return features.allotted(arrays, place).to(instances)

    def _logits(self, arrays: Instances, prompts: Prompts) -> tuple[Floats, Floats | None]:
        columns = self.net.columns(arrays, prompts.latency_weight)
        return place_logits(self.net, arrays, columns)

    def entropies(self, instances: Instances, prompts: Prompts) -> Floats:
        """Return the mean entropy over UEs in bits [B]: how unsure the network is of a slot."""
        return entropy_bits(self._logits(instances.to("numpy"), prompts)[0])

    def adapt(
        self, instances: Instances, prompts: Prompts, decision: Decision, rng: np.random.Generator
    ) -> int:
        """Ask the expert about unsure slots, learn from all remembered labels.

        Return how many were asked for.
        """
        if not self.online:
            return 0
        arrays = instances.to("numpy")
        rows = self._unsure(self.entropies(arrays, prompts))
        self.slot += 1
        if not rows.size:
            return 0
        asked, wishes = arrays.take(rows), prompts.take(rows)
        new = Lesson.of(self.net, asked, wishes, label(self.expert, asked, wishes, rng))
        kept = self._memory
        fits = kept is not None and kept.inputs.shape[1:] == new.inputs.shape[1:]
        self._memory = (kept.joined(new) if kept is not None and fits else new).last(self._room)
        for _ in range(self.epochs):
            learn(self.net, self.optimiser, self._memory, rng)
        self.asked += len(rows)
        return len(rows)

    def _unsure(self, bits: Floats) -> NDArray[np.intp]:
        """Return the rows to ask about now."""
        since = self.slot - self.start_slot
        if since < 0 or since % self.every:
            return np.arange(0)
        unsure = np.flatnonzero(bits > self.entropy_bits)
        limits = [self.labels_per_slot, None if self.budget is None else self.budget - self.asked]
        most = min([len(unsure), *(limit for limit in limits if limit is not None)])
        return np.sort(unsure[np.argsort(-bits[unsure], kind="stable")[:most]])


def _expert(expert: str | Agent) -> Agent:
    """Return the agent that labels, made where it is named."""
    if isinstance(expert, str):
        return make_agent(validate.known(expert, list_agents(), "Are.expert"))
    decides = callable(getattr(expert, "decide", None))
    allowed = "a registered agent's name, or an agent with decide(instances, prompts, rng)"
    validate.check("Are.expert", expert, decides, allowed)
    return expert


@dataclasses.dataclass(frozen=True)
class Lesson:
    """Labelled slots, ready for the network."""

    inputs: NDArray[np.float32]  # [B, N, ...]
    place: Places  # [B, N]
    share: NDArray[np.float32]  # [B, N] of the server's CPU; 0 where local

    @classmethod
    def of(
        cls, net: PlaceNet, instances: Instances, prompts: Prompts, decision: Decision
    ) -> Lesson:
        """Return NumPy instances, as a network reads them, with their labels."""
        share = decision.shares(instances)
        inputs = net.columns(instances, prompts.latency_weight)
        return cls(inputs, decision.place.astype(np.int64), share.astype(np.float32))

    @property
    def parts(self) -> tuple[NDArray[Any], ...]:
        """Its arrays."""
        return self.inputs, self.place, self.share

    def take(self, rows: Any) -> Lesson:
        """Return the slots at ``rows``."""
        return Lesson(*(part[rows] for part in self.parts))

    def joined(self, *others: Lesson) -> Lesson:
        """Return these slots and then the others."""
        columns = zip(self.parts, *(other.parts for other in others), strict=True)
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


def learn(
    net: PlaceNet, optimiser: torch.optim.Optimizer, lesson: Lesson, rng: np.random.Generator
) -> float:
    """Take one step on a batch and return its loss.

    A network that tells UEs by their position gets them in random order.
    """
    if not net.symmetric:
        lesson = Lesson(*shuffled_ues(rng, *lesson.parts))
    net.train()
    optimiser.zero_grad(set_to_none=True)
    loss = loss_of(net, lesson)
    loss.backward()
    optimiser.step()
    net.eval()
    return loss.item()
