"""Given traces decided slot by slot, many episodes side by side.

Shapes: E traces, B = copies x E episodes (copy by copy), T slots that bring tasks, N UEs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lambo_env.queueing.dynamics import Cells
from lambo_env.queueing.instances import QueueInstances, TaskOutcomes, Trace
from lambo_env.queueing.policies.turns import Floats, Ints
from lambo_env.queueing.scenario import QueueScenario
from lambo_env.queueing.slots import Arrivals, Devices

Decide = Callable[[QueueInstances], Ints]
_TASK = ("data_bits", "cycles")


class Simulation:
    """Episodes of traces that agree in their sizes, slot by slot.

    Args:
        scenario: whose deadlines, discipline and mean task they have.
        traces: E of them.
        latency_weight: of each episode's prompt, a number or [B].
        copies: how often each trace is played.
    """

    def __init__(
        self,
        scenario: QueueScenario,
        traces: Sequence[Trace],
        latency_weight: Any = 1.0,
        copies: int = 1,
    ) -> None:
        def stacked(name: str) -> Floats:
            values = np.stack([getattr(trace, name) for trace in traces])
            return np.tile(values, (copies, *(1,) * (values.ndim - 1)))

        self.rows, self.slot = np.arange(copies * len(traces)), 0
        self.num_slots, self.cells = scenario.num_slots, Cells(scenario, len(self.rows))
        self.latency_weight = np.broadcast_to(latency_weight, len(self.rows))
        self.has_task, self.uplink_bps = stacked("has_task"), stacked("uplink_bps")
        self.tasks = [stacked(name) * self.has_task for name in _TASK]  # [B, T, N]
        self.place = np.zeros(self.has_task.shape, dtype=np.int64)
        self.cells.start(self.rows, Devices(*map(stacked, Devices._fields)))

    def enter(self) -> QueueInstances:
        """Let the next slot's tasks come; return what agents see."""
        at = self.slot
        self._put()
        shown, _ = self.cells.show(self.rows)
        if at == 0:
            self.cells.price(self.rows, shown.objective(self.latency_weight))
        return shown

    def serve(self, place: Ints | None = None) -> Floats:
        """Let the tasks go to their places [B, N], serve the slot; return what settled costs [B].

        Without places no tasks have come.
        """
        at = self.slot
        if place is None:
            self._put()
        else:
            self.place[:, at] = place
            row, ue = np.nonzero(self.has_task[:, at])
            self.cells.decide(row, ue, place[row, ue])
        self.slot += 1
        return self.cells.serve(self.rows)

    def _put(self) -> None:
        at = min(self.slot, self.num_slots - 1)  # later ones bring no tasks, whatever is written
        has_task: Any = self.has_task[:, at]
        data_bits, cycles = (values[:, at] for values in self.tasks)
        links = self.uplink_bps[:, self.slot]
        self.cells.put(self.rows, Arrivals(has_task, data_bits, cycles, links))

    def play(self, decide: Decide) -> TaskOutcomes:
        """Play all episodes to their ends; return what became of their tasks [B, T, N]."""
        for at in range(self.uplink_bps.shape[1]):
            self.serve(decide(self.enter()) if at < self.num_slots else None)
        return self.outcomes()

    def outcomes(self) -> TaskOutcomes:
        """Return what has become of the tasks [B, T, N]."""
        return self.cells.stations.outcomes(self.rows, self.place)
