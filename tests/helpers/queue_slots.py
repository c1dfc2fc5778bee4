"""Slots of the queueing world in which something waits, for tests of agents."""

import numpy as np

from baselines.queueing.rules import ShortestFinish
from baselines.queueing.simulation import Simulation
from lambo_env import registration
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.instances import QueueInstances
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
