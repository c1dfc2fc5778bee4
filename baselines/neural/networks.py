"""The networks of DROO and ARE: one with weights shared over UEs and servers, one of 60 layers.

The fully connected one sees a whole slot as one flat row, so it is made for one number of UEs and
servers and gives every position weights of its own; it has to learn from UEs in random order what
the other knows by its form. Shapes: B instances, N UEs, M edge servers, P = M + 1 places.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines.neural import features
from baselines.neural.features import Columns, Floats
from lambo_env.offloading import observation, physics
from lambo_env.offloading.instances import Instances
from lambo_env.prompts.objectives import PAIR
from lambo_env.utils import validate
from lambo_env.utils.rules import Ruled, ruled

CHUNK = 256  # instances of one pass

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
class FlatConfig(Ruled):
    """Size of a fully connected network.

    Args:
        num_ues: N.
        num_servers: M.
        width: of the hidden layers.
        depth: layers in all, the first and the last plain, those between residual.
        share_head: one more output per UE, its share of its server.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    num_ues: int = ruled(50, validate.integer)
    num_servers: int = ruled(4, validate.integer)
    width: int = ruled(69, validate.integer)
    depth: int = ruled(60, functools.partial(validate.integer, low=3))
    share_head: bool = ruled(False, validate.boolean)

    def network(self) -> FlatNet:
        """Return a new network of this size."""
        return FlatNet(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PooledConfig(Ruled):
    """Size of a network with shared weights.

    Args:
        width: of the hidden layers.
        rounds: layers of a pair, the first of what is observed, each further one of what the
            pairs' layers before it say on the mean.
        share_head: one more output per UE, its share of its server.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    width: int = ruled(32, validate.integer)
    rounds: int = ruled(2, validate.integer)
    share_head: bool = ruled(False, validate.boolean)

    def network(self) -> PooledNet:
        """Return a new network of this size."""
        return PooledNet(self)


NetConfig = FlatConfig | PooledConfig
SIZES: dict[str, type[FlatConfig] | type[PooledConfig]] = {
    "pooled": PooledConfig,
    "60fc": FlatConfig,
}


class PlaceNet(nn.Module):
    """From a slot's columns [B, N, ...] to logits of places [B, N, P].

    With a share head also to logits of each UE's share of its server [B, N].
    """

    shift: Tensor
    spread: Tensor
    config: NetConfig
    symmetric = False  # whether UEs in another order get the same answers in that order

    def _observed_columns(self, count: int) -> None:
        self.register_buffer("shift", torch.full((count,), 0.5))
        self.register_buffer("spread", torch.full((count,), 0.25))

    def columns(self, instances: Instances, latency_weight: Floats) -> Columns:
        """Return what the network reads of NumPy instances and their weights of latency [B]."""
        raise NotImplementedError

    def observed(self, columns: Tensor) -> Tensor:
        """Return the columns that are standardised, from those of ``columns``."""
        return columns

    def unsupported(self, instances: Instances) -> str | None:
        """Return why the network cannot decide instances, or None."""
        return None

    def standardise(self, parts: Iterable[Columns]) -> None:
        """Take the mean and the spread of columns as those of all columns to come."""
        rows = torch.cat([self.observed(torch.from_numpy(p)).flatten(0, -2) for p in parts])
        self.shift.copy_(rows.mean(dim=0))
        self.spread.copy_(rows.std(dim=0).clamp_min(1e-2))


class FlatNet(PlaceNet):
    """Fully connected layers on all UEs' columns side by side."""

    def __init__(self, config: FlatConfig) -> None:
        super().__init__()
        self.config = config
        self.own = observation.num_static(config.num_servers)  # columns of each UE
        common = config.num_servers + 1
        self.sizes = (config.num_ues, config.num_servers)
        blocks = [Residual(config.width, config.depth) for _ in range(config.depth - 2)]
        last = nn.Sequential(
            nn.LayerNorm(config.width, elementwise_affine=False),
            nn.Linear(config.width, config.num_ues * (common + config.share_head)),
        )
        first = nn.Linear(config.num_ues * self.own + common, config.width)
        self.body = nn.Sequential(first, *blocks, last)
        self._observed_columns(self.own + common)

    def columns(self, instances: Instances, latency_weight: Floats) -> Columns:
        """Return ``features.flat_columns``."""
        return features.flat_columns(instances, latency_weight)

    def unsupported(self, instances: Instances) -> str | None:
        """Return that it is made for other numbers, or None."""
        given = instances.num_ues, instances.num_servers
        made = "the network is made for {} UEs and {} servers; these have {} and {}"
        return None if self.sizes == given else made.format(*self.sizes, *given)

    def forward(self, columns: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return (place logits [B, N, P], share logits [B, N] or None)."""
        value = (columns - self.shift) / self.spread
        row = torch.cat([value[..., : self.own].flatten(1), value[:, 0, self.own :]], dim=1)
        out = self.body(row).unflatten(-1, (self.sizes[0], -1))
        places = self.sizes[1] + 1
        return out[..., :places], out[..., -1] if self.config.share_head else None


class PooledNet(PlaceNet):
    """One small network for all pairs of a UE and a server.

    What a pair sees of the others are means and deviations over UEs and means and maxima over
    servers, so that any N and M will do.
    """

    symmetric = True

    def __init__(self, config: PooledConfig) -> None:
        super().__init__()
        self.config = config
        width, paired = config.width, features.NUM_OWN + features.NUM_PAIR
        count = 3 * paired + 2 * features.NUM_SERVER
        self.first = nn.Linear(count, width)
        self.rounds = nn.ModuleList(
            plain([4 * width, width, width]) for _ in range(config.rounds - 1)
        )
        self.server = nn.Linear(width, 1)
        self.ue = plain([2 * width, width, 1 + config.share_head])
        self._observed_columns(count)

    def columns(self, instances: Instances, latency_weight: Floats) -> Columns:
        """Return ``features.pooled_columns``."""
        return features.pooled_columns(instances, latency_weight)

    def observed(self, columns: Tensor) -> Tensor:
        """Return the columns with mean and deviation over UEs, and servers' mean over servers."""
        paired = columns[..., : -features.NUM_SERVER]
        mean = columns[..., -features.NUM_SERVER :].mean(2, keepdim=True)
        deviation, over_ues = torch.std_mean(paired, dim=1, correction=0, keepdim=True)
        pooled = (part.expand(*columns.shape[:3], -1) for part in (over_ues, deviation, mean))
        return torch.cat([columns, *pooled], dim=-1)

    def forward(self, columns: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return (place logits [B, N, P], share logits [B, N] or None)."""
        value = torch.relu(self.first((self.observed(columns) - self.shift) / self.spread))
        for layers in self.rounds:
            pooled = (value.mean(1, keepdim=True), *_over_servers(value))
            seen = torch.cat([value, *(part.expand_as(value) for part in pooled)], dim=-1)
            value = value + layers(seen)
        out = self.ue(torch.cat(_over_servers(value), dim=-1)[:, :, 0])
        logits = torch.cat([out[..., :1], self.server(value)[..., 0]], dim=-1)
        return logits, out[..., -1] if self.config.share_head else None


def _over_servers(value: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and maximum over servers [B, N, 1, width]."""
    return value.mean(2, keepdim=True), value.amax(2, keepdim=True)


class NetAgent:
    """An agent whose one network scores the places."""

    net: PlaceNet
    objectives = PAIR

    @property
    def num_parameters(self) -> int:
        """Learned numbers."""
        return parameters(self.net)

    def supports(self, instances: Instances) -> str | None:
        """Return why these instances do not fit the network, or None."""
        return self.net.unsupported(instances)


@torch.no_grad()
def place_logits(
    net: PlaceNet, instances: Instances, columns: Columns
) -> tuple[Floats, Floats | None]:
    """Return place logits [B, N, P] and share logits [B, N] or None.

    Places that can never meet the deadline have -inf; local stays open where no place can.
    """
    parts = [net(part) for part in torch.from_numpy(columns).split(CHUNK)]
    place = torch.cat([place for place, _ in parts]).numpy().astype(np.float64)
    shares = [share for _, share in parts if share is not None]
    open_ = physics.on_time(instances)
    open_[..., 0] |= ~np.any(open_, axis=-1)
    logits = np.where(open_, place, -np.inf)
    return logits, torch.cat(shares).numpy().astype(np.float64) if shares else None


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
