"""MaskablePPO on the association in twelve lines.

Masks, monitored episodes and native speed come with ``as_sb3``.
"""

import sys

from sb3_contrib import MaskablePPO

from baselines.sb3.vec_env import as_sb3


def main(timesteps: int = 200_000) -> MaskablePPO:
    """Train and return the model."""
    envs = as_sb3(
        "LAMBO-MEC-Association-v0",
        num_envs=64,
        scenario="tiny",
        observe="objective",
        reward="relative",
    )
    model = MaskablePPO(
        "MultiInputPolicy", envs, n_steps=24, batch_size=512, gamma=1.0, verbose=1, device="cpu"
    )
    return model.learn(timesteps)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
