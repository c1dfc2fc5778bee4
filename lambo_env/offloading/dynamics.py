"""The sequential decision process of one slot, as pure batched functions.

Start, mask, step, encode and decode actions.

UE by UE the agent names a place (and, where it allots the CPU itself, a share). Rows advance on
their own: ``step`` takes the rows that act. Everything known at the start of a slot stands in
tables of ``physics``, so that a step is a handful of look-ups. NumPy only: this is the loop that
environments run millions of times.

Shapes: B episodes, N UEs, M servers, P = M + 1 places (0 is local), R acting rows.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lambo_env.offloading import physics
from lambo_env.offloading.instances import LOCAL, Decision, Instances, Objective, set_at

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
# What a server makes of its UEs. Floors that bind go on to bind as UEs join, so that only a further
# one needs the full allocation: the fields of ``physics.Held`` in their order.
ROOTS, STEEPEST, LEVEL, HELD_HZ, HELD_S = range(5)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is fixed during a slot.

    Flat tables, because one ``take`` at a flat index is the cheapest look-up.
    """

    num_ues: int
    num_places: int
    fixed: Floats  # [B * N * P] cost of a UE at a place but for the server's compute time
    floor_hz: Floats  # [B * N, P] least CPU that meets the deadline; inf where none does
    cycles: Floats  # [B * N]
    root: Floats  # [B, N] sqrt(C)
    late_cost: Floats  # [B * N]
    capacity_hz: Floats  # [B * P]; 1 for the local place, so that it divides like the others
    slack_hz: Floats  # [B * P] how far below a floor ``left`` may be
    always_local: bool  # every UE can run locally in time
    per_s: Floats  # [B] cost of a second of one UE
    rows: Ints  # [B] all rows; ``step`` knows this very array and then looks nothing up by row
    first_task: Ints  # [B] flat index of each row's first UE
    first_server: Ints  # [B] flat index of each row's local place


class State(NamedTuple):
    """What the decisions so far have left."""

    ue: Ints  # [B] the UE to be decided now; N when the slot is done
    left_hz: Floats  # [B * P] CPU that a server can still commit; 0 for the local place
    sums: Floats  # [B * P, 5] of the servers' UEs; moves only where the closed form allots the CPU
    place: NDArray[np.int8] | Ints  # [B, N] LOCAL where local or undecided
    # [B, N] CPU that the decision took from what was left; 0 where local, late or undecided
    taken_hz: Floats
    cost: Floats  # [B] of the UEs decided so far


class Move(NamedTuple):
    """What one step did to the rows that acted."""

    reward: Floats  # [R] minus the rise of the slot's cost
    taken_hz: Floats  # [R]
    task: Ints  # [R] flat index of the UE decided, into [B * N]
    server: Ints  # [R] flat index of its place, into [B * P]
    left_hz: Floats  # [R] what that place has left
    capacity_hz: Floats  # [R] of that place, as in ``Plan``


def start(
    instances: Instances, goal: Objective, upload: Floats | None = None
) -> tuple[Plan, State]:
    """Return the tables and the first state of a slot (NumPy instances).

    ``upload`` is ``physics.upload_s``, where it is known.
    """
    tables = physics.place_tables(instances, goal, upload)
    batch, ues, places = tables.fixed.shape
    capacity = tables.capacity_hz
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
        always_local=np.count_nonzero(tables.floor_hz[..., LOCAL]) == 0,
        per_s=tables.per_s,
        rows=np.arange(batch),
        first_task=np.arange(batch) * ues,
        first_server=np.arange(batch) * places,
    )
    small: Any = np.int8 if places <= 128 else np.int64
    return plan, State(
        ue=np.zeros(batch, dtype=np.int64),
        left_hz=capacity.reshape(-1),
        sums=np.zeros((batch * places, 5)),
        place=np.full((batch, ues), LOCAL, dtype=small),
        taken_hz=np.zeros((batch, ues)),
        cost=np.zeros(batch),
    )


def mask(plan: Plan, state: State, *, running: bool = False) -> Bools:
    """Return the places that can still meet the current UE's deadline, bool [B, P].

    Local alone where none can or none is asked.

    ``running``: the caller knows that no row is done.
    """
    task, done = plan.first_task + state.ue, None
    if not running:
        done = state.ue == plan.num_ues
        task -= done
    legal = plan.floor_hz.take(task, 0) <= (state.left_hz + plan.slack_hz).reshape(
        -1, plan.num_places
    )
    if done is not None and np.count_nonzero(done):  # counting is the fastest "any" of short arrays
        legal[done] = False
    elif plan.always_local:
        return legal
    hard = ~legal[:, LOCAL]
    if np.count_nonzero(hard):
        legal[hard, LOCAL] = ~legal[hard].any(axis=1)
    return legal


