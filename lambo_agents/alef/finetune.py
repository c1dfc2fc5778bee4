"""How the network learns from labels.

Places by cross-entropy and shares by regression, teacher-forced, the encoder frozen.

Shapes: L labels, O orders of the UEs, N UEs, P places.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lambo_agents.acl import losses
from lambo_agents.agent import LamboAgent
from lambo_agents.alef import replay
from lambo_agents.alef.query import Trace, taken_by
from lambo_agents.alef.replay import Remembered
from lambo_agents.network import decoding
from lambo_agents.network.aed import AED, Encoded
from lambo_agents.network.decision_order import confident_order
from lambo_agents.network.server_encoding import in_order
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import rules, validate
from lambo_env.utils.rules import Ruled, ruled

# Parts of the network that work before the first decision on the inputs alone; ``types`` serves
# both sides and stays with them.
_ENCODER = ("prompt", "types", "encoder", "encoder_norm", "allocation")
_ENCODER_SERVERS = {"linear": ("ue",), "pointer": ("ue", "place", "mixes")}
UPDATES = ("decoder", "all")
_PRIOR_WEIGHT = (
    0.3  # of the first guess that a pointer network's decoder starts from, as in its training
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class UpdateConfig(Ruled):
    """How one round learns.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    # decoder: encoder frozen (ALEF); all: full fine-tuning, for comparison
    update_params: str = ruled("decoder", rules.name_of(UPDATES))
    steps: int = ruled(100, validate.integer)  # at most
    passes: int = ruled(30, validate.integer)  # over the labels so far
    batch: int = ruled(24, validate.integer)  # labels per step
    rehearsed: int = ruled(4, validate.integer)  # instances of what the network knew, a step
    # orders of the UEs in which a label is learned: the network's own, the others shuffled
    orders: int = ruled(1, validate.integer)
    learning_rate: float = ruled(2e-3, validate.positive)  # AdamW's, falling to 0 over the round
    replay: float = ruled(
        0.5, rules.share
    )  # share of a step's labels that are drawn from earlier rounds
    rehearsal: float = ruled(
        0.03, validate.non_negative
    )  # weight of staying with what the network knew of earlier slots
    # share of the labels learned for the sigmoid shares by an agent of the closed form
    share_rows: float = ruled(0.1, rules.share)
    share_weight: float = ruled(1.0, validate.non_negative)  # of the regression on the shares
    clip: float = ruled(1.0, validate.positive)  # largest norm of the gradient


def decoder_names(aed: AED) -> list[str]:
    """Return the names of the weights that work after the encoder.

    Decoder layers, MEC embedding and heads.
    """
    inner = {f"servers.{part}" for part in _ENCODER_SERVERS[aed.config.servers]}

    def encodes(name: str) -> bool:
        first, second = name.split(".")[0], ".".join(name.split(".")[:2])
        return first in _ENCODER or second in inner

    return [name for name, _ in aed.named_parameters() if not encodes(name)]


def learned_names(aed: AED, update_params: str) -> list[str]:
    """Return the names of the weights that a round may change."""
    return (
        decoder_names(aed)
        if update_params == "decoder"
        else [name for name, _ in aed.named_parameters()]
    )


