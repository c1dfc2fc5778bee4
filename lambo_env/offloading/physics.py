"""Latency, energy, the deadline's floors, the optimal CPU allocation and the cost.

The only place that makes a number.

Written once over the array API; NumPy and torch (any device, with gradients) run the same lines.
Functional: nothing is written in place. Equations are those of docs/physics.md. Shapes: B
instances, N UEs, M edge servers, P = M + 1 places (0 is local).
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from lambo_env.cell.places import over_places
from lambo_env.offloading.instances import (
    LOCAL,
    Array,
    Decision,
    Instances,
    Objective,
    Outcome,
    at_place,
    at_server,
    one_hot_servers,
)

LATE_TOLERANCE = (
    1e-6  # relative: a task allotted exactly its floor ends on its deadline, give or take rounding
)
CAPACITY_TOLERANCE = 1e-6  # relative: what evaluate forgives
FIT_TOLERANCE = (
    5e-7  # relative: what allocation and masks fill up to; half of what evaluate forgives
)
TINY = 1e-30  # below any CPU or root: what 0 is divided by; a maximum is cheaper than a where


# ---- latency, energy, deadlines ------------------------------------------------------------------


def local_s(instances: Instances) -> Array:
    """Return C_i / f_i, the latency of local execution [B, N] in s."""
    return instances.cycles / instances.local_cpu_hz


def local_j(instances: Instances) -> Array:
    """Return P_loc C_i / f_i, the energy of local execution [B, N] in J."""
    return instances.local_power_w * local_s(instances)


def upload_s(instances: Instances) -> Array:
    """Return D_i / r_im, the upload time to each server [B, N, M] in s."""
    return instances.data_bits[..., None] / instances.uplink_bps


def floors_hz(instances: Instances) -> Array:
    """Return l_im = C_i / (T_i - D_i / r_im), the least CPU that meets the deadline [B, N, M].

    Inf where the upload alone is too long.
    """
    return _floors(instances, upload_s(instances))


def _floors(instances: Instances, upload: Array) -> Array:
    xp = instances.xp
    slack = instances.deadline_s[..., None] - upload
    feasible = slack > 0
    floor = instances.cycles[..., None] / xp.where(
        feasible, slack, 1.0
    )  # the inner where keeps gradients finite
    return xp.where(feasible, floor, xp.inf)


def is_late(latency_s: Array, deadline_s: Array) -> Array:
    """Return whether a task misses its deadline, with the tolerance that rounding needs (bool)."""
    return latency_s > deadline_s * (1 + LATE_TOLERANCE)


def on_time(instances: Instances) -> Array:
    """Return whether each place alone could meet the deadline, bool [B, N, M + 1].

    Local in time, or floor within the server.
    """
    fits = floors_hz(instances) <= instances.server_cpu_hz[:, None, :] * (1 + FIT_TOLERANCE)
    return over_places(~is_late(local_s(instances), instances.deadline_s), fits, instances.xp)


# ---- objective -----------------------------------------------------------------------------------


def further_cost(instances: Instances, objective: Objective) -> Array:
    """Return what further objectives charge each UE at each place [B, N, P].

    Only where ``objective.other`` names one.
    """
    return sum(
        coefficient[:, None, None] * instances.quantity(name)
        for name, coefficient in objective.other.items()
    )


def late_cost(instances: Instances, objective: Objective) -> Array:
    """Return what a late task costs [B, N], however late and wherever sent.

    (1 + penalty)(c_L T_i / N + c_E P_loc C_i / f_i), and of further objectives the dearest place.
    """
    per_s, per_j = objective.cost_per_s[:, None] / instances.num_ues, objective.cost_per_j[:, None]
    once = per_s * instances.deadline_s + per_j * local_j(instances)
    if objective.other:
        once = once + instances.xp.max(further_cost(instances, objective), axis=-1)
    return (1 + instances.late_penalty[:, None]) * once


# ---- closed-form allocation ----------------------------------------------------------------------


def water_level(
    floor: Array, root: Array, capacity_hz: Array, xp: Any, level: Array | None = None
) -> Array:
    """Return mu, so that f_i = max(l_i, mu sqrt(C_i)) uses up the capacity of one server: exact.

    mu = min over k < n of (F - L_k) / (Q - Q_k), L_k and Q_k the sums of l and sqrt(C) of the k
    largest l_i / sqrt(C_i). Newton's method instead of a sort: a level above mu clamps only UEs
    that mu clamps too, so that the clamped set grows, in some 4 rounds, until it fits.

    Args:
        floor: l_i [..., N]; 0 for a UE that is not on the server.
        root: sqrt(C_i) [..., N]; 0 for a UE that is not on the server.
        capacity_hz: F [...].
        xp: array namespace.
        level: where to start [...], at or above mu, such as the level before a UE joined; None: at
            inf.

    Returns:
        mu [...] in sqrt(cycles)/s; inf for an empty server.
    """
    return _filled(floor, root, capacity_hz, xp, level)[0]


def _filled(
    floor: Array, root: Array, capacity_hz: Array, xp: Any, level: Array | None
) -> tuple[Array, ...]:
    """Return the water level and who is above its floor.

    In order: mu [...], l / sqrt(C) [..., N], 1 for who is above its floor [..., N], the sums of
    their roots and of the others' floors.
    """
    ratio = floor / xp.maximum(root, TINY)
    level = xp.full_like(capacity_hz, xp.inf) if level is None else level
    loose = xp.astype(ratio <= level[..., None], root.dtype)
    roots = xp.vecdot(loose, root)
    while True:
        clamped = xp.vecdot(1 - loose, floor)
        lower = (capacity_hz - clamped) / xp.where(roots > 0, roots, 1.0)
        level = xp.where((roots > 0) & (lower < level), lower, level)
        now = xp.astype(ratio <= level[..., None], root.dtype)
        if bool(xp.all(now == loose)):  # the clamped set has not grown
            return level, ratio, loose, roots, clamped
        loose, roots = now, xp.vecdot(now, root)


class ServerLoad(NamedTuple):
    """What one server makes of its UEs; one entry a server."""

    roots: Array  # sum of sqrt(C) of the UEs above their floors
    steepest: Array  # the largest l / sqrt(C) of those: the next floor to bind
    level: Array  # mu
    floor_hz: Array  # sum of the floors that bind
    clamped_s: Array  # sum of C / l of the UEs clamped to theirs


def clamped_load(
    floor: Array, root: Array, capacity_hz: Array, xp: Any, level: Array | None = None
) -> ServerLoad:
    """Return what binds at the ``water_level`` (same arguments) of servers whose floors fit.

    The other UEs share F - floor_hz by roots.
    """
    level, ratio, loose, roots, clamped = _filled(floor, root, capacity_hz, xp, level)
    clamped_s = xp.vecdot(1 - loose, root / xp.maximum(ratio, TINY))
    return ServerLoad(roots, xp.max(loose * ratio, axis=-1), level, clamped, clamped_s)


def run_s(roots: Array, spare_hz: Array, clamped_s: Array) -> Array:
    """Return the sum of C / f [...] in s of a server's UEs.

    Those above their floors share ``spare_hz`` by roots, the rest is clamped to them.
    """
    return clamped_s + roots * roots / (spare_hz + TINY)


def level_cpu_hz(floor: Array, root: Array, level: Array, xp: Any) -> Array:
    """Return max(l, mu sqrt(C)), the CPU that the level mu gives a UE.

    0 where l and root are 0 (not on the server). All broadcast.
    """
    share = xp.where(xp.isfinite(level), level, 0.0) * root
    return xp.maximum(floor, share)


def served(floor: Array, member: Array, capacity_hz: Array, xp: Any) -> Array:
    """Return which members [..., N] a server serves.

    All if their floors fit, else the smallest floors first while they fit.
    """
    need = xp.where(member, floor, 0.0)
    limit = (capacity_hz * (1 + FIT_TOLERANCE))[..., None]
    fits = xp.sum(need, axis=-1)[..., None] <= limit
    if bool(xp.all(fits)):
        return member
    order = xp.argsort(xp.where(member, floor, xp.inf), axis=-1)
    rank = xp.argsort(order, axis=-1)
    filled = xp.cumulative_sum(xp.take_along_axis(need, order, axis=-1), axis=-1)
    return member & (fits | (xp.take_along_axis(filled, rank, axis=-1) <= limit))


def allocate(instances: Instances, place: Array) -> Array:
    """Return the optimal CPU [B, N] in cycles/s of an association.

    F_i = max(l_i, mu sqrt(C_i)) on each server (KKT).

    The same for every objective. Local and dropped tasks get 0. Differentiable almost everywhere.
    """
    xp = instances.xp
    floors = xp.permute_dims(
        floors_hz(instances), (0, 2, 1)
    )  # [B, M, N]: reductions run over contiguous UEs
    member = xp.permute_dims(one_hot_servers(place, instances.num_servers, xp), (0, 2, 1))
    member = served(floors, member, instances.server_cpu_hz, xp)
    floor = xp.where(member, floors, 0.0)
    root = xp.where(member, xp.sqrt(instances.cycles)[:, None, :], 0.0)
    level = water_level(floor, root, instances.server_cpu_hz, xp)[..., None]
    return xp.sum(
        level_cpu_hz(floor, root, level, xp), axis=1
    )  # a UE is a member of one server at most


def allocate_equal(instances: Instances, place: Array) -> Array:
    """Return equal shares [B, N] in cycles/s.

    Each server splits its capacity evenly among its UEs, deadlines or not.
    """
    xp = instances.xp
    member = one_hot_servers(place, instances.num_servers, xp)
    count = xp.sum(xp.astype(member, instances.cycles.dtype), axis=1)
    share = instances.server_cpu_hz / xp.where(count > 0, count, 1.0)
    return xp.sum(xp.where(member, share[:, None, :], 0.0), axis=-1)


# ---- cost ----------------------------------------------------------------------------------------


def evaluate(
    instances: Instances, decision: Decision, objective: Objective, *, check: bool = True
) -> Outcome:
    """Return latency, energy, lateness and cost of a decision.

    cost = sum over on-time i of [c_L latency_i / N + c_E energy_i + further objectives] + the late
    tasks' ``late_cost``.

    Args:
        instances: B problems.
        decision: place int [B, N] in 0..M, cpu_hz [B, N].
        objective: what counts as cost [B].
        check: skip the checks below with False (inner loops whose decisions are right by
            construction).

    Raises:
        ValueError: a wrong shape or place, NaN or negative cpu_hz, server CPU for a local task, or
            a server that allots more than its capacity.
    """
    xp = instances.xp
    place, cpu = decision.place, decision.cpu_hz
    if check:
        decision.check(instances, CAPACITY_TOLERANCE)
    remote, runs = place != LOCAL, cpu > 0
    up_s = instances.data_bits / at_server(instances.uplink_bps, place, xp)
    run_s = xp.where(runs, instances.cycles / xp.where(runs, cpu, 1.0), xp.inf)
    latency = xp.where(remote, up_s + run_s, local_s(instances))
    energy = xp.where(remote, instances.tx_power_w * up_s, local_j(instances))
    late = is_late(latency, instances.deadline_s)
    per_s, per_j = objective.cost_per_s[:, None] / instances.num_ues, objective.cost_per_j[:, None]
    timely = per_s * xp.where(late, 0.0, latency) + per_j * energy
    if objective.other:
        timely = timely + at_place(further_cost(instances, objective), place, xp)
    cost = xp.sum(xp.where(late, late_cost(instances, objective), timely), axis=-1)
    return Outcome(latency_s=latency, energy_j=energy, late=late, cost=cost)


def all_local_cost(instances: Instances, prompts: Any) -> Array:
    """Return the cost [B] of running all tasks locally: what relative rewards are measured in.

    1 where that costs nothing.
    """
    xp = instances.xp
    place = xp.full_like(instances.cycles, LOCAL, dtype=xp.int64)
    decision = Decision(place, xp.zeros_like(instances.cycles))
    cost = evaluate(instances, decision, prompts.objective(instances), check=False).cost
    return xp.where(cost > 0, cost, 1.0)


def association_cost(instances: Instances, place: Array, objective: Objective) -> Array:
    """Return the cost [B] of an association under its optimal allocation."""
    return evaluate(
        instances, Decision(place, allocate(instances, place)), objective, check=False
    ).cost


# ---- tables for sequential play and search -------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class PlaceTables:
    """Everything about single UEs and places that search and sequential play look up.

    Fixed for a slot.
    """

    # [B, N, P] cost of UE n at place p but for the server's compute time; late_cost where hopeless
    fixed: Array
    # [B, N, P] least CPU that meets the deadline: 0 where local is in time, inf where hopeless
    floor_hz: Array
    root: Array  # [B, N] sqrt(C_i)
    late_cost: Array  # [B, N]
    capacity_hz: Array  # [B, P] F_m; 0 for the local place
    per_s: Array  # [B] c_L / N: cost of a second of one UE


def place_tables(
    instances: Instances, objective: Objective, upload: Array | None = None
) -> PlaceTables:
    """Return the tables of a batch under an objective.

    ``upload`` is ``upload_s``, where it is known.
    """
    xp = instances.xp
    per_s, per_j = objective.cost_per_s / instances.num_ues, objective.cost_per_j
    late = late_cost(instances, objective)
    local_late = is_late(local_s(instances), instances.deadline_s)
    local = per_s[:, None] * local_s(instances) + per_j[:, None] * local_j(instances)
    upload = upload_s(instances) if upload is None else upload
    remote = upload * (per_s[:, None] + per_j[:, None] * instances.tx_power_w)[..., None]
    if objective.other:
        further = further_cost(instances, objective)
        local, remote = local + further[..., LOCAL], remote + further[..., LOCAL + 1 :]
    floors = _floors(instances, upload)
    return PlaceTables(
        fixed=over_places(
            xp.where(local_late, late, local),
            xp.where(xp.isfinite(floors), remote, late[..., None]),
            xp,
        ),
        floor_hz=over_places(xp.where(local_late, xp.inf, 0.0), floors, xp),
        root=xp.sqrt(instances.cycles),
        late_cost=late,
        capacity_hz=over_places(xp.zeros_like(per_s), instances.server_cpu_hz, xp),
        per_s=per_s,
    )


def marginal_cost(
    fixed: Array, per_s: Array, root: Array, root_sum: Array, capacity_hz: Array
) -> Array:
    """Return what one more UE adds to the cost where no further floor binds.

    Fixed + (c_L / N) ((S + s)^2 - S^2) / F.

    All arguments broadcast; ``root_sum`` is S, the sum of sqrt(C_i) of the UEs already on the
    server, and ``capacity_hz`` F > 0. Where floors bind both are those of the others: a UE
    clamped to its floor neither pays nor yields.
    """
    return fixed + per_s * root * (2 * root_sum + root) / capacity_hz


def allotted_cost(fixed: Array, per_s: Array, cycles: Array, cpu_hz: Array) -> Array:
    """Return the cost of a UE that a server gives ``cpu_hz`` > 0, in time.

    Fixed + (c_L / N) C / f; all broadcast.
    """
    return fixed + per_s * cycles / cpu_hz


def priced(
    fixed: Array, per_s: Array, root: Array, floor: Array, level: Array, price: Array, xp: Any
) -> Any:
    """Return (cost, CPU) of UEs that pay for their CPU.

    Fixed + (c_L / N) C / f + price f, f = max(l, level sqrt(C)); all broadcast.

    With price = (c_L / N) / level^2 that f is the cheapest, and the sum over a server's UEs minus
    price F is a lower bound of their cost, tight at the level of ``water_level``: the Lagrangian of
    the capacity.
    """
    cpu = xp.maximum(floor, level * root)
    return fixed + (per_s * root * root / cpu + price * cpu), cpu
