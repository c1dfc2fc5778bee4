"""DROO where tasks wait: each slot on its own, the best of K candidates by drift plus penalty.

There is no simulator of what is to come, so that the critic prices a slot by what it does to the
queues plus what its tasks are estimated to cost, as in LyDROO (Bi, Huang, Wang and Zhang, arXiv
2010.01370). The network, shared by all UEs and servers, scores the places of a slot's tasks in
turn: minus the critic's price of the place, plus what it has learned. Order-preserving quantisation
makes candidates of the scores, as in ``agent``; the best one is played, remembered, and learned.

Shapes: B cells, N UEs, J turns, M servers, P = M + 1 places, K candidates, C columns.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines.neural.droo.agent import order_preserving
from baselines.neural.networks import plain, seeded
from baselines.queueing.rules import drift, local_cost, timely_cost
from lambo_env.offloading.instances import Decision
from lambo_env.prompts.objectives import Objective
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.instances import QueueInstances
from lambo_env.queueing.policies.columns import COLUMNS, PlaceColumns, latency_share
from lambo_env.queueing.policies.turns import Floats, Ints, decide, turns
from lambo_env.utils import rules, validate
from lambo_env.utils.rules import Ruled, ruled

_SHARPNESS = 10.0  # scores per unit of a price


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrooSlotConfig(Ruled):
    """How it prices and learns.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    candidates: int = ruled(50, validate.integer)
    hidden: int = ruled(64, validate.integer)
    memory: int = ruled(1024, validate.integer)  # slots that it remembers
    batch: int = ruled(64, validate.integer)
    every: int = ruled(10, validate.integer)  # slots between two steps
    learning_rate: float = ruled(1e-3, validate.positive)
    # of the estimated cost against the drift; the default is the best of a few on training seeds
    v: float = ruled(0.4, validate.positive)
    seed: int = ruled(0, rules.seed)  # of the network's weights


class Pricing:
    """What the critic says of a slot's turns.

    The weight ``v`` times the estimated cost, lateness included, in costs of a mean task that a UE
    runs itself; plus the drift.
    """

    def __init__(self, instances: QueueInstances, objective: Objective, v: float) -> None:
        self.instances, self.objective, self.v = instances, objective, v
        self.turns, self.scale = turns(instances), local_cost(instances, objective)[:, None]

    def __call__(self, j: int, finish_s: Floats, work_s: Floats) -> Floats:
        """Return the prices of turn j's places [B, P]."""
        late_penalty = self.instances.late_penalty
        cost = timely_cost(self.objective, self.turns, j, finish_s, late_penalty)
        pushed = drift(self.instances, self.turns, j, work_s)
        price: Floats = self.v * cost / self.scale + pushed
        return price