def randomise(aed: AED, seed: int = 0) -> None:
    """Put random weights into a network, in place."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        aed.load_state_dict(AED(aed.config).state_dict())


def num_trainable(aed: AED) -> int:
    """Return how many numbers ALEF updates."""
    weights = dict(aed.named_parameters())
    return sum(weights[name].numel() for name in decoder_names(aed))


@contextlib.contextmanager
def _learning(aed: AED, update_params: str) -> Iterator[list[nn.Parameter]]:
    """Yield the parameters that a round may change, all others frozen; as before afterwards."""
    names = set(learned_names(aed, update_params))
    before = {name: weight.requires_grad for name, weight in aed.named_parameters()}
    try:
        for name, weight in aed.named_parameters():
            weight.requires_grad_(name in names)
        yield [weight for name, weight in aed.named_parameters() if name in names]
    finally:
        for name, weight in aed.named_parameters():
            weight.requires_grad_(before[name])
            weight.grad = None


class LabelledBatch(NamedTuple):
    """Labels as tensors, each row for one allocation.

    First all for the closed form, then all for the shares.
    """

    slots: decoding.Slot  # [2 L]
    place: Tensor  # int64 [2 L, N]
    taken: Tensor  # float64 [2 L, N] of the total of its server

    @classmethod
    def of(
        cls, instances: Instances, prompts: Prompts, place: np.ndarray, device: str
    ) -> LabelledBatch:
        """Return the batch of NumPy instances [L], their prompts and the expert's places [L, N]."""
        count = len(place)
        twice, texts = Instances.concat([instances, instances]), Prompts.concat([prompts, prompts])
        slots = decoding.slot(twice, texts.tokens, torch.arange(2 * count) >= count, device)
        cpu = physics.allocate(instances, place)
        # where energy alone counts, what is above the floor only takes from those to come
        cpu = np.where((prompts.latency_weight > 0)[:, None], cpu, 0.0)
        index, taken = taken_by(
            slots, twice, Decision(np.concatenate([place, place]), np.concatenate([cpu, cpu]))
        )
        floor = slots.need.gather(-1, index[..., None])[..., 0]
        fits = floor.isfinite()
        return cls(
            slots, torch.where(fits, index, 0), torch.where(fits, torch.maximum(taken, floor), 0.0)
        )

    def take(self, rows: Tensor) -> LabelledBatch:
        """Return some rows."""
        return LabelledBatch(
            decoding.Slot(self.slots.inputs.take(rows), self.slots.need[rows]),
            self.place[rows],
            self.taken[rows],
        )


def labels_loss(
    aed: AED, batch: LabelledBatch, encoded: Encoded, order: Tensor, share_weight: float
) -> Tensor:
    """Return the labels' mean negative log-probability, with the shares' regression.

    ``order`` is [R, O, N].
    """
    place, taken, need = (
        in_order(part, order) for part in (batch.place, batch.taken, batch.slots.need)
    )
    plan = aed.plan(encoded, order)
    scored = losses.score(aed, plan, need, place, taken)
    shares = losses.share_imitation(
        scored.share_logit, need, place, taken, batch.slots.inputs.shares
    )
    prior = losses.prior_log_prob(plan, need, place)
    return share_weight * shares - scored.log_prob.mean() - _PRIOR_WEIGHT * prior


def learn(
    agent: LamboAgent,
    batch: LabelledBatch,
    num_new: int,
    known: Remembered | None,
    config: UpdateConfig,
    seed: int,
) -> list[float]:
    """Update the agent's network in place by one round and return the losses.

    Where it may fail, run it under ``restored_on_failure``.

    Args:
        agent: its network learns, for its allocation.
        batch: of L labels, oldest first.
        num_new: how many of them, the last ones, are this round's.
        known: what is rehearsed.
        config: how.
        seed: of the draws.

    Raises:
        FloatingPointError: the loss or its gradient is not finite.
    """
    with _learning(agent.aed, config.update_params) as weights:
        round_ = _Round(agent, batch, num_new, known, config, np.random.default_rng(seed))
        return round_.descend(weights)


@contextlib.contextmanager
def restored_on_failure(aed: AED) -> Iterator[None]:
    """Put a network's weights back where the block fails."""
    before = {name: weight.detach().clone() for name, weight in aed.state_dict().items()}
    try:
        yield
    except BaseException:
        aed.load_state_dict(before)
        raise


