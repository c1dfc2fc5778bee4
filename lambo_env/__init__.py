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

for _id, _kind in (("LAMBO-MEC-v0", "Joint"), ("LAMBO-MEC-Association-v0", "Association")):
    if _id not in _gymnasium.registry:  # a module may be reloaded
        _gymnasium.register(
            _id, entry_point=f"lambo_env.env:{_kind}Env", vector_entry_point=f"lambo_env.vector_env:{_kind}VectorEnv"
        )
if "LAMBO-MEC-Drift-v0" not in _gymnasium.registry:
    _gymnasium.register(
        "LAMBO-MEC-Drift-v0",
        entry_point="lambo_env.drift_env:DriftEnv",
        vector_entry_point="lambo_env.drift_env:DriftVectorEnv",
    )
if "LAMBO-WPMEC-v0" not in _gymnasium.registry:
    _gymnasium.register("LAMBO-WPMEC-v0", entry_point="lambo_env.wpmec.env:WpmecEnv")
