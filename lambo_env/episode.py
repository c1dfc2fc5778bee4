"""The sequential decision process of one slot, as pure batched functions: start, mask, step, encode and decode actions.

UE by UE the agent names a place (and, where it allots the CPU itself, a share). Rows advance on their own: ``step`` takes the
rows that act. Everything known at the start of a slot stands in tables of ``physics``, so that a step is a handful of look-ups.
NumPy only: this is the loop that environments run millions of times.

Shapes: B episodes, N UEs, M servers, P = M + 1 places (0 is local), R acting rows.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lambo_env import physics
from lambo_env.instances import LOCAL, Decision, Instances, Objective, set_at

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
LEFT, ROOTS, STEEPEST, RUN_S = range(4)  # columns of a server: CPU left, sum of sqrt(C), largest l / sqrt(C), sum of C / f


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is fixed during a slot; flat tables, because one ``take`` at a flat index is the cheapest look-up."""

    num_ues: int
    num_places: int
    fixed: Floats  # [B * N * P] cost of a UE at a place but for the server's compute time
    floor_hz: Floats  # [B * N, P] least CPU that meets the deadline; inf where none does
    cycles: Floats  # [B * N]
    root: Floats  # [B, N] sqrt(C)
    late_cost: Floats  # [B * N]
    capacity_hz: Floats  # [B * P]; 1 for the local place, so that it divides like the others
    slack_hz: Floats  # [B * P] how far below a floor ``left`` may be
    per_s: Floats  # [B] cost of a second of one UE


class State(NamedTuple):
    """What the decisions so far have left."""

    ue: Ints  # [B] the UE to be decided now; N when the slot is done
    servers: Floats  # [B * P, 4]
    place: NDArray[np.int8] | Ints  # [B, N] LOCAL where local or undecided
    taken_hz: Floats  # [B, N] CPU that the decision took from what was left; 0 where local, late or undecided
    cost: Floats  # [B] of the UEs decided so far


class Move(NamedTuple):
    """What one step did to the rows that acted."""

    reward: Floats  # [R] minus the rise of the slot's cost
    taken_hz: Floats  # [R]
    task: Ints  # [R] flat index of the UE decided, into [B * N]
    server: Ints  # [R] flat index of its place, into [B * P]
    left_hz: Floats  # [R] what that place has left


def start(instances: Instances, goal: Objective) -> tuple[Plan, State]:
    """Return the tables and the first state of a slot (NumPy instances)."""
    tables = physics.place_tables(instances, goal)
    batch, ues, places = tables.fixed.shape
    capacity = tables.capacity_hz
    servers = np.zeros((batch, places, 4))
    servers[:, :, LEFT] = capacity
    plan = Plan(
        num_ues=ues,
        num_places=places,
        fixed=tables.fixed.reshape(-1),
        floor_hz=tables.floor_hz.reshape(-1, places),
        cycles=np.ascontiguousarray(instances.cycles).reshape(-1),
        root=tables.root,
        late_cost=tables.late_cost.reshape(-1),
        capacity_hz=np.where(capacity > 0, capacity, 1.0).reshape(-1),
        slack_hz=(physics.FIT_TOLERANCE * capacity).reshape(-1),
        per_s=tables.per_s,
    )
    small = np.int8 if places <= 128 else np.int64
    return plan, State(
        ue=np.zeros(batch, dtype=np.int64),
        servers=servers.reshape(-1, 4),
        place=np.full((batch, ues), LOCAL, dtype=small),
        taken_hz=np.zeros((batch, ues)),
        cost=np.zeros(batch),
    )


def mask(plan: Plan, state: State, rows: Ints) -> Bools:
    """Return the places that can still meet the current UE's deadline, bool [R, P]; local alone where none can or none is asked."""
    ue = state.ue.take(rows)
    task = rows * plan.num_ues + np.minimum(ue, plan.num_ues - 1)
    left = (state.servers[:, LEFT] + plan.slack_hz).reshape(-1, plan.num_places)
    legal = plan.floor_hz.take(task, 0) <= left.take(rows, 0)
    legal[ue == plan.num_ues] = False
    legal[:, LOCAL] |= ~legal.any(axis=1)
    return legal


def step(plan: Plan, state: State, rows: Ints, place: Ints, share: Floats | None = None) -> tuple[Move, State]:
    """Decide the current UE of some rows.

    Args:
        plan: the slot's tables.
        state: of all B rows; those not in ``rows`` stay as they are.
        rows: distinct rows with a UE to decide [R].
        place: int [R] in 0..M; any is accepted. Where the server cannot meet the deadline the task is late and takes nothing.
        share: in [0, 1] [R], of what is left beyond the task's floor; None: the closed form allots the CPU at the slot's end.

    Returns:
        The move [R] and the next state.
    """
    ue = state.ue.take(rows)
    task = rows * plan.num_ues + ue
    option = task * plan.num_places + place
    server = rows * plan.num_places + place
    floor, now = plan.floor_hz.reshape(-1).take(option), state.servers.take(server, 0)
    fits = floor <= now[:, LEFT] + plan.slack_hz.take(server)
    rule = _closed_form if share is None else _shares
    taken, served_cost, after = rule(plan, state, _Asked(rows, ue, task, server, place, floor, fits, now, share, plan.fixed.take(option)))
    rise = np.where(fits, served_cost, plan.late_cost.take(task))
    move = Move(-rise, taken, task, server, after[:, LEFT])
    return move, State(
        ue=set_at(state.ue, rows, ue + 1),
        servers=set_at(state.servers, server, after),
        place=set_at(state.place, (rows, ue), place),
        taken_hz=set_at(state.taken_hz, (rows, ue), taken),
        cost=set_at(state.cost, rows, state.cost.take(rows) + rise),
    )


