"""The world of tasks that wait: queues at UEs, uplinks and servers, slot after slot."""

from lambo_env.queueing.instances import QueueInstances, TaskOutcomes, Trace
from lambo_env.queueing.physics import replay
from lambo_env.queueing.scenario import QueueScenario
from lambo_env.queueing.slots import sample_trace

__all__ = ["QueueInstances", "QueueScenario", "TaskOutcomes", "Trace", "replay", "sample_trace"]
