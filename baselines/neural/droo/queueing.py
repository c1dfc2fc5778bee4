"""DROO where tasks wait: each slot on its own, the best of K candidates by what they promise.

A network shared by all UEs and servers scores the places of a slot's tasks as they are before any
choice; order-preserving quantisation makes candidates, as in ``agent``. There is no simulator of
what is to come, so that the critic is the slot's own: what its tasks are estimated to cost, each
counting the choices of those before it. The best candidate is played, remembered, and learned.

Shapes: B cells, N UEs, J turns, M servers, P = M + 1 places, K candidates, C columns.
"""

from __future__ import annotations

import dataclasses
from collections import deque

import numpy as np
import torch
from torch import nn

from baselines.neural.droo.agent import order_preserving
from baselines.neural.networks import plain, seeded
from baselines.queueing.rules import timely_cost
from lambo_env.cell.places import over_places
from lambo_env.offloading.instances import Decision
from lambo_env.prompts.objectives import Objective
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.instances import QueueInstances
from lambo_env.queueing.policies.columns import COLUMNS, PlaceColumns, latency_share
from lambo_env.queueing.policies.turns import Floats, Ints, Turns, decide, turns
from lambo_env.utils import rules, validate
from lambo_env.utils.rules import Ruled, ruled


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrooSlotConfig(Ruled):
    """How it learns.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    candidates: int = ruled(50, validate.integer)
    hidden: int = ruled(64, validate.integer)
    memory: int = ruled(1024, validate.integer)  # slots that it remembers
    batch: int = ruled(64, validate.integer)
    every: int = ruled(10, validate.integer)  # slots between two steps
    learning_rate: float = ruled(1e-3, validate.positive)
    seed: int = ruled(0, rules.count)  # of the network's weights


class DrooSlot:
    """DROO online, slot by slot; it knows nothing at first and learns in ``decide``.

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
        self.optimiser = torch.optim.Adam(self.net.parameters(), self.config.learning_rate)
        # columns [J, P, C + 1], places [J], whether there is a task [J]
        self.memory: deque[tuple[Floats, Ints, Floats]] = deque(maxlen=self.config.memory)
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
        now, objective = turns(instances), prompts.objective(instances)
        columns = _before_any_choice(instances, now, latency_share(instances, objective))
        there = np.take_along_axis(instances.has_task, now.ue, axis=1)
        with torch.inference_mode():
            scores = self.net(torch.as_tensor(columns, dtype=torch.float32))[..., 0].numpy()
        closed = ~there[..., None] & (np.arange(scores.shape[-1]) > 0)
        plans = order_preserving(np.where(closed, -np.inf, scores), self.config.candidates)
        best = np.argmin(_promised(instances, objective, now, plans), axis=1)
        chosen = plans[np.arange(len(plans)), best]
        if self.online:
            self._learn(columns, chosen, there, rng)
        place = np.zeros(instances.has_task.shape, dtype=np.int64)
        np.put_along_axis(place, now.ue, np.where(there, chosen, 0), axis=1)
        return Decision(place, np.zeros(place.shape))

    def _learn(
        self, columns: Floats, chosen: Ints, there: Floats, rng: np.random.Generator
    ) -> None:
        self.memory.extend(zip(columns, chosen, there, strict=True))
        self.slots += 1
        if self.slots % self.config.every:
            return
        picked = rng.integers(len(self.memory), size=self.config.batch)
        parts = [self.memory[int(k)] for k in picked]
        seen = np.concatenate([columns[there] for columns, _, there in parts])
        label = np.concatenate([places[there] for _, places, there in parts])
        if label.size:
            logits = self.net(torch.as_tensor(seen, dtype=torch.float32))[..., 0]
            loss = nn.functional.cross_entropy(logits, torch.as_tensor(label))
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()


def _before_any_choice(instances: QueueInstances, now: Turns, share: Floats) -> Floats:
    """Return the columns [B, J, P, C + 1] of all turns, the last one the weight of latency."""
    columns = PlaceColumns(now, instances.slot_s)
    found = []
    for j in range(now.ue.shape[1]):
        edge_s = np.maximum(now.ready_s[:, j], now.work_s) + now.run_s[:, j]
        found.append(columns.at(j, over_places(now.local_s[:, j], edge_s, np), now.work_s))
    whole = np.stack(found, axis=1)
    asked = np.broadcast_to(share[:, None, None, None], (*whole.shape[:-1], 1))
    return np.concatenate([whole, asked], axis=-1)


def _promised(instances: QueueInstances, objective: Objective, now: Turns, plans: Ints) -> Floats:
    """Return what the tasks of a slot are estimated to cost under plans [B, K, J]: [B, K]."""
    batch, count, _ = plans.shape
    many, rows = instances.repeat(count), np.arange(batch * count)
    again, asked = turns(many), objective.take(np.repeat(np.arange(batch), count))
    flat, total = plans.reshape(batch * count, -1), np.zeros(batch * count)
    there = np.take_along_axis(many.has_task, again.ue, axis=1)

    def choose(j: int, finish_s: Floats, work_s: Floats) -> Ints:
        cost = timely_cost(asked, again, j, finish_s, many.late_penalty)
        total[:] += cost[rows, flat[:, j]] * there[:, j]
        return flat[:, j]

    decide(many, again, choose)
    return total.reshape(batch, count)
