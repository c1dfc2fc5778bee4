"""The asymmetric encoder-decoder as a Stable-Baselines3 policy.

The same network, weights and decisions as LAMBO's own training.

``PPO(AEDPolicy, env)``, ``A2C(AEDPolicy, env)``, or with the masks handed in
``MaskablePPO(MaskableAEDPolicy, env)``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn

from lambo_agents.network import checkpoint
from lambo_agents.network.aed import AED
from lambo_agents.network.config import AEDConfig, preset
from lambo_agents.sb3 import history
from lambo_agents.sb3.distribution import PlaceShare
from lambo_env.offloading import observation
from lambo_env.utils import validate

Observed = Mapping[str, Tensor]


class AEDHeads:
    """The network, its value head, and what SB3 calls on them; mixed into a policy class of SB3.

    Legal places come from ``action_masks`` where given, else from the observation, by the
    environments' own mask rule.
    """

    aed: AED
    critic: nn.Module
    share_log_std: nn.Parameter | None
    aed_config: AEDConfig
    share_log_std_init: float

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Any,
        aed: str | Mapping[str, Any] = "lambo_xs",
        share_log_std_init: float = -1.0,
        **kwargs: Any,
    ) -> None:
        keys = sorted(getattr(observation_space, "spaces", {}))
        allowed = (
            "a Dict of prompt, servers and ues (an environment of lambo_env with observe='prompt')"
        )
        validate.check(
            "AEDPolicy.observation_space", keys, keys == ["prompt", "servers", "ues"], allowed
        )
        width = observation.num_static(observation_space["servers"].shape[0])  # type: ignore[index]
        width += observation.NUM_DYNAMIC
        columns = observation_space["ues"].shape[1]  # type: ignore[index]
        allowed = f"{width}: a fixed number of UEs (num_ues=None)"
        validate.check("AEDPolicy.observation_space (columns)", columns, columns == width, allowed)
        self.aed_config = preset(aed) if isinstance(aed, str) else AEDConfig.from_dict(aed)
        cut, here = self.aed_config.num_servers, observation_space["servers"].shape[0]  # type: ignore[index]
        validate.check(
            "AEDPolicy.aed.num_servers",
            cut,
            cut in (None, here),
            f"{here}, those of the environment, or None",
        )
        self.share_log_std_init = share_log_std_init
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)  # type: ignore[call-arg]

    def _build(self: Any, lr_schedule: Any) -> None:
        """Create the networks and the optimizer, in place of SB3's layers."""
        self.aed = AED(self.aed_config).eval()
        width = self.aed_config.d_model
        self.critic = nn.Sequential(
            nn.LayerNorm(3 * width),
            nn.Linear(3 * width, 2 * width),
            nn.Tanh(),
            nn.Linear(2 * width, 1),
        )
        joint = isinstance(self.action_space, spaces.Box)
        self.share_log_std = nn.Parameter(torch.tensor(self.share_log_std_init)) if joint else None
        self.optimizer = self.optimizer_class(
            self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()  # type: ignore[misc]
        return {
            **data,
            "aed": self.aed_config.to_dict(),
            "share_log_std_init": self.share_log_std_init,
        }

    def train(self: Any, mode: bool = True) -> Any:
        """Set the mode of all but the network, whose reader drops nothing out.

        PPO holds a density against that of the rollout.
        """
        super().train(mode)  # type: ignore[misc]
        if "aed" in self._modules:
            self.aed.eval()
        return self

    # ---- what SB3 calls --------------------------------------------------------------------------

    def forward(
        self, obs: Observed, deterministic: bool = False, action_masks: Any = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return actions, values [R, 1] and log-probabilities [R] of a rollout's step."""
        chances, values = self._both(obs, action_masks)
        actions = chances.get_actions(deterministic=deterministic)
        return actions, values, chances.log_prob(actions)

    def evaluate_actions(
        self, obs: Observed, actions: Tensor, action_masks: Any = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return values [R, 1], log-probabilities [R] and entropies [R] of actions taken before."""
        chances, values = self._both(obs, action_masks)
        return values, chances.log_prob(actions), chances.entropy()

    def get_distribution(self, obs: Observed, action_masks: Any = None) -> PlaceShare:
        """Return the distribution over actions."""
        return self._both(obs, action_masks)[0]

    def predict_values(self, obs: Observed) -> Tensor:
        """Return the values [R, 1]."""
        return self._both(obs, None)[1]

    def _predict(
        self, observation: Observed, deterministic: bool = False, action_masks: Any = None
    ) -> Tensor:
        return self.get_distribution(observation, action_masks).get_actions(
            deterministic=deterministic
        )

    def _both(self, obs: Observed, action_masks: Any) -> tuple[PlaceShare, Tensor]:
        seen = history.read(obs, shares=self.share_log_std is not None)
        steps = history.decide(self.aed, seen)
        legal = seen.legal
        if action_masks is not None:
            legal = (
                torch.as_tensor(np.asarray(action_masks), device=legal.device)
                .bool()
                .view(legal.shape)
            )
        return PlaceShare(steps, legal, self.share_log_std), self.critic(steps.about)

    # ---- weights ---------------------------------------------------------------------------------

    def load_aed(self, source: str | os.PathLike[str] | AED) -> None:
        """Take over the weights of a network.

        Shipped ones by name, a file of LAMBO's own training, or an AED.

        Raises:
            ValueError: another config than this policy's, or not such a file.
            FileNotFoundError: a path with nothing at it.
        """
        expect = self.aed_config
        if isinstance(source, AED):
            checkpoint.check_config(source.config, expect, "AED")
            other = source
        else:
            other, _ = checkpoint.load_network(checkpoint.weights_path(os.fspath(source)), expect)
        self.aed.load_state_dict(other.state_dict())

    def save_aed(self, path: str | os.PathLike[str], **meta: Any) -> None:
        """Write the network as LAMBO's own training does.

        ``LamboAgent(path)`` and ``lambo train`` read it.
        """
        checkpoint.save(path, self.aed.state_dict(), self.aed_config, **meta)


class AEDPolicy(AEDHeads, ActorCriticPolicy):  # type: ignore[misc]
    """The AED for PPO and A2C, on either environment.

    Args:
        observation_space: of an environment with observe="prompt".
        action_space: Box(-1, 1, (2,)) (hybrid distribution) or Discrete.
        lr_schedule: SB3's.
        aed: a preset's name ("lambo_xs") or the fields of an AEDConfig.
        share_log_std_init: log of the standard deviation of a share's logit, at first.
        **kwargs: optimizer_class and optimizer_kwargs as for any policy of SB3.

    Raises:
        ValueError: an observation without the prompt, or a network cut for another number of
            servers.
    """


class MaskableAEDPolicy(AEDHeads, MaskableActorCriticPolicy):  # type: ignore[misc]
    """The AED for sb3-contrib's MaskablePPO on ``LAMBO-MEC-Association-v0``.

    The masks come from the environment.

    Args: as of ``AEDPolicy``; the action space is Discrete, so there is no share to spread.
    """
