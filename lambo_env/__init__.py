"""The LAMBO environment suite: multi-access edge computing (MEC) task offloading for Gymnasium."""

from lambo_env import queueing
from lambo_env.offloading.instances import LOCAL, Decision, Instances, Objective, Outcome
from lambo_env.offloading.scenario import Scenario
from lambo_env.prompts.prompts import Prompts
from lambo_env.registration import (
    allocate,
    evaluate,
    list_envs,
    list_scenarios,
    load_scenario,
    play,
    register_env,
    register_world,
    sample_instances,
    upload_s,
)

__version__ = "0.1.0"
__all__ = [
    "LOCAL",
    "Decision",
    "Instances",
    "Objective",
    "Outcome",
    "Prompts",
    "Scenario",
    "allocate",
    "evaluate",
    "list_envs",
    "list_scenarios",
    "load_scenario",
    "play",
    "queueing",
    "register_env",
    "register_world",
    "sample_instances",
    "upload_s",
]
