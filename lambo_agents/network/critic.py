"""The critic of actor-critic learning.

A network of the actor's structure, two heads included, that predicts the cost to be paid.
"""

from __future__ import annotations

from torch import Tensor, nn

from lambo_agents.network.aed import AED
from lambo_agents.network.config import AEDConfig
from lambo_agents.network.decoding import Slot, states


class Critic(nn.Module):
    """Predicts, before each decision, the rollout's final cost over that of local execution."""

    def __init__(self, config: AEDConfig) -> None:
        super().__init__()
        self.aed = AED(config)

    def forward(self, slots: Slot, place: Tensor, taken: Tensor) -> Tensor:
        """Return the predictions [B, O, N] before each decision of finished rollouts.

        The mean of the second head over the places, weighed by the softmax of the first.
        """
        plan = self.aed.plan(self.aed.encode(slots.inputs))
        state, _ = states(plan, place, taken, slots.need.shape[-1])
        logits, value = self.aed.steps(plan, state)
        return (logits.softmax(-1) * value).sum(-1)
