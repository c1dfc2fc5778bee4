"""TorchRL's GymWrapper on both environments: specs, a checked rollout, a batch of tensors."""

import gymnasium as gym
from tensordict import TensorDict
from torchrl.envs import GymWrapper
from torchrl.envs.utils import check_env_specs

import lambo_env  # noqa: F401 (registers the environments)


def main(env_id: str = "LAMBO-MEC-Association-v0", steps: int = 12) -> TensorDict:
    """Check the specs and return a rollout of random actions."""
    env = GymWrapper(gym.make(env_id, scenario="tiny"))
    check_env_specs(env)
    return env.rollout(steps, break_when_any_done=False)


if __name__ == "__main__":
    for name in ("LAMBO-MEC-v0", "LAMBO-MEC-Association-v0"):
        print(main(name))
