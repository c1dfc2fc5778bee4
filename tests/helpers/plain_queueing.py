"""The queueing world as plain loops over slots, UEs and tasks: one episode, one plan."""

import math

import numpy as np

TOLERANCE = 1e-9


class Task:
    """A task, with the work that remains of it."""

    def __init__(self, arrival, ue, place, bits, cycles):
        self.arrival, self.ue, self.place = arrival, ue, place
        self.bits, self.cycles = bits, cycles
        self.all_bits, self.all_cycles = bits, cycles
        self.spent_s, self.end, self.dropped = 0.0, None, False


class PlainCell:
    """The queues of one episode."""

    def __init__(self, trace):
        self.trace, self.edf = trace, trace.discipline == "edf"
        self.slots, self.ues = trace.has_task.shape
        self.deadline = round(trace.deadline_s / trace.slot_s)
        self.cpu, self.uplink = ([[] for _ in range(self.ues)] for _ in range(2))
        self.edge = [[] for _ in trace.server_cpu_hz]
        self.tasks = []

    def arrive(self, t, place):
        trace = self.trace
        for n in np.flatnonzero(trace.has_task[t]):
            task = Task(t, n, place[t, n], trace.data_bits[t, n], trace.cycles[t, n])
            self.tasks.append(task)
            (self.uplink if task.place else self.cpu)[n].append(task)

    def slots_left(self, task, t):
        return task.arrival + self.deadline - 1 - t

    def run_cpu(self, t, n):
        per_slot = left = self.trace.local_cpu_hz[n] * self.trace.slot_s
        queue = self.cpu[n]
        while queue and left > 0:
            task = queue[0]
            slack = TOLERANCE * task.all_cycles
            if self.edf and task.cycles - left - self.slots_left(task, t) * per_slot > slack:
                queue.pop(0).dropped = True
                continue
            ran = min(task.cycles, left)
            task.cycles -= ran
            task.spent_s += ran / self.trace.local_cpu_hz[n]
            left -= ran
            if task.cycles <= slack:
                queue.pop(0).end = t
            if not self.edf:
                break

    def send(self, t, n):
        """Return the tasks whose upload ends."""
        left, slot_s, queue, sent = self.trace.slot_s, self.trace.slot_s, self.uplink[n], []
        while queue and left > 0:
            task = queue[0]
            rate = self.trace.uplink_bps[t, n, task.place - 1]
            slack, need = TOLERANCE * task.all_bits / rate, task.bits / rate
            if self.edf and need - left - (self.slots_left(task, t) - 1) * slot_s > slack:
                queue.pop(0).dropped = True
                continue
            air = min(need, left)
            task.spent_s += air
            task.bits -= air * rate
            left -= air
            if need - air <= slack:
                sent.append(queue.pop(0))
            if not self.edf:
                break
        return sent

    def run_edf(self, t, m):
        per_slot = left = self.trace.server_cpu_hz[m] * self.trace.slot_s
        for task in sorted(self.edge[m], key=lambda task: (task.arrival, task.ue)):
            slack = TOLERANCE * task.all_cycles
            if task.cycles - left - self.slots_left(task, t) * per_slot > slack:
                task.dropped = True
                continue
            ran = min(task.cycles, left)
            task.cycles -= ran
            left -= ran
            if task.cycles <= slack:
                task.end = t

    def run_equal(self, t, m):
        first = {}
        for task in sorted(self.edge[m], key=lambda task: task.arrival):
            first.setdefault(task.ue, task)
        for task in first.values():
            task.cycles -= self.trace.server_cpu_hz[m] * self.trace.slot_s / len(first)
            if task.cycles <= TOLERANCE * task.all_cycles:
                task.end = t

    def serve(self, t):
        for n in range(self.ues):
            self.run_cpu(t, n)
        sent = [task for n in range(self.ues) for task in self.send(t, n)]
        for m in range(len(self.edge)):
            (self.run_edf if self.edf else self.run_equal)(t, m)
            self.edge[m] = [x for x in self.edge[m] if x.end is None and not x.dropped]
        for task in sent:
            self.edge[task.place - 1].append(task)
        for queue in (*self.cpu, *self.uplink, *self.edge):  # the end of the slot
            for task in [x for x in queue if self.slots_left(x, t) == 0]:
                task.dropped = True
                queue.remove(task)


def play(trace, place, objective=(1.0, 0.0)):
    """Return (latency_s, energy_j, late, cost), each [T, N], of a plan [T, N]."""
    cell = PlainCell(trace)
    for t in range(cell.slots + cell.deadline - 1):
        if t < cell.slots:
            cell.arrive(t, place)
        cell.serve(t)
    latency_s, energy_j, cost = np.full((3, cell.slots, cell.ues), math.nan)
    late = np.zeros((cell.slots, cell.ues), dtype=bool)
    per_s, per_j = objective
    for task in cell.tasks:
        assert task.dropped == (task.end is None)
        at, n = (task.arrival, task.ue), task.ue
        power = trace.tx_power_w[n] if task.place else trace.local_power_w[n]
        energy_j[at] = power * task.spent_s
        if task.dropped:
            late[at], latency_s[at] = True, math.inf
            local_j = trace.local_power_w[n] * task.all_cycles / trace.local_cpu_hz[n]
            cost[at] = (1 + trace.late_penalty) * (per_s * trace.deadline_s + per_j * local_j)
        else:
            latency_s[at] = (task.end - task.arrival + 1) * trace.slot_s
            cost[at] = per_s * latency_s[at] + per_j * energy_j[at]
    return latency_s, energy_j, late, cost
