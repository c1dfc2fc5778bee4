"""Trained SB3 policies as agents of the zoo: safetensors in, decisions out.

No pickle is ever opened.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.policies import BasePolicy

from baselines.neural.checkpoint import FORMAT, WEIGHTS
from baselines.sb3.config import SB3Config
from lambo_agents import weights_io
from lambo_agents.adapter import PolicyAgent
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.registration import ENVIRONMENTS, WORLDS
from lambo_env.utils import validate

SHIPPED = "maskable-ppo"
Size = tuple[int | None, int | None]  # UEs and servers; None: as it was trained


def save_policy(
    path: str | os.PathLike[str], policy: BasePolicy, config: SB3Config, **card: Any
) -> None:
    """Write a policy's weights with what is needed to build it again.

    ``card`` is kept with them.
    """
    parts = getattr(policy.observation_space, "spaces", {})
    named = {"num_ues": "ues", "num_servers": "servers"}
    sizes = {name: parts[part].shape[0] for name, part in named.items() if part in parts}
    weights_io.save(path, policy.state_dict(), FORMAT, {"sb3": config.to_dict(), **sizes, **card})


@weights_io.reader
def load_policy(path: str | os.PathLike[str]) -> tuple[BasePolicy, SB3Config, dict[str, Any]]:
    """Return a policy that ``save_policy`` wrote, its config and the file's other values.

    Raises:
        ValueError: not such a file, or weights that do not fit.
        FileNotFoundError: there is none.
    """
    tensors, meta = weights_io.load(path, FORMAT)
    validate.check("weights", str(path), "sb3" in meta, "weights of an SB3 agent (lambo train sb3)")
    config = SB3Config.of(meta.pop("sb3"))
    try:
        return _policy(config, tensors, meta.get("num_ues"), meta.get("num_servers")), config, meta
    except RuntimeError as error:
        raise ValueError(
            f"weights is {str(path)!r}; allowed: tensors that fit their SB3Config ({error})"
        ) from error


def _policy(
    config: SB3Config, tensors: Any, num_ues: int | None, num_servers: int | None
) -> BasePolicy:
    """Return a config's policy with these weights, cut for N and M where its world has them."""
    row, sizes = ENVIRONMENTS[config.env_id], {}
    if num_ues is not None and num_servers is not None:  # only its sizes count in the scenario
        scenario = WORLDS[row.world].get("scenario")
        sizes["scenario"] = scenario(num_ues=num_ues, server_cpu_hz=(1.0,) * num_servers)
    arguments = row.arguments_class()(**{**row.kwargs, **config.env_arguments(), **sizes})
    played: tuple[Any, Any] = arguments.observation_space(), arguments.action_space()
    policy = config.policy_class()(
        *played, lr_schedule=lambda _: 0.0, **config.made_policy_kwargs()
    )
    policy.load_state_dict(tensors)
    policy.set_training_mode(False)
    return policy


class SB3Agent:
    """A policy trained with Stable-Baselines3, playing its environment UE by UE.

    Cut for one number of UEs and servers, unless its policy class says ``any_size``.

    Args:
        weights: a .safetensors file of `lambo train sb3`, of any algorithm, or the name of shipped
            weights.

    Raises:
        ValueError: an unknown name, or weights of another kind.
        FileNotFoundError: a path with nothing at it.
    """

    evaluator_in_loop = False
    extra = "sb3"

    def __init__(self, weights: str | Path = SHIPPED) -> None:
        self.policy, self.config, _ = load_policy(weights_io.weights_path(weights, WEIGHTS))
        played = self._playing(self.policy)
        self.world = played.world
        self._players: dict[Size, PolicyAgent] = {(None, None): played}

    @property
    def num_parameters(self) -> int:
        """How many numbers the policy has learned."""
        return sum(parameter.numel() for parameter in self.policy.parameters())

    def supports(self, instances: Instances) -> str | None:
        """Return why these instances cannot be decided, or None."""
        return self._player(instances).supports(instances)

    def decide(self, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> Decision:
        """Return places and CPU of B instances under their prompts."""
        validate.generator(rng)
        return self._player(instances).decide(instances, prompts, rng)

    def _player(self, instances: Instances) -> PolicyAgent:
        """Return the policy that plays instances of this size: where it can, cut for it."""
        size: Size = (None, None)
        if getattr(self.policy, "any_size", False):
            size = (instances.num_ues, instances.num_servers)
        if size not in self._players:
            cut = _policy(self.config, self.policy.state_dict(), *size)
            self._players = {**self._players, size: self._playing(cut)}
        return self._players[size]

    def _playing(self, policy: BasePolicy) -> PolicyAgent:
        return PolicyAgent(policy, self.config.env_id, observe=self.config.observe)
