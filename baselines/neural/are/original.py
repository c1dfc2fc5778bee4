"""ARE's original network (github.com/jiangfeibo/ARE).

10-64-32-6, one UE per pass, on the authors' own 500 scenarios.

Inputs of a UE: D / max D, C / max C, its M channel gains / the largest, and M constants, the mean
share of a server that its UEs got in the labels. Outputs: M + 1 places, one-hot, and the share of
the server's CPU. All sigmoid, mean squared error, momentum, full batch. The network sees no other
UE, so it cannot count who else chooses its server. Shapes: B scenarios, N UEs, M servers.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from baselines.neural import checkpoint, features
from baselines.neural.features import Floats, Places
from baselines.neural.networks import parameters, plain, seeded
from lambo_agents import weights_io
from lambo_agents.protocol import refuse_unsupported
from lambo_env.offloading import physics
from lambo_env.offloading.instances import LOCAL, Decision, Instances, one_hot_servers
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import runs, validate
from lambo_env.utils.timing import one_thread

HIDDEN = (64, 32)
ALLOCATIONS = ("optimal", "head")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AreSmallConfig:
    """The authors' settings.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    learning_rate: float = 1.5
    momentum: float = 0.5
    static_epochs: int = 500  # on 88 % of the scenarios
    first_epochs: int = 200  # before the stream, on the first 40 %
    stream_epochs: int = 10  # over the memory, after each scenario that was learnt
    entropy_bits: float = 0.7  # mean over UEs above which a scenario is learnt; at most log2(M + 1)
    memory: int = 200  # scenarios

    def __post_init__(self) -> None:
        """Check every field."""
        for name in ("static_epochs", "first_epochs", "stream_epochs", "memory"):
            validate.integer(f"AreSmallConfig.{name}", getattr(self, name))
        validate.positive("AreSmallConfig.learning_rate", self.learning_rate)
        momentum = validate.non_negative("AreSmallConfig.momentum", self.momentum)
        validate.check("AreSmallConfig.momentum", self.momentum, momentum < 1, "in [0, 1)")
        validate.non_negative("AreSmallConfig.entropy_bits", self.entropy_bits)


def mean_shares(instances: Instances, labels: Decision) -> Floats:
    """Return the mean share of each server [M] that its UEs got in the labels."""
    member = one_hot_servers(labels.place, instances.num_servers, np)
    share = np.where(member, labels.cpu_hz[..., None] / instances.server_cpu_hz[:, None, :], 0.0)
    return np.sum(share, axis=(0, 1)) / np.maximum(np.sum(member, axis=(0, 1)), 1)


def inputs(instances: Instances, shares: Floats, bandwidth_hz: float) -> NDArray[np.float32]:
    """Return the network's inputs [B, N, 2 M + 2]; gains follow from rates, h ~ 2^(r / B) - 1."""
    bits, cycles = instances.data_bits, instances.cycles
    efficiency = instances.uplink_bps / bandwidth_hz
    best = np.max(efficiency, axis=-1, keepdims=True)
    gain = (np.exp2(efficiency - best) - np.exp2(-best)) / (1 - np.exp2(-best))
    task = np.stack(
        [
            bits / np.max(bits, axis=1, keepdims=True),
            cycles / np.max(cycles, axis=1, keepdims=True),
        ],
        axis=-1,
    )
    constant = np.broadcast_to(shares, (*bits.shape, len(shares)))
    return np.concatenate([task, gain, constant], axis=-1).astype(np.float32)


def targets(instances: Instances, labels: Decision) -> NDArray[np.float32]:
    """Return what the network should say [B, N, M + 2]: the place one-hot, and the share."""
    places = np.arange(instances.num_servers + 1)
    share = labels.shares(instances)
    return np.concatenate([labels.place[..., None] == places, share[..., None]], axis=-1).astype(
        np.float32
    )


