"""The stations of B running episodes: UE CPUs, uplinks and servers, one slot at a time.

No loop runs over UEs or tasks. A UE's CPU is a Lindley recursion, so a local task's end is known
when it joins. Uplinks are served in rounds over the heads of their queues. What waits at servers
is one list, sorted by episode and server and there by turn, served in rounds too. Rows may be at
different slots, and each is, to the bit, the batch of one.

Shapes: B episodes, T slots that bring tasks, L slots of a deadline, N UEs, M servers, R acting
rows, K tasks. A *queue* is a UE's, row * N + ue; an *item* is a task that was offloaded, one of L
for each queue.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lambo_env.cell.places import LOCAL
from lambo_env.queueing.instances import Floats, Ints, TaskOutcomes
from lambo_env.queueing.scenario import EDF
from lambo_env.queueing.slots import Devices
from lambo_env.utils import malloc

TOLERANCE = 1e-9  # of a task's work: what may remain when it ends, and exceed where it fits
_WAITS, _ENDS, _DROPPED, _RUNS = range(4)


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
        self.run_settles = np.full(items, -1)
        # offloaded tasks; a queue's uplink holds its items number head .. tail - 1
        self.head, self.tail = np.zeros(queues, dtype=np.int64), np.zeros(queues, dtype=np.int64)
        self.bits, self.slack_bits, self.cycles, self.air_s = np.zeros((4, items))
        self.server, self.last, self.task = np.zeros((3, items), dtype=np.int64)
        # tasks at servers, by key
        self.key, self.item, self.left = _no_ints(), _no_ints(), np.zeros(0)
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
        keep = np.ones(self.key.size, dtype=bool)
        keep[self._at_servers(rows)] = False
        self._put(self.key[keep], self.item[keep], self.left[keep])
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
        self.cycles[item] = cycles
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
        settled = [
            self._settle(ended, late=False),
            self._settle(np.append(dropped, lost), late=True),
        ]
        if self.watched:
            due = rows * lines + self.slot.take(rows) % lines
            cost = self.due.take(due)
            self.due[due] = 0.0
            for row, costs in settled:
                cost += np.bincount(row, costs, self.sizes.rows).take(rows)
        self._arrive(sent)
        self.slot[rows] += 1
        return cost

    def _settle(self, item: Ints, late: bool) -> tuple[Ints, Floats]:
        """Record items that end in the present slot, or are dropped; return rows and costs [K]."""
        lines, slot_s = self.sizes.deadline_slots, self.sizes.slot_s
        queue = item // lines
        row = queue // self.sizes.num_ues
        energy_j = self.tx_w.take(queue) * self.air_s.take(item)
        if late:
            length = self.cycles.take(item) / self.cpu_cycles.take(queue)
            local_j = self.local_w.take(queue) * slot_s * length
            cost = self._late_cost(row, local_j)
            latency_s = np.full(item.size, np.inf)
        else:
            slots = lines - (self.last.take(item) - self.slot.take(row))
            latency_s = slots * slot_s
            cost = self._cost(row, latency_s, energy_j)
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

    def _record(self, task: Ints, latency_s: Floats, energy_j: Floats, cost: Floats) -> None:
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
        at = self._at_servers(rows)
        key, item, left = self.key[at], self.item[at], self.left[at]
        if not key.size:
            return item, item
        turns = self.sizes.num_ues * self.sizes.num_slots
        group = key // turns
        left_slots = self.last.take(item) - self.slot.take(group // self.sizes.num_servers)
        slack = TOLERANCE * self.cycles.take(item)
        if self.sizes.discipline == EDF:
            state = self._in_turn(group, left, slack, left_slots)
        else:
            state = self._in_shares(key // self.sizes.num_slots, group, left, slack, left_slots)
        keep = np.ones(self.key.size, dtype=bool)
        keep[at] = (state == _WAITS) | (state == _RUNS)
        self.left[at] = left
        self._put(self.key[keep], self.item[keep], self.left[keep])
        return item[state == _ENDS], item[state == _DROPPED]

    def _in_turn(
        self, group: Ints, left: Floats, slack: Floats, left_slots: Ints
    ) -> NDArray[np.int8]:
        """Serve tasks one after another until nothing is left of the slot; ``left`` is updated.

        Args:
            group: of the server, rising [K].
            left: cycles to run [K].
            slack: cycles that do not count [K].
            left_slots: after this one, to the deadline [K].
        """
        state = np.full(group.size, _WAITS, dtype=np.int8)
        per_slot = self.edge_cycles.take(group)
        reach = left_slots * per_slot  # cycles that later slots have for a task
        head = np.flatnonzero(np.diff(group, prepend=-1))
        stop, spare = np.append(head[1:], group.size), per_slot.take(head)
        while head.size:
            over, slight = left.take(head) - spare, slack.take(head)
            ends, drops = over <= slight, over - reach.take(head) > slight
            ends &= ~drops
            on = ends | drops
            state[head] = np.where(on, np.where(ends, _ENDS, _DROPPED), _RUNS)
            stays = head[~on]
            left[stays] = over[~on]
            spare = np.where(drops, spare, np.maximum(-over, 0.0))
            head = head + 1
            go = np.flatnonzero(on & (head < stop))
            head, stop, spare = head.take(go), stop.take(go), spare.take(go)
        state[(state == _WAITS) & (left - reach > slack)] = _DROPPED
        return state

    def _in_shares(
        self, queue: Ints, group: Ints, left: Floats, slack: Floats, left_slots: Ints
    ) -> NDArray[np.int8]:
        """Serve the first task of each UE at a server with an equal share; ``left`` is updated.

        Args:
            queue: of the UE at the server, rising [K].
            group: of the server [K].
            left: cycles to run [K].
            slack: cycles that do not count [K].
            left_slots: after this one, to the deadline [K].
        """
        first = np.flatnonzero(np.diff(queue, prepend=-1))
        server = group.take(first)
        base = server[0]
        users = np.bincount(server - base)
        share = self.edge_cycles.take(server) / users.take(server - base)
        need = left.take(first)
        left[first] = need - share
        state = np.full(group.size, _WAITS, dtype=np.int8)
        state[first] = np.where(need - share <= slack.take(first), _ENDS, _RUNS)
        state[(left_slots == 0) & (state != _ENDS)] = _DROPPED
        return state

    def _arrive(self, item: Ints) -> None:
        """Queue items at their servers: served from the next slot on."""
        if not item.size:
            return
        _, ues, servers, slots, lines, _, discipline = self.sizes
        queue = item // lines
        row, arrival = queue // ues, self.last.take(item) - lines + 1
        ue = queue - row * ues
        turn = arrival * ues + ue if discipline == EDF else ue * slots + arrival
        key = (row * servers + self.server.take(item)) * (ues * slots) + turn
        key = np.append(self.key, key)
        order = np.argsort(key, kind="stable")  # merges runs that are sorted
        item = np.append(self.item, item)
        left = np.append(self.left, self.cycles.take(item[self.item.size :]))
        self._put(key.take(order), item.take(order), left.take(order))

    def _put(self, key: Ints, item: Ints, left: Floats) -> None:
        self.key, self.item, self.left = key, item, left

    def _queues(self, rows: Ints) -> Ints:
        ues = self.sizes.num_ues
        return (rows[:, None] * ues + np.arange(ues)).reshape(-1)

    def _at_servers(self, rows: Ints) -> Ints | slice:
        """Return where the list has the tasks of ``rows``, which rise."""
        if rows.size == self.sizes.rows:
            return slice(None)
        width = self.sizes.num_servers * self.sizes.num_ues * self.sizes.num_slots
        low, high = np.searchsorted(self.key, np.stack([rows, rows + 1]) * width)
        return np.repeat(low, high - low) + _ranks(high - low)

    # ---- what is seen ----------------------------------------------------------------------------

    def waiting(self, rows: Ints, uplink_bps: Floats) -> Waiting:
        """Return what waits in ``rows`` now, at rates [R, N, M]."""
        _, ues, servers, _, lines, _, _ = self.sizes
        shape, links = (rows.size, ues), (rows.size, ues, servers)
        ran = np.flatnonzero(
            self.run_settles.reshape(-1, ues * lines)[rows] >= self.slot[rows, None]
        )
        width = ues * lines
        item = ran + (rows - np.arange(rows.size)).take(ran // width) * width
        elapsed = np.maximum(self.slot.take(item // width) - self.run_start.take(item), 0)
        done = elapsed * self.cpu_cycles.take(item // lines)
        cpu_wait_cycles = _sums(
            ran // lines, np.maximum(self.run_cycles.take(item) - done, 0), shape
        )
        queues = self._queues(rows)
        head, count = self.head.take(queues), self.tail.take(queues) - self.head.take(queues)
        queue = np.repeat(np.arange(queues.size), count)
        item = queues.take(queue) * lines + (head.take(queue) + _ranks(count)) % lines
        link, bits = queue * servers + self.server.take(item), self.bits.take(item)
        need_s = bits / uplink_bps.reshape(-1).take(link)
        at = self._at_servers(rows)
        queue = self.item[at] // lines
        waits = np.searchsorted(rows, queue // ues) * ues + queue % ues
        waits = waits * servers + self.server.take(self.item[at])
        return Waiting(
            cpu_wait_cycles,
            _sums(link // servers, bits, shape),
            _sums(link // servers, need_s, shape),
            _sums(waits, self.left[at], links),
            _sums(link, self.cycles.take(item), links),
        )

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
    return sums.reshape(shape)


def _ranks(count: Ints) -> Ints:
    """Return 0 .. count - 1 for each of the counts, one after another."""
    return np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)


def _no_ints() -> Ints:
    return np.zeros(0, dtype=np.int64)
