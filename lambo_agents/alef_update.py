"""How the network learns from labels: places by cross-entropy and shares by regression, teacher-forced, the encoder frozen.

Shapes: L labels, O orders of the UEs, N UEs, P places.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lambo_agents import acl_loss, decode
from lambo_agents.aed import AED, Encoded
from lambo_agents.alef_query import taken_share
from lambo_agents.servers import Embedded, in_order
from lambo_env import physics, validate
from lambo_env.instances import Instances
from lambo_env.prompt import Prompts

# Parts of the network that work before the first decision on the inputs alone; ``types`` serves both sides and stays with them.
_ENCODER = ("prompt", "types", "encoder", "encoder_norm", "allocation")
_ENCODER_SERVERS = {"linear": ("ue",), "pointer": ("ue", "place", "mixes")}
UPDATES = ("decoder", "all")
_PRIOR_WEIGHT = 0.3  # of the first guess that a pointer network's decoder starts from, as in its training


@dataclasses.dataclass(frozen=True, kw_only=True)
class UpdateConfig:
    """How one round learns.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    learns: str = "decoder"  # decoder: encoder frozen (ALEF); all: full fine-tuning, for comparison
    steps: int = 40
    batch: int = 32  # labels a step, each once for either allocation
    orders: int = 2  # shuffled orders of the UEs in which a label is learned
    learning_rate: float = 5e-4  # AdamW's, falling to 0 over the round
    replay: float = 0.5  # share of a step's labels that are drawn from earlier rounds
    share_weight: float = 1.0  # of the regression on the shares
    clip: float = 1.0  # largest norm of the gradient

    def __post_init__(self) -> None:
        """Validate every field."""
        validate.known(self.learns, UPDATES, "UpdateConfig.learns")
        for name in ("steps", "batch", "orders"):
            validate.integer(f"UpdateConfig.{name}", getattr(self, name))
        for name in ("learning_rate", "clip"):
            validate.positive(f"UpdateConfig.{name}", getattr(self, name))
        validate.non_negative("UpdateConfig.share_weight", self.share_weight)
        replay = validate.number("UpdateConfig.replay", self.replay, "a number in [0, 1]", 0.0)
        validate.check("UpdateConfig.replay", replay, replay <= 1, "a number in [0, 1]")


def decoder_names(aed: AED) -> list[str]:
    """Return the names of the weights that work after the encoder: decoder layers, MEC embedding and heads."""
    inner = {f"servers.{part}" for part in _ENCODER_SERVERS[aed.config.servers]}

    def encodes(name: str) -> bool:
        first, second = name.split(".")[0], ".".join(name.split(".")[:2])
        return first in _ENCODER or second in inner

    return [name for name, _ in aed.named_parameters() if not encodes(name)]


def num_trainable(aed: AED) -> int:
    """Return how many numbers ALEF updates."""
    weights = dict(aed.named_parameters())
    return sum(weights[name].numel() for name in decoder_names(aed))


@contextlib.contextmanager
def _learning(aed: AED, learns: str) -> Iterator[list[nn.Parameter]]:
    """Yield the parameters that a round may change, all others frozen; as before afterwards."""
    names = set(decoder_names(aed) if learns == "decoder" else dict(aed.named_parameters()))
    before = {name: weight.requires_grad for name, weight in aed.named_parameters()}
    try:
        for name, weight in aed.named_parameters():
            weight.requires_grad_(name in names)
        yield [weight for name, weight in aed.named_parameters() if name in names]
    finally:
        for name, weight in aed.named_parameters():
            weight.requires_grad_(before[name])
            weight.grad = None


class Lesson(NamedTuple):
    """Labels as tensors, each row for one allocation: first all for the closed form, then all for the shares."""

    slots: decode.Slot  # [2 L]
    place: Tensor  # int64 [2 L, N]
    taken: Tensor  # float64 [2 L, N] of the total of its server

    @classmethod
    def of(cls, instances: Instances, prompts: Prompts, place: np.ndarray, device: str) -> Lesson:
        """Return the lesson of NumPy instances [L], their prompts and the expert's places [L, N]."""
        count = len(place)
        closed = torch.arange(2 * count) >= count
        twice, texts = Instances.concat([instances, instances]), Prompts.concat([prompts, prompts])
        slots = decode.slot(twice, texts.tokens, closed, device)
        index = torch.from_numpy(np.concatenate([place, place])).to(device)
        floor = slots.need.gather(-1, index[..., None])[..., 0]
        index, floor = torch.where(floor.isfinite(), index, 0), torch.where(floor.isfinite(), floor, 0.0)
        # where energy alone counts, what is above the floor only takes from those to come
        full = slots.inputs.shares & torch.from_numpy(texts.latency_weight > 0).to(device)
        share = taken_share(instances, place, physics.allocate(instances, place))
        cpu = torch.from_numpy(np.concatenate([share, share])).to(floor)
        return cls(slots, index, torch.where(full[:, None], torch.maximum(cpu, floor), floor))


