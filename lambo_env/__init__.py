"""The LAMBO environment suite: multi-access edge computing (MEC) task offloading for Gymnasium."""

import gymnasium as _gymnasium

from lambo_env.offloading.instances import LOCAL, Decision, Instances, Objective, Outcome
from lambo_env.offloading.physics import evaluate
from lambo_env.offloading.scenario import Scenario, list_scenarios, load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts

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

# Gymnasium's passive checker stumbles at the first step where the first reset was refused; `lambo
# check env` checks more.
for _id, _modules, _kind in (
    ("LAMBO-MEC-v0", ("env", "vector_env"), "Joint"),
    ("LAMBO-MEC-Association-v0", ("env", "vector_env"), "Association"),
    ("LAMBO-MEC-Drift-v0", ("drift_env", "drift_env"), "Drift"),
):
    if _id not in _gymnasium.registry:  # a module may be reloaded
        _gymnasium.register(
            _id,
            entry_point=f"lambo_env.envs.{_modules[0]}:{_kind}Env",
            vector_entry_point=f"lambo_env.envs.{_modules[1]}:{_kind}VectorEnv",
            disable_env_checker=True,
        )
if "LAMBO-WPMEC-v0" not in _gymnasium.registry:
    _gymnasium.register(
        "LAMBO-WPMEC-v0", entry_point="lambo_env.wpmec.env:WpmecEnv", disable_env_checker=True
    )
