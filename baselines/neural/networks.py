"""The fully connected networks of DROO and ARE.

Such a network sees a whole slot as one flat row, so it is made for one number of UEs and servers
and gives every position its own weights. Shapes: B instances, N UEs, M edge servers, P = M + 1
places, I inputs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lambo_env.offloading import observation
from lambo_env.utils import validate

_SEEDING = threading.RLock()


def plain(sizes: Sequence[int], hidden: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return fully connected layers of ``sizes`` with ``hidden`` between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), hidden()]
    return nn.Sequential(*layers[:-1])


class Residual(nn.Module):
    """One fully connected layer of a deep stack: x + W relu(norm(x)).

    Without the sum and the norm, 60 layers do not train at all.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.linear = nn.Linear(width, width)
        self.scale = 1 / math.sqrt(depth)  # so that the sum of all layers starts no larger than one

    def forward(self, value: Tensor) -> Tensor:
        """Return the layer's output [..., width]."""
        return value + self.scale * self.linear(torch.relu(self.norm(value)))


def hidden_widths(field: str, value: Any) -> tuple[int, ...]:
    """Return the widths of hidden layers, checked."""
    validate.check(field, value, isinstance(value, list | tuple), "a list of integers >= 1")
    return tuple(validate.integer(field, width) for width in value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetConfig:
    """Size of a network.

    Args:
        num_ues: N.
        num_servers: M.
        width: of the hidden layers where ``depth`` is given.
        depth: fully connected layers in all, the first and the last plain, those between residual;
            0: ``hidden`` instead.
        hidden: widths of plain hidden layers.
        share_head: one more output per UE, its share of its server.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    num_ues: int = 50
    num_servers: int = 4
    width: int = 69
    depth: int = 60
    hidden: tuple[int, ...] = ()
    share_head: bool = False

    def __post_init__(self) -> None:
        """Check every field."""
        object.__setattr__(self, "hidden", hidden_widths("NetConfig.hidden", self.hidden))
        for name in ("num_ues", "num_servers", "width"):
            validate.integer(f"NetConfig.{name}", getattr(self, name))
        validate.boolean("NetConfig.share_head", self.share_head)
        validate.integer("NetConfig.depth", self.depth, low=0)
        validate.check(
            "NetConfig.depth", self.depth, self.depth == 0 or self.depth >= 3, "0 or >= 3"
        )
        validate.check(
            "NetConfig.hidden",
            self.hidden,
            bool(self.hidden) == (self.depth == 0),
            "given where depth is 0",
        )

    @property
    def inputs(self) -> int:
        """I: N (M + 4) static columns, M relative server sizes, the weight of latency."""
        return self.num_ues * observation.num_static(self.num_servers) + self.num_servers + 1


class PlaceNet(nn.Module):
    """From a slot's inputs [B, I] to logits of places [B, N, P].

    With ``share_head`` also to logits of each UE's share of its server [B, N].
    """

    shift: Tensor
    spread: Tensor

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        outputs = config.num_ues * (config.num_servers + 1 + config.share_head)
        if config.depth:
            blocks = [Residual(config.width, config.depth) for _ in range(config.depth - 2)]
            last = nn.Sequential(
                nn.LayerNorm(config.width, elementwise_affine=False),
                nn.Linear(config.width, outputs),
            )
            self.body = nn.Sequential(nn.Linear(config.inputs, config.width), *blocks, last)
        else:
            self.body = plain([config.inputs, *config.hidden, outputs])
        self.register_buffer("shift", torch.full((config.inputs,), 0.5))
        self.register_buffer("spread", torch.full((config.inputs,), 0.25))

    def standardise(self, inputs: Tensor) -> None:
        """Take the mean and the spread of ``inputs`` [B, I] as those of all inputs to come."""
        self.shift.copy_(inputs.mean(dim=0))
        self.spread.copy_(inputs.std(dim=0).clamp_min(1e-3))

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return (place logits [B, N, P], share logits [B, N] or None)."""
        config = self.config
        out = self.body((inputs - self.shift) / self.spread).unflatten(-1, (config.num_ues, -1))
        return out[..., : config.num_servers + 1], out[..., -1] if config.share_head else None


def parameters(net: nn.Module) -> int:
    """Return how many numbers a network learns."""
    return sum(p.numel() for p in net.parameters())


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from ``seed`` and leave torch's global generator as it was.

    One thread at a time: the generator is everybody's.
    """
    with _SEEDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
