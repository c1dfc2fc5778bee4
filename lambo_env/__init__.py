"""The LAMBO environment suite: multi-access edge computing (MEC) task offloading for Gymnasium."""

from lambo_env.instances import LOCAL, Decision, Instances, Objective, Outcome
from lambo_env.physics import evaluate
from lambo_env.prompt import Prompts
from lambo_env.scenario import Scenario, list_scenarios, load_scenario
from lambo_env.world import sample_instances

__version__ = "0.1.0"
__all__ = [
    "LOCAL",
    "Decision",
    "Instances",
    "Objective",
    "Outcome",
    "Prompts",
    "Scenario",
    "evaluate",
    "list_scenarios",
    "load_scenario",
    "sample_instances",
]
