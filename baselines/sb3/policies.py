"""Policies whose weights are shared over places: one row of features per place, one score each.

No parameter depends on N or M, so a policy that was trained on one scenario decides any other.
Their configs say ``extractor = "each_place"``, or ``"each_queue"`` where tasks wait, and the width
of the layers as ``net_arch = [64]``.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import Tensor, nn

from baselines.sb3.extractors import SHARED, EachPlace
from lambo_env.utils import validate


class PlaceScores(nn.Module):
    """Scores [B, P] of places and a summary of all, from features of each place."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        places = int(policy.action_space.n)
        shared = getattr(policy.features_extractor, "per_place", False)
        allowed = "each_place or each_queue"
        validate.check("SB3Config.extractor", policy.features_extractor, shared, allowed)
        self.features = policy.features_dim // places
        validate.check("net_arch", policy.net_arch, len(policy.net_arch) == 1, "[width]")
        width = policy.net_arch[0]
        self.latent_dim_pi, self.latent_dim_vf = places, width + self.features
        self.first, self.second = nn.Linear(self.features, width), nn.Linear(width, width)
        self.pooled = nn.Linear(2 * width, width)
        self.score = nn.Linear(width + self.features, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores and summary."""
        features = features.unflatten(1, (-1, self.features))
        rows = torch.relu(self.first(features))
        pooled = self.pooled(torch.cat([rows.mean(1), rows.amax(1)], -1))
        rows = torch.relu(self.second(rows) + pooled[:, None])
        rows = torch.cat([rows, features], -1)
        return self.score(rows)[..., 0], rows.mean(1)

    def forward_actor(self, features: Tensor) -> Tensor:
        """Return scores."""
        return self(features)[0]

    def forward_critic(self, features: Tensor) -> Tensor:
        """Return the summary."""
        return self(features)[1]


def _start(score: nn.Linear, value: nn.Linear, extractor: Any) -> None:
    """Let scores start near 0, and values at what the UEs to come would cost by their wishes.

    At 0 where the features know no such cost.
    """
    nn.init.orthogonal_(score.weight, 0.01)
    nn.init.zeros_(value.weight)
    if isinstance(extractor, EachPlace):
        value.weight.data[0, -SHARED] = -1.0


class MaskablePlacePolicy(MaskableActorCriticPolicy):
    """For MaskablePPO: scores are logits, the value is linear in the summary."""

    any_size = True

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = PlaceScores(self)  # type: ignore[assignment]  # of the same methods

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self.action_net = nn.Identity()
        _start(cast(PlaceScores, self.mlp_extractor).score, self.value_net, self.features_extractor)
        make: Any = self.optimizer_class  # torch types none of its arguments but the parameters
        self.optimizer = make(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)


class PlaceValues(nn.Module):
    """Q values [B, P]: the value of the slot and a score of each place."""

    def __init__(self, q_net: QNetwork) -> None:
        super().__init__()
        self.places = PlaceScores(q_net)
        self.value = nn.Linear(self.places.latent_dim_vf, 1)
        _start(self.places.score, self.value, q_net.features_extractor)

    def forward(self, features: Tensor) -> Tensor:
        """Return Q values."""
        scores, summary = self.places(features)
        return self.value(summary) + scores


class PlaceDQNPolicy(DQNPolicy):
    """For DQN, whose Q values are those of ``PlaceValues``."""

    any_size = True

    def make_q_net(self) -> QNetwork:
        """Return a Q network with weights shared over places."""
        q_net = super().make_q_net()
        q_net.q_net = PlaceValues(q_net)  # type: ignore[assignment]  # a Sequential to SB3
        return q_net
