"""Cells under way: what the stations hold, what the present slot brings, and what it shows."""

from __future__ import annotations

from typing import Any

import numpy as np

from lambo_env.cell.draws import draw
from lambo_env.cell.seeding import episode_rng
from lambo_env.queueing.instances import Bools, Floats, Ints, QueueInstances, Totals
from lambo_env.queueing.observation import joined
from lambo_env.queueing.scenario import QueueScenario
from lambo_env.queueing.slots import Arrivals, Devices, Inherited, QueueSlots, without_tasks
from lambo_env.queueing.stations import Prices, Sizes, Stations, Waiting
from lambo_env.utils.rows import Rows, map_arrays

_TASK = ("has_task", "data_bits", "cycles")
_AHEAD = 8  # slots that are drawn before they are wanted, so that many rows want some together
_TOGETHER = 64  # rows, whose links fit the second-level cache


def sizes_of(scenario: QueueScenario, rows: int) -> Sizes:
    """Return the sizes of a batch of episodes of a scenario."""
    return Sizes(
        rows=rows,
        num_ues=scenario.num_ues,
        num_servers=scenario.num_servers,
        num_slots=scenario.num_slots,
        deadline_slots=scenario.deadline_slots,
        slot_s=scenario.slot_s,
        discipline=scenario.discipline,
    )


