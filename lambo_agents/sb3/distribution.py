"""The hybrid distribution of Stable-Baselines3 policies on the AED.

A place, and where the action allots the CPU a share at it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from stable_baselines3.common.distributions import Distribution
from torch import Tensor, nn
from torch.distributions import Categorical

from lambo_agents.network.decoding import NEVER
from lambo_agents.sb3.history import Steps
from lambo_env.envs.actions import decode_action, encode_action

_EDGE = 1e-6  # shares are kept this far from 0 and 1, where their logit is infinite
_ENTROPY_OF_UNIT = 0.5 + 0.5 * math.log(2 * math.pi)


class PlaceShare(Distribution):
    """A categorical place over the legal ones.

    At a server, a share in (0, 1) whose logit is normal around the network's.

    Actions are those of the environments: int64 [R] places, or float32 [R, 2] in [-1, 1] as
    ``episode.encode_action`` writes them. The density is that of (place, share); a local task's
    share does nothing and has none. The most likely place with the network's own share is the mode.

    Args:
        steps: what the network says.
        legal: bool [R, P]; at least one per row.
        log_std: scalar, of the share's logit; None: the action is the place alone.
    """

    def __init__(self, steps: Steps, legal: Tensor, log_std: Tensor | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.distribution = self.places = Categorical(
            logits=torch.where(legal, steps.logits, NEVER), validate_args=False
        )
        self.share, self.log_std = steps.share, log_std

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return the log density [R] of actions."""
        if self.log_std is None:
            return self.places.log_prob(actions.flatten())
        numpy = actions.detach().cpu().double().numpy()
        place, share = (
            torch.from_numpy(part).to(actions.device)
            for part in decode_action(numpy, self.share.shape[1] - 1)
        )
        share = share.clamp(_EDGE, 1 - _EDGE)
        noise = ((share / (1 - share)).log() - self._center(place)) / self.log_std.exp()
        density = (
            -0.5 * noise.square()
            - self.log_std
            - 0.5 * math.log(2 * math.pi)
            - (share * (1 - share)).log()
        )
        return self.places.log_prob(place) + torch.where(place > 0, density, 0.0).to(
            self.share.dtype
        )

    def entropy(self) -> Tensor:
        """Return the places' entropy and the share logit's, by the chance to offload [R]."""
        chance = self.places.probs
        places = -(chance * chance.clamp(min=1e-30).log()).sum(-1)
        if self.log_std is None:
            return places
        return places + chance[:, 1:].sum(-1) * (self.log_std + _ENTROPY_OF_UNIT)

    def sample(self) -> Tensor:
        """Return drawn actions."""
        place = self.places.sample()
        if self.log_std is None:
            return place
        center = self._center(place)
        return self._actions(place, center + self.log_std.exp() * torch.randn_like(center))

    def mode(self) -> Tensor:
        """Return the most likely places, with the network's own shares."""
        place = self.places.logits.argmax(-1)
        return place if self.log_std is None else self._actions(place, self._center(place))

    def _center(self, place: Tensor) -> Tensor:
        return self.share.gather(1, place[:, None])[:, 0]

    def _actions(self, place: Tensor, logit: Tensor) -> Tensor:
        share = logit.double().sigmoid().cpu().numpy()
        actions = encode_action(place.cpu().numpy(), share, self.share.shape[1] - 1)
        return torch.from_numpy(actions).to(place.device)

    # ---- what the base class also wants ----------------------------------------------------------

    def proba_distribution_net(self, *args: Any, **kwargs: Any) -> nn.Module:
        """Refuse: the AED's own heads are the layers."""
        raise NotImplementedError("the AED's heads give the parameters of this distribution")

    def proba_distribution(self, *args: Any, **kwargs: Any) -> PlaceShare:
        """Return a distribution of the same form with other parameters."""
        return PlaceShare(*args, **kwargs)

    def actions_from_params(self, *args: Any, deterministic: bool = False, **kwargs: Any) -> Tensor:
        """Return actions under other parameters."""
        return PlaceShare(*args, **kwargs).get_actions(deterministic)

    def log_prob_from_params(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Return actions under other parameters and their log density."""
        other = PlaceShare(*args, **kwargs)
        actions = other.sample()
        return actions, other.log_prob(actions)
