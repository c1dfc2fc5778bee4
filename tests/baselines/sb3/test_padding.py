"""N that varies, through SB3: row i is the single environment, one policy decides all sizes."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sb3_contrib")
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

import lambo_agents
import lambo_env
from baselines.sb3.extractors import CurrentUE, EachPlace
from baselines.sb3.vec_env import as_sb3
from lambo_agents.adapter import PolicyAgent
from lambo_agents.sb3.policy import AEDPolicy
from lambo_env.offloading.slots import sample_instances
from lambo_env.testing.harness import same

IDS = ("LAMBO-MEC-v0", "LAMBO-MEC-Association-v0")
TINY = lambo_env.load_scenario("tiny")
GENERIC: dict[str, Any] = {"scenario": "tiny", "num_ues": (2, 8), "observe": "objective"}


@pytest.mark.parametrize("reward", ["cost", "relative"])
@pytest.mark.parametrize("env_id", IDS)
def test_it_is_dummy_vec_env_of_monitored_environments(env_id: str, reward: str):
    kwargs = {**GENERIC, "num_slots": 2, "mask": "observation"}
    ours = as_sb3(env_id, 3, reward=reward, **kwargs)
    theirs = DummyVecEnv(
        [lambda: Monitor(gym.make(f"lambo_env:{env_id}", reward=reward, **kwargs))] * 3
    )
    ours.seed(7), theirs.seed(7)
    same(ours.reset(), theirs.reset(), "reset")
    rng, ended = np.random.default_rng(0), 0
    for _ in range(40):
        actions = np.stack([ours.action_space.sample() for _ in range(3)])
        if env_id == IDS[1]:
            actions = rng.integers(5, size=3)
        mine, his = ours.step(actions), theirs.step(actions)
        same(mine[0], his[0], "observation")
        np.testing.assert_allclose(mine[1], his[1], rtol=1e-6)
        same(mine[2], his[2], "dones")
        for one, other in zip(mine[3], his[3], strict=True):
            assert ("episode" in one) == ("episode" in other)
            assert ("outcome" in one) == ("outcome" in other)
            if "outcome" in one:
                same(one["outcome"], other["outcome"], "outcome")
            if "episode" in one:
                ended += 1
                assert one["episode"]["l"] == other["episode"]["l"]
                same(one["terminal_observation"], other["terminal_observation"], "terminal")
            if "episode" in one and reward == "cost":
                assert one["episode"]["r"] == pytest.approx(other["episode"]["r"], abs=2e-6)
    assert ended >= 6
    sizes = [part.num_ues for part in ours.get_attr("instances")]
    assert sizes == [part.num_ues for part in theirs.get_attr("instances")]


@pytest.mark.parametrize("kind", [CurrentUE, EachPlace])
def test_features_of_n_ues_are_those_of_n_ues_alone(kind: Any):
    padded = gym.make(IDS[1], **GENERIC)
    alone = {
        size: gym.make(IDS[1], scenario=TINY.replace(num_ues=size), observe="objective")
        for size in range(2, 9)
    }
    wide, fits = kind(padded.observation_space), {}
    for seed in range(5):
        seen, _ = padded.reset(seed=seed)
        given, prompts = padded.unwrapped.instances, padded.unwrapped.prompts
        env = alone[given.num_ues]
        other, _ = env.reset(options={"instances": given, "prompt": prompts})
        narrow = fits.setdefault(given.num_ues, kind(env.observation_space))
        for step in range(given.num_ues):
            one = wide({key: torch.from_numpy(part)[None] for key, part in seen.items()})
            two = narrow({key: torch.from_numpy(part)[None] for key, part in other.items()})
            torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)
            seen, other = padded.step(step % 5)[0], env.step(step % 5)[0]


@pytest.mark.parametrize("algorithm", [PPO, MaskablePPO])
def test_one_policy_decides_every_size(algorithm: Any):
    envs = as_sb3(IDS[1], 4, reward="relative", **GENERIC)
    model = algorithm(
        "MultiInputPolicy",
        envs,
        n_steps=16,
        batch_size=64,
        policy_kwargs={"features_extractor_class": CurrentUE},
        seed=0,
        device="cpu",
    ).learn(64)
    agent = PolicyAgent(model, IDS[1])
    for size in (1, 5, 8):
        instances = sample_instances(TINY.replace(num_ues=size), 3, np.random.default_rng(0))
        prompts = lambo_env.Prompts.of("minimum latency", 3)
        assert agent.supports(instances) is None
        decision = agent.decide(instances, prompts, np.random.default_rng(0))
        assert np.isfinite(
            lambo_env.evaluate(instances, decision, prompts.objective(instances)).cost
        ).all()
    larger = sample_instances(TINY.replace(num_ues=9), 1, np.random.default_rng(0))
    assert agent.supports(larger) == "trained for at most 8 UEs, given 9"
    report = lambo_agents.testing.agent_checks.check_agent(agent, "tiny", raise_on_failure=False)
    assert [row.name for row in report.failures] == []


def test_the_aed_says_that_it_wants_one_size():
    with pytest.raises(
        ValueError, match=r"AEDPolicy.observation_space \(columns\) is 12; .*num_ues"
    ):
        PPO(AEDPolicy, as_sb3(IDS[0], 2, scenario="tiny", num_ues=(2, 8)), device="cpu")
