"""DROO on the MEC world.

Order-preserving quantisation over M + 1 places, best of K by the closed form, learning on the way.

The original (binary) thresholds relaxed modes at their k-th least certain value: all devices at
most that uncertain, on that side, change. With places the same is done by raising the score of one
place: let the margin of (UE n, place p) be how far p's score is below n's best. The first candidate
is everyone's best place; the next ones take the smallest margins over all (n, p) in order and move
to that p every UE whose margin to p is no larger. Nobody moves before a less certain one, and for M
= 1 these are the original's candidates. Shapes: B instances, N UEs, M edge servers, P = M + 1
places, K candidates.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from baselines.neural import checkpoint, features
from baselines.neural.features import Columns, Floats, Places
from baselines.neural.networks import NetAgent, NetConfig, PlaceNet, place_logits
from baselines.neural.replay import OnlineLearner, ReplayBuffer, ReplayConfig
from lambo_agents.protocol import refuse_unsupported
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances, Objective
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate
from lambo_env.utils.rules import ruled

_CHUNK = 2**12  # candidates evaluated in one call
MOVES = 8  # candidates of a round of ``Droo.search``


def order_preserving(logits: Floats, count: int) -> Places:
    """Return ``count`` candidates [B, K, N] of place scores [B, N, P] (-inf where closed).

    The first is everyone's best place.
    """
    batch, ues, places = logits.shape
    first = np.argmax(logits, axis=-1)
    margin = np.max(logits, axis=-1, keepdims=True) - logits
    np.put_along_axis(margin, first[..., None], np.inf, axis=-1)  # staying is no move
    flat = margin.reshape(batch, ues * places)
    count = min(count, 1 + ues * places)
    order = np.argpartition(flat, min(count, flat.shape[1] - 1), axis=1)[:, : count - 1]
    size = np.take_along_axis(flat, order, axis=1)
    rank = np.argsort(size, axis=1, kind="stable")
    order, size = np.take_along_axis(order, rank, axis=1), np.take_along_axis(size, rank, axis=1)
    target = order % places  # [B, K - 1]
    to_target = np.take_along_axis(margin, target[:, None, :], axis=2).transpose(
        0, 2, 1
    )  # [B, K - 1, N]
    moves = (to_target <= size[..., None]) & np.isfinite(size)[..., None]
    rest = np.where(moves, target[..., None], first[:, None, :])
    return np.concatenate([first[:, None, :], rest], axis=1)


def moved(scores: Floats, place: Places, count: int, rng: np.random.Generator) -> Places:
    """Return ``count`` candidates [B, K, N]: open places [B, N] with one UE moved in each.

    The moves are drawn without replacement from the softmax over all of what their scores
    [B, N, P] gain (Gumbel's maxima), so that they are noisy and still those that the scores favour.
    """
    gain = scores - np.take_along_axis(scores, place[..., None], axis=-1)
    noisy = gain + rng.gumbel(size=gain.shape)
    np.put_along_axis(noisy, place[..., None], -np.inf, axis=-1)  # staying is no move
    flat = noisy.reshape(len(noisy), -1)
    ue, target = np.divmod(np.argpartition(-flat, count, axis=1)[:, :count], scores.shape[-1])
    candidates = np.repeat(place[:, None], count, axis=1)
    np.put_along_axis(candidates, ue[..., None], target[..., None], axis=-1)
    return candidates


def candidate_costs(instances: Instances, places: Places, goal: Objective) -> Floats:
    """Return the cost [B, K] of associations [B, K, N] under their optimal allocations."""
    batch, count, ues = places.shape
    step = max(1, _CHUNK // count)
    parts = []
    for start in range(0, batch, step):
        rows = slice(start, start + step)
        spread = np.repeat(np.arange(batch)[rows], count)
        parts.append(
            physics.association_cost(
                instances.take(spread), places[rows].reshape(-1, ues), goal.take(spread)
            )
        )
    return np.concatenate(parts).reshape(batch, count)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrooConfig(ReplayConfig):
    """How DROO learns, online and in training.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    batch: int = ruled(64, validate.integer)
    learning_rate: float = ruled(1e-3, validate.positive)
    # K starts here and never exceeds it
    most_candidates: int = ruled(50, validate.integer)


class Droo(NetAgent, OnlineLearner):
    """DROO online: the best of K order-preserving candidates of its network, by the simulator.

    It learns from each slot.

    Args:
        weights: shipped weights by name, or a path; None: a new network (``net``, ``seed``) that
            knows nothing.
        candidates: K; None: chosen on the way, at first the config's most.
        config: how it learns in ``adapt``.
        size: of its network: "pooled", shared over UEs and servers, or "60fc", the paper's layers.
        net: config of a new network; None: that of ``size``.
        seed: of a new network's weights.
        online: learn in ``adapt``; False: stay as it is.

    ``evaluations`` counts the candidates that the simulator has scored.
    """

    evaluator_in_loop = True
    net: PlaceNet
    optimiser: torch.optim.Adam

    def __init__(
        self,
        weights: str | None = "droo",
        candidates: int | None = None,
        config: DrooConfig | None = None,
        size: str = "pooled",
        net: NetConfig | None = None,
        seed: int = 0,
        online: bool = True,
    ) -> None:
        self.config = (
            DrooConfig() if config is None else validate.of_kind("Droo.config", config, DrooConfig)
        )
        if candidates is not None:
            validate.integer("Droo.candidates", candidates)
        super().__init__()
        self.net, _ = checkpoint.net_of("Droo", weights, size, net, seed)
        self.adaptive, self.online = candidates is None, validate.boolean("Droo.online", online)
        self.evaluator_in_loop = candidates != 1
        self.most_candidates = self.config.most_candidates
        self.candidates = candidates or self.most_candidates
        self.evaluations = 0
        self.memory = ReplayBuffer(self.config.memory, shuffled=not self.net.symmetric)
        self.optimiser = torch.optim.Adam(
            self.net.parameters(), self.config.learning_rate, fused=True
        )

    def decide(self, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> Decision:
        """Return the cheapest of K candidates under the closed form."""
        validate.generator(rng)
        refuse_unsupported(self, instances, prompts)
        arrays = instances.to("numpy")
        inputs = self.net.columns(arrays, prompts.latency_weight)
        place = self.choose(arrays, prompts.objective(arrays), inputs)[0]
        return features.allotted(arrays, place).to(instances)

    def choose(
        self, instances: Instances, goal: Objective, inputs: Columns
    ) -> tuple[Places, NDArray[np.intp]]:
        """Return the best candidate's places [B, N] and its index [B]."""
        logits, _ = place_logits(self.net, instances, inputs)
        places = order_preserving(logits, self.candidates)
        if places.shape[1] == 1:
            return places[:, 0], np.zeros(len(places), np.intp)
        self.evaluations += places.shape[0] * places.shape[1]
        best = np.argmin(candidate_costs(instances, places, goal), axis=1)
        return places[np.arange(len(places)), best], best

    def search(
        self,
        instances: Instances,
        goal: Objective,
        inputs: Columns,
        place: Places,
        rounds: int,
        rng: np.random.Generator,
    ) -> Places:
        """Return places [B, N] at most as dear: ``MOVES`` candidates a round about the best."""
        scores, _ = place_logits(self.net, instances, inputs)
        best, row = physics.association_cost(instances, place, goal), np.arange(len(place))
        for _ in range(rounds):
            candidates = moved(scores, place, MOVES, rng)
            costs = candidate_costs(instances, candidates, goal)
            first = np.argmin(costs, axis=1)
            better = costs[row, first] < best
            place = np.where(better[:, None], candidates[row, first], place)
            best = np.where(better, costs[row, first], best)
        self.evaluations += rounds * MOVES * len(place)
        return place

    def adapt(
        self, instances: Instances, prompts: Prompts, decision: Decision, rng: np.random.Generator
    ) -> int:
        """Remember the decisions just played and learn from memory at every tenth slot.

        No expert is asked: 0 labels.
        """
        if not self.online:
            return 0
        arrays, place = instances.to("numpy"), np.asarray(decision.place)
        inputs = self.net.columns(arrays, prompts.latency_weight)
        logits, _ = place_logits(self.net, arrays, inputs)
        same = np.all(order_preserving(logits, self.candidates) == place[:, None, :], axis=-1)
        for row in range(len(arrays)):
            self.remember(
                inputs[row : row + 1],
                place[row : row + 1],
                np.argmax(same[row : row + 1], axis=1),
                rng,
            )
        return 0

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy per UE in nats of places [B, N]."""
        logits, _ = self.net(inputs)
        return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
