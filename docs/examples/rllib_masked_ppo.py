"""Masked PPO of RLlib on the association: it learns.

RLlib's own action-masking module reads the mask from the observation. RLlib pins a Gymnasium of
its own: give it an environment of its own, with `pip install "lambo-mec[sb3]" "ray[rllib]"`.

python rllib_masked_ppo.py 3072
"""

import sys
from typing import Any

import gymnasium as gym
import numpy as np
import ray
import torch
from gymnasium.spaces import Box, Dict
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.examples.rl_modules.classes.action_masking_rlm import ActionMaskingTorchRLModule
from ray.tune import register_env

import lambo_agents
import lambo_env
from baselines.sb3.extractors import CurrentUE
from lambo_agents.adapter import PolicyAgent

ID = "LAMBO-MEC-Association-v0"
SHOWN = ("objective", "servers", "ues")
ROLLOUT = 768


class Featured(gym.ObservationWrapper[Any, Any, Any]):
    """The observation as RLlib's masking wants it, and features of the current UE in it."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.features = features_of(env.observation_space)
        places, width = env.action_space.n, self.features.features_dim
        self.observation_space = Dict(
            {
                "action_mask": Box(0.0, 1.0, (places,), np.float32),
                "observations": Box(-np.inf, np.inf, (width,), np.float32),
            }
        )

    def observation(self, observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return mask and features."""
        one = {name: observation[name][None] for name in SHOWN}
        mask = observation["action_mask"].astype(np.float32)
        return {"action_mask": mask, "observations": read(self.features, one)[0]}


def features_of(space: Any) -> CurrentUE:
    """Return the features of what a space shows; none is learned."""
    return CurrentUE(Dict({name: space[name] for name in SHOWN}))


def read(features: CurrentUE, shown: dict[str, np.ndarray]) -> np.ndarray:
    """Return features [B, F]."""
    with torch.no_grad():
        out = features({name: torch.from_numpy(shown[name]) for name in SHOWN})
    return out.numpy()


class Likeliest:
    """What ``PolicyAgent`` plays: the likeliest legal place."""

    def __init__(self, module: Any, space: Any) -> None:
        self.module, self.observation_space = module, space
        self.features = features_of(space)

    def predict(self, observation: dict[str, np.ndarray], action_masks: np.ndarray) -> np.ndarray:
        """Return places [B]."""
        seen = read(self.features, observation)
        obs = {"action_mask": action_masks.astype(np.float32), "observations": seen}
        tensors = {name: torch.from_numpy(part) for name, part in obs.items()}
        with torch.no_grad():
            out = self.module.forward_inference({"obs": tensors})
        return out["action_dist_inputs"].argmax(-1).numpy()


def gap_percent(module: Any, space: Any, size: int = 64) -> float:
    """Return the mean gap to the certified optimum on instances that no training sees."""
    rng = np.random.default_rng(1)
    instances = lambo_env.sample_instances(lambo_env.load_scenario("tiny"), size, rng)
    prompts = lambo_env.Prompts.of("minimum latency", size)
    decision = PolicyAgent(Likeliest(module, space), ID).decide(instances, prompts, rng)
    cost = lambo_env.evaluate(instances, decision, prompts.objective(instances)).cost
    bound = lambo_agents.make_agent("exact").solve(instances, prompts).lower_bound
    return float(100 * np.mean(cost / bound - 1))


def main(decisions: int = 3_072, seed: int = 0) -> list[float]:
    """Train and return the gap before and after, in per cent."""
    kwargs = {
        "scenario": "tiny",
        "prompt": "minimum latency",
        "observe": "objective",
        "reward": "relative",
    }
    kwargs["mask"] = "observation"
    ray.init(address="local", num_cpus=1, include_dashboard=False)  # none that runs already
    register_env(ID, lambda options: Featured(gym.make(ID, **options)))
    config = (
        PPOConfig()
        .environment(ID, env_config=kwargs)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=1)
        .debugging(seed=seed)
        .training(
            gamma=1.0,
            lambda_=1.0,
            lr=1e-3,
            train_batch_size_per_learner=ROLLOUT,
            minibatch_size=128,
            num_epochs=6,
            entropy_coeff=0.003,
            use_kl_loss=False,
            clip_param=0.2,
        )
        .rl_module(
            rl_module_spec=RLModuleSpec(
                module_class=ActionMaskingTorchRLModule,
                model_config={"fcnet_hiddens": [128, 128], "fcnet_activation": "tanh"},
            )
        )
    )
    algorithm = config.build_algo()
    space = gym.make(ID, **kwargs).observation_space
    gaps = [gap_percent(algorithm.get_module(), space)]
    for _ in range(max(1, decisions // ROLLOUT)):
        algorithm.train()
    gaps.append(gap_percent(algorithm.get_module(), space))
    algorithm.stop()
    ray.shutdown()
    return gaps


if __name__ == "__main__":
    print("gap before and after: {:.1f} and {:.1f} %".format(*main(*map(int, sys.argv[1:]))))
