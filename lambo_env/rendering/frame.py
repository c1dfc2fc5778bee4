"""Frame: everything a picture of a slot shows, as plain numbers.

Made by the environments, drawn by ``render``.

Shapes: N UEs, M edge servers; a frame shows one environment.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambo_env.offloading import physics
from lambo_env.offloading.instances import LOCAL, Decision, Instances, Objective
from lambo_env.prompts.objectives import unit_of

Floats = NDArray[np.float64]
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One moment of a slot.

    ``Frame.from_decision`` works out latencies and lateness; the rest is given.

    Positions are None together where instances were given without them: the renderer then lays the
    slot out itself.
    """

    instances: Instances  # a batch of one, NumPy
    place: NDArray[np.int64]  # [N]; read only where decided
    decided: NDArray[np.bool_]  # [N]
    latency_s: Floats  # [N], nan where undecided, inf where dropped
    late: NDArray[np.bool_]  # [N], False where undecided
    left_hz: Floats  # [M] CPU that the servers can still commit
    current: int | None  # the UE to be decided now; None when the slot is done
    prompt: str
    cost: float  # of the UEs decided so far
    unit: str  # of cost: "s", "J" or "" for a mix
    slot: int = 0  # counted from 0
    num_slots: int = 1
    side_m: float | None = None
    ue_xy: Floats | None = None  # [N, 2] m
    server_xy: Floats | None = None  # [M, 2] m
    optimum: float | None = None  # certified lower bound of the slot's cost, in the same unit
    title: str = ""  # who plays; empty: nothing is said

    @classmethod
    def from_decision(
        cls,
        instances: Instances,
        objective: Objective,
        place: Any,
        cpu_hz: Any,
        decided: Any,
        **rest: Any,
    ) -> Frame:
        """Return the frame of a slot in which some UEs are decided.

        Args:
            instances: a batch of one.
            objective: of the episode, [1].
            place: int [N]; whatever stands at undecided UEs is ignored.
            cpu_hz: [N] server CPU allotted now, 0 where local, dropped or undecided.
            decided: bool [N].
            **rest: the other fields of Frame; ``left_hz``, ``current``, ``prompt`` and ``cost`` are
            required.
        """
        decided = np.asarray(decided, dtype=bool)
        place = np.where(decided, np.asarray(place, dtype=np.int64), LOCAL)
        cpu_hz = np.where(decided & (place != LOCAL), cpu_hz, 0.0)
        outcome = physics.evaluate(
            instances, Decision(place[None], cpu_hz[None]), objective, check=False
        )
        return cls(
            instances=instances,
            place=place,
            decided=decided,
            latency_s=np.where(decided, outcome.latency_s[0], np.nan),
            late=decided & outcome.late[0],
            unit=unit_of(objective.take(0).coefficients),
            **rest,
        )

    @property
    def ratio(self) -> Floats:
        """Latency over deadline [N]; nan where undecided, above 1 where late."""
        return self.latency_s / self.instances.deadline_s[0]

    @property
    def gap(self) -> float | None:
        """Cost over the optimum, minus 1.

        None while the slot is not finished or no optimum is known.
        """
        if self.optimum is None or self.optimum <= 0 or not bool(np.all(self.decided)):
            return None
        return self.cost / self.optimum - 1

    @property
    def used(self) -> Floats:
        """Share of each server's CPU that is committed [M], in [0, 1]."""
        return np.clip(1 - self.left_hz / self.instances.server_cpu_hz[0], 0.0, 1.0)

    def ues_on(self, place: int) -> int:
        """Return how many decided UEs are at ``place``."""
        return int(np.sum(self.decided & (self.place == place)))


def positions(frame: Frame) -> tuple[Floats, Floats, float]:
    """Return where to draw UEs [N, 2] and servers [M, 2], and the side of the square around them.

    Made up where unknown.
    """
    if frame.ue_xy is None or frame.server_xy is None or frame.side_m is None:
        return (*layout(frame.instances.uplink_bps[0]), 1.0)
    return frame.ue_xy, frame.server_xy, frame.side_m


def layout(uplink_bps: Floats) -> tuple[Floats, Floats]:
    """Return made-up positions in the unit square of UEs [N, 2] and servers [M, 2].

    ``uplink_bps`` [N, M] are their links.

    Servers stand on a circle; the UEs whose best link is a server's spiral out from it, the fastest
    innermost.
    """
    ues, servers = uplink_bps.shape
    angle = 2 * math.pi * np.arange(servers) / servers + math.pi / 4
    centre = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    server_xy = 0.5 + (0.3 if servers > 1 else 0.0) * centre
    room = min(0.2, 0.3 * math.sin(math.pi / servers)) if servers > 1 else 0.45
    ue_xy, best = np.empty((ues, 2)), np.argmax(uplink_bps, axis=1)
    for server in range(servers):
        members = np.flatnonzero(best == server)
        members = members[np.argsort(-uplink_bps[members, server])]
        turn, reach = (
            _GOLDEN_ANGLE * np.arange(members.size),
            np.sqrt((np.arange(members.size) + 1.5) / (members.size + 1)),
        )
        spiral = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
        ue_xy[members] = server_xy[server] + room * np.maximum(reach, 0.3)[:, None] * spiral
    return np.clip(ue_xy, 0.0, 1.0), server_xy
