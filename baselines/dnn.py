"""The fully connected networks of DROO and ARE, and what their training shares. Shapes: B inputs of I numbers, O outputs."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import nn


def plain(sizes: Sequence[int], hidden: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return fully connected layers sizes[0] -> ... -> sizes[-1] with ``hidden`` between them; the last gives logits."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), hidden()]
    return nn.Sequential(*layers[:-1])


def parameters(net: nn.Module) -> int:
    """Return how many numbers a network learns."""
    return sum(p.numel() for p in net.parameters())


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from ``seed`` and leave torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep small networks on one core: at these sizes waking a second costs more than it does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
