"""Learning online from what was played: a replay buffer, its updates, the choice of K.

Both DROOs do it. Shapes: B slots, I inputs, N labels per slot.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lambo_env.utils import validate


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """How a network learns from its replay buffer.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    memory: int = 1024  # slots
    batch: int = 128
    train_every: int = 10  # slots
    adapt_every: int = 32  # slots between two choices of K
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        """Check every field."""
        owner = type(self).__name__
        for name in ("memory", "batch", "train_every", "adapt_every"):
            validate.integer(f"{owner}.{name}", getattr(self, name))
        validate.positive(f"{owner}.learning_rate", self.learning_rate)


class ReplayBuffer:
    """The last slots with what was decided in them; the newest takes the place of the oldest.

    Args:
        inputs: zeros [size, I].
        labels: zeros [size, N].
        empty_rows: rows at the start that count as samples before anything was stored.
    """

    def __init__(
        self, inputs: NDArray[np.float32], labels: NDArray[Any], empty_rows: int = 0
    ) -> None:
        self.inputs, self.labels, self.empty_rows = inputs, labels, empty_rows
        self.stored = 0  # slots ever

    def add(self, inputs: NDArray[np.float32], labels: NDArray[Any]) -> None:
        """Store slots [B, I] with labels [B, N]."""
        rows = (self.stored + self.empty_rows + np.arange(len(inputs))) % len(self.inputs)
        self.inputs[rows], self.labels[rows] = inputs, labels
        self.stored += len(inputs)

    def draw(self, batch: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return inputs and labels of slots drawn with replacement."""
        rows = rng.integers(min(self.stored + self.empty_rows, len(self.inputs)), size=batch)
        return torch.from_numpy(self.inputs[rows]), torch.from_numpy(self.labels[rows])


class OnlineLearner:
    """A network that learns from its replay buffer and chooses K by where the best candidates lay.

    A subclass sets the attributes and says what the loss is.
    """

    config: ReplayConfig
    net: nn.Module
    optimiser: torch.optim.Optimizer
    memory: ReplayBuffer
    candidates: int  # K
    most_candidates: int
    adaptive = True  # whether K is chosen on the way

    def __init__(self) -> None:
        self.recent_best: list[int] = []  # index of the best candidate of the last slots

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a batch."""
        raise NotImplementedError

    def remember(
        self,
        inputs: NDArray[np.float32],
        labels: NDArray[Any],
        best: NDArray[np.intp],
        rng: np.random.Generator,
    ) -> None:
        """Store slots that were played with the network as it is.

        Learn and choose K when their time has come.
        """
        config, before = self.config, self.memory.stored
        self.memory.add(inputs, labels)
        self.recent_best = [*self.recent_best, *best.tolist()][-config.adapt_every :]
        if self.memory.stored // config.train_every > before // config.train_every:
            self.learn(rng)
        passed = self.memory.stored // config.adapt_every > before // config.adapt_every
        if self.adaptive and passed:
            self.candidates = min(max(self.recent_best) + 2, self.most_candidates)

    def learn(self, rng: np.random.Generator) -> float:
        """Take one step on a batch from the replay buffer; return its loss."""
        batch = self.memory.draw(self.config.batch, rng)
        self.net.train()
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(*batch)
        loss.backward()
        self.optimiser.step()
        self.net.eval()
        return loss.item()
