"""B running episodes of queueing tasks, decided UE by UE.

What the single environment (B = 1) and the vector environment share, line by line.

Generators come from the caller, one per row; at a reset a row takes one draw from its own, which
seeds the episode's. So episodes do not depend on what was decided before. Rows are out of step by
nature.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambo_env.prompts.objectives import unit_of
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.dynamics import Cells
from lambo_env.queueing.instances import Bools, Floats, Ints, QueueInstances, Totals
from lambo_env.queueing.masks import legal_places, of_current
from lambo_env.queueing.observation import QueueObservations
from lambo_env.queueing.physics import local_cost
from lambo_env.queueing.scenario import QueueScenario
from lambo_env.utils.rows import Finished, map_arrays

Generators = Sequence[np.random.Generator]


class QueueBatch:
    """The state of B episodes and the two things that happen to it: ``reset`` and ``step``.

    Args:
        scenario: what is played.
        texts: what prompts are drawn from.
        num_envs: B.
        objective: observations show the objective in place of the prompt's tokens.
        relative: rewards are divided by what a mean task costs that a mean UE runs itself.
    """

    prompts: Prompts

    def __init__(
        self,
        scenario: QueueScenario,
        texts: Prompts,
        num_envs: int,
        *,
        objective: bool,
        relative: bool,
    ) -> None:
        self.scenario, self.texts = scenario, texts
        self.num_envs, self.num_ues = num_envs, scenario.num_ues
        self.cells = Cells(scenario, num_envs)
        self._objective, self._relative = objective, relative
        self._seen = QueueObservations(num_envs, scenario.num_ues, scenario.num_servers)
        shape = (num_envs, scenario.num_ues, scenario.num_servers + 1)
        self._legal = np.zeros(shape, dtype=bool)
        self._unit = np.ones(num_envs)  # cost that a reward of 1 stands for
        self.ue = np.full(num_envs, scenario.num_ues)  # to be decided; N: none
        # the next one with a task
        self._following = np.full((num_envs, scenario.num_ues), scenario.num_ues)
        tasks = (num_envs, scenario.num_slots, scenario.num_ues)
        small: Any = np.int8 if scenario.num_servers < 127 else np.int64
        self._place = np.zeros(tasks, dtype=small)

    @property
    def instances(self) -> QueueInstances:
        """The slots being played, as they began [B]."""
        return self.cells.instances

    # ---- reset -----------------------------------------------------------------------------------

    def reset(self, rows: Ints, rngs: Generators, prompts: Prompts | None = None) -> None:
        """Start new episodes in ``rows``; ``prompts`` [R] replace what is drawn all the same."""
        uniform = self.cells.begin(rows, [rngs[row] for row in rows])
        if prompts is None:
            prompts = self.texts.take(self.texts.pick(uniform))
        everyone = rows.size == self.num_envs
        self.prompts = prompts if everyone else self.prompts.put(rows, prompts)
        shown, totals = self.cells.show(rows)
        self.cells.price(rows, prompts.objective(shown))
        if self._relative:
            self._unit[rows] = local_cost(shown, prompts)
        self._place[rows] = 0
        self._show(rows, shown, totals)
        self._go_on(rows[self.ue[rows] == self.num_ues])

    def _show(self, rows: Ints, shown: QueueInstances, totals: Totals) -> None:
        """Begin to decide the slots of ``rows``, which show ``shown`` [R]."""
        first = with_task(shown.has_task)
        self.ue[rows] = first[:, 0]
        self._following[rows, :-1] = first[:, 1:]
        self._seen.begin(rows, shown, first[:, 0], totals)
        self._legal[rows] = legal_places(shown, totals)

    # ---- step ------------------------------------------------------------------------------------

    def step(self, rows: Ints, place: Ints, rngs: Generators) -> tuple[Floats, Finished | None]:
        """Decide one UE in each of ``rows``; return the rewards [R] and what was finished.

        Slots that follow are served until a task is to be decided; after the last one until all
        tasks have settled.
        """
        ue = self.ue.take(rows)
        there = np.flatnonzero(ue < self.num_ues)  # all but episodes without any task
        acting, who, where = rows.take(there), ue.take(there), place.take(there)
        queue, work = self.cells.decide(acting, who, where)
        self._place[acting, self.cells.stations.slot.take(acting), who] = where
        following = self._following.reshape(-1).take(acting * self.num_ues + who)
        self.ue[acting] = following
        self._seen.decide(acting, who, where, following, queue, work)
        last = rows[self.ue.take(rows) == self.num_ues]
        rewards = np.zeros(rows.size)
        if not last.size:
            return rewards, None
        cost = self._go_on(last)
        rewards -= cost.take(rows) / self._unit.take(rows) / self.num_ues
        over = last[self.ue.take(last) == self.num_ues]
        return rewards, self._finished(over) if over.size else None

    def _go_on(self, rows: Ints) -> Floats:
        """Play slots on in ``rows`` until each has a task to decide, or has ended.

        Return costs [B].
        """
        cost, slot, end = np.zeros(self.num_envs), self.cells.stations.slot, self.cells.end
        rows = rows[slot.take(rows) < end]
        while rows.size:
            cost[rows] += self.cells.serve(rows)
            stop = self.cells.has_task(rows).any(axis=1) | (slot.take(rows) == end)
            shown = rows[stop]
            if shown.size:
                self._show(shown, *self.cells.show(shown))
            rows = rows[~stop]
        return cost

    def _finished(self, rows: Ints) -> Finished:
        """Return what became of the episodes of ``rows``, which have ended."""
        place = self._place[rows].astype(np.int64)
        outcomes = self.cells.stations.outcomes(rows, place)
        parts = map_arrays(np.copy, outcomes)  # the stations' own arrays go on to change
        told = {name: getattr(parts, name) for name in ("place", "latency_s", "late", "energy_j")}
        told["cost"] = outcomes.episode_cost
        return Finished(rows, np.ones(rows.size, dtype=bool), {"outcome": told})

    # ---- what is seen ----------------------------------------------------------------------------

    def mask(self) -> Bools:
        """Return the places where the current UEs' tasks could end in time, bool [B, M + 1].

        Local alone where no UE is current.
        """
        return of_current(self._legal, self.ue)

    def observe(self, copy: bool = True) -> dict[str, NDArray[Any]]:
        """Return the observation [B, ...].

        Without ``copy`` the buffers themselves, overwritten by the next step.
        """
        return self._seen.shown(self.prompts, self._objective, copy)

    def picture(self, row: int) -> dict[str, Any]:
        """Return what a picture of one row shows, as the arguments of ``QueueFrame``."""
        rows, stations = np.asarray([row]), self.cells.stations
        now = self.cells.instances.take(row)
        wait, loads = stations.waiting(rows, now.uplink_bps)
        deadline_s, at = float(now.deadline_s[0, 0]), int(stations.slot[row])
        edge_cycles = now.server_cpu_hz[0] * deadline_s
        outcomes = stations.outcomes(rows, self._place[rows])
        settled = ~np.isnan(outcomes.cost[0])
        recent = slice(max(at - 2 * stations.sizes.deadline_slots + 1, 0), at + 1)
        current = int(self.ue[row])
        return {
            "prompt": self.prompts.texts[row],
            "slot": min(at, self.scenario.num_slots - 1),
            "num_slots": self.scenario.num_slots,
            "current": current if current < self.num_ues else None,
            "has_task": now.has_task[0],
            "cpu_queue": wait.cpu_wait_cycles[0] / (now.local_cpu_hz[0] * deadline_s),
            "uplink_queue": wait.uplink_wait_s[0] / deadline_s,
            "dropped": outcomes.late[0, recent].sum(axis=0),
            "waiting": loads.waiting_cycles[0] / edge_cycles,
            "coming": loads.coming_cycles[0] / edge_cycles,
            "users": loads.users[0],
            "server_cpu_hz": now.server_cpu_hz[0],
            "tasks": int(settled.sum()),
            "late": int(outcomes.late.sum()),
            "cost": float(outcomes.episode_cost[0]),
            "unit": unit_of({name: w[row] for name, w in self.prompts.weights.items()}),
        }


def with_task(has_task: Bools) -> Ints:
    """Return the first UE with a task from each UE on [B, N]; N where there is none."""
    ues = np.arange(has_task.shape[1])
    own = np.where(has_task, ues, ues.size)
    return np.minimum.accumulate(own[:, ::-1], axis=1)[:, ::-1]