def loss_of(aed: AED, lesson: Lesson, encoded: Encoded, order: Tensor, share_weight: float) -> Tensor:
    """Return the mean negative log-probability of the labels' places, with the shares' regression, in ``order`` [R, O, N]."""
    place, taken, need = (in_order(part, order) for part in (lesson.place, lesson.taken, lesson.slots.need))
    plan = aed.plan(encoded, order)
    scored = acl_loss.score(aed, plan, need, place, taken)
    shares = acl_loss.share_imitation(scored.share_logit, need, place, taken, lesson.slots.inputs.shares)
    prior = acl_loss.prior_log_prob(plan, need, place)
    return share_weight * shares - scored.log_prob.mean() - _PRIOR_WEIGHT * prior


def _rows(encoded: Encoded, index: Tensor) -> Encoded:
    """Return the encodings of some instances."""
    def of(part: Any) -> Any:
        return part if part is None or len(part) != len(encoded.tokens) else part[index]  # what a network lacks is empty

    embedded = Embedded(*map(of, encoded.embedded))
    return Encoded(encoded.tokens[index], of(encoded.valid), encoded.prompt[index], embedded)


def learn(aed: AED, lesson: Lesson, num_new: int, config: UpdateConfig, seed: int) -> list[float]:
    """Update the network in place by one round and return the losses; it stays as it was if anything fails.

    Args:
        aed: the network.
        lesson: of L labels, oldest first.
        num_new: how many of them, the last ones, are this round's.
        config: how.
        seed: of the draws.

    Raises:
        FloatingPointError: the loss or its gradient is not finite.
    """
    before = {name: weight.detach().clone() for name, weight in aed.state_dict().items()}
    try:
        return _descend(aed, lesson, num_new, config, np.random.default_rng(seed))
    except BaseException:
        aed.load_state_dict(before)
        raise


def _descend(aed: AED, lesson: Lesson, num_new: int, config: UpdateConfig, rng: np.random.Generator) -> list[float]:
    count, num_ues = len(lesson.place) // 2, lesson.place.shape[1]
    losses = []
    with _learning(aed, config.learns) as weights:
        optimizer = torch.optim.AdamW(weights, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
        frozen = aed.encode(lesson.slots.inputs) if config.learns == "decoder" else None
        for step in range(config.steps):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * (1 - step / config.steps)
            labels = draw(count, num_new, config, rng)
            rows = torch.from_numpy(np.concatenate([labels, labels + count])).to(lesson.place.device)
            some = Lesson(_slots(lesson.slots, rows), lesson.place[rows], lesson.taken[rows])
            encoded = aed.encode(some.slots.inputs) if frozen is None else _rows(frozen, rows)
            plain = np.broadcast_to(np.arange(num_ues), (len(rows), config.orders, num_ues))
            order = torch.from_numpy(rng.permuted(plain, axis=-1)).to(rows.device)
            loss = loss_of(aed, some, encoded, order, config.share_weight)
            losses.append(_step(loss, optimizer, weights, config.clip))
    return losses


def _slots(slots: decode.Slot, rows: Tensor) -> decode.Slot:
    return decode.Slot(slots.inputs.take(rows), slots.need[rows])


def _step(loss: Tensor, optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], clip: float) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = float(nn.utils.clip_grad_norm_(weights, clip))
    value = float(loss.detach())
    if not math.isfinite(value) or not math.isfinite(norm):
        raise FloatingPointError(
            f"adaptation stopped: loss {value}, norm of its gradient {norm}; the network is as it was"
        )
    optimizer.step()
    return value


def draw(count: int, num_new: int, config: UpdateConfig, rng: np.random.Generator) -> np.ndarray:
    """Return which labels a step learns: all of them if they fit, else new and earlier ones by the replay share."""
    if count <= config.batch:
        return np.arange(count)
    num_old = min(count - num_new, round(config.replay * config.batch)) if num_new else config.batch
    old = rng.choice(count - num_new, num_old, replace=False)
    new = rng.choice(num_new, min(num_new, config.batch - num_old), replace=False) + count - num_new
    return np.concatenate([old, new])


def decoder_state(aed: AED) -> Mapping[str, Tensor]:
    """Return the weights that ALEF may have changed, by name."""
    state = aed.state_dict()
    return {name: state[name] for name in decoder_names(aed)}
