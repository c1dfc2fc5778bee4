"""In which order the network decides the UEs of a slot.

Shapes: B instances, N UEs, M servers, P = M + 1 places.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lambo_agents.network.aed import AED, Encoded

_LEAST_LOG_ODDS = -60.0  # of log-odds: a place that is no place
# best of those tried, by the gap on other worlds than the training's
_FULL_SLOPE, _FULL_DEMAND = 5.0, 1.2


def confident_order(aed: AED, encoded: Encoded, need: Tensor) -> Tensor:
    """Return the UEs [B, N] by falling regret of being late.

    Who would lose most by what is left at the end chooses first.

    The decisions are made one after the other in any order that we like. In this one the servers
    that are scarce go to those who need them, and only the indifferent see them full. Who cannot
    compute in time locally has the more to lose the fuller they get, but need not come first: those
    who must offload and could go anywhere would crowd out others. A network without a place prior
    keeps the given order.
    """
    prior = aed.servers.place_prior(encoded.tokens, encoded.embedded)
    if prior is None:
        return torch.arange(need.shape[1], device=need.device).expand(need.shape[:2])
    prior = torch.where(need <= 1, prior.double(), _LEAST_LOG_ODDS).clamp(min=_LEAST_LOG_ODDS)
    best, fallback = regret_terms(prior, need)
    return (best - fallback).argsort(dim=-1, descending=True, stable=True)


def regret_terms(prior: Tensor, need: Tensor) -> tuple[Tensor, Tensor]:
    """Return each UE's prior of its best server and of what it gets if it comes last, both [B, N].

    A server is full at the end with a probability that rises with what its admirers need of it: all
    UEs, each by the prior's softmax over the servers. Who comes last tries the others from the
    second best on and stays local where all are full.

    Args:
        prior: float64 [B, N, P] log-odds of the places.
        need: float64 [B, N, P] floors as parts of the servers' totals.
    """
    local, remote = prior[..., :1], prior[..., 1:]
    floor = need[..., 1:].where(need[..., 1:] <= 1, 0.0)
    demand = (remote.softmax(-1) * floor).sum(1, keepdim=True)
    full = (_FULL_SLOPE * (demand - _FULL_DEMAND)).sigmoid().expand_as(remote)
    value, index = remote.sort(dim=-1, descending=True, stable=True)
    # this alternative and all better ones are full
    gone = full.gather(-1, index)[..., 1:].cumprod(-1)
    reached = functional.pad(gone, (1, 0), value=1.0)  # the last: only the local place is left
    others = ((reached[..., :-1] - gone) * torch.maximum(value[..., 1:], local)).sum(-1)
    return value[..., 0], others + reached[..., -1] * local[..., 0]
