"""What is frozen under a registered id: spaces, constants, first rewards.

``python tests/contracts/test_env_golden.py`` writes the files anew.

Writing them anew for an id that was released calls for a new version of that id.
"""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from lambo_env.offloading import drift
from lambo_env.prompts.prompts import Prompts, env_prompts
from lambo_env.registration import ENVIRONMENTS
from lambo_env.testing.harness import episode as play
from lambo_env.testing.harness import random_action
from lambo_env.wpmec import physics as wpmec

GOLDEN = Path(__file__).parents[1] / "golden"
NEW = ({},)  # arguments of an id that has no file yet


def arguments_of(env_id: str) -> list[dict]:
    """What an id is played with: what its file says."""
    path = GOLDEN / f"{env_id}.json"
    if not path.exists():
        return list(NEW)
    return [played["kwargs"] for played in json.loads(path.read_text())["rewards"]]


def golden(env_id: str) -> dict:
    """Everything that is frozen under an id."""
    spec = json.loads(gym.spec(env_id).to_json())
    out = {
        "rewards": [played(env_id, kwargs) for kwargs in arguments_of(env_id)],
        "spec": {key: spec[key] for key in ("kwargs", "max_episode_steps")},
    }
    if ENVIRONMENTS[env_id].world == "wpmec":
        out["constants"] = {
            name: value
            for name, value in vars(wpmec).items()
            if name[0] != "_" and isinstance(value, float)
        }
    else:
        scenario = gym.make(env_id).unwrapped.scenario.to_dict()
        name = "queue" if ENVIRONMENTS[env_id].world == "queueing" else "paper"
        out["train_phrases"], out[name] = len(env_prompts()), scenario
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
    if ENVIRONMENTS[env_id].world == "wpmec":
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


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_a_registered_id_is_frozen(env_id):
    close(golden(env_id), json.loads((GOLDEN / f"{env_id}.json").read_text()))


def test_every_registered_id_has_its_golden_file():
    registered = {env_id for env_id in gym.registry if env_id.startswith("LAMBO-")}
    assert registered == set(ENVIRONMENTS) == {path.stem for path in GOLDEN.glob("*.json")}


if __name__ == "__main__":
    for one in ENVIRONMENTS:
        (GOLDEN / f"{one}.json").write_text(json.dumps(golden(one), indent=1) + "\n")