class DrooSlot:
    """DROO online, slot by slot: at first its best guess is the critic's, turn by turn.

    It learns in ``decide``.

    Args:
        config: how.
        online: learn; False: stay as it is.
    """

    world = "queueing"
    evaluator_in_loop = True

    def __init__(self, config: DrooSlotConfig | None = None, online: bool = True) -> None:
        given = DrooSlotConfig() if config is None else config
        self.config = validate.of_kind("DrooSlot.config", given, DrooSlotConfig)
        self.online = validate.boolean("DrooSlot.online", online)
        with seeded(self.config.seed):
            self.net = plain((len(COLUMNS) + 1, self.config.hidden, self.config.hidden, 1))
        for parameter in self.net[-1].parameters():
            nn.init.zeros_(parameter)
        self.optimiser = torch.optim.Adam(self.net.parameters(), self.config.learning_rate)
        # columns [J, P, C + 1], prices [J, P], places [J], whether there is a task [J]
        self.memory: deque[tuple[Floats, Floats, Ints, Floats]] = deque(maxlen=self.config.memory)
        self.slots = 0

    @property
    def num_parameters(self) -> int:
        """Learned numbers."""
        return sum(parameter.numel() for parameter in self.net.parameters())

    def decide(
        self, instances: QueueInstances, prompts: Prompts, rng: np.random.Generator
    ) -> Decision:
        """Return the places [B, N] of the cheapest candidates."""
        validate.generator(rng)
        objective = prompts.objective(instances)
        slot = _Slot(instances, objective, self.config.v)
        there = np.take_along_axis(instances.has_task, slot.turns.ue, axis=1)
        with torch.inference_mode():
            scores = slot.play(lambda j, columns, price: self._scores(columns, price).numpy())[0]
        closed = ~there[..., None] & (np.arange(scores.shape[-1]) > 0)
        plans = order_preserving(np.where(closed, -np.inf, scores), self.config.candidates)
        best = np.argmin(_promised(instances, objective, plans, self.config.v), axis=1)
        chosen = plans[np.arange(len(plans)), best]
        if self.online:
            self._learn(slot, chosen, there, rng)
        place = np.zeros(instances.has_task.shape, dtype=np.int64)
        np.put_along_axis(place, slot.turns.ue, np.where(there, chosen, 0), axis=1)
        return Decision(place, np.zeros(place.shape))

    def _scores(self, columns: Floats, price: Floats) -> Tensor:
        """Return the scores [..., P] of places with columns [..., P, C + 1] and prices [..., P]."""
        learned: Tensor = self.net(torch.as_tensor(columns, dtype=torch.float32))[..., 0]
        return learned - _SHARPNESS * torch.as_tensor(price, dtype=torch.float32)

    def _learn(self, slot: _Slot, chosen: Ints, there: Floats, rng: np.random.Generator) -> None:
        _, columns, prices = slot.play(
            lambda j, columns, price: chosen[:, j, None] == np.arange(price.shape[1])
        )
        self.memory.extend(zip(columns, prices, chosen, there, strict=True))
        self.slots += 1
        if self.slots % self.config.every:
            return
        picked = rng.integers(len(self.memory), size=self.config.batch)
        parts = [self.memory[int(k)] for k in picked]
        seen, price, label = (
            np.concatenate([part[k][part[3]] for part in parts]) for k in range(3)
        )
        if label.size:
            loss = nn.functional.cross_entropy(self._scores(seen, price), torch.as_tensor(label))
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()


class _Slot:
    """A slot's turns, and what they look like as they are played; what plays share is kept."""

    def __init__(self, instances: QueueInstances, objective: Objective, v: float) -> None:
        self.instances, self.price = instances, Pricing(instances, objective, v)
        self.turns = self.price.turns
        self.share = latency_share(instances, objective)
        self.at = PlaceColumns(self.turns, instances.slot_s).at

    def play(self, score: Callable[[int, Floats, Floats], Any]) -> tuple[Floats, Floats, Floats]:
        """Take the place of the highest score in turn.

        Args:
            score: gets a turn, the columns [B, P, C + 1] and the prices [B, P] of its places.

        Returns:
            The scores [B, J, P], columns [B, J, P, C + 1] and prices [B, J, P] of all turns.
        """
        columns, prices, scores = [], [], []

        def choose(j: int, finish_s: Floats, work_s: Floats) -> Ints:
            seen = self.at(j, finish_s, work_s)
            asked = np.broadcast_to(self.share[:, None, None], (*seen.shape[:-1], 1))
            columns.append(np.concatenate([seen, asked], axis=-1))
            prices.append(self.price(j, finish_s, work_s))
            scores.append(score(j, columns[-1], prices[-1]))
            return np.argmax(scores[-1], axis=1)

        decide(self.instances, self.turns, choose)
        return np.stack(scores, axis=1), np.stack(columns, axis=1), np.stack(prices, axis=1)


def _promised(instances: QueueInstances, objective: Objective, plans: Ints, v: float) -> Floats:
    """Return the prices of a slot under plans [B, K, J]: [B, K]."""
    batch, count, _ = plans.shape
    many, rows = instances.repeat(count), np.arange(batch * count)
    price = Pricing(many, objective.take(np.repeat(np.arange(batch), count)), v)
    flat, total = plans.reshape(batch * count, -1), np.zeros(batch * count)
    there = np.take_along_axis(many.has_task, price.turns.ue, axis=1)

    def choose(j: int, finish_s: Floats, work_s: Floats) -> Ints:
        total[:] += price(j, finish_s, work_s)[rows, flat[:, j]] * there[:, j]
        return flat[:, j]

    decide(many, price.turns, choose)
    return total.reshape(batch, count)
