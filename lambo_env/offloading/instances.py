"""The data that flows through the suite: Instances in, Decision out, Outcome scored.

Shapes: B instances, N UEs, M edge servers, P = M + 1 places (0 is local, m is server m).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import array_api_compat
import numpy as np

from lambo_env.cell.instances import CellInstances, detached
from lambo_env.cell.places import LOCAL as LOCAL
from lambo_env.prompts.objectives import OBJECTIVES, PAIR
from lambo_env.prompts.objectives import Objective as Objective
from lambo_env.utils import validate
from lambo_env.utils.rows import Array as Array
from lambo_env.utils.rows import ArrayHolder


def at_place(values: Array, place: Array, xp: Any) -> Array:
    """Pick from ``values`` [..., N, M + 1] the entry at ``place`` [..., N]."""
    return xp.take_along_axis(values, xp.astype(place, xp.int64)[..., None], axis=-1)[..., 0]


def at_server(values: Array, place: Array, xp: Any) -> Array:
    """Pick from ``values`` [..., N, M] the server of ``place`` [..., N].

    A local UE gets the first server's, to be masked.
    """
    index = xp.where(place == LOCAL, 0, server_of(xp.astype(place, xp.int64)))
    return xp.take_along_axis(values, index[..., None], axis=-1)[..., 0]


def server_of(place: Array) -> Array:
    """Return the index of a place's server in arrays over servers; -1 for the local place."""
    return place - 1


def one_hot_servers(place: Array, num_servers: int, xp: Any) -> Array:
    """Return whether UE n is on server m, bool [..., N, M]."""
    return place[..., None] == xp.arange(1, num_servers + 1, device=array_api_compat.device(place))


