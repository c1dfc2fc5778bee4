"""What is frozen under a registered id: spaces, constants, first rewards.

``python tests/contracts/test_env_golden.py`` writes the files anew.

Writing them anew for an id that was released calls for a new version of that id.
"""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import lambo_env  # noqa: F401 - registers the ids
from lambo_env.offloading import drift
from lambo_env.offloading.scenario import load_scenario
from lambo_env.prompts.prompts import Prompts, env_prompts
from lambo_env.testing.harness import episode as play
from lambo_env.testing.harness import random_action
from lambo_env.wpmec import physics as wpmec

GOLDEN = Path(__file__).parents[1] / "golden"
OFFLOADING = (
    {"scenario": "tiny"},
    {"scenario": "paper", "prompt": "minimum energy"},
    {"scenario": "hetero", "num_slots": 2},
)
KWARGS = {
    "LAMBO-MEC-v0": OFFLOADING,
    "LAMBO-MEC-Association-v0": OFFLOADING,
    "LAMBO-MEC-Drift-v0": [
        {"drift": name, "scenario": "tiny", "num_slots": 30}
        for name in ("capacity-abrupt", "shadowing-gradual")
    ],
    "LAMBO-WPMEC-v0": ({"num_frames": 15}, {"num_devices": 30, "num_frames": 12}),
}


def golden(env_id: str) -> dict:
    """Everything that is frozen under an id."""
    spec = json.loads(gym.spec(env_id).to_json())
    out = {
        "rewards": [played(env_id, kwargs) for kwargs in KWARGS[env_id]],
        "spec": {key: spec[key] for key in ("kwargs", "max_episode_steps")},
    }
    if env_id == "LAMBO-WPMEC-v0":
        out["constants"] = {
            name: value
            for name, value in vars(wpmec).items()
            if name[0] != "_" and isinstance(value, float)
        }
    else:
        out["train_phrases"], out["paper"] = len(env_prompts()), load_scenario("paper").to_dict()
    if "Drift" in env_id:
        out["drifts"] = drift.list_drifts()
    return json.loads(json.dumps(out))


def played(env_id: str, kwargs: dict) -> dict:
    """One episode of actions that the seed decides."""
    env = gym.make(env_id, **kwargs)
    moments = list(play(env, random_action, np.random.default_rng(5), seed=5))
    rewards = [reward for _, reward, _, _ in moments[1:]]
    out = {
        "kwargs": kwargs,
        "observation_space": str(env.observation_space),
        "action_space": str(env.action_space),
        "steps": len(rewards),
        "first_rewards": rewards[:12],
        "return": sum(rewards),
    }
    third = moments[3][0]
    if env_id == "LAMBO-WPMEC-v0":
        return {**out, "observation_means": float(third.mean())}
    costs = [float(info["outcome"]["cost"]) for *_, info in moments if "outcome" in info]
    text = (
        Prompts.of(kwargs["prompt"]).texts[0]
        if "prompt" in kwargs
        else env.unwrapped.prompts.texts[0]
    )
    out |= {"text": text, "first_slot_cost": costs[0]}
    if "drift" in kwargs:
        out["slot_costs"] = costs
    return {**out, "observation_means": {name: float(part.mean()) for name, part in third.items()}}


def close(a, b, path=""):
    """Equal but for the last bits, in which CPUs differ."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            close(a[key], b[key], f"{path}/{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), path
        for k, pair in enumerate(zip(a, b, strict=True)):
            close(*pair, f"{path}/{k}")
    else:
        assert a == (pytest.approx(b, rel=1e-9) if isinstance(b, float) else b), path


@pytest.mark.parametrize("env_id", KWARGS)
def test_a_registered_id_is_frozen(env_id):
    close(golden(env_id), json.loads((GOLDEN / f"{env_id}.json").read_text()))


def test_every_registered_id_has_its_golden_file():
    registered = {env_id for env_id in gym.registry if env_id.startswith("LAMBO-")}
    assert registered == set(KWARGS) == {path.stem for path in GOLDEN.glob("*.json")}


if __name__ == "__main__":
    for one in KWARGS:
        (GOLDEN / f"{one}.json").write_text(json.dumps(golden(one), indent=1) + "\n")
