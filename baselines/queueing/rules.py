"""Hand-made rules: each takes a slot's tasks UE by UE, by what the places promise.

Shapes: B episodes, N UEs, M edge servers, P = M + 1 places.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from lambo_env.cell.places import over_places
from lambo_env.offloading.instances import Decision
from lambo_env.prompts.objectives import Objective
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.instances import QueueInstances
from lambo_env.queueing.policies.turns import Floats, Ints, Turns, decide, turns
from lambo_env.utils import validate

COUNTS = ("stale", "fresh", "slot")


def _answer(place: Ints) -> Decision:
    return Decision(place, np.zeros(place.shape))


def energy_j(turns: Turns, j: int) -> Floats:
    """Return what each place would spend on turn j [B, P], at present rates."""
    local_j = turns.local_power_w[:, j] * turns.local_run_s[:, j]
    return over_places(local_j, turns.tx_power_w[:, j, None] * turns.upload_s[:, j], np)


class ShortestFinish:
    """Each task goes where it is estimated to end first.

    Args:
        counts: what is known of the servers' work: "slot" counts the choices made before in the
            slot, "fresh" what waited when it began, "stale" what waited a slot before that. A stale
            one remembers the slot before, so that it plays one batch of episodes, in order.
    """

    world = "queueing"

    def __init__(self, counts: str = "slot") -> None:
        self.counts = validate.known(counts, COUNTS, "ShortestFinish.counts")
        self._before: Floats | None = None

    def decide(
        self, instances: QueueInstances, prompts: Prompts, rng: np.random.Generator
    ) -> Decision:
        """Return the places [B, N]."""
        validate.generator(rng)
        now = turns(instances)
        if self.counts == "stale":
            now = self._aged(instances, now)

        def choose(j: int, finish_s: Floats, work_s: Floats) -> Ints:
            return self.choose(now.deadline_s[:, j], finish_s)

        return _answer(decide(instances, now, choose, count=self.counts == "slot"))

    def choose(self, deadline_s: Floats, finish_s: Floats) -> Ints:
        """Return the place [B] of the earliest of the estimates [B, P]."""
        return np.argmin(finish_s, axis=1)

    def _aged(self, instances: QueueInstances, now: Turns) -> Turns:
        fresh, before = now.work_s, self._before
        self._before = fresh
        if before is None or before.shape != fresh.shape:
            before = np.zeros_like(fresh)
        begins = ~(instances.cpu_wait_cycles.any(1) | instances.uplink_wait_bits.any(1))
        begins &= ~fresh.any(axis=1)  # nothing waits anywhere: another episode, or all the same
        return dataclasses.replace(now, work_s=np.where(begins[:, None], 0.0, before))


class LocalIfFits(ShortestFinish):
    """Local where that ends in time, else where it is estimated to end first."""

    def __init__(self) -> None:
        super().__init__("slot")

    def choose(self, deadline_s: Floats, finish_s: Floats) -> Ints:
        """Return the places [B]."""
        return np.where(finish_s[:, 0] <= deadline_s, 0, super().choose(deadline_s, finish_s))


class LeastCost:
    """Each task goes where it is estimated to cost least, lateness included.

    Under latency alone it is shortest-finish but for tasks that are late everywhere.
    """

    world = "queueing"

    def decide(
        self, instances: QueueInstances, prompts: Prompts, rng: np.random.Generator
    ) -> Decision:
        """Return the places [B, N]."""
        validate.generator(rng)
        now, objective = turns(instances), prompts.objective(instances)

        def choose(j: int, finish_s: Floats, work_s: Floats) -> Ints:
            cost = timely_cost(objective, now, j, finish_s, instances.late_penalty)
            return np.argmin(cost, axis=1)

        return _answer(decide(instances, now, choose))


def timely_cost(
    objective: Objective, now: Turns, j: int, finish_s: Floats, late_penalty: Floats
) -> Floats:
    """Return what turn j is estimated to cost at each place [B, P], lateness included.

    A place where it is late costs the more the later, since the estimate may err.
    """
    spent_j, deadline_s = energy_j(now, j), now.deadline_s[:, j, None]
    late = (1 + late_penalty[:, None]) * _cost(objective, deadline_s, spent_j[:, :1])
    timely = _cost(objective, finish_s, spent_j)
    return np.where(finish_s <= deadline_s, timely, late * finish_s / deadline_s)


def _cost(objective: Objective, seconds: Floats, joules: Floats) -> Floats:
    cost: Floats = objective.cost_per_s[:, None] * seconds + objective.cost_per_j[:, None] * joules
    return cost


class PowerOfTwo:
    """Of two places drawn at random, the one where the task is estimated to end first.

    Mitzenmacher, The power of two choices in randomized load balancing (2001).
    """

    world = "queueing"

    def decide(
        self, instances: QueueInstances, prompts: Prompts, rng: np.random.Generator
    ) -> Decision:
        """Return the places [B, N]; two uniforms per UE are drawn."""
        validate.generator(rng)
        now, places = turns(instances), instances.num_servers + 1
        uniform = rng.random((*instances.has_task.shape, 2))
        first = np.floor(uniform[..., 0] * places).astype(np.int64)
        step = np.floor(uniform[..., 1] * (places - 1)).astype(np.int64)
        both = np.stack([first, (first + 1 + step) % places], axis=-1)
        rows = np.arange(len(both))

        def choose(j: int, finish_s: Floats, work_s: Floats) -> Ints:
            drawn = both[rows, now.ue[:, j]]
            better = np.argmin(np.take_along_axis(finish_s, drawn, axis=1), axis=1)
            chosen: Ints = drawn[rows, better]
            return chosen

        return _answer(decide(instances, now, choose))


class Lyapunov:
    """Drift plus penalty: v x the task's own cost on idle stations + queues x what it adds to them.

    Neely, Stochastic Network Optimization (2010), section 4, with the squares of queues weighted by
    one over their station's capacity: a queue counts in deadlines that it lasts, a task in mean
    tasks. The cost is that of an on-time task over that of running a mean task locally.

    Args:
        v: weight of the penalty, > 0; the default is the best of a few on training seeds.
    """

    world = "queueing"

    def __init__(self, v: float = 0.4) -> None:
        self.v = validate.positive("Lyapunov.v", v)

    def decide(
        self, instances: QueueInstances, prompts: Prompts, rng: np.random.Generator
    ) -> Decision:
        """Return the places [B, N]."""
        validate.generator(rng)
        now, objective = turns(instances), prompts.objective(instances)
        scale = local_cost(instances, objective)[:, None]

        def choose(j: int, finish_s: Floats, work_s: Floats) -> Ints:
            idle_s = over_places(now.local_run_s[:, j], now.upload_s[:, j] + now.run_s[:, j], np)
            penalty = _cost(objective, idle_s, energy_j(now, j)) / scale
            return np.argmin(self.v * penalty + drift(instances, now, j, work_s), axis=1)

        return _answer(decide(instances, now, choose))


def drift(instances: QueueInstances, now: Turns, j: int, work_s: Floats) -> Floats:
    """Return how far turn j would push the squares of queues at each place [B, P].

    The deadlines that the place's queues last, times the task's size in mean tasks.
    """
    wait_s = over_places(now.local_wait_s[:, j], now.uplink_wait_s[:, j, None] + work_s, np)
    size = now.cycles[:, j, None] / instances.mean_cycles[:, None]
    pushed: Floats = wait_s / now.deadline_s[:, j, None] * size
    return pushed


def local_cost(instances: QueueInstances, objective: Objective) -> NDArray[np.float64]:
    """Return the on-time cost [B] of a mean task that a mean UE runs itself."""
    per_cycle = 1 / instances.local_cpu_hz
    joules = (instances.local_power_w * per_cycle).mean(axis=1)
    cost = objective.cost_per_s * per_cycle.mean(axis=1) + objective.cost_per_j * joules
    return np.asarray(instances.mean_cycles * cost)
