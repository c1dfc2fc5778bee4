"""The queueing world as a plain loop over slots, UEs and tasks."""

import math

import numpy as np

TOLERANCE = 1e-9


class Task:
    def __init__(self, arrival, ue, place, bits, cycles):
        self.arrival, self.ue, self.place = arrival, ue, place
        self.bits, self.cycles = bits, cycles
        self.all_bits, self.all_cycles = bits, cycles
        self.spent_s, self.end, self.dropped = 0.0, None, None


def play(trace, place, objective=(1.0, 0.0)):
    """Return (latency_s, energy_j, late, cost), each [T, N], of a plan [T, N]."""
    slots, ues = trace.has_task.shape
    deadline = round(trace.deadline_s / trace.slot_s)
    servers, slot_s, edf = len(trace.server_cpu_hz), trace.slot_s, trace.discipline == "edf"
    cpu, uplink, edge = (
        [[] for _ in range(ues)],
        [[] for _ in range(ues)],
        [[] for _ in range(servers)],
    )
    tasks = []
    for t in range(slots + deadline - 1):
        if t < slots:
            for n in range(ues):
                if trace.has_task[t, n]:
                    task = Task(t, n, place[t, n], trace.data_bits[t, n], trace.cycles[t, n])
                    tasks.append(task)
                    (uplink if task.place else cpu)[n].append(task)
        for n in range(ues):  # CPUs
            left, per_slot = trace.local_cpu_hz[n] * slot_s, trace.local_cpu_hz[n] * slot_s
            while cpu[n] and left > 0:
                task = cpu[n][0]
                slack = TOLERANCE * task.all_cycles
                if (
                    edf
                    and task.cycles - left - (task.arrival + deadline - 1 - t) * per_slot > slack
                ):
                    task.dropped = t
                    cpu[n].pop(0)
                    continue
                ran = min(task.cycles, left)
                task.cycles -= ran
                task.spent_s += ran / trace.local_cpu_hz[n]
                left -= ran
                if task.cycles <= slack:
                    task.end = t
                    cpu[n].pop(0)
                if not edf:
                    break
        sent = []
        for n in range(ues):  # uplinks
            left = slot_s
            while uplink[n] and left > 0:
                task = uplink[n][0]
                rate = trace.uplink_bps[t, n, task.place - 1]
                slack = TOLERANCE * task.all_bits / rate
                reach = left + (task.arrival + deadline - 2 - t) * slot_s
                if edf and task.bits / rate - reach > slack:
                    task.dropped = t
                    uplink[n].pop(0)
                    continue
                air = min(task.bits / rate, left)
                task.spent_s += air
                task.bits -= air * rate
                left -= air
                if task.bits <= TOLERANCE * task.all_bits:
                    uplink[n].pop(0)
                    sent.append(task)
                if not edf:
                    break
        for m in range(servers):
            per_slot = trace.server_cpu_hz[m] * slot_s
            if edf:
                left = per_slot
                for task in sorted(edge[m], key=lambda task: (task.arrival, task.ue)):
                    slack = TOLERANCE * task.all_cycles
                    reach = left + (task.arrival + deadline - 1 - t) * per_slot
                    if task.cycles - reach > slack:
                        task.dropped = t
                    else:
                        ran = min(task.cycles, left)
                        task.cycles -= ran
                        left -= ran
                        if task.cycles <= slack:
                            task.end = t
            else:
                first = {}
                for task in edge[m]:
                    if task.ue not in first or task.arrival < first[task.ue].arrival:
                        first[task.ue] = task
                for task in first.values():
                    task.cycles -= min(task.cycles, per_slot / len(first))
                    if task.cycles <= TOLERANCE * task.all_cycles:
                        task.end = t
            edge[m] = [task for task in edge[m] if task.end is None and task.dropped is None]
        for task in sent:
            edge[task.place - 1].append(task)
        for queue in (*cpu, *uplink, *edge):  # the end of the slot
            for task in [x for x in queue if x.arrival + deadline - 1 == t]:
                task.dropped = t
                queue.remove(task)
    latency_s, energy_j, cost = np.full((3, slots, ues), math.nan)
    late = np.zeros((slots, ues), dtype=bool)
    for task in tasks:
        assert (task.end is None) != (task.dropped is None)
        at, n = (task.arrival, task.ue), task.ue
        power = trace.tx_power_w[n] if task.place else trace.local_power_w[n]
        late[at], energy_j[at] = task.end is None, power * task.spent_s
        latency_s[at] = math.inf if late[at] else (task.end - task.arrival + 1) * slot_s
        per_s, per_j = objective
        local_j = trace.local_power_w[n] * task.all_cycles / trace.local_cpu_hz[n]
        cost[at] = (
            (1 + trace.late_penalty) * (per_s * trace.deadline_s + per_j * local_j)
            if late[at]
            else per_s * latency_s[at] + per_j * energy_j[at]
        )
    return latency_s, energy_j, late, cost
