"""A stranger's world in one module and its id in one row: everything that walks ids takes it."""

import importlib.util
import math

import gymnasium as gym
import numpy as np
import pytest
import toy_world
from doc_blocks import ROOT

import lambo_env
from benchmarks.sweep.config import sweep_from
from benchmarks.sweep.runner import run_sweep
from lambo_agents import registry
from lambo_agents.adapter import PolicyAgent
from lambo_env import registration
from lambo_env.prompts.prompts import Prompts
from lambo_env.testing.env_checks import check_env

ID = "Toy-v0"


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setattr(registry, "_in_code", {})
    lambo_env.register_world(
        "toy",
        "One job, here or there.",
        scenario="toy_world:Mint",
        load_scenario="toy_world:load",
        instances="toy_world:Coins",
        sample_instances="toy_world:sample",
        evaluate="toy_world:evaluate",
        bound="toy_world:bound",
        local_cost="toy_world:local_cost",
    )
    lambo_env.register_env(ID, "toy", "toy_world:Arguments", "Where each job is run.")
    registry.register_agent("here", "toy_world:Here")
    yield
    del gym.registry[ID], registration.ENVIRONMENTS[ID], registration.WORLDS["toy"]


def test_it_plays_single_and_vector_and_every_check_passes():
    assert lambo_env.list_envs()[-1] == ID
    report = check_env(ID)
    assert {row.name for row in report.rows if row.ok} >= {
        "vector = single, SameStep",
        "bad actions",
        "deep copy",
    }
    env = gym.make_vec(ID, 3)
    observation, _ = env.reset(seed=0)
    rewards = env.step(np.array([0, 1, 0]))[1]
    np.testing.assert_allclose(-rewards, observation[np.arange(3), [0, 1, 0]], rtol=1e-6)


def test_it_has_a_plain_picture_and_text():
    env = gym.make(ID, render_mode="ansi")
    env.reset(seed=0)
    assert env.render().startswith("price: [")
    pytest.importorskip("pygame")
    env = gym.make(ID, render_mode="rgb_array")
    env.reset(seed=0)
    assert env.render().shape == (600, 800, 3) and len(np.unique(env.render())) > 1


def test_it_is_documented():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    page = generate.page(ID, {})
    for words in ("# Toy-v0", "Where each job is run.", "| `most` | `1.0` | the highest price. |"):
        assert words in page
    assert ID in generate.pages({})["index.md"]


def test_one_name_serves_it():
    scenario = lambo_env.load_scenario({"world": "toy", "most": 2.0})
    coins = lambo_env.sample_instances(scenario, 4, np.random.default_rng(0))
    decision = registry.make_agent("here").decide(coins, None, None)
    np.testing.assert_array_equal(lambo_env.evaluate(coins, decision, None).cost, coins.price[:, 0])


def test_a_policy_plays_it_on_given_instances():
    class Cheapest:
        def predict(self, observation):
            return observation.argmin(axis=1)

    coins = toy_world.sample(toy_world.Mint(), 5, np.random.default_rng(0))
    agent = PolicyAgent(Cheapest(), ID, batch=2)
    decision = agent.decide(coins, Prompts.of("minimum latency", 5), np.random.default_rng(0))
    np.testing.assert_array_equal(decision.place[:, 0], coins.price.argmin(axis=1))


def test_a_sweep_plays_it(tmp_path):
    fields = {
        "agents": ["here"],
        "scenarios": [{"name": "mint", "world": "toy", "most": 2.0}],
        "prompts": ["minimum latency"],
        "instances": 6,
    }
    run_sweep(sweep_from(fields, "toy"), tmp_path / "out", jobs=1)
    text = next((tmp_path / "out").glob("*.jsonl")).read_text()
    assert '"agent":"here"' in text and "NaN" not in text


def test_sb3_trains_on_it_for_ten_steps():
    pytest.importorskip("stable_baselines3")
    from baselines.sb3.config import SB3Config
    from baselines.sb3.train import build

    config = SB3Config(
        algo="ppo",
        env_id=ID,
        policy="MlpPolicy",
        num_envs=2,
        timesteps=10,
        algorithm={"n_steps": 5, "batch_size": 10, "n_epochs": 1},
    )
    model = build(config)
    model.learn(10)
    assert model.num_timesteps == 10
    assert math.isfinite(model.ep_info_buffer[-1]["r"])


def test_sb3_trains_on_drift_for_ten_steps():
    pytest.importorskip("stable_baselines3")
    from baselines.sb3.config import SB3Config
    from baselines.sb3.train import build

    config = SB3Config(
        algo="ppo",
        env_id="LAMBO-MEC-Drift-v0",
        num_envs=2,
        timesteps=10,
        algorithm={"n_steps": 5, "batch_size": 10, "n_epochs": 1},
    )
    model = build(config)
    model.learn(10)
    assert model.num_timesteps == 10
