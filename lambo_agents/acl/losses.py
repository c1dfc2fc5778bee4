"""What the training minimises.

Policy gradient, imitation, and the share head through the cost itself.

Shapes: B instances, O orders or rollouts of an instance, N UEs, P places. Everything here runs over
finished rollouts, all steps at once; costs come from physics.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from lambo_agents.network import decoding
from lambo_agents.network.aed import AED
from lambo_agents.network.server_encoding import DecoderInputs
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances, Objective

_LEAST_CHANCE = 1e-30


class Scored(NamedTuple):
    """The network's view of decisions that were made."""

    log_prob: Tensor  # [B, O, N] of each place chosen
    log_probs: Tensor  # [B, O, N, P] of all places
    entropy: Tensor  # [B, O, N] of the legal places' distribution
    share_logit: Tensor  # [B, O, N] at the place chosen


def score(aed: AED, plan: DecoderInputs, need: Tensor, place: Tensor, taken: Tensor) -> Scored:
    """Return log-probabilities, entropies and share logits of decisions, all steps in one pass.

    Arguments as in ``decoding.teacher_forced``.
    """
    log_probs, share_logit = decoding.teacher_forced(aed, plan, need, place, taken)
    entropy = -(log_probs.exp() * log_probs.clamp(min=-100)).sum(-1)
    chosen = log_probs.gather(-1, place[..., None])[..., 0]
    return Scored(chosen, log_probs, entropy, share_logit)


def advantage(cost: Tensor) -> Tensor:
    """Return each rollout's excess over its instance's mean, in standard deviations [B, O]."""
    gap = cost - cost.mean(1, keepdim=True)
    return gap / (gap.square().mean(1, keepdim=True).sqrt() + 1e-6 * cost.mean(1, keepdim=True))


def expected_regret(log_probs: Tensor, regret: Tensor, counts: Tensor) -> Tensor:
    """Return the mean regret that the policy expects of its steps, each by its own deviation.

    Args:
        log_probs: [B, O, N, P] of the places.
        regret: [B, O, N, P] of choosing each while all others stay, in standard deviations.
        counts: bool [B, O, N, P] places whose regret is known; the others are as good as the mean.
    """
    chance = torch.where(counts, log_probs, decoding.NEVER).exp()
    known = torch.where(counts, regret, 0.0)
    every = chance.sum(-1, keepdim=True).clamp(min=_LEAST_CHANCE)  # where it is none of them: 0
    mean = ((chance * known).sum(-1, keepdim=True) / every).detach()
    return (chance * (known - mean)).sum(-1).mean()


def take_shares(share: Tensor, need: Tensor, place: Tensor) -> Tensor:
    """Return what each decision takes of its server [B, O, N], step by step.

    Floor + share x (left - floor).

    Args:
        share: [B, O, N] in 0..1, with gradients.
        need: float64 [B, O or 1, N, P]; inf where infeasible.
        place: int64 [B, O, N]; local and infeasible ones take nothing.
    """
    chosen = (place[..., None] == torch.arange(need.shape[-1], device=place.device)).to(need.dtype)
    chosen = torch.cat([torch.zeros_like(chosen[..., :1]), chosen[..., 1:]], dim=-1)
    floor = torch.where(need.isfinite(), need, 0.0)
    left, taken = torch.ones_like(chosen[:, :, 0]), []
    for step in range(place.shape[2]):
        here = chosen[:, :, step]
        used = floor[:, :, step] * here
        used = used + share[:, :, step, None] * (left * here - used)
        left = left - used
        taken.append(used.sum(-1))
    return torch.stack(taken, dim=2)


def share_cost(instances: Instances, objective: Objective, place: Tensor, taken: Tensor) -> Tensor:
    """Return the cost [B, O] of places and what they take of their servers.

    Differentiable in ``taken``.

    Args:
        instances: B torch problems in float64, UEs in the rollouts' order.
        objective: of each instance.
        place: int64 [B, O, N].
        taken: float64 [B, O, N].
    """
    count = place.shape[1]
    capacity = functional.pad(instances.server_cpu_hz, (1, 0))[:, None].expand(-1, count, -1)
    cpu = (taken * capacity.gather(2, place)).flatten(0, 1)
    many = Objective(
        cost_per_s=objective.cost_per_s.repeat_interleave(count),
        cost_per_j=objective.cost_per_j.repeat_interleave(count),
    )
    return physics.evaluate(
        instances.repeat(count), Decision(place.flatten(0, 1), cpu), many, check=False
    ).cost.view(-1, count)


def target_shares(need: Tensor, left: Tensor, place: Tensor, taken: Tensor) -> Tensor:
    """Return the share [B, O, N], 0..1, that decisions took of what was left above the floor."""
    floor = need.gather(-1, place[..., None])[..., 0]
    rest = left.gather(-1, place[..., None])[..., 0] - floor
    return ((taken - floor) / rest.clamp(min=1e-9)).clamp(0, 1).nan_to_num(0.0)


def share_imitation(
    share_logit: Tensor, need: Tensor, place: Tensor, taken: Tensor, shares: Tensor
) -> Tensor:
    """Return the cross-entropy of shares to those taken, over offloaded UEs of ``shares`` [B]."""
    chosen = (place[..., None] == torch.arange(need.shape[-1], device=place.device)) * taken[
        ..., None
    ]
    left = 1 - (chosen.cumsum(2) - chosen)
    target = target_shares(need, left, place, taken).to(share_logit)
    weight = ((place > 0) & shares[:, None, None]).to(share_logit)
    return functional.binary_cross_entropy_with_logits(
        share_logit, target, weight=weight, reduction="sum"
    ) / weight.sum().clamp(min=1)


def prior_log_prob(plan: DecoderInputs, need: Tensor, place: Tensor) -> Tensor:
    """Return the mean log-probability of decisions under the place prior.

    0 for a network without one.
    """
    if plan.place_prior is None:
        return torch.zeros(())
    guess = torch.where(need <= 1, plan.place_prior, decoding.NEVER).log_softmax(-1)
    return guess.gather(-1, place[..., None]).clamp(min=-20).mean()
