"""The stations of B running episodes: UE CPUs, uplinks and servers, one slot at a time.

No loop runs over UEs or tasks. A UE's CPU is a Lindley recursion, so a local task's end is known
when it joins. Uplinks are served in rounds over the heads of their queues. What waits at servers
is sorted by server and there by turn, and served in rounds too. Rows may be at different slots, and
each is, to the bit, the batch of one.

Shapes: B episodes, T slots that bring tasks, L slots of a deadline, N UEs, M servers, R acting
rows, K tasks. A *queue* is a UE's, row * N + ue; an *item* is a task that was offloaded, one of L
for each queue.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from lambo_env.cell.places import LOCAL
from lambo_env.queueing.instances import Bools, Floats, Ints, TaskOutcomes
from lambo_env.queueing.scenario import EDF
from lambo_env.queueing.slots import Devices
from lambo_env.utils import malloc

TOLERANCE = 1e-9  # of a task's work: what may remain when it ends, and exceed where it fits


class Sizes(NamedTuple):
    """What all episodes of a batch share."""

    rows: int  # B
    num_ues: int  # N
    num_servers: int  # M
    num_slots: int  # T
    deadline_slots: int  # L
    slot_s: float
    discipline: str


class Prices(NamedTuple):
    """What tasks cost; each [B] or a number."""

    per_s: Floats  # c_L
    per_j: Floats  # c_E
    late_penalty: Floats | float


class Waiting(NamedTuple):
    """What waits in some rows at the start of a slot."""

    cpu_wait_cycles: Floats  # [R, N]
    uplink_wait_bits: Floats  # [R, N]
    uplink_wait_s: Floats  # [R, N] at present rates
    edge_wait_cycles: Floats  # [R, N, M]
    coming_cycles: Floats  # [R, N, M]


class Loads(NamedTuple):
    """Sums of what waits over the UEs."""

    waiting_cycles: Floats  # [R, M] at servers
    coming_cycles: Floats  # [R, M] still to be uploaded
    users: Ints  # [R, M] UEs with work at a server


class Stations:
    """The queues of B episodes, and what became of their tasks.

    Args:
        sizes: of the batch.
        watched: whether ``waiting`` and the costs that ``serve`` returns will be asked for.
    """

    def __init__(self, sizes: Sizes, watched: bool = True) -> None:
        self.sizes, self.watched = sizes, watched
        rows, ues, servers, slots, lines, _, _ = sizes
        queues, items, tasks = rows * ues, rows * ues * lines, rows * slots * ues
        self.slot = np.zeros(rows, dtype=np.int64)  # [B] that is to be served next
        # devices and prices
        self.cpu_cycles = np.ones(queues)  # of a slot
        self.edge_cycles = np.ones(rows * servers)  # of a slot
        self.local_w, self.tx_w = np.zeros(queues), np.zeros(queues)
        self.per_s, self.per_j, self.late_factor = np.zeros((3, rows))
        # UE CPUs: the moment at which each is free, in slots; costs by the slot that settles them
        self.free = np.zeros(queues)
        self.due = np.zeros(rows * lines)
        # for ``waiting``: the local task of each slot
        self.run_cycles, self.run_start = np.zeros(items), np.zeros(items)
        self.run_settles = np.full(
            items, -1, dtype=np.int16 if slots + lines < 1 << 15 else np.int64
        )
        # offloaded tasks; a queue's uplink holds its items number head .. tail - 1
        self.head, self.tail = np.zeros(queues, dtype=np.int64), np.zeros(queues, dtype=np.int64)
        self.bits, self.slack_bits, self.cycles, self.left, self.air_s = np.zeros((5, items))
        self.server, self.last, self.task = np.zeros((3, items), dtype=np.int64)
        self.here = np.zeros(items, dtype=bool)  # at its server
        # what became of the tasks [B, T, N]
        self.latency_s, self.energy_j, self.cost = (np.empty(tasks) for _ in range(3))
        malloc.retain_freed_memory()

    def begin(self, rows: Ints, devices: Devices, prices: Prices) -> None:
        """Empty the stations of ``rows`` for new episodes."""
        ues, servers, lines = self.sizes.num_ues, self.sizes.num_servers, self.sizes.deadline_slots
        slot_s, queues = self.sizes.slot_s, self._queues(rows)
        self.cpu_cycles[queues] = (devices.local_cpu_hz * slot_s).ravel()
        self.local_w[queues] = devices.local_power_w.ravel()
        self.tx_w[queues] = devices.tx_power_w.ravel()
        self.edge_cycles.reshape(-1, servers)[rows] = devices.server_cpu_hz * slot_s
        self.per_s[rows], self.per_j[rows] = prices.per_s, prices.per_j
        self.late_factor[rows] = 1 + np.asarray(prices.late_penalty)
        self.slot[rows] = 0
        self.free[queues], self.head[queues], self.tail[queues] = 0.0, 0, 0
        self.due.reshape(-1, lines)[rows] = 0.0
        self.run_settles.reshape(-1, ues * lines)[rows] = -1
        self.here.reshape(-1, ues * lines)[rows] = False
        for of_tasks in (self.latency_s, self.energy_j, self.cost):
            of_tasks.reshape(-1, self.sizes.num_slots * ues)[rows] = np.nan

    # ---- decisions -------------------------------------------------------------------------------

    def join(self, row: Ints, ue: Ints, place: Ints, data_bits: Floats, cycles: Floats) -> None:
        """Let tasks of the present slots join their queues at once.

        Args:
            row: int [K], like the rest; at most one task of a UE.
            ue: whose task it is.
            place: where it goes.
            data_bits: to upload.
            cycles: to run.
        """
        local = np.flatnonzero(place == LOCAL)
        away = np.flatnonzero(place != LOCAL)
        self._join_cpu(row.take(local), ue.take(local), cycles.take(local))
        self._join_uplink(
            row.take(away), ue.take(away), place.take(away), data_bits.take(away), cycles.take(away)
        )

    def _join_cpu(self, row: Ints, ue: Ints, cycles: Floats) -> None:
        queue, now = row * self.sizes.num_ues + ue, self.slot.take(row)
        limit = now + self.sizes.deadline_slots
        length = cycles / self.cpu_cycles.take(queue)  # in slots
        slack = TOLERANCE * length
        free = self.free.take(queue)
        start = np.maximum(free, now)
        if self.sizes.discipline == EDF:
            end = start + length
            late = end - limit > slack
            settles = np.where(late, np.floor(start), np.ceil(end - slack) - 1)
            ran, after, start = (
                np.where(late, 0.0, length),
                np.where(late, free, end),
                (np.where(late, np.inf, start)),
            )
        else:
            end = start + np.ceil(length - slack)
            late, after = end > limit, np.minimum(end, limit)
            settles, ran = after - 1, np.minimum(length, limit - start)
        self.free[queue] = after
        task = (row * self.sizes.num_slots + now) * self.sizes.num_ues + ue
        latency_s = (settles - now + 1) * self.sizes.slot_s
        slot_j = self.local_w.take(queue) * self.sizes.slot_s
        energy_j, local_j = slot_j * ran, slot_j * length
        cost = self._cost(row, latency_s, energy_j)
        cost = np.where(late, self._late_cost(row, local_j), cost)
        self._record(task, np.where(late, np.inf, latency_s), energy_j, cost)
        if self.watched:
            line = self.sizes.deadline_slots
            settles = settles.astype(np.int64)
            np.add.at(self.due, row * line + settles % line, cost)
            at = queue * line + now % line
            self.run_cycles[at], self.run_start[at], self.run_settles[at] = cycles, start, settles

    def _join_uplink(
        self, row: Ints, ue: Ints, place: Ints, data_bits: Floats, cycles: Floats
    ) -> None:
        lines, now = self.sizes.deadline_slots, self.slot.take(row)
        queue = row * self.sizes.num_ues + ue
        tail = self.tail.take(queue)
        item = queue * lines + tail % lines
        self.tail[queue] = tail + 1
        self.bits[item], self.slack_bits[item] = data_bits, TOLERANCE * data_bits
        self.cycles[item], self.left[item] = cycles, cycles
        self.air_s[item], self.server[item] = 0.0, place - 1
        self.last[item] = now + lines - 1
        self.task[item] = (row * self.sizes.num_slots + now) * self.sizes.num_ues + ue

    # ---- service ---------------------------------------------------------------------------------

    def serve(self, rows: Ints, uplink_bps: Floats) -> Floats:
        """Serve the present slots of ``rows`` at rates [R, N, M]; return what settles costs [R].

        Rates may also be [1, N, M], for all. The costs are 0 where not watched.
        """
        ended, dropped = self._compute(rows)
        sent, lost = self._upload(rows, uplink_bps)
        cost, lines = np.zeros(rows.size), self.sizes.deadline_slots
        row, costs = self._settle(ended, np.concatenate([dropped, lost]))
        if self.watched:
            due = rows * lines + self.slot.take(rows) % lines
            cost = self.due.take(due) + np.bincount(row, costs, self.sizes.rows).take(rows)
            self.due[due] = 0.0
        self.here[sent] = True
        self.slot[rows] += 1
        return cost

    def _settle(self, ended: Ints, dropped: Ints) -> tuple[Ints, Floats]:
        """Record the items that settle in the present slot; return their rows and costs [K]."""
        lines, slot_s = self.sizes.deadline_slots, self.sizes.slot_s
        item = np.concatenate([ended, dropped])
        queue = item // lines
        row = queue // self.sizes.num_ues
        energy_j = self.tx_w.take(queue) * self.air_s.take(item)
        latency_s = (lines - self.last.take(item) + self.slot.take(row)) * slot_s
        cost = self._cost(row, latency_s, energy_j)
        if dropped.size:
            late = slice(ended.size, None)
            row_of, of = row[late], queue[late]
            length = self.cycles.take(dropped) / self.cpu_cycles.take(of)
            cost[late] = self._late_cost(row_of, self.local_w.take(of) * slot_s * length)
            latency_s[late] = np.inf
        self._record(self.task.take(item), latency_s, energy_j, cost)
        return row, cost

    def _cost(self, row: Ints, latency_s: Any, energy_j: Floats) -> Floats:
        """Return c_L latency + c_E energy [K]."""
        return self.per_s.take(row) * latency_s + self.per_j.take(row) * energy_j

    def _late_cost(self, row: Ints, local_j: Floats) -> Floats:
        """Return (1 + late_penalty)(c_L D + c_E P_loc C / f) [K]."""
        deadline_s = self.sizes.deadline_slots * self.sizes.slot_s
        at_end = self.per_s.take(row) * deadline_s + self.per_j.take(row) * local_j
        return self.late_factor.take(row) * at_end

    def _record(self, task: Ints, latency_s: Any, energy_j: Floats, cost: Floats) -> None:
        self.latency_s[task], self.energy_j[task], self.cost[task] = latency_s, energy_j, cost

    def _upload(self, rows: Ints, uplink_bps: Floats) -> tuple[Ints, Ints]:
        """Return the items whose upload ends in this slot, and those that uplinks drop."""
        ues, lines, slot_s = self.sizes.num_ues, self.sizes.deadline_slots, self.sizes.slot_s
        rates, edf = uplink_bps.reshape(-1), self.sizes.discipline == EDF
        queues = self._queues(rows)
        busy = np.flatnonzero(self.head.take(queues) < self.tail.take(queues))
        # one row of rates is everybody's
        link = (busy if len(uplink_bps) == rows.size else busy % ues) * self.sizes.num_servers
        queue = queues.take(busy)
        now = self.slot.take(queue // ues)
        left_s = np.full(busy.size, slot_s)
        sent, lost = [], []
        while queue.size:
            head = self.head.take(queue)
            item = queue * lines + head % lines
            rate, bits = rates.take(link + self.server.take(item)), self.bits.take(item)
            need_s, slack_s = bits / rate, self.slack_bits.take(item) / rate
            left_slots = self.last.take(item) - now
            ends = need_s - left_s <= slack_s
            if edf:
                drops = need_s - (left_s + (left_slots - 1) * slot_s) > slack_s
                ends &= ~drops
                used_s = np.where(drops, 0.0, np.minimum(need_s, left_s))
            else:
                drops, used_s = left_slots == 0, np.minimum(need_s, left_s)
                ends &= ~drops
            self.air_s[item] += used_s
            leaves = ends | drops
            self.bits[item] = bits - used_s * rate
            self.head[queue] = head + leaves
            sent.append(item[ends])
            lost.append(item[drops])
            left_s = left_s - used_s
            on = leaves & (left_s > 0) & (head + 1 < self.tail.take(queue))
            on = np.flatnonzero(on) if edf else on[:0]
            queue, link, now, left_s = (x.take(on) for x in (queue, link, now, left_s))
        return np.concatenate([_no_ints(), *sent]), np.concatenate([_no_ints(), *lost])

    def _compute(self, rows: Ints) -> tuple[Ints, Ints]:
        """Serve the tasks at the servers; return the items that end, and those dropped."""
        _, ues, servers, _, lines, _, discipline = self.sizes
        item, row = self._waiting_items(rows)
        if not item.size:
            return item, item
        left_slots = self.last.take(item) - self.slot.take(rows).take(row)
        group = row * servers + self.server.take(item)
        turn = group if discipline == EDF else group * ues + item // lines % ues
        turn, most = turn * lines + left_slots, rows.size * servers * ues * lines
        # items rise with row and UE, so ties go by UE; small integers are sorted by their digits
        small = discipline == EDF and most < ues << 16
        order = np.argsort(turn.astype(np.uint16) if small else turn, kind="stable")
        item, group, left_slots = item.take(order), group.take(order), left_slots.take(order)
        left, slack = self.left.take(item), TOLERANCE * self.cycles.take(item)
        per_slot = self.edge_cycles.reshape(-1, servers)[rows].reshape(-1).take(group)
        limit = slack + left_slots * per_slot  # what later slots have for a task
        if discipline == EDF:
            ends = self._in_turn(group, per_slot, left, slack, limit)
        else:
            ends = self._in_shares(turn.take(order) // lines, group, per_slot, left, slack)
            limit = np.where(left_slots == 0, -np.inf, np.inf)
        self.left[item] = left
        drops = (left > limit) & ~ends
        self.here[item] = ~(ends | drops)
        return item[ends], item[drops]

    def _in_turn(
        self, group: Ints, per_slot: Floats, left: Floats, slack: Floats, limit: Floats
    ) -> Bools:
        """Serve tasks one after another until nothing is left of the slot.

        Args:
            group: of the server, rising [K].
            per_slot: cycles that the server runs in a slot [K].
            left: cycles to run [K]; updated, above ``limit`` where a task's turn finds it hopeless.
            slack: cycles that do not count [K].
            limit: above what is left to run after this slot a task is hopeless [K].

        Returns:
            Which tasks end [K].
        """
        ended = np.zeros(group.size, dtype=bool)
        head = np.flatnonzero(np.diff(group, prepend=-1))
        stop, spare = np.append(head[1:], group.size), per_slot.take(head)
        while head.size:
            over = left.take(head) - spare
            ends = over <= slack.take(head)
            on = ends | (over > limit.take(head))
            left[head], ended[head] = over, ends
            spare = np.where(ends, np.maximum(-over, 0.0), spare)
            head = head + 1
            go = np.flatnonzero(on & (head < stop))
            head, stop, spare = head.take(go), stop.take(go), spare.take(go)
        return ended

    def _in_shares(
        self, queue: Ints, group: Ints, per_slot: Floats, left: Floats, slack: Floats
    ) -> Bools:
        """Serve the first task of each UE at a server with an equal share.

        Args:
            queue: of the UE at the server, rising [K].
            group: of the server [K].
            per_slot: cycles that the server runs in a slot [K].
            left: cycles to run [K]; updated.
            slack: cycles that do not count [K].

        Returns:
            Which tasks end [K].
        """
        first = np.flatnonzero(np.diff(queue, prepend=-1))
        server = group.take(first)
        over = left.take(first) - per_slot.take(first) / np.bincount(server).take(server)
        ended = np.zeros(group.size, dtype=bool)
        left[first], ended[first] = over, over <= slack.take(first)
        return ended

    def _queues(self, rows: Ints) -> Ints:
        ues = self.sizes.num_ues
        return (rows[:, None] * ues + np.arange(ues)).reshape(-1)

    def _waiting_items(self, rows: Ints) -> tuple[Ints, Ints]:
        """Return the items at the servers of ``rows``, rising, and which of the rows it is [K]."""
        width = self.sizes.num_ues * self.sizes.deadline_slots
        flags = self.here.reshape(-1, width)
        item = np.flatnonzero(flags if rows.size == self.sizes.rows else flags[rows])
        row = item // width
        return item + ((rows - np.arange(rows.size)) * width).take(row), row

    # ---- what is seen ----------------------------------------------------------------------------

    def waiting(self, rows: Ints, uplink_bps: Floats) -> tuple[Waiting, Loads]:
        """Return what waits in ``rows`` now, at rates [R, N, M], and its sums over the UEs."""
        _, ues, servers, _, lines, _, _ = self.sizes
        size, width = rows.size, ues * lines
        first = (rows - np.arange(size)) * width  # how far the rows' items are from a batch's of R
        settles: Any = self.run_settles.reshape(-1, width)[rows]
        ran = np.flatnonzero(settles >= self.slot.take(rows)[:, None])
        row = ran // width
        item = ran + first.take(row)
        elapsed = np.maximum(self.slot.take(rows).take(row) - self.run_start.take(item), 0)
        left = self.run_cycles.take(item) - elapsed * self.cpu_cycles.take(item // lines)
        cpu = _sums(ran // lines, np.maximum(left, 0), (size, ues))
        head, tail = (x.reshape(-1, ues)[rows].reshape(-1) for x in (self.head, self.tail))
        count = tail - head
        queue = np.repeat(np.arange(count.size), count)
        row = queue // ues
        item = queue * lines + (head.take(queue) + _ranks(count)) % lines + first.take(row)
        server, bits = self.server.take(item), self.bits.take(item)
        link, cycles = queue * servers + server, self.cycles.take(item)
        need_s = bits / uplink_bps.reshape(-1).take(link)
        here, at = self._waiting_items(rows)
        held = at * servers + self.server.take(here)
        owner = here // lines % ues * servers + held % servers + at * (ues * servers)
        left = self.left.take(here)
        edge = _sums(owner, left, (size, ues, servers))
        owned = np.flatnonzero(edge)
        users = owned // (ues * servers) * servers + owned % servers
        loads = Loads(
            _sums(held, left, (size, servers)),
            _sums(row * servers + server, cycles, (size, servers)),
            np.bincount(users, minlength=size * servers).reshape(size, servers),
        )
        coming = _sums(link, cycles, (size, ues, servers))
        bits, need_s = (_sums(queue, values, (size, ues)) for values in (bits, need_s))
        return Waiting(cpu, bits, need_s, edge, coming), loads

    def outcomes(self, rows: Ints, place: Ints) -> TaskOutcomes:
        """Return what became of the tasks of ``rows`` at their places [R, T, N].

        Each must have settled.
        """
        shape = (-1, self.sizes.num_slots, self.sizes.num_ues)
        at: Any = slice(None) if rows.size == self.sizes.rows else rows
        latency_s, energy_j, cost = (
            values.reshape(shape)[at] for values in (self.latency_s, self.energy_j, self.cost)
        )
        return TaskOutcomes(latency_s, energy_j, np.isinf(latency_s), cost, place)


def _sums(index: Ints, values: Floats, shape: tuple[int, ...]) -> Floats:
    """Return the sums of values by index, in an array of some shape."""
    sums: Any = np.bincount(index, values, math.prod(shape))
    return sums.reshape(shape).astype(np.float64, copy=False)  # of nothing they are integers


def _ranks(count: Ints) -> Ints:
    """Return 0 .. count - 1 for each of the counts, one after another."""
    return np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)


def _no_ints() -> Ints:
    return np.zeros(0, dtype=np.int64)