def step(
    plan: Plan,
    state: State,
    rows: Ints,
    place: Ints,
    share: Floats | None = None,
    *,
    donate: bool = False,
    together: int | None = None,
) -> tuple[Move, State]:
    """Decide the current UE of some rows.

    Args:
        plan: the slot's tables.
        state: of all B rows; those not in ``rows`` stay as they are.
        rows: distinct rows with a UE to decide [R].
        place: int [R] in 0..M; any is accepted. Where the server cannot meet the deadline the task
            is late and takes nothing.
        share: in [0, 1] [R], of what is left beyond the task's floor; None: the closed form allots
            the CPU at the slot's end.
        donate: the arrays of ``state`` may be overwritten: its owner goes on with the state
            returned.
        together: the UE that all rows are at, where ``rows`` are all and the caller knows it:
            slices are cheaper than look-ups.

    Returns:
        The move [R] and the next state.
    """
    everyone = rows is plan.rows
    ue = state.ue if everyone else state.ue.take(rows)
    task = (plan.first_task if everyone else plan.first_task.take(rows)) + ue
    server = (plan.first_server if everyone else plan.first_server.take(rows)) + place
    option = task * plan.num_places + place
    per_s = plan.per_s if everyone else plan.per_s.take(rows)
    floor, left = plan.floor_hz.reshape(-1).take(option), state.left_hz.take(server)
    capacity = plan.capacity_hz.take(server)
    fits = (
        floor <= left + physics.FIT_TOLERANCE * capacity
    )  # slack_hz; the local place's floor is 0 or inf
    cycles, root = (_of_task(table, plan, task, together) for table in (plan.cycles, plan.root))
    asked = _Asked(
        rows,
        ue,
        server,
        place,
        floor,
        left,
        fits,
        plan.fixed.take(option),
        per_s,
        capacity,
        cycles,
        root,
    )
    sums = state.sums
    if share is None:
        taken, served_cost, after = _closed_form(plan, state, asked)
        sums = _write(sums, server, after, donate)
    else:
        taken, served_cost = _shares(plan, asked, share)
    all_fit = np.count_nonzero(fits) == fits.size
    rise, left = (
        served_cost if all_fit else np.where(fits, served_cost, plan.late_cost.take(task)),
        left - taken,
    )
    return Move(-rise, taken, task, server, left, capacity), State(
        ue=ue + 1 if everyone else _write(state.ue, rows, ue + 1, donate),
        left_hz=_write(state.left_hz, server, left, donate),
        sums=sums,
        place=_write_task(state.place, task, place, donate, together),
        taken_hz=_write_task(state.taken_hz, task, taken, donate, together),
        cost=state.cost + rise
        if everyone
        else _write(state.cost, rows, state.cost.take(rows) + rise, donate),
    )


def _write(array: NDArray[Any], index: Ints, value: NDArray[Any], donate: bool) -> NDArray[Any]:
    if not donate:
        return set_at(array, index, value)
    array[index] = value
    return array


def _write_task(
    array: NDArray[Any], task: Ints, value: NDArray[Any], donate: bool, together: int | None
) -> NDArray[Any]:
    if not donate or together is None:
        return _write(array.reshape(-1), task, value, donate).reshape(array.shape)
    array[:, together] = value
    return array


def _of_task(table: Floats, plan: Plan, task: Ints, together: int | None) -> Floats:
    """Return the entries [R] of a table [B, N] or [B * N] at the UEs decided."""
    return (
        table.reshape(-1).take(task)
        if together is None
        else table.reshape(-1, plan.num_ues)[:, together]
    )


class _Asked(NamedTuple):
    """The decision of each acting row, looked up; all [R]."""

    rows: Ints
    ue: Ints
    server: Ints
    place: Ints
    floor: Floats
    left: Floats
    fits: Bools
    fixed: Floats
    per_s: Floats
    capacity: Floats
    cycles: Floats
    root: Floats


def _shares(plan: Plan, asked: _Asked, share: Floats) -> tuple[Floats, Floats]:
    """Return CPU taken, and cost where served.

    The server grants the floor + share x what is left beyond it.
    """
    taken = np.where(
        asked.fits, asked.floor + share * np.maximum(asked.left - asked.floor, 0.0), 0.0
    )
    cycles = asked.cycles * (taken > 0)  # none where local or late
    return taken, physics.allotted_cost(
        asked.fixed, asked.per_s, cycles, np.maximum(taken, physics.TINY)
    )


