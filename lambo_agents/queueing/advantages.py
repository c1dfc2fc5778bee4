"""How much better a decision was than those of its copies: credit by task, critic over slots.

A task's cost counts for the slot it came in, so that a decision is charged with its own task, the
tasks of the turns after it, and those of later slots, discounted. Beyond a few slots the critic
speaks, which knows what the queues hold (generalised advantage estimation, Schulman et al.,
arXiv 1506.02438). All of it is compared with the mean over the copies of the episode.

Shapes as in ``episodes``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lambo_agents.queueing.episodes import Decided, Played
from lambo_env.queueing.policies.turns import Floats

CRITIC_FEATURES = 12


class QueueCritic(nn.Module):
    """Predicts the discounted cost of the tasks to come, up to what all copies share."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(CRITIC_FEATURES, hidden), nn.Tanh(), nn.Linear(hidden, 1)
        )

    def forward(self, state: Tensor) -> Tensor:
        """Return predictions [...] of states [..., V]."""
        out: Tensor = self.layers(state)[..., 0]
        return out


class Returns(NamedTuple):
    """Costs to go at the start of each slot; each [B, T + 1], 0 at the end."""

    value: Floats  # the critic's
    mixed: Floats  # the costs of the next slots, then the critic's
    whole: Floats  # all costs, without the critic


def returns(played: Played, critic: QueueCritic | None, discount: float, trace: float) -> Returns:
    """Return costs to go, in mean tasks.

    Args:
        played: what was played.
        critic: None: none speaks.
        discount: per slot.
        trace: share of what a slot later says against the critic at once; 1: the critic is silent.
    """
    cost = played.cost.sum(axis=2)
    rows, slots = cost.shape
    value, mixed, whole = np.zeros((3, rows, slots + 1))
    if critic is not None:
        with torch.inference_mode():
            value[:, :-1] = critic(played.state).numpy()
    for at in range(slots - 1, -1, -1):
        later = trace * mixed[:, at + 1] + (1 - trace) * value[:, at + 1]
        mixed[:, at] = cost[:, at] + discount * later
        whole[:, at] = cost[:, at] + discount * whole[:, at + 1]
    return Returns(value, mixed, whole)


def centred(values: Floats, copies: int) -> Floats:
    """Return what rows have above the mean of their copies [B, ...]."""
    by_copy = values.reshape(copies, -1, *values.shape[1:])
    return (by_copy - by_copy.mean(axis=0)).reshape(values.shape)


def advantages(
    played: Played, slot: Decided, told: Returns, copies: int, discount: float
) -> Floats:
    """Return what each decision of a slot cost less than those of the copies [B, J]."""
    own = np.take_along_axis(played.cost[:, slot.at], slot.ue, axis=1)
    to_go = own[:, ::-1].cumsum(axis=1)[:, ::-1]
    later = discount * told.mixed[:, slot.at + 1, None]
    known = centred(told.value[:, slot.at, None], copies)
    return known - centred(to_go + later, copies)


def critic_loss(
    critic: QueueCritic, played: Played, told: Returns, copies: int, rows: Tensor
) -> Tensor:
    """Return the mean squared error over some slots, both sides against the mean of the copies."""
    goal = torch.as_tensor(centred(told.whole[:, :-1], copies), dtype=torch.float32)
    state = played.state.unflatten(0, (copies, -1))
    at = rows[:, 0], rows[:, 1]  # episode, slot
    said = critic(state[:, at[0], at[1]])
    wanted = goal.unflatten(0, (copies, -1))[:, at[0], at[1]]
    return ((said - said.mean(0)) - wanted).square().mean()
