"""What the network knew already.

A sample of the stream with its own answers of the time, learned again in every round.

No labels are spent on it. Distributions, not decisions, are kept (dark experience replay, Buzzega
et al. 2020). Shapes: R instances kept, N UEs, P places.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lambo_agents.alef.query import Pool, Trace, trace
from lambo_agents.network.aed import AED, Encoded
from lambo_agents.network.decoding import NEVER, teacher_forced
from lambo_agents.network.server_encoding import in_order
from lambo_env.offloading.instances import Instances

_FIELDS = [field.name for field in dataclasses.fields(Instances)]
PER_SLOT = 4  # instances of a slot that may be kept
PREFIX = "rehearsal/"


class Remembered(NamedTuple):
    """R instances with what the network made of them."""

    instances: Instances
    tokens: np.ndarray  # uint8 [R, 160]
    trace: Trace

    @classmethod
    def of(cls, pool: Pool) -> Remembered:
        """Return the pool's instances with the network's present distributions."""
        return cls(pool.instances, pool.prompts.tokens, trace(pool))

    def take(self, rows: np.ndarray) -> Remembered:
        """Return some of them."""
        index = torch.from_numpy(rows)
        return Remembered(
            self.instances.take(rows),
            self.tokens[rows],
            Trace(*(part[index] for part in self.trace)),
        )

    @staticmethod
    def concat(first: Remembered, second: Remembered) -> Remembered:
        """Join two."""
        parts = Trace(*(torch.cat(pair) for pair in zip(first.trace, second.trace, strict=True)))
        instances = Instances.concat([first.instances, second.instances])
        return Remembered(instances, np.concatenate([first.tokens, second.tokens]), parts)


class ReplayBuffer:
    """A reservoir: at any time a uniform sample of what was offered.

    Args:
        size: R at most; 0 keeps nothing.
    """

    def __init__(self, size: int) -> None:
        self.size, self.offered = size, 0
        self.kept: Remembered | None = None

    def __len__(self) -> int:
        """Return R."""
        return 0 if self.kept is None else len(self.kept.tokens)

    def offer(self, pool: Pool, rng: np.random.Generator) -> None:
        """Offer a few random instances of a slot."""
        if self.size == 0:
            return
        rows = rng.choice(
            pool.instances.batch_size, min(PER_SLOT, pool.instances.batch_size), replace=False
        )
        some = Pool(
            pool.agent,
            pool.instances.take(rows),
            pool.prompts.take(rows),
            pool.decision.take(rows),
            rng,
        )
        fresh = Remembered.of(some)
        both = fresh if self.kept is None else Remembered.concat(self.kept, fresh)
        self.kept = both.take(self._survivors(len(self), len(rows), rng))

    def _survivors(self, old: int, new: int, rng: np.random.Generator) -> np.ndarray:
        """Return which of ``old`` + ``new`` rows stay (Vitter's algorithm R)."""
        rows = list(range(old))
        for row in range(old, old + new):
            self.offered += 1
            if len(rows) < self.size:
                rows.append(row)
            elif (spot := int(rng.integers(self.offered))) < self.size:
                rows[spot] = row
        return np.asarray(rows, dtype=np.int64)

    # ---- on the disk -----------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Return everything as tensors by name."""
        if self.kept is None:
            return {}
        fields = {
            name: torch.from_numpy(np.array(getattr(self.kept.instances, name))) for name in _FIELDS
        }
        named = {
            "tokens": torch.from_numpy(self.kept.tokens.copy()),
            **self.kept.trace._asdict(),
            **fields,
        }
        return {PREFIX + name: tensor for name, tensor in named.items()}

    def restore(self, tensors: dict[str, Tensor], offered: int) -> None:
        """Put back what ``tensors`` gave."""
        found = {
            name.removeprefix(PREFIX): part
            for name, part in tensors.items()
            if name.startswith(PREFIX)
        }
        self.offered = offered
        if found:
            instances = Instances(**{name: found[name].numpy() for name in _FIELDS})
            self.kept = Remembered(
                instances, found["tokens"].numpy(), Trace(*(found[name] for name in Trace._fields))
            )


def loss_of(aed: AED, encoded: Encoded, need: Tensor, known: Trace, shares: bool) -> Tensor:
    """Return how far the network has moved from what it knew.

    The mean KL divergence of a step, with the shares' where they count.

    Args:
        aed: the network.
        encoded: R instances.
        need: float64 [R, N, P] their floors, UEs as given.
        known: what it made of them.
        shares: whether it allots by shares.
    """
    order = known.order[:, None]
    plan, need = aed.plan(encoded, order), in_order(need, order)
    log_probs, share = teacher_forced(aed, plan, need, known.place[:, None], known.taken[:, None])
    before = known.log_probs
    gap = (
        (before.exp() * (before - log_probs[:, 0]).masked_fill(before <= NEVER / 2, 0.0))
        .sum(-1)
        .mean()
    )
    if not shares:
        return gap
    remote = (known.place > 0).to(share)
    return gap + functional.binary_cross_entropy_with_logits(
        share[:, 0], known.share.sigmoid(), weight=remote, reduction="sum"
    ) / remote.sum().clamp(min=1)