def _closed_form(plan: Plan, state: State, asked: _Asked) -> tuple[Floats, Floats, Floats]:
    """Return floor taken, rise of the cost where served, and the server's sums after it, under the optimal allocation of the served."""
    joins = asked.fits & (asked.place != LOCAL)
    joined = joins.astype(np.float64)  # products with a bool take twice as long
    taken, root = np.where(joins, asked.floor, 0.0), asked.root * joined
    sums = state.sums.take(asked.server, 0)  # a copy
    roots, steepest, level, held_hz, held_s = sums.T.copy()
    spare = np.maximum(asked.capacity - held_hz, physics.TINY)
    before = physics.run_s(roots, spare, held_s)
    ratio, total = taken / (root + (1 - joined)), roots + root
    steeper, lower = np.maximum(steepest, ratio), _level(total, spare, level)
    if np.count_nonzero(joins & (steeper > lower)):  # a further floor binds somewhere
        own = (ratio > lower).astype(np.float64)  # the new UE's: mostly it and no other
        other = 1 - own
        total, steeper = roots + other * root, np.maximum(steepest, other * ratio)
        held_hz, held_s = held_hz + own * taken, held_s + own * root / (ratio + other)
        spare = np.maximum(asked.capacity - held_hz, physics.TINY)
        lower = _level(total, spare, level)
        at = np.flatnonzero(
            joins & (steeper > lower)
        )  # another one's does too: the full allocation
    else:
        at = asked.rows[:0]
    for column, value in enumerate((total, steeper, lower, held_hz, held_s)):
        sums[:, column] = value
    after = physics.run_s(total, spare, held_s)
    if at.size:
        sums[at] = solved = _solved(plan, state, asked, at, lower[at])
        after[at] = physics.run_s(
            solved[:, ROOTS], asked.capacity[at] - solved[:, HELD_HZ], solved[:, HELD_S]
        )
    return taken, asked.fixed + asked.per_s * (after - before), sums


def _level(roots: Floats, spare: Floats, level: Floats) -> Floats:
    """Return what a root gets of what is spare.

    Where all floors bind, and nobody shares, the level that there was.
    """
    return np.where(roots > 0, spare / np.maximum(roots, physics.TINY), level)


def _solved(plan: Plan, state: State, asked: _Asked, at: Ints, level: Floats) -> Floats:
    """Return the sums [K, 5] of the chosen servers of the decisions ``at`` [K], the new UE included; ``level`` [K] is not below theirs."""
    ues = asked.ue.take(at)
    if np.count_nonzero(
        ues != ues[0]
    ):  # sums of as many terms as in a row on its own, or their last bits would differ
        groups = [np.flatnonzero(ues == ue) for ue in np.unique(ues)]
        parts = [_solved(plan, state, asked, at.take(group), level.take(group)) for group in groups]
        return set_at(np.empty((at.size, 5)), np.concatenate(groups), np.concatenate(parts))
    rows, place, decided = (
        asked.rows.take(at),
        asked.place.take(at).astype(state.place.dtype),
        int(ues[0]) + 1,
    )
    members = state.place.take(rows, 0)[:, :decided] == place[:, None]
    floor = state.taken_hz.take(rows, 0)[:, :decided] * members.astype(
        np.float64
    )  # a cast of its own is the cheaper
    floor[:, -1] = asked.floor.take(at)
    root = plan.root.take(rows, 0)[:, :decided] * (floor > 0).astype(np.float64)
    start = np.where(level > 0, level, np.inf)
    return np.stack(physics.held(floor, root, asked.capacity.take(at), np, start), axis=-1)


def decision(plan: Plan, state: State, rows: Ints, *, shares: bool) -> Decision:
    """Return places int64 and the CPU in cycles/s [R, N] of the decisions made.

    What was taken, or the closed form over the served.
    """
    place, taken = state.place[rows].astype(np.int64), state.taken_hz[rows]
    if shares:
        return Decision(place, taken)
    level = state.sums[:, LEVEL].take(place + rows[:, None] * plan.num_places)
    return Decision(place, physics.level_cpu_hz(taken, plan.root[rows] * (taken > 0), level, np))


def decode_action(action: Any, num_servers: int) -> tuple[Ints, Floats]:
    """Return place int [...] and share [...] of actions [..., 2] in [-1, 1].

    U = (a + 1) / 2, place = min(floor(u_0 (M + 1)), M).
    """
    unit = (np.asarray(action, dtype=np.float64) + 1) * 0.5
    place = np.minimum((unit[..., 0] * (num_servers + 1)).astype(np.int64), num_servers)
    return place, unit[..., 1]


def encode_action(place: Any, share: Any, num_servers: int) -> NDArray[np.float32]:
    """Return the action float32 [..., 2] whose place and share these are.

    The middle of the place's interval.
    """
    middle, share = (
        (np.asarray(place) + 0.5) / (num_servers + 1),
        np.asarray(share, dtype=np.float64),
    )
    shape = (
        middle.shape
        if middle.shape == share.shape
        else np.broadcast_shapes(middle.shape, share.shape)
    )
    action = np.empty((*shape, 2), dtype=np.float32)
    action[..., 0], action[..., 1] = 2 * middle - 1, 2 * share - 1
    return action


def share_of(cpu_hz: Any, floor_hz: Any, left_hz: Any) -> Floats:
    """Return the share in [0, 1] that makes a server with ``left_hz`` grant ``cpu_hz`` above the floor (all broadcast)."""
    beyond = np.maximum(np.asarray(left_hz, dtype=np.float64) - floor_hz, 0.0)
    return np.clip((np.asarray(cpu_hz) - floor_hz) / np.where(beyond > 0, beyond, 1.0), 0.0, 1.0)
