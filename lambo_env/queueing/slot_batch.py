"""One slot of B cells, decided UE by UE: how a policy of the environment decides instances.

A row has as many decisions as tasks. All rows end together, with the one that has most; what a row
without a UE to decide is told is ignored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.batch import with_task
from lambo_env.queueing.instances import Bools, Floats, Ints, QueueInstances
from lambo_env.queueing.masks import legal_places, of_current
from lambo_env.queueing.observation import QueueObservations, joined
from lambo_env.utils.rows import Finished


class SlotBatch:
    """B slots of given instances.

    Args:
        num_envs: B.
        objective: observations show the objective in place of the prompt's tokens.
    """

    instances: QueueInstances
    prompts: Prompts

    def __init__(self, num_envs: int, *, objective: bool) -> None:
        self.num_envs, self._objective = num_envs, objective

    def reset(self, rows: Ints, rngs: Any, instances: QueueInstances, prompts: Prompts) -> None:
        """Begin the slots of all rows."""
        self.instances, self.prompts = instances, prompts
        self._seen = QueueObservations(self.num_envs, instances.num_ues, instances.num_servers)
        self._first = with_task(instances.has_task)
        self._legal, self.ue = legal_places(instances), self._first[:, 0].copy()
        self._seen.begin(slice(None), instances, self.ue)
        self.place = np.zeros(instances.has_task.shape, dtype=np.int64)
        self._left = max(int(instances.has_task.sum(axis=1).max()), 1)

    def step(self, rows: Ints, place: Ints, rngs: Any) -> tuple[Floats, Finished | None]:
        """Decide one UE in each of ``rows`` that has one."""
        shown, ues = self.instances, self.place.shape[1]
        there = np.flatnonzero(self.ue[rows] < ues)
        at, ue, where = rows[there], self.ue[rows[there]], place[there]
        self.place[at, ue] = where
        server = np.maximum(where - 1, 0)
        queue, work = joined(
            where,
            shown.cycles[at, ue],
            shown.data_bits[at, ue],
            shown.uplink_bps[at, ue, server],
            shown.cpu_wait_cycles[at, ue],
            shown.uplink_wait_s[at, ue],
            shown.local_cpu_hz[at, ue],
            shown.server_cpu_hz[at, server],
            shown.deadline_s[at, ue],
        )
        padded = np.append(self._first, np.full((self.num_envs, 1), ues), axis=1)
        following = padded[at, ue + 1]
        self.ue[at] = following
        self._seen.decide(at, ue, where, following, queue, work)
        self._left -= 1
        told = {"outcome": {"place": self.place[rows]}}
        over = np.ones(rows.size, dtype=bool)
        return np.zeros(rows.size), None if self._left else Finished(rows, over, told)

    def mask(self) -> Bools:
        """Return where the current UEs' tasks could end in time; local alone without one."""
        return of_current(self._legal, self.ue)

    def observe(self, copy: bool = True) -> dict[str, NDArray[Any]]:
        """Return the observation [B, ...], a copy unless told otherwise."""
        return self._seen.shown(self.prompts, self._objective, copy)
