"""Learning online from what was played: a replay buffer, its updates, the choice of K.

Both DROOs do it. Shapes: B slots, N labels per slot.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lambo_env.utils import validate
from lambo_env.utils.rules import Ruled, ruled


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReplayConfig(Ruled):
    """How a network learns from its replay buffer.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    memory: int = ruled(1024, validate.integer)  # slots
    batch: int = ruled(128, validate.integer)
    train_every: int = ruled(10, validate.integer)  # slots
    adapt_every: int = ruled(32, validate.integer)  # slots between two choices of K
    learning_rate: float = ruled(0.01, validate.positive)


class ReplayBuffer:
    """The last slots with what was decided in them; the newest takes the place of the oldest.

    Slots of other sizes than those before begin it anew.

    Args:
        size: slots kept.
        empty_rows: rows of zeros at the start that count as samples before anything was stored.
        shuffled: draw each slot with its UEs in another order.
    """

    def __init__(self, size: int, empty_rows: int = 0, shuffled: bool = False) -> None:
        self.size, self.empty_rows, self.shuffled = size, empty_rows, shuffled
        self.inputs, self.labels = np.zeros((2, 0, 0), np.float32)
        self.stored = 0  # slots since the beginning

    def add(self, inputs: NDArray[np.float32], labels: NDArray[Any]) -> None:
        """Store slots [B, ...] with labels [B, N]."""
        if self.inputs.shape[1:] != inputs.shape[1:]:
            self.inputs, self.labels = (
                np.zeros((self.size, *part.shape[1:]), part.dtype) for part in (inputs, labels)
            )
            self.stored = 0
        rows = (self.stored + self.empty_rows + np.arange(len(inputs))) % self.size
        self.inputs[rows], self.labels[rows] = inputs, labels
        self.stored += len(inputs)

    def draw(self, batch: int, rng: np.random.Generator) -> list[tuple[Tensor, ...]]:
        """Return inputs and labels of slots drawn with replacement, in one part."""
        rows = rng.integers(min(self.stored + self.empty_rows, self.size), size=batch)
        parts = (self.inputs[rows], self.labels[rows])
        return [tuple(map(torch.from_numpy, shuffled_ues(rng, *parts) if self.shuffled else parts))]

    def pack(self) -> dict[str, NDArray[Any]]:
        """Return its arrays by name."""
        return {"inputs": self.inputs, "labels": self.labels}

    def unpack(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Put back what ``pack`` returned."""
        self.inputs, self.labels = arrays["inputs"], arrays["labels"]


class MixedBuffer:
    """The last slots of worlds of several sizes, kept and drawn in the blocks that they came in.

    Args:
        size: slots kept, but for part of a block.
    """

    def __init__(self, size: int) -> None:
        self.size, self.stored = size, 0
        self.blocks: list[tuple[NDArray[np.float32], NDArray[Any]]] = []

    def add(self, inputs: NDArray[np.float32], labels: NDArray[Any]) -> None:
        """Store slots [B, ...] with labels [B, N]."""
        self.blocks.append((inputs, labels))
        self.stored += len(inputs)
        while sum(len(block) for _, block in self.blocks[1:]) >= self.size:
            del self.blocks[0]

    def draw(self, batch: int, rng: np.random.Generator) -> list[tuple[Tensor, ...]]:
        """Return inputs and labels of blocks drawn with replacement, one block a part."""
        parts: list[tuple[Tensor, ...]] = []
        while sum(len(labels) for _, labels in parts) < batch:
            block = self.blocks[int(rng.integers(len(self.blocks)))]
            parts.append(tuple(map(torch.from_numpy, block)))
        return parts

    def pack(self) -> dict[str, NDArray[Any]]:
        """Return its arrays by name."""
        pairs = enumerate(self.blocks)
        return {
            f"{k:06d}/{name}": array
            for k, block in pairs
            for name, array in zip(("inputs", "labels"), block, strict=True)
        }

    def unpack(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Put back what ``pack`` returned."""
        names = sorted(name.partition("/")[0] for name in arrays if name.endswith("inputs"))
        self.blocks = [(arrays[f"{k}/inputs"], arrays[f"{k}/labels"]) for k in names]


def shuffled_ues(rng: np.random.Generator, *parts: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Return arrays [B, N, ...] with each slot's UEs in an order of its own."""
    order = np.argsort(rng.random(parts[0].shape[:2]), axis=1)
    return tuple(part[np.arange(len(order))[:, None], order] for part in parts)


class OnlineLearner:
    """A network that learns from its replay buffer and chooses K by where the best candidates lay.

    A subclass sets the attributes and says what the loss is.
    """

    config: ReplayConfig
    net: nn.Module
    optimiser: torch.optim.Optimizer
    memory: ReplayBuffer | MixedBuffer
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
        parts, total = self.memory.draw(self.config.batch, rng), 0.0
        self.net.train()
        self.optimiser.zero_grad(set_to_none=True)
        for part in parts:
            loss = self.loss(*part) / len(parts)
            loss.backward()
            total += loss.item()
        self.optimiser.step()
        self.net.eval()
        return total
