"""Rollouts: the linear rule's plan of a slot, and what becomes of it in sampled futures.

Each task of the slot is tried at its second best place while the rest keeps the rule's, all in the
same futures, which the rule goes on to play. The changes that gain most are then tried together,
in further futures. (Bertsekas, Rollout, policy iteration, and distributed reinforcement learning,
2020, chapter 2: one step of improvement of a base policy.)

Shapes: B cells, N UEs, M servers, C plans, F futures, R = C x F rows, K columns.
"""

from __future__ import annotations

import os
import time

import numpy as np

from baselines.queueing.linear import LinearRule, places
from lambo_env.offloading.instances import Decision
from lambo_env.prompts.objectives import Objective
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.instances import QueueInstances
from lambo_env.queueing.policies.columns import latency_share
from lambo_env.queueing.policies.resume import resumed
from lambo_env.queueing.policies.turns import Floats, Ints
from lambo_env.queueing.scenario import QueueScenario
from lambo_env.queueing.slots import Arrivals
from lambo_env.utils import validate
from lambo_env.utils.rules import optional

_SPREAD = 0.5  # sampled tasks lie within this share of the mean on either side
_SURE = 1.0  # standard errors by which a plan must be better than the rule's


class Rollout:
    """The best of the linear rule's plan and of plans near it, over sampled futures.

    A future brings tasks as often as the slot at hand, of any size about the mean, at its rates.

    Args:
        futures: of each plan.
        horizon: slots with further tasks that are looked ahead.
        budget_ms: a time after which no cell of a call is improved any more, whose answers then
            depend on the machine; None: all cells are.
        weights: the rule's, as ``LinearRule`` takes them.
    """

    world = "queueing"
    evaluator_in_loop = True

    def __init__(
        self,
        futures: int = 16,
        horizon: int = 8,
        budget_ms: float | None = None,
        weights: str | os.PathLike[str] | Floats | None = None,
    ) -> None:
        self.futures = validate.integer("Rollout.futures", futures, low=2)
        self.horizon = validate.integer("Rollout.horizon", horizon)
        self.budget_ms = optional(validate.positive)("Rollout.budget_ms", budget_ms)
        self.rule = LinearRule(weights)

    def decide(
        self, instances: QueueInstances, prompts: Prompts, rng: np.random.Generator
    ) -> Decision:
        """Return the places [B, N]."""
        validate.generator(rng)
        begun, objective = time.perf_counter(), prompts.objective(instances)
        weights = self.rule.at(latency_share(instances, objective))
        second = np.zeros(instances.has_task.shape, dtype=np.int64)
        place = places(instances, weights, second)
        for b in range(len(place)):
            spent_ms = 1000 * (time.perf_counter() - begun)
            if self.budget_ms is not None and spent_ms > self.budget_ms:
                break
            ahead = _Ahead(self, instances.take([b]), objective.take([b]), weights[b], rng)
            place[b] = ahead.improved(place[b], second[b])
        return Decision(place, np.zeros(place.shape))


class _Ahead:
    """Futures of one cell."""

    def __init__(
        self,
        options: Rollout,
        instances: QueueInstances,
        objective: Objective,
        weights: Floats,
        rng: np.random.Generator,
    ) -> None:
        self.options, self.instances, self.objective = options, instances, objective
        self.weights, self.rng = weights, rng
        deadline_s = float(instances.deadline_s[0, 0])
        self.scenario = QueueScenario(
            num_ues=instances.num_ues,
            server_cpu_hz=tuple(instances.server_cpu_hz[0].tolist()),
            deadline_s=(deadline_s, deadline_s),
            slot_s=float(instances.slot_s[0]),
            late_penalty=float(instances.late_penalty[0]),
            num_slots=options.horizon + 1,
            data_bits=_about(instances.mean_bits[0]),
            cycles=_about(instances.mean_cycles[0]),
        )

    def improved(self, rule: Ints, second: Ints) -> Ints:
        """Return the best plan found [N]; ``rule`` and ``second`` [N] are the rule's choices."""
        who = np.flatnonzero(self.instances.has_task[0])
        if not who.size:
            return rule
        single = np.repeat(rule[None], who.size, axis=0)
        single[np.arange(who.size), who] = second[who]
        gain, error = self._gains(rule, single)
        order = np.argsort(-gain / error, kind="stable")
        order = order[: np.count_nonzero(gain > 0)]
        counts = [k for k in range(1, order.size + 1) if k & (k - 1) == 0]
        if not counts:
            return rule
        joint = np.repeat(rule[None], len(counts), axis=0)
        for plan, count in zip(joint, counts, strict=True):
            changed = who[order[:count]]
            plan[changed] = second[changed]
        gain, error = self._gains(rule, joint)
        best = int(np.argmax(gain / error))
        return joint[best] if gain[best] > _SURE * error[best] else rule

    def _gains(self, rule: Ints, plans: Ints) -> tuple[Floats, Floats]:
        """Return what plans [C, N] save against the rule's, and standard errors; each [C]."""
        cost = self._cost(np.concatenate([rule[None], plans]))
        saved = cost[0] - cost[1:]
        spread = saved.std(axis=1, ddof=1) / np.sqrt(self.options.futures)
        return saved.mean(axis=1), np.maximum(spread, 1e-12)

    def _cost(self, plans: Ints) -> Floats:
        """Return the costs [C, F] of plans [C, N]: of all tasks that settle from now on."""
        futures, count = self.options.futures, len(plans)
        size, rows = futures * count, np.arange(futures * count)
        here = self.instances.repeat(size)
        cells = resumed(self.scenario, here)
        cells.price(rows, self.objective.take(np.zeros(size, dtype=np.int64)))
        weights = np.broadcast_to(self.weights, (size, self.weights.size))
        slot = Arrivals(here.has_task, here.data_bits, here.cycles, here.uplink_bps)
        place, total = np.repeat(plans, futures, axis=0), np.zeros(size)
        for at in range(cells.end):
            cells.put(rows, slot)
            if at <= self.options.horizon:
                shown, _ = cells.show(rows)
                if at > 0:
                    place = places(shown, weights)
                row, ue = np.nonzero(shown.has_task)
                cells.decide(row, ue, place[row, ue])
                slot = self._arrivals(count)
            total += cells.serve(rows)
        return total.reshape(count, futures)

    def _arrivals(self, count: int) -> Arrivals:
        """Draw a slot of each future, the same for all plans."""
        shape = (self.options.futures, self.instances.num_ues)
        has_task = self.rng.random(shape) < self.instances.has_task.mean()
        ends = (self.scenario.data_bits, self.scenario.cycles)
        data_bits, cycles = (has_task * self.rng.uniform(*pair, shape) for pair in ends)
        parts = [np.tile(part, (count, 1)) for part in (has_task, data_bits, cycles)]
        rates = np.broadcast_to(
            self.instances.uplink_bps, (len(parts[0]), *self.instances.uplink_bps.shape[1:])
        )
        return Arrivals(parts[0], parts[1], parts[2], rates)


def _about(mean: float) -> tuple[float, float]:
    return (1 - _SPREAD) * float(mean), (1 + _SPREAD) * float(mean)
