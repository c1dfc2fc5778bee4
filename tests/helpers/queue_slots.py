"""Slots of the queueing world in which something waits, for tests of agents."""

import math

import numpy as np

from baselines.queueing.rules import ShortestFinish
from lambo_env import registration
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.instances import QueueInstances
from lambo_env.queueing.policies.simulation import Simulation
from lambo_env.queueing.slots import sample_trace


def queue_slots(
    rows: int, seed: int = 0, slots: int = 3, rule: object = None, **fields: object
) -> QueueInstances:
    """Return what some episodes show after a few slots of a rule's play."""
    scenario = registration.load_scenario("queue").replace(num_slots=slots + 1, **fields)
    simulation = Simulation(scenario, sample_trace(scenario, rows, np.random.default_rng(seed)))
    prompts, rng = Prompts.of("minimum latency", rows), np.random.default_rng(seed)
    rule = rule or ShortestFinish()
    for _ in range(slots):
        simulation.serve(rule.decide(simulation.enter(), prompts, rng).place)
    return simulation.enter()


def finish(shown, row, ue, work):
    """Return when a task is estimated to end at each place, by a loop."""
    slot_s, capacity = shown.slot_s[row], shown.server_cpu_hz[row]
    cycles, bits = shown.cycles[row, ue], shown.data_bits[row, ue]
    out = [(shown.cpu_wait_cycles[row, ue] + cycles) / shown.local_cpu_hz[row, ue]]
    for m, hz in enumerate(capacity):
        sent_s = shown.uplink_wait_s[row, ue] + bits / shown.uplink_bps[row, ue, m]
        ready_s = math.ceil(sent_s / slot_s - 1e-9) * slot_s
        out.append(max(ready_s, work[m] / hz) + cycles / hz)
    return out
