"""Given traces played by whoever decides, many episodes side by side.

Shapes: E traces, B = copies x E episodes (copy by copy), T slots that bring tasks, N UEs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from baselines.queueing.turns import Floats, Ints
from lambo_env.queueing.instances import QueueInstances, TaskOutcomes, Trace
from lambo_env.queueing.slots import Devices
from lambo_env.queueing.stations import Prices, Sizes, Stations

Decide = Callable[[QueueInstances], Ints]
_TASK = ("has_task", "data_bits", "cycles")


class Simulation:
    """Episodes of traces that agree in their sizes, slot by slot.

    Args:
        traces: E of one scenario.
        latency_weight: of each episode's prompt, a number or [B].
        mean_cycles: E[C] of a task.
        copies: how often each trace is played.
    """

    def __init__(
        self,
        traces: Sequence[Trace],
        latency_weight: Any,
        mean_cycles: float,
        copies: int = 1,
    ) -> None:
        first, self.copies = traces[0], copies
        self.rows = np.arange(copies * len(traces))
        self.num_slots, ues = first.has_task.shape

        def stacked(name: str) -> Floats:
            values = np.stack([getattr(trace, name) for trace in traces])
            return np.tile(values, (copies, *(1,) * (values.ndim - 1)))

        devices = Devices(*map(stacked, Devices._fields))
        self.tasks = [stacked(name) for name in _TASK]  # [B, T, N]
        for values in self.tasks[1:]:
            values *= self.tasks[0]
        self.uplink_bps = stacked("uplink_bps")  # [B, T + L - 1, N, M]
        sizes = Sizes(
            *(len(self.rows), ues, len(first.server_cpu_hz), self.num_slots),
            *(first.deadline_slots, first.slot_s, first.discipline),
        )
        size = (len(self.rows), ues)
        self._constant = {
            **devices._asdict(),
            "late_penalty": stacked("late_penalty"),
            "deadline_s": np.full(size, first.deadline_s),
            "slot_s": np.full(len(self.rows), first.slot_s),
            "mean_cycles": np.full(len(self.rows), mean_cycles),
        }
        self.stations = Stations(sizes)
        known = QueueInstances.unchecked(
            uplink_bps=self.uplink_bps, cycles=self.tasks[2], **self._constant
        )
        objective = known.objective(np.broadcast_to(latency_weight, len(self.rows)))
        prices = Prices(
            objective.cost_per_s, objective.cost_per_j, self._constant["late_penalty"]
        )
        self.stations.begin(self.rows, devices, prices)

    def instances(self, slot: int) -> QueueInstances:
        """Return what agents see at the start of a slot that brings tasks."""
        rates = self.uplink_bps[:, slot]
        waiting = self.stations.waiting(self.rows, rates)._asdict()
        tasks = {
            name: values[:, slot] for name, values in zip(_TASK, self.tasks, strict=True)
        }
        return QueueInstances.unchecked(uplink_bps=rates, **tasks, **waiting, **self._constant)

    def step(self, slot: int, place: Ints | None = None) -> Floats:
        """Let the tasks of a slot join where they go [B, N], serve it; return what settled [B]."""
        if place is not None:
            row, ue = np.nonzero(self.tasks[0][:, slot])
            new = (values[row, slot, ue] for values in self.tasks[1:])
            self.stations.join(row, ue, place[row, ue], *new)
        return self.stations.serve(self.rows, self.uplink_bps[:, slot])

    def play(self, decide: Decide) -> TaskOutcomes:
        """Play all episodes to their ends; return what became of their tasks [B, T, N]."""
        for slot in range(self.uplink_bps.shape[1]):
            place = decide(self.instances(slot)) if slot < self.num_slots else None
            self.step(slot, place)
        return self.stations.outcomes(self.rows)

