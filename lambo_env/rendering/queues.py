"""A moment of an episode whose tasks wait: every queue a bar that grows, drops marked.

Plain numbers, drawn by ``queue_scene``.

Shapes: N UEs, M edge servers.
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_BAR = 24


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class QueueFrame:
    """What a picture of one environment shows. Queues are in deadlines: 1 is all that fits."""

    prompt: str
    slot: int  # counted from 0
    num_slots: int  # that bring tasks
    current: int | None  # the UE whose task is to be decided; None at the end
    has_task: NDArray[np.bool_]  # [N] got one in this slot
    cpu_queue: Floats  # [N]
    uplink_queue: Floats  # [N]
    dropped: NDArray[np.int64]  # [N] tasks that came within two deadlines and were dropped
    waiting: Floats  # [M] work that waits
    coming: Floats  # [M] work under way
    users: NDArray[np.int64]  # [M] UEs with work there
    server_cpu_hz: Floats  # [M]
    tasks: int  # settled so far
    late: int  # of them
    cost: float  # mean of them
    unit: str  # of cost: "s", "J" or "" for a mix
    title: str = ""  # who plays; empty: nothing is said

    def draw(self, surface: Any) -> None:
        """Draw on a pygame-ce Surface of 800 x 600 or larger; no display is needed."""
        importlib.import_module("lambo_env.rendering.queue_scene").draw(surface, self)

    def text(self) -> str:
        """Return lines of at most 80 characters (a long prompt's line runs on).

        ``#`` is what waits, ``-`` what is under way; the scale ends at one deadline.
        """
        where = f'slot {self.slot + 1} of {self.num_slots}, prompt "{self.prompt}"'
        lines = [f"{self.title}: {where}" if self.title else where]
        for server, capacity in enumerate(self.server_cpu_hz):
            filled = round(min(self.waiting[server], 1.0) * _BAR)
            after = round(min(self.waiting[server] + self.coming[server], 1.0) * _BAR) - filled
            bar = f"{'#' * filled + '-' * after:.<{_BAR}}"
            said = f"{capacity / 1e9:7.3g} Gcycles/s, {self.users[server]} UEs"
            lines.append(f"server {server + 1:2d} [{bar}] {said}")
        queues = {"CPU": self.cpu_queue, "uplink": self.uplink_queue}
        for name, queue in queues.items():
            said = f"{np.count_nonzero(queue)} of {queue.size} UEs, longest {queue.max():.2f} D"
            lines.append(f"{name} queues: {said}")
        who = "nobody" if self.current is None else f"UE {self.current + 1}"
        lines.append(f"{int(self.has_task.sum())} tasks in this slot, to decide: {who}")
        cost = f"cost {self.cost:#.4g} {self.unit}".rstrip()
        lines.append(f"{cost}, {self.tasks} settled, {self.late} late")
        return "\n".join(lines)
