"""The twin of `lambo train sb3 --algo maskable_ppo --scenario tiny` without our trainer.

Plain SB3, the same weights bit for bit.
"""

import sys

from sb3_contrib import MaskablePPO

from baselines.sb3.extractors import CurrentUE
from baselines.sb3.vec_env import as_sb3, spawned_seeds


def main(timesteps: int = 200_000, seed: int = 0) -> MaskablePPO:
    """Train and return the model."""
    envs = as_sb3(
        "LAMBO-MEC-Association-v0",
        num_envs=64,
        scenario="tiny",
        observe="objective",
        reward="relative",
    )
    model = MaskablePPO(
        "MultiInputPolicy",
        envs,
        n_steps=24,
        batch_size=768,
        n_epochs=6,
        learning_rate=lambda left: max(0.0, 2e-3 * left),  # "lin_2e-3" of the TOML
        gamma=1.0,
        gae_lambda=1.0,
        ent_coef=0.003,
        policy_kwargs={"net_arch": [128, 128], "features_extractor_class": CurrentUE},
        seed=spawned_seeds(seed, 1)[0],
        device="cpu",
    )
    return model.learn(timesteps)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