class _Asked(NamedTuple):
    """The decision of each acting row, looked up; all [R] but ``now`` [R, 4]."""

    rows: Ints
    ue: Ints
    task: Ints
    server: Ints
    place: Ints
    floor: Floats
    fits: Bools
    now: Floats
    share: Any
    fixed: Floats


def _shares(plan: Plan, state: State, asked: _Asked) -> tuple[Floats, Floats, Floats]:
    """Return CPU taken, cost where served, and the server after it: floor + share x what is left beyond the floor."""
    left = asked.now[:, LEFT]
    taken = np.where(asked.fits, asked.floor + asked.share * np.maximum(left - asked.floor, 0.0), 0.0)
    runs = taken > 0
    cycles = plan.cycles.take(asked.task) * runs
    cost = physics.allotted_cost(asked.fixed, plan.per_s.take(asked.rows), cycles, np.where(runs, taken, 1.0))
    after = asked.now.copy()
    after[:, LEFT] = left - taken
    return taken, cost, after


def _closed_form(plan: Plan, state: State, asked: _Asked) -> tuple[Floats, Floats, Floats]:
    """Return floor taken, rise of the cost where served, and the server after it, under the optimal allocation of the served."""
    joins = asked.fits & (asked.place != LOCAL)
    taken = np.where(joins, asked.floor, 0.0)
    root = plan.root.reshape(-1).take(asked.task) * joins
    per_s, capacity = plan.per_s.take(asked.rows), plan.capacity_hz.take(asked.server)
    roots, before = asked.now[:, ROOTS], asked.now[:, RUN_S]
    total = roots + root
    steepest = np.maximum(asked.now[:, STEEPEST], taken / (root + ~joins))
    cost = physics.marginal_cost(asked.fixed, per_s, root, roots, capacity)
    run_s = before + root * (total + roots) / capacity
    tight = np.flatnonzero((steepest * total > capacity) & joins)
    if tight.size:  # a floor is active on this server: the full allocation
        run_s[tight] = _run_s(plan, state, asked, tight, capacity)
        cost[tight] = asked.fixed[tight] + per_s[tight] * (run_s[tight] - before[tight])
    after = np.stack((asked.now[:, LEFT] - taken, total, steepest, run_s), axis=1)
    return taken, cost, after


def _run_s(plan: Plan, state: State, asked: _Asked, at: Ints, capacity: Floats) -> Floats:
    """Return the sum of C / f on the chosen server of the decisions ``at``, the new UE included."""
    rows, ue = asked.rows[at], asked.ue[at]
    floor = state.taken_hz.take(rows, 0) * (state.place.take(rows, 0) == asked.place[at][:, None])
    floor[np.arange(rows.size), ue] = asked.floor[at]
    root = plan.root.take(rows, 0) * (floor > 0)
    return physics.compute_s(floor, root, capacity[at], np)


def decision(instances: Instances, place: Any, taken_hz: Floats, *, shares: bool) -> Decision:
    """Return places int64 and the CPU in cycles/s [B, N] of decisions made: what was taken, or the closed form over the served."""
    place = np.asarray(place, dtype=np.int64)
    if shares:
        return Decision(place, taken_hz)
    return Decision(place, physics.allocate(instances, np.where(taken_hz > 0, place, LOCAL), fits=True))


def decode_action(action: Any, num_servers: int) -> tuple[Ints, Floats]:
    """Return place int [...] and share [...] of actions [..., 2] in [-1, 1]: u = (a + 1) / 2, place = min(floor(u_0 (M + 1)), M)."""
    unit = (np.asarray(action, dtype=np.float64) + 1) * 0.5
    place = np.minimum((unit[..., 0] * (num_servers + 1)).astype(np.int64), num_servers)
    return place, unit[..., 1]


def encode_action(place: Any, share: Any, num_servers: int) -> NDArray[np.float32]:
    """Return the action float32 [..., 2] whose place and share these are: the middle of the place's interval."""
    unit = np.stack(np.broadcast_arrays((np.asarray(place) + 0.5) / (num_servers + 1), share), axis=-1)
    return (2 * unit - 1).astype(np.float32)


def share_of(cpu_hz: Any, floor_hz: Any, left_hz: Any) -> Floats:
    """Return the share in [0, 1] that makes a server with ``left_hz`` grant ``cpu_hz`` above the floor (all broadcast)."""
    beyond = np.maximum(np.asarray(left_hz, dtype=np.float64) - floor_hz, 0.0)
    return np.clip((np.asarray(cpu_hz) - floor_hz) / np.where(beyond > 0, beyond, 1.0), 0.0, 1.0)