class AreSmall:
    """ARE's original small network (10-64-32-6), one UE per pass, trained on the authors' labels.

    Args:
        weights: shipped weights by name, or a path; None: a new network that knows nothing
            (``num_servers``, ``seed``).
        allocation: "optimal", the closed form, or "head", the network's shares, rescaled to use up
            each server as the authors do.
        bandwidth_hz: B, by which rates become the gains that the network reads.
        config: how it learns.
        num_servers: M of a new network.
        shares: the M constants of a new network's inputs; None: 1 / M each.
        seed: of a new network's weights.
    """

    evaluator_in_loop = False
    labels_used = 440

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = "are-small",
        allocation: str = "optimal",
        bandwidth_hz: float = 1e6,
        config: AreSmallConfig | None = None,
        num_servers: int = 4,
        shares: Floats | None = None,
        seed: int = 0,
    ) -> None:
        self.allocation = validate.known(allocation, ALLOCATIONS, "AreSmall.allocation")
        self.bandwidth_hz = validate.positive("AreSmall.bandwidth_hz", bandwidth_hz)
        self.config = (
            AreSmallConfig()
            if config is None
            else validate.of_kind("AreSmall.config", config, AreSmallConfig)
        )
        validate.integer("AreSmall.num_servers", num_servers)
        validate.integer("AreSmall.seed", seed, low=0)
        shares = _checked_shares(shares, num_servers)
        if weights is None:
            self.num_servers, self.shares, self.labels_used = num_servers, shares, 0
            self.net = _network(num_servers, seed)
        else:
            path = weights_io.weights_path(weights, checkpoint.WEIGHTS)
            with weights_io.reading(path):
                tensors, meta = weights_io.load(path, checkpoint.FORMAT)
                self.num_servers = validate.integer("num_servers", meta["num_servers"])
                self.shares = _checked_shares(meta["shares"], self.num_servers)
                self.labels_used = validate.integer("labels", meta["labels"], low=0)
                self.net = weights_io.fit(lambda: _network(self.num_servers, seed), tensors)
        self.optimiser = self._make_optimiser()

    def _make_optimiser(self) -> torch.optim.SGD:
        return torch.optim.SGD(
            self.net.parameters(), self.config.learning_rate, momentum=self.config.momentum
        )

    @property
    def num_parameters(self) -> int:
        """Learned numbers."""
        return parameters(self.net)

    def supports(self, instances: Instances) -> str | None:
        """Return why these instances do not fit the network, or None."""
        if instances.num_servers == self.num_servers:
            return None
        return (
            f"the network is made for {self.num_servers} servers; "
            f"these have {instances.num_servers}"
        )

    def decide(self, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> Decision:
        """Return everyone's strongest place; whoever would be late runs locally instead.

        The prompt is not read.
        """
        validate.generator(rng)
        refuse_unsupported(self, instances, prompts)
        arrays = instances.to("numpy")
        out = self.outputs(arrays)
        place = np.argmax(out[..., :-1], axis=-1)
        place = np.where(self._late(arrays, place, out[..., -1]), LOCAL, place)
        return Decision(place, self._allot(arrays, place, out[..., -1])).to(instances)

    @torch.no_grad()
    def outputs(self, instances: Instances) -> Floats:
        """Return the network's outputs [B, N, M + 2] in (0, 1)."""
        return (
            self.net(torch.from_numpy(inputs(instances, self.shares, self.bandwidth_hz)))
            .numpy()
            .astype(np.float64)
        )

    def entropies(self, instances: Instances) -> Floats:
        """Return the mean over UEs of the entropy of their normalised place outputs, bits [B]."""
        out = self.outputs(instances)[..., :-1]
        chance = out / np.sum(out, axis=-1, keepdims=True)
        return np.mean(-np.sum(chance * np.log2(np.maximum(chance, 1e-300)), axis=-1), axis=-1)

    def _allot(self, instances: Instances, place: Places, share: Floats) -> Floats:
        return (
            physics.allocate(instances, place)
            if self.allocation == "optimal"
            else features.rescaled(instances, place, share)
        )

    def _late(self, instances: Instances, place: Places, share: Floats) -> NDArray[np.bool_]:
        goal = instances.objective(np.ones(len(instances)))
        decision = Decision(place, self._allot(instances, place, share))
        return physics.evaluate(instances, decision, goal).late

    def learn(
        self,
        given: NDArray[np.float32],
        wanted: NDArray[np.float32],
        epochs: int,
        report: Callable[[dict[str, Any]], None] = lambda row: None,
    ) -> float:
        """Train on rows [R, 2 M + 2] -> [R, M + 2], all in each step; each gives a row.

        Return the last loss, half the squared error per row.
        """
        source, target = torch.from_numpy(given), torch.from_numpy(wanted)
        for epoch in range(1, epochs + 1):
            self.optimiser.zero_grad(set_to_none=True)
            loss = 0.5 * (self.net(source) - target).square().sum() / len(target)
            loss.backward()
            self.optimiser.step()
            report({"what": "epoch", "step": epoch, "of": epochs, "loss": loss.item()})
        return loss.item()


def _network(servers: int, seed: int) -> nn.Sequential:
    """Return the sigmoid network for ``servers`` with the authors' initial weights.

    Uniform in +-4 sqrt(6 / (inputs + outputs)), biases too.
    """
    with seeded(seed):
        net = nn.Sequential(
            *plain([2 * servers + 2, *HIDDEN, servers + 2], nn.Sigmoid), nn.Sigmoid()
        )
        for layer in net:
            if isinstance(layer, nn.Linear):
                limit = 4 * (6 / (layer.in_features + layer.out_features)) ** 0.5
                nn.init.uniform_(layer.weight, -limit, limit)
                nn.init.uniform_(layer.bias, -limit, limit)
    return net


def _checked_shares(shares: Floats | None, servers: int) -> Floats:
    """Return the constants of a new network's inputs [M]."""
    allowed = f"{servers} shares in [0, 1], one per server"
    if shares is None:
        return np.full(servers, 1 / servers)
    try:
        out = np.asarray(shares, dtype=np.float64)
    except (TypeError, ValueError):
        validate.refuse("AreSmall.shares", shares, allowed)
    validate.check(
        "AreSmall.shares",
        shares,
        out.shape == (servers,) and bool(np.all((out >= 0) & (out <= 1))),
        allowed,
    )
    return out


@dataclasses.dataclass(frozen=True)
class StreamTrace:
    """What a stream of scenarios saw: T of them."""

    decision: Decision  # [T, N], made before the scenario was learnt
    entropy_bits: Floats  # [T]
    labels_used: int  # scenarios whose label the stream asked for


def fit_static(
    instances: Instances,
    labels: Decision,
    config: AreSmallConfig | None = None,
    seed: int = 0,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
) -> AreSmall:
    """Return an agent trained on all given scenarios at once; ``report`` gets a row per epoch."""
    agent = _fresh(instances, labels, config, seed)
    agent.learn(*_rows(agent, instances, labels), agent.config.static_epochs, report)
    agent.labels_used = len(instances)
    return agent


def train(
    instances: Instances,
    labels: Decision,
    path: str | os.PathLike[str],
    config: AreSmallConfig | None = None,
    seed: int = 0,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:
    """Train on all given scenarios; return the card.

    Weights go to ``path`` (.safetensors), the card beside them; ``report`` gets a row per epoch.
    """
    with runs.held_file(Path(path)), one_thread():
        start = time.process_time()
        agent = fit_static(instances, labels, config, seed, report)
        seconds = time.process_time() - start
    card = {
        "num_servers": agent.num_servers,
        "shares": agent.shares.tolist(),
        "labels": len(instances),
        "seed": seed,
    }
    card |= {
        "parameters": agent.num_parameters,
        "cpu_seconds": round(seconds, 1),
        "config": dataclasses.asdict(agent.config),
    }
    checkpoint.save_net(Path(path), agent.net, card)
    return card


def fit_stream(
    instances: Instances,
    labels: Decision,
    first: int,
    config: AreSmallConfig | None = None,
    seed: int = 0,
) -> tuple[AreSmall, StreamTrace]:
    """Train on the ``first`` scenarios, then meet the others one by one.

    Decide, and where unsure ask for the label and learn.
    """
    validate.check("first", first, 0 < first < len(instances), f"1 .. {len(instances) - 1}")
    agent = _fresh(instances.take(slice(0, first)), labels.take(slice(0, first)), config, seed)
    given, wanted = inputs(instances, agent.shares, agent.bandwidth_hz), targets(instances, labels)
    known = list(range(first))
    agent.learn(_flat(given[known]), _flat(wanted[known]), agent.config.first_epochs)
    decisions, entropies, asked = [], [], 0
    for row in range(first, len(instances)):
        one = instances.take([row])
        decisions.append(
            agent.decide(one, Prompts.of("minimum latency", 1), np.random.default_rng(0))
        )
        entropies.append(agent.entropies(one)[0])
        if entropies[-1] > agent.config.entropy_bits:
            known = [*known, row][-agent.config.memory :]
            agent.learn(_flat(given[known]), _flat(wanted[known]), agent.config.stream_epochs)
            asked += 1
    agent.labels_used = first + asked
    place, cpu = (
        np.concatenate([getattr(d, name) for d in decisions]) for name in ("place", "cpu_hz")
    )
    return agent, StreamTrace(Decision(place, cpu), np.asarray(entropies), asked)


def _fresh(
    instances: Instances, labels: Decision, config: AreSmallConfig | None, seed: int
) -> AreSmall:
    return AreSmall(
        None,
        config=config,
        num_servers=instances.num_servers,
        shares=mean_shares(instances, labels),
        seed=seed,
    )


def _rows(
    agent: AreSmall, instances: Instances, labels: Decision
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return _flat(inputs(instances, agent.shares, agent.bandwidth_hz)), _flat(
        targets(instances, labels)
    )


def _flat(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values.reshape(-1, values.shape[-1])
