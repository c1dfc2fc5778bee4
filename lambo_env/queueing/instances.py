"""The data of the queueing world: Traces in, places decided slot by slot, TaskOutcomes out.

Shapes: B episodes, T slots that bring tasks, L slots of a deadline, N UEs, M edge servers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from lambo_env.cell.instances import CellInstances, float_array
from lambo_env.prompts.objectives import PAIR, Objective
from lambo_env.queueing.scenario import DISCIPLINES, num_deadline_slots
from lambo_env.utils import validate
from lambo_env.utils.rows import Array, ArrayHolder

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class QueueInstances(CellInstances):
    """What B cells show at the start of a slot: the tasks that have just come, and what waits.

    Raises:
        ValueError: on a wrong shape, NaN, or a value outside the range that the field names.
    """

    data_bits: Array  # [B, N] bits to upload, 0 where there is no task
    cycles: Array  # [B, N] CPU cycles to run, 0 where there is no task
    deadline_s: Array  # [B, N]
    local_cpu_hz: Array  # [B, N] cycles/s of the UE
    local_power_w: Array  # [B, N] drawn while the UE computes
    tx_power_w: Array  # [B, N] drawn while the UE uploads
    uplink_bps: Array  # [B, N, M] in this slot
    server_cpu_hz: Array  # [B, M] capacity in cycles/s
    late_penalty: Array  # [B] dimensionless, >= 0
    has_task: Array  # bool [B, N] the UE got a task in this slot
    cpu_wait_cycles: Array  # [B, N] in the UE's CPU queue
    uplink_wait_bits: Array  # [B, N] in the UE's uplink queue
    uplink_wait_s: Array  # [B, N] the same in seconds, at present rates
    edge_wait_cycles: Array  # [B, N, M] of the UE's tasks that wait at a server
    coming_cycles: Array  # [B, N, M] of the UE's tasks that are still to be uploaded
    slot_s: Array  # [B]
    mean_bits: Array  # [B] of a task, by the scenario's ranges
    mean_cycles: Array  # [B] E[C] of a task, by the scenario's ranges

    SHAPES: ClassVar[dict[str, str]] = {
        **CellInstances.SHAPES,
        **dict.fromkeys(("edge_wait_cycles", "coming_cycles"), "BNM"),
        **dict.fromkeys(("slot_s", "mean_bits", "mean_cycles"), "B"),
    }
    ZERO_OK: ClassVar[Sequence[str]] = (
        *(*CellInstances.ZERO_OK, "cycles", "cpu_wait_cycles", "uplink_wait_bits"),
        *("uplink_wait_s", "edge_wait_cycles", "coming_cycles"),
    )
    FLAGS: ClassVar[Sequence[str]] = ("has_task",)

    def objective(
        self, latency_weight: Array, other: Mapping[str, Array] | None = None
    ) -> Objective:
        """Return the coefficients of weights [B]: what a second and a joule of a task cost.

        A weight of 1 is (1, 0) in s, 0 is (0, 1) in J; between them (w / t0, (1 - w) / e0) with t0
        = E[C] mean_i(1 / f_i) and e0 = E[C] mean_i(P_loc,i / f_i), dimensionless.

        Args:
            latency_weight: [B]; energy has what is left to 1.
            other: weights [B] of further objectives, which this world does not know.

        Raises:
            ValueError: a further objective has weight.
        """
        xp = self.xp
        for name, weights in (other or {}).items():
            none = bool(xp.all(weights == 0))
            validate.check(f"weight of {name!r}", weights, none, f"0: here only {PAIR} cost")
        like = {"dtype": self.cycles.dtype, "device": array_api_compat.device(self.cycles)}
        w = xp.asarray(latency_weight, **like)
        t0_s, e0_j = local_scales(self.mean_cycles, self.local_cpu_hz, self.local_power_w, xp)
        pure = (w == 0) | (w == 1)
        return Objective(
            cost_per_s=xp.where(pure, w, w / t0_s), cost_per_j=xp.where(pure, 1 - w, (1 - w) / e0_j)
        )


class Totals(NamedTuple):
    """Sums over the UEs of instances, and the uploads of their new tasks."""

    upload_s: Floats  # [B, N, M] 0 where there is no task
    waiting_cycles: Floats  # [B, M] at servers
    coming_cycles: Floats  # [B, M] still to be uploaded
    users: Ints  # [B, M] UEs with work at a server


def totals_of(instances: QueueInstances) -> Totals:
    """Return the totals of instances."""
    return Totals(
        instances.data_bits[..., None] / instances.uplink_bps,
        instances.edge_wait_cycles.sum(axis=1),
        instances.coming_cycles.sum(axis=1),
        np.count_nonzero(instances.edge_wait_cycles, axis=1),
    )


def local_scales(
    mean_cycles: Array, local_cpu_hz: Array, local_power_w: Array, xp: Any
) -> tuple[Array, Array]:
    """Return t0 in s and e0 in J [B]: what a mean task takes at a mean UE that runs it itself."""
    per_cycle = 1 / local_cpu_hz
    t0_s = mean_cycles * xp.mean(per_cycle, axis=-1)
    return t0_s, mean_cycles * xp.mean(local_power_w * per_cycle, axis=-1)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Trace(ArrayHolder):
    """All that one episode brings, whatever is decided.

    Raises:
        ValueError: arrays that disagree, a value out of range, a deadline that is no whole number
            of at least 2 slots.
    """

    has_task: Bools  # [T, N]
    data_bits: Floats  # [T, N]; read where there is a task
    cycles: Floats  # [T, N]; read where there is a task
    uplink_bps: Floats  # [T + L - 1, N, M] the last L - 1 bring no tasks
    server_cpu_hz: Floats  # [M]
    local_cpu_hz: Floats  # [N]
    local_power_w: Floats  # [N]
    tx_power_w: Floats  # [N]
    slot_s: float
    deadline_s: float
    late_penalty: float
    discipline: str

    def __post_init__(self) -> None:
        """Turn lists into arrays, then check everything."""
        for name in ("slot_s", "deadline_s"):
            object.__setattr__(self, name, validate.positive(f"Trace.{name}", getattr(self, name)))
        penalty = validate.non_negative("Trace.late_penalty", self.late_penalty)
        object.__setattr__(self, "late_penalty", penalty)
        validate.known(self.discipline, DISCIPLINES, "discipline")
        tail = num_deadline_slots("Trace.deadline_s", self.deadline_s, self.slot_s) - 1
        flags = np.asarray(self.has_task)
        good = flags.dtype == bool and flags.ndim == 2 and min(flags.shape) >= 1
        told = f"{flags.dtype}{list(flags.shape)}"
        validate.check("Trace.has_task", told, good, "bool [T, N], each >= 1")
        object.__setattr__(self, "has_task", flags)
        servers = np.size(self.server_cpu_hz)
        slots, ues = flags.shape
        shapes: dict[str, tuple[int, ...]] = {
            **dict.fromkeys(("data_bits", "cycles"), (slots, ues)),
            "uplink_bps": (slots + tail, ues, servers),
            "server_cpu_hz": (servers,),
            **dict.fromkeys(("local_cpu_hz", "local_power_w", "tx_power_w"), (ues,)),
        }
        for name, want in shapes.items():
            field, value = f"Trace.{name}", float_array(f"Trace.{name}", getattr(self, name))
            object.__setattr__(self, name, value)
            fits = value.shape == want and value.size > 0
            allowed = f"{want}, to go with has_task {flags.shape} and L - 1 = {tail}"
            validate.check(f"{field}.shape", value.shape, fits, allowed)
            zero_ok = name.endswith("_w")
            ok = np.isfinite(value) & ((value >= 0) if zero_ok else (value > 0))
            if name in ("data_bits", "cycles"):
                ok |= ~flags
            validate.each(field, value, ok, f"finite and {'>= 0' if zero_ok else '> 0'}")

    @property
    def num_slots(self) -> int:
        """T, the number of slots that bring tasks."""
        return self.has_task.shape[0]

    @property
    def deadline_slots(self) -> int:
        """L, the deadline in slots."""
        return self.uplink_bps.shape[0] - self.num_slots + 1


@dataclasses.dataclass(frozen=True, eq=False)
class TaskOutcomes(ArrayHolder):
    """What became of each task of an episode, or of several plans or episodes [..., T, N]."""

    latency_s: Floats  # [..., T, N] inf where dropped, NaN where there is no task
    energy_j: Floats  # [..., T, N] what was spent; NaN where there is no task
    late: Bools  # [..., T, N] False where there is no task
    cost: Floats  # [..., T, N] NaN where there is no task
    place: Ints  # [..., T, N] that ran it; 0 where there is no task

    @property
    def episode_cost(self) -> Floats:
        """The mean over an episode's tasks [...]; 0 where there was none."""
        flat = self.cost.reshape(*self.cost.shape[:-2], -1)
        tasks = np.count_nonzero(~np.isnan(flat), axis=-1)
        total = np.sum(np.where(np.isnan(flat), 0.0, flat), axis=-1)
        return np.asarray(total / np.maximum(tasks, 1))