class Cells:
    """B episodes under way, rows in or out of step.

    Args:
        scenario: of all of them.
        rows: B.
    """

    devices: Devices = None  # type: ignore[assignment]  # [B], as all that follows until `begin`
    _inherited: Inherited = None  # type: ignore[assignment]
    _waiting: Waiting = None  # type: ignore[assignment]

    def __init__(self, scenario: QueueScenario, rows: int) -> None:
        self.scenario, self.slots = scenario, QueueSlots(scenario)
        self.stations = Stations(sizes_of(scenario, rows))
        self.end = scenario.num_slots + scenario.deadline_slots - 1
        self._rngs: list[Any] = [None] * rows  # of the episodes under way
        # slots drawn already, in a ring: slot t at t % _AHEAD
        self._drawn = np.zeros(rows, dtype=np.int64)
        self._now = np.arange(rows) * _AHEAD  # where the ring has the present slots
        shape = (rows * _AHEAD, scenario.num_ues)
        self._ring = Arrivals(
            np.zeros(shape, dtype=bool),
            np.zeros(shape),
            np.zeros(shape),
            np.ones((*shape, scenario.num_servers)),
        )

    def begin(self, rows: Ints, rngs: list[np.random.Generator]) -> Floats:
        """Start new episodes in ``rows``, each drawn by a generator of its own [R].

        Nothing costs until ``price`` is called. Return a uniform [R] for the prompts.
        """
        for row, rng in zip(rows.tolist(), rngs, strict=True):
            self._rngs[row] = episode_rng(rng)
        own = [self._rngs[row] for row in rows.tolist()]
        draws = draw(own, rows.size, self.slots.first_draws, extra=1)
        inherited, devices, slot = self.slots.first(draws)
        self._inherited = self._some(rows).write(self._inherited, inherited)
        self.start(rows, devices)
        self.put(rows, slot)
        return np.asarray(draws.uniforms[:, -1])

    def start(self, rows: Ints, devices: Devices) -> None:
        """Start episodes in ``rows`` whose slots are given to ``put``, one before each is shown."""
        self.devices = self._some(rows).write(self.devices, devices)
        nothing = np.zeros(rows.size)
        self.stations.begin(rows, devices, Prices(nothing, nothing, self.scenario.late_penalty))
        self._drawn[rows], self._now[rows] = 0, rows * _AHEAD

    def put(self, rows: Ints, slot: Arrivals) -> None:
        """Take the next slots of ``rows``; of those after the last arrivals the links alone."""
        drawn = self._drawn.take(rows)
        late = drawn >= self.scenario.num_slots
        if late.any():
            slot = without_tasks(slot, late)
        for ring, values in zip(self._ring, slot, strict=True):
            ring[rows * _AHEAD + drawn % _AHEAD] = values
        self._drawn[rows] = drawn + 1

    def price(self, rows: Ints, objective: Any) -> None:
        """Let tasks of ``rows`` cost what an objective [R] says."""
        self.stations.per_s[rows] = objective.cost_per_s
        self.stations.per_j[rows] = objective.cost_per_j

    def has_task(self, rows: Ints) -> Bools:
        """Return which UEs of ``rows`` got a task in the present slot [R, N]."""
        self._draw_ahead(rows)
        return self._ring.has_task[self._now.take(rows)]

    def show(self, rows: Ints) -> tuple[QueueInstances, Totals]:
        """Return what the present slots of ``rows`` show, and remember it for ``decide``.

        They must be drawn: ``has_task`` sees to that.
        """
        uplink_bps = self._ring.uplink_bps[self._now.take(rows)]
        waiting, loads = self.stations.waiting(rows, uplink_bps)
        self._waiting = self._some(rows).write(self._waiting, waiting)
        shown = self._instances(rows, waiting, uplink_bps)
        return shown, Totals(shown.data_bits[..., None] / uplink_bps, *loads)

    @property
    def instances(self) -> QueueInstances:
        """What the present slots showed as they began [B]."""
        rows, waiting = np.arange(self.stations.sizes.rows), map_arrays(np.copy, self._waiting)
        return self._instances(rows, waiting, self._ring.uplink_bps[self._now])

    def _instances(self, rows: Ints, waiting: Waiting, uplink_bps: Floats) -> QueueInstances:
        scenario, size, line = self.scenario, rows.size, self._now.take(rows)
        return QueueInstances.unchecked(
            **{name: part[line] for name, part in zip(_TASK, self._ring, strict=False)},
            uplink_bps=uplink_bps,
            **{name: part[rows] for name, part in self.devices._asdict().items()},
            **waiting._asdict(),
            deadline_s=np.full((size, scenario.num_ues), scenario.deadline_s[0]),
            late_penalty=np.full(size, scenario.late_penalty),
            slot_s=np.full(size, scenario.slot_s),
            mean_bits=np.full(size, sum(scenario.data_bits) / 2),
            mean_cycles=np.full(size, scenario.mean_cycles),
        )

    def decide(self, rows: Ints, ue: Ints, place: Ints) -> tuple[Floats, Floats]:
        """Let the tasks of UEs in rows [K] join queues at their places.

        Return the length of the queue that each has joined, and of a server its work [K] (0 where
        local), both in deadlines.
        """
        ues, servers = self.scenario.num_ues, self.scenario.num_servers
        at = self._now.take(rows) * ues + ue
        data_bits, cycles = self._ring.data_bits.take(at), self._ring.cycles.take(at)
        self.stations.join(rows, ue, place, data_bits, cycles)
        queue, server = rows * ues + ue, np.maximum(place - 1, 0)
        return joined(
            place,
            cycles,
            data_bits,
            self._ring.uplink_bps.take(at * servers + server),
            self._waiting.cpu_wait_cycles.take(queue),
            self._waiting.uplink_wait_s.take(queue),
            self.devices.local_cpu_hz.take(queue),
            self.devices.server_cpu_hz.take(rows * servers + server),
            self.scenario.deadline_s[0],
        )

    def serve(self, rows: Ints) -> Floats:
        """Serve the present slots of ``rows``; return what the tasks that settle cost [R]."""
        now = self._now.take(rows)
        cost = self.stations.serve(rows, self._ring.uplink_bps[now])
        # after the end the last slot stays in sight
        slot = np.minimum(self.stations.slot.take(rows), self.end - 1)
        self._now[rows] = rows * _AHEAD + slot % _AHEAD
        return cost

    # ---- slots drawn ahead -----------------------------------------------------------------------

    def _some(self, rows: Ints) -> Rows:
        return Rows(rows, self.stations.sizes.rows)

    def _draw_ahead(self, rows: Ints) -> None:
        """Draw slots, for all rows that soon want some, if one of ``rows`` wants one now."""
        drawn, slot = self._drawn.take(rows), self.stations.slot
        if ((slot.take(rows) < drawn) | (drawn == self.end)).all():
            return
        ahead = np.minimum(slot + _AHEAD, self.end)
        soon = (self._drawn > 0) & (self._drawn < np.minimum(slot + _AHEAD // 2 + 1, self.end))
        while soon.any():
            want = np.flatnonzero(soon)[:_TOGETHER]
            some = self._some(want)
            own = [self._rngs[row] for row in want.tolist()]
            draws = draw(own, want.size, self.slots.next_draws)
            inherited, arrivals = self.slots.next(some.take(self._inherited), draws)
            self._inherited = some.write(self._inherited, inherited)
            self.put(want, arrivals)
            soon &= self._drawn < ahead
