"""RLlib: episodes through its env runner (flattened).

Also its own multi-agent check of the PettingZoo form. RLlib pins a Gymnasium of its own: give it
an environment of its own, with `pip install "lambo-mec[multiagent,sb3]" "ray[rllib]"`.
"""

from typing import Any

import gymnasium as gym
from gymnasium.wrappers import FlattenObservation
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
from ray.rllib.utils.pre_checks.env import check_multiagent_environments
from ray.tune import register_env

import lambo_env  # noqa: F401 (registers the environments)
from lambo_env.envs.parallel_env import ParallelMEC


def sample(env_id: str, episodes: int = 2) -> list[Any]:
    """Return episodes of random actions, sampled by RLlib."""
    register_env(env_id, lambda options: FlattenObservation(gym.make(env_id, **options)))
    config = PPOConfig().environment(
        env_id, env_config={"scenario": "tiny", "observe": "objective"}
    )
    runner = SingleAgentEnvRunner(
        config=config.env_runners(num_env_runners=0, num_envs_per_env_runner=1)
    )
    return runner.sample(num_episodes=episodes, random_actions=True)


def check_parallel() -> None:
    """Raise where RLlib finds a fault in the game of many."""
    check_multiagent_environments(ParallelPettingZooEnv(ParallelMEC(scenario="tiny", num_slots=3)))


if __name__ == "__main__":
    for name in ("LAMBO-MEC-v0", "LAMBO-MEC-Association-v0"):
        print(name, [(len(episode), episode.get_return()) for episode in sample(name)])
    check_parallel()
    print("the multi-agent form passes RLlib's check")
