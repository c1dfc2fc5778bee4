"""Cells under way: what the stations hold, what the present slot has brought, and what it shows."""

from __future__ import annotations

from typing import Any

import numpy as np

from lambo_env.queueing.instances import Floats, Ints, QueueInstances
from lambo_env.queueing.scenario import QueueScenario
from lambo_env.queueing.slots import Arrivals, Devices
from lambo_env.queueing.stations import Prices, Sizes, Stations
from lambo_env.utils.rows import Rows


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

    now: QueueInstances = None  # type: ignore[assignment]  # [B] as the present slots began
    devices: Devices = None  # type: ignore[assignment]  # [B]

    def __init__(self, scenario: QueueScenario, rows: int) -> None:
        self.scenario, self.stations = scenario, Stations(sizes_of(scenario, rows))

    def begin(self, rows: Ints, devices: Devices) -> None:
        """Start new episodes in ``rows`` [R]; nothing costs until ``price`` is called."""
        self.devices = self._some(rows).write(self.devices, devices)
        nothing = np.zeros(rows.size)
        self.stations.begin(rows, devices, Prices(nothing, nothing, self.scenario.late_penalty))

    def _some(self, rows: Ints) -> Rows:
        return Rows(rows, self.stations.sizes.rows)

    def price(self, rows: Ints, objective: Any) -> None:
        """Let tasks of ``rows`` cost what an objective [R] says."""
        self.stations.per_s[rows] = objective.cost_per_s
        self.stations.per_j[rows] = objective.cost_per_j

    def enter(self, rows: Ints, slot: Arrivals) -> QueueInstances:
        """Let slots [R] come in ``rows``; return what they show."""
        scenario, size, some = self.scenario, rows.size, self._some(rows)
        shown = QueueInstances.unchecked(
            **slot._asdict(),
            **some.take(self.devices)._asdict(),
            **self.stations.waiting(rows, slot.uplink_bps)._asdict(),
            deadline_s=np.full(slot.data_bits.shape, scenario.deadline_s[0]),
            late_penalty=np.full(size, scenario.late_penalty),
            slot_s=np.full(size, scenario.slot_s),
            mean_bits=np.full(size, sum(scenario.data_bits) / 2),
            mean_cycles=np.full(size, scenario.mean_cycles),
        )
        self.now = some.write(self.now, shown)
        return shown

    def pass_over(self, rows: Ints, uplink_bps: Floats) -> None:
        """Let slots come in ``rows`` that nobody looks at, with their rates [R, N, M]."""
        self.now.uplink_bps[rows] = uplink_bps

    def decide(self, rows: Ints, ue: Ints, place: Ints) -> None:
        """Let the tasks of UEs in rows [K] join queues at their places."""
        at = rows * self.scenario.num_ues + ue
        data_bits, cycles = self.now.data_bits.take(at), self.now.cycles.take(at)
        self.stations.join(rows, ue, place, data_bits, cycles)

    def serve(self, rows: Ints) -> Floats:
        """Serve the present slots of ``rows``; return what the tasks that settle cost [R]."""
        return self.stations.serve(rows, self._some(rows).take(self.now.uplink_bps))