def set_at(array: Array, index: Any, value: Array) -> Array:
    """Return a copy of ``array`` with ``value`` written at ``index``, one index array or a tuple.

    The array API has no scatter; NumPy copies and assigns, torch uses ``index_put``, through which
    gradients flow.
    """
    index = index if isinstance(index, tuple) else (index,)
    if isinstance(array, np.ndarray):
        out = array.copy()
        out[index] = value
        return out
    return array.index_put(index, value)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Instances(CellInstances):
    """A batch of single-slot offloading problems.

    Every number that physics reads, and nothing else.

    Arrays may be NumPy (float64) or torch, all of one namespace and device. Checked at
    construction.

    Raises:
        ValueError: on a wrong shape, NaN, or a value outside the range that the field names.
    """

    data_bits: Array  # [B, N] bits to upload
    cycles: Array  # [B, N] CPU cycles to run
    deadline_s: Array  # [B, N]
    local_cpu_hz: Array  # [B, N] cycles/s of the UE
    local_power_w: Array  # [B, N] drawn while the UE computes
    tx_power_w: Array  # [B, N] drawn while the UE uploads
    uplink_bps: Array  # [B, N, M]
    server_cpu_hz: Array  # [B, M] capacity in cycles/s
    late_penalty: Array  # [B] dimensionless, >= 0

    def objective(
        self, latency_weight: Array, other: Mapping[str, Array] | None = None
    ) -> Objective:
        """Return the coefficients of weights [B].

        A weight of 1 is a pure objective: (1, 0) for latency, (0, 1) for energy. Between them is
        the normalised mix (w / mean of C_i / f_i, (1 - w) / sum of P_loc C_i / f_i): dimensionless,
        all-local play costs 1 where nothing is late. A further objective is divided by its sum over
        UEs of the mean over places.

        Args:
            latency_weight: [B]; energy has what is left to 1.
            other: weights [B] of further objectives, by name.
        """
        xp, like = self.xp, self.cycles
        weights = {
            name: xp.asarray(w, dtype=like.dtype, device=array_api_compat.device(like))
            for name, w in {PAIR[0]: latency_weight, **(other or {})}.items()
        }
        total = sum(weights.values())
        pure = total == 0
        for w in weights.values():
            pure = pure | (w == 1)
        local_s = self.cycles / self.local_cpu_hz
        scales = {
            name: xp.sum(xp.mean(self.quantity(name), axis=-1), axis=-1) for name in other or {}
        }
        scales[PAIR[0]] = xp.mean(local_s, axis=-1)
        weights[PAIR[1]], scales[PAIR[1]] = 1 - total, xp.sum(self.local_power_w * local_s, axis=-1)
        return Objective.of(
            {
                name: xp.where(pure, w, w / xp.where(scales[name] > 0, scales[name], 1.0))
                for name, w in weights.items()
            }
        )

    def quantity(self, name: str) -> Array:
        """Return what tasks add to a further objective at each place, [B, N, M + 1]."""
        found = OBJECTIVES[name].quantity
        assert found is not None, name
        return found(self)

    def order(self, permutation: Array) -> Instances:
        """Return the instances with their UEs in the order of the old indices [B, N].

        Fewer of them, or some twice, make another N.
        """
        xp = self.xp
        per_ue = {f.name for f in dataclasses.fields(self)} - {
            "uplink_bps",
            "server_cpu_hz",
            "late_penalty",
        }
        fields = {
            name: xp.take_along_axis(getattr(self, name), permutation, axis=1) for name in per_ue
        }
        index = xp.broadcast_to(permutation[..., None], (*permutation.shape, self.num_servers))
        return Instances.unchecked(
            **fields,
            uplink_bps=xp.take_along_axis(self.uplink_bps, index, axis=1),
            server_cpu_hz=self.server_cpu_hz,
            late_penalty=self.late_penalty,
        )

    def capacity_hz(self, place: Array) -> Array:
        """Return the capacity [B, N] of the servers at ``place`` [B, N]; 1 at the local place."""
        xp, capacity = self.xp, self.server_cpu_hz
        table = xp.concat([xp.ones_like(capacity[:, :1]), capacity], axis=1)
        return xp.take_along_axis(table, xp.astype(place, xp.int64), axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class Decision(ArrayHolder):
    """Where each UE's task runs and the server CPU that it gets; ``check`` looks at the values."""

    place: Array  # int [B, N], 0 local, m server m
    cpu_hz: Array  # [B, N] cycles/s of the server, 0 where local or dropped

    def take(self, rows: Any) -> Decision:
        """Return the decisions at ``rows``."""
        return Decision(self.place[rows], self.cpu_hz[rows])

    def to(self, like: Instances) -> Decision:
        """Return the decision in the namespace and on the device of ``like``, CPU in its dtype."""
        cycles = like.cycles
        if isinstance(cycles, np.ndarray):
            return Decision(*(np.asarray(detached(part)) for part in (self.place, self.cpu_hz)))
        xp, device = like.xp, array_api_compat.device(cycles)
        cpu_hz = xp.asarray(self.cpu_hz, dtype=cycles.dtype, device=device)
        return Decision(xp.asarray(self.place, device=device), cpu_hz)

    def shares(self, instances: Instances) -> Array:
        """Return the CPU [B, N] as shares of the totals of its servers; 0 where local."""
        return self.cpu_hz / instances.capacity_hz(self.place)

    def check(self, instances: Instances, tolerance: float) -> None:
        """Raise ``ValueError`` that names the first of ``DECISION_RULES`` that is broken."""
        for rule in DECISION_RULES.values():
            rule(self, instances, tolerance)


def _has_shapes(made: Decision, instances: Instances, tolerance: float) -> None:
    shape = tuple(instances.cycles.shape)
    for name in ("place", "cpu_hz"):
        got = tuple(getattr(made, name).shape)
        validate.check(f"Decision.{name}.shape", got, got == shape, f"[B, N] = {shape}")


def _keeps_capacity(made: Decision, instances: Instances, tolerance: float) -> None:
    member = one_hot_servers(made.place, instances.num_servers, instances.xp)
    total = instances.xp.sum(instances.xp.where(member, made.cpu_hz[..., None], 0.0), axis=1)
    most = instances.server_cpu_hz
    for row, server in np.argwhere(np.asarray(total > most * (1 + tolerance)))[:1]:
        validate.refuse(
            f"Decision.cpu_hz summed over server[{row}, {server}]",
            float(total[row, server]),
            f"at most server_cpu_hz = {float(most[row, server]):.6g}",
        )


# what must hold of a decision, in the order in which it makes sense:
# name -> rule(decision, instances, relative tolerance of capacities), which raises ValueError
DECISION_RULES: dict[str, Callable[[Decision, Instances, float], None]] = {
    "shapes": _has_shapes,
    "dtypes": lambda made, instances, _: validate.check(
        "Decision.place.dtype",
        str(made.place.dtype),
        instances.xp.isdtype(made.place.dtype, "integral"),
        "an integer dtype",
    ),
    "legal places": lambda made, instances, _: validate.each(
        "Decision.place",
        made.place,
        (made.place >= LOCAL) & (made.place <= instances.num_servers),
        f"0 (local) .. {instances.num_servers}",
    ),
    "legal cpu": lambda made, instances, _: validate.each(
        "Decision.cpu_hz",
        made.cpu_hz,
        instances.xp.isfinite(made.cpu_hz) & (made.cpu_hz >= 0),
        "finite and >= 0",
    ),
    "local without server": lambda made, instances, _: validate.each(
        "Decision.cpu_hz",
        made.cpu_hz,
        (made.place != LOCAL) | (made.cpu_hz == 0),
        "0 for a local task (a server's CPU needs place > 0)",
    ),
    "capacity": _keeps_capacity,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome(ArrayHolder):
    """What a decision costs: the physical quantities per UE, and the cost of the objective."""

    latency_s: Array  # [B, N], inf where dropped
    energy_j: Array  # [B, N]
    late: Array  # bool [B, N]
    cost: Array  # [B] in s, J or dimensionless, as the objective says
