"""What a generic policy should look at: the UE to be decided, the servers, who is still to come.

The width does not grow with N.
"""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from lambo_env.offloading import observation
from lambo_env.utils import validate

_LARGEST = 10.0  # ratios are squashed again beyond this
_LEAST = 1e-6  # what ratios are divided by


class CurrentUE(BaseFeaturesExtractor):
    """Features of one observation, none learned.

    For policies of plain layers, with observe="objective".

    In order: the current UE's static columns (M + 4), its floor over each server's total (M), what
    each server has left and its size (2 M), the load and the number of the UEs that each place got
    (2 P), the mean static columns of the UEs to come (M + 4) and their share of all UEs, the
    objective (2).
    """

    def __init__(self, observation_space: spaces.Dict) -> None:
        seen = sorted(observation_space.spaces)
        allowed = "objective, servers and ues (an environment with observe='objective')"
        validate.check(
            "CurrentUE.observation_space", seen, seen == ["objective", "servers", "ues"], allowed
        )
        servers = observation_space["servers"].shape[0]  # type: ignore[index]
        width = 2 * observation.num_static(servers) + 3 * servers + 2 * (servers + 1) + 3
        super().__init__(observation_space, width)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Return features [B, F]."""
        ues, servers = observations["ues"], observations["servers"]
        num_servers, num_ues = servers.shape[1], ues.shape[1]
        static, current, place, _ = observation.read(ues, num_servers, torch)
        current = current[..., None]
        decided = current.flip(1).cumsum(1).flip(1) - current  # 1 before the current UE
        coming = 1 - decided - current
        mine = (static * current).sum(1)
        root = observation.ratios(static, num_servers, torch, least=1e-3).load.sqrt()
        on = (place[..., None] == torch.arange(num_servers + 1, device=ues.device)) * decided
        parts = [
            mine,
            _floor(mine, servers[..., 1], num_ues),
            servers.flatten(1),
            (on * root).sum(1) * num_servers / num_ues,
            on.mean(1) * num_servers,
            (static * coming).sum(1) / coming.sum(1).clamp(min=1),
            coming.mean(1),
            observations["objective"],
        ]
        return torch.cat(parts, dim=1)


def _floor(mine: Tensor, size: Tensor, num_ues: int) -> Tensor:
    """Return the current UE's floor over each server's total [B, M], squashed; 1 where hopeless."""
    ratio = observation.ratios(mine, size.shape[1], torch, least=_LEAST)
    fair = observation.fair_share(ratio.load, size, num_ues, torch)
    floor = observation.floor_share(ratio.upload, fair, torch, _LEAST).clamp(max=_LARGEST)
    return floor / (1 + floor)


EXTRACTORS: dict[str, Any] = {"current_ue": CurrentUE}
