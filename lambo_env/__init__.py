"""The LAMBO environment suite: multi-access edge computing (MEC) task offloading for Gymnasium."""

import gymnasium as _gymnasium

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

# Gymnasium's passive checker stumbles at the first step where the first reset was refused; `lambo check env` checks more.
for _id, _modules, _kind in (
    ("LAMBO-MEC-v0", ("env", "vector_env"), "Joint"),
    ("LAMBO-MEC-Association-v0", ("env", "vector_env"), "Association"),
    ("LAMBO-MEC-Drift-v0", ("drift_env", "drift_env"), "Drift"),
):
    if _id not in _gymnasium.registry:  # a module may be reloaded
        _gymnasium.register(
            _id,
            entry_point=f"lambo_env.{_modules[0]}:{_kind}Env",
            vector_entry_point=f"lambo_env.{_modules[1]}:{_kind}VectorEnv",
            disable_env_checker=True,
        )
if "LAMBO-WPMEC-v0" not in _gymnasium.registry:
    _gymnasium.register("LAMBO-WPMEC-v0", entry_point="lambo_env.wpmec.env:WpmecEnv", disable_env_checker=True)