class _Round:
    """One round: what stays the same over its steps, and the steps."""

    def __init__(
        self,
        agent: LamboAgent,
        batch: LabelledBatch,
        num_new: int,
        known: Remembered | None,
        config: UpdateConfig,
        rng: np.random.Generator,
    ) -> None:
        self.aed, self.batch, self.num_new, self.config, self.rng = (
            agent.aed,
            batch,
            num_new,
            config,
            rng,
        )
        self.shares = agent.allocation == "share"
        self.known = known if config.rehearsal > 0 else None
        with torch.no_grad():
            encoded = self.aed.encode(batch.slots.inputs)
            self.frozen = encoded if config.update_params == "decoder" else None
            self.confident = confident_order(self.aed, encoded, batch.slots.need)
            if self.known is not None:
                self.old = decoding.slot(
                    self.known.instances, self.known.tokens, self.shares, agent.device
                )
                self.old_frozen = self.aed.encode(self.old.inputs)

    def descend(self, weights: list[nn.Parameter]) -> list[float]:
        """Do the steps; return their losses."""
        config, values = self.config, []
        optimizer = torch.optim.AdamW(
            weights, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
        )
        labels = len(self.batch.place) // 2
        steps = min(config.steps, -(-config.passes * labels // min(config.batch, labels)))
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * (1 - step / steps)
            loss = self._labelled()
            if self.known is not None:
                loss = loss + config.rehearsal * self._rehearsed(self.known)
            values.append(_step(loss, optimizer, weights, config.clip))
        return values

    def _labelled(self) -> Tensor:
        """Return the loss on some labels.

        In the order that the network would choose, and in shuffled ones.
        """
        count, config = len(self.batch.place) // 2, self.config
        labels = draw(count, self.num_new, config, self.rng)
        by_share = self.shares | (self.rng.random(len(labels)) < config.share_rows)
        rows = torch.from_numpy(labels + count * by_share).to(self.confident.device)
        some, confident = self.batch.take(rows), self.confident[rows]
        plain = np.broadcast_to(
            np.arange(confident.shape[1]), (len(rows), config.orders - 1, confident.shape[1])
        )
        shuffled = torch.from_numpy(self.rng.permuted(plain, axis=-1)).to(confident)
        encoded = (
            self.aed.encode(some.slots.inputs) if self.frozen is None else self.frozen.take(rows)
        )
        order = torch.cat([confident[:, None], shuffled], dim=1)
        return labels_loss(self.aed, some, encoded, order, config.share_weight)

    def _rehearsed(self, known: Remembered) -> Tensor:
        """Return the loss on some of what the network knew."""
        size = min(len(known.tokens), self.config.rehearsed)
        rows = torch.from_numpy(self.rng.choice(len(known.tokens), size, replace=False)).to(
            self.confident.device
        )
        inputs = self.old.inputs.take(rows)
        encoded = self.aed.encode(inputs) if self.frozen is None else self.old_frozen.take(rows)
        trace = Trace(*(part[rows] for part in known.trace))
        return replay.loss_of(self.aed, encoded, self.old.need[rows], trace, self.shares)


def _step(
    loss: Tensor, optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], clip: float
) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = float(nn.utils.clip_grad_norm_(weights, clip))
    value = float(loss.detach())
    if not math.isfinite(value) or not math.isfinite(norm):
        raise FloatingPointError(
            f"adaptation stopped: loss {value}, norm of its gradient {norm}; "
            "the network is as it was"
        )
    optimizer.step()
    return value


def draw(count: int, num_new: int, config: UpdateConfig, rng: np.random.Generator) -> np.ndarray:
    """Return which labels a step learns.

    All of them if they fit, else new and earlier ones by the replay share.
    """
    if count <= config.batch:
        return np.arange(count)
    num_old = min(count - num_new, round(config.replay * config.batch)) if num_new else config.batch
    old = rng.choice(count - num_new, num_old, replace=False)
    new = rng.choice(num_new, min(num_new, config.batch - num_old), replace=False) + count - num_new
    return np.concatenate([old, new])
