"""The algorithms of SB3 and sb3-contrib: one row each. Imports none of them.

A row needs a config of its name in ``configs/`` and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Algorithm(NamedTuple):
    """What training and tuning know of an algorithm."""

    target: str  # "module:Class"
    actions: str | None  # the only kind of action space that it takes; None: any
    space: Mapping[str, Any]  # tuned argument -> (low, high) on a log scale, or choices


_ON_POLICY: dict[str, Any] = {
    "learning_rate": (1e-4, 5e-3),
    "n_steps": [6, 12, 24, 48],
    "gae_lambda": [0.8, 0.9, 0.95, 0.98, 1.0],
    "ent_coef": (1e-4, 3e-2),
}
_CLIPPED = {
    **_ON_POLICY,
    "batch_size": [128, 192, 384],
    "n_epochs": [2, 4, 8],
    "clip_range": [0.1, 0.2, 0.3],
}
_OFF_POLICY: dict[str, Any] = {
    "learning_rate": (1e-4, 5e-3),
    "batch_size": [128, 256, 512],
    "train_freq": [1, 4, 16],
    "gradient_steps": [1, 4, 16],
}
_EXPLORING = {
    **_OFF_POLICY,
    "exploration_fraction": [0.1, 0.3, 0.5],
    "target_update_interval": [500, 2000, 8000],
}
ALGORITHMS = {
    "ppo": Algorithm("stable_baselines3:PPO", None, _CLIPPED),
    "a2c": Algorithm("stable_baselines3:A2C", None, _ON_POLICY),
    "sac": Algorithm("stable_baselines3:SAC", "Box", _OFF_POLICY),
    "td3": Algorithm("stable_baselines3:TD3", "Box", _OFF_POLICY),
    "dqn": Algorithm("stable_baselines3:DQN", "Discrete", _EXPLORING),
    "maskable_ppo": Algorithm("sb3_contrib:MaskablePPO", "Discrete", _CLIPPED),
    "qrdqn": Algorithm("sb3_contrib:QRDQN", "Discrete", _EXPLORING),
}
