"""Actor-critic learning (ACL).

Learn to read, imitate a teacher as a warm start, then policy gradient on whole-slot rollouts.

Shapes: B instances, O orders or rollouts of an instance, N UEs, P places.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lambo_agents.acl import losses, prompt_corpus
from lambo_agents.acl.config import ACLConfig
from lambo_agents.acl.data import Batch, sample_batch, step_rng
from lambo_agents.network import checkpoint, decoding
from lambo_agents.network.aed import AED, Encoded
from lambo_agents.network.critic import Critic
from lambo_agents.network.decision_order import confident_order
from lambo_agents.network.device import known_device
from lambo_agents.network.server_encoding import in_order
from lambo_agents.protocol import Agent
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Objective
from lambo_env.utils import validate

_PRIOR_WEIGHT = 0.3  # of the encoder's own guess in the imitation loss
_GUESS_WEIGHT = 0.1  # of the same in the policy gradient's: towards the cheapest rollout
_READING_WEIGHT = 3.0
_READING_WARMUP = 50  # updates
_MISREAD = 0.03  # error of a latency share that counts as a slip
# of the network's numbers that weights to start from must have; by chance a few biases fit any
# other network
_STARTED = 0.5
_COST_WEIGHT = (
    10.0  # of the relative cost, whose gradient is small beside that of a log-probability
)


class Trainer:
    """Network, running mean of its weights, optimizer and clock of one training."""

    def __init__(self, config: ACLConfig, teacher: Agent | None = None) -> None:
        self.config, self.teacher = config, teacher
        known_device("ACLConfig.device", config.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.actor = AED(config.network()).to(config.device)
            self.reader = nn.Linear(self.actor.config.d_model, 1).to(
                config.device
            )  # for the loss alone, never shipped
            self.critic = (
                None
                if config.baseline == "mean"
                else Critic(self.actor.config).to(config.device).eval()
            )
        if config.start is not None:
            begin_from(self.actor, config.start)
        self.actor.eval()  # drop-out is for reading alone
        bins = self.actor.config.prompt_bins
        self.reading_steps = config.reading_steps if bins else 0
        self.texts = list(self.actor.prompt.reader.parameters()) if bins else []  # type: ignore[union-attr]
        self.mean = {
            name: weight.detach().clone() for name, weight in self.actor.state_dict().items()
        }
        self.parameters = [
            *self.actor.parameters(),
            *self.reader.parameters(),
            *(self.critic.parameters() if self.critic else ()),
        ]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=config.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.step, self.seconds, self.rollouts, self.labels = 0, 0.0, 0, 0

    # ---- one update ------------------------------------------------------------------------------

    def update(self) -> dict[str, float]:
        """Do one update; return its numbers.

        Raises:
            FloatingPointError: the loss or its gradient is not finite; the weights are as before
                the update.
        """
        start = time.perf_counter()
        rng = step_rng(self.config, self.step)
        reads = self.step < self.reading_steps
        for parameter in self.texts:
            parameter.requires_grad_(reads)
        with self._precision():
            loss, numbers = (
                self._read(rng)
                if reads
                else self._imitate(rng)
                if self._imitates()
                else self._reinforce(rng)
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self.parameters, self.config.clip))
        lost = float(loss.detach())
        if not math.isfinite(lost) or not math.isfinite(norm):
            raise FloatingPointError(
                f"training stopped at step {self.step}: loss {lost}, norm of its gradient {norm}"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.optimizer.step()
        self._average()
        self.step += 1
        self.seconds += time.perf_counter() - start
        return {"loss": lost, "gradient": norm, **numbers}

    def progress(self) -> float:
        """Return how much of the training is done, 0..1."""
        spent = 0.0 if self.config.minutes is None else self.seconds / (60 * self.config.minutes)
        return min(1.0, max(self.step / self.config.steps, spent))

    def _imitates(self) -> bool:
        return self.step < self.reading_steps + self.config.imitation_steps

    def rate(self) -> float:
        """Return the learning rate of this step."""
        config = self.config
        if self.step < self.reading_steps:
            warm = min(1.0, (self.step + 1) / _READING_WARMUP)
            return config.reading_rate * warm * max(0.01, _cosine(self.step / self.reading_steps))
        warm = min(1.0, (self.step - self.reading_steps + 1) / max(1, config.warmup_steps))
        warm *= 1.0 if self._imitates() else config.gradient_rate
        return config.learning_rate * warm * max(0.01, _cosine(self.progress()))

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if self.config.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self.config.device).type, dtype=torch.bfloat16)

    def _average(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(
            list(self.mean.values()), list(self.actor.state_dict().values()), 1 - decay
        )

    def _slots(self, batch: Batch) -> decoding.Slot:
        return decoding.slot(
            batch.instances, batch.prompts.tokens, batch.shares, self.config.device
        )

    # ---- imitation -------------------------------------------------------------------------------

    def _imitate(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Learn the teacher's places in the confident order and in shuffled ones.

        The closed form's shares on the rows of shares.
        """
        config = self.config
        batch = sample_batch(config, config.imitation_instances, rng)
        slots, (size, num_ues) = self._slots(batch), batch.instances.cycles.shape
        place, taken = _followed(batch, self._labels(batch, rng), slots.need)
        count = config.imitation_orders if config.shuffled else 1
        orders = np.broadcast_to(np.arange(num_ues), (size, count, num_ues))
        order = torch.from_numpy(rng.permuted(orders, axis=-1)).to(slots.need.device)
        encoded = self.actor.encode(slots.inputs)
        with torch.no_grad():
            order[:, 0] = confident_order(self.actor, encoded, slots.need)
        place, taken, need = (
            in_order(place, order),
            in_order(taken, order),
            in_order(slots.need, order),
        )
        plan = self.actor.plan(encoded, order)
        scored = losses.score(self.actor, plan, need, place, taken)
        loss = config.share_weight * losses.share_imitation(
            scored.share_logit, need, place, taken, slots.inputs.shares
        )
        loss = (
            loss - scored.log_prob.mean() - _PRIOR_WEIGHT * losses.prior_log_prob(plan, need, place)
        )
        loss = loss + self._regress(encoded, batch)
        return loss, {"agreed": float((scored.log_prob.detach() > math.log(0.5)).float().mean())}

    def _regress(self, encoded: Encoded, batch: Batch) -> Tensor:
        """Return the loss of reading the latency share off the prompt's embedding, for a network without a reader of its own."""
        if self.actor.config.prompt_bins:
            return torch.zeros((), device=encoded.prompt.device)
        weight = torch.from_numpy(batch.prompts.latency_weight.copy()).to(encoded.prompt)
        return _READING_WEIGHT * functional.mse_loss(self.reader(encoded.prompt)[:, 0], weight)

    # ---- reading ---------------------------------------------------------------------------------

    def _read(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Learn what texts ask for: which quantity they name first or only, and its share."""
        prompts, latency = prompt_corpus.sample(self.config.reading_texts, rng)
        texts, text = (
            part.to(self.config.device) for part in decoding.distinct_texts(prompts.tokens)
        )
        summary: Any = self.actor.prompt
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**62)))
            summary.train()
            meaning, share, first = (part[text] for part in summary.read(texts))
            summary.eval()
        weight = np.where(latency, prompts.latency_weight, 1 - prompts.latency_weight)
        loss = functional.cross_entropy(share, losses.meaning(weight, share))
        loss = loss + functional.nll_loss(
            first, torch.from_numpy((~latency).astype(np.int64)).to(first.device)
        )
        shares = torch.linspace(0, 1, meaning.shape[-1], device=meaning.device)
        wrong = (meaning.detach().exp() @ shares).cpu().double().numpy() - prompts.latency_weight
        return loss, {"misread": float((np.abs(wrong) > _MISREAD).mean())}

    # ---- policy gradient -------------------------------------------------------------------------

    def _reinforce(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Roll out, score, and weigh each rollout's log-probability by how much dearer than the baseline it is."""
        config = self.config
        batch = sample_batch(config, config.instances, rng)
        slots = self._slots(batch)
        encoded, order = self.actor.encode(slots.inputs), None
        if (
            self.step % 2 or not config.shuffled
        ):  # else as drawn: UEs are drawn alike, so that order is a shuffled one
            with torch.no_grad():
                order = confident_order(self.actor, encoded, slots.need)
            batch = batch._replace(instances=batch.instances.order(order.cpu().numpy()))
            slots, order = slots.ordered(order), order[:, None]
        plan = self.actor.plan(encoded, order)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rolled = decoding.rollout(self.actor, plan, slots, config.rollouts, generator)
        self.rollouts += rolled.place.shape[0] * rolled.place.shape[1]
        if config.taught:
            rolled = self._joined(batch, slots, rolled, rng)
        scored = losses.score(self.actor, plan, slots.need[:, None], rolled.place, rolled.taken)
        cost, share_loss = _costs(batch, rolled.place, scored.share_logit, slots.need)
        advantage, critic_loss = self._advantage(batch, slots, rolled, cost)
        loss = (
            advantage.to(scored.log_prob) * scored.log_prob
        ).mean() - config.entropy * scored.entropy.mean()
        loss = (
            loss
            + config.share_weight * share_loss.to(loss)
            + critic_loss
            + self._regress(encoded, batch)
        )
        # the encoder's guess, which the order and what is to come rest on, keeps to what is decided
        best = rolled.place.gather(
            1, cost.argmin(1).to(rolled.place)[:, None, None].expand_as(rolled.place[:, :1])
        )
        loss = loss - _GUESS_WEIGHT * losses.prior_log_prob(plan, slots.need[:, None], best)
        return loss, {"entropy": float(scored.entropy.detach().mean())}

    def _joined(
        self, batch: Batch, slots: decoding.Slot, rolled: decoding.Rollout, rng: np.random.Generator
    ) -> decoding.Rollout:
        """Return the rollouts with the teacher's as the last.

        For the shares, which it does not know, with a rollout twice.
        """
        place, taken = _followed(batch, self._labels(batch, rng), slots.need)
        own = slots.inputs.shares[:, None]
        place = torch.where(own, rolled.place[:, 0], place)[:, None]
        taken = torch.where(own, rolled.taken[:, 0], taken)[:, None]
        return decoding.Rollout(
            torch.cat([rolled.place, place], dim=1), torch.cat([rolled.taken, taken], dim=1)
        )

    def _labels(self, batch: Batch, rng: np.random.Generator) -> Tensor:
        """Return the teacher's places [B, N]."""
        assert self.teacher is not None
        place = self.teacher.decide(batch.instances, batch.prompts, rng).place
        self.labels += len(place)
        return torch.from_numpy(np.asarray(place, dtype=np.int64)).to(self.config.device)

    def _advantage(
        self, batch: Batch, slots: decoding.Slot, rolled: decoding.Rollout, cost: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return how much dearer than the baseline each decision's rollout is, [B, O, 1 or N], and the critic's loss."""
        mean = losses.advantage(cost)[..., None]
        if self.critic is None:
            return mean, torch.zeros(())
        goal = batch.prompts.objective(batch.instances)
        local = physics.association_cost(
            batch.instances, np.zeros(batch.instances.cycles.shape, dtype=np.int64), goal
        )
        target = (cost / torch.from_numpy(local)[:, None]).float()[..., None].to(slots.need.device)
        value = self.critic(slots, rolled.place, rolled.taken).float()
        gap = target - value.detach()
        paid = gap / gap.std().clamp(min=1e-6)
        advantage = paid if self.config.baseline == "critic" else (paid + mean.to(paid)) / 2
        return advantage, functional.mse_loss(value, target.expand_as(value))


@contextlib.contextmanager
def flushed() -> Iterator[None]:
    """Take denormal numbers for 0 in this thread and those it starts.

    Gradients of a confident network are full of them, half as fast.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def begin_from(actor: AED, weights: str) -> None:
    """Load every weight of a file that the network has under the same name and shape.

    Parts may be new, such as the reader.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a checkpoint, weights that are not finite, or less than half of the network
            is in it.
    """
    path = checkpoint.weights_path(weights)
    mine, theirs = actor.state_dict(), checkpoint.load(path).tensors
    fits = {
        name: theirs[name]
        for name in mine
        if name in theirs and theirs[name].shape == mine[name].shape
    }
    share = sum(weight.numel() for weight in fits.values()) / sum(
        weight.numel() for weight in mine.values()
    )
    allowed = f"weights of a network of this preset and its layers ({share:.0%} of the network is in this file)"
    validate.check("ACLConfig.start", str(path), share >= _STARTED, allowed)
    sound = all(bool(weight.isfinite().all()) for weight in fits.values())
    validate.check("ACLConfig.start", str(path), sound, "finite weights")
    actor.load_state_dict({**mine, **fits})


def _followed(batch: Batch, label: Tensor, need: Tensor) -> tuple[Tensor, Tensor]:
    """Return the labels' places [B, N], hopeless ones local, and what each takes of its server.

    That is the closed form's CPU on rows of shares, and the floor elsewhere and where energy alone
    counts.
    """
    floor = need.gather(-1, label[..., None])[..., 0]
    place, floor = (
        torch.where(floor.isfinite(), label, 0),
        torch.where(floor.isfinite(), floor, 0.0),
    )
    cpu = torch.from_numpy(physics.allocate(batch.instances, place.cpu().numpy())).to(need.device)
    capacity = functional.pad(
        torch.from_numpy(batch.instances.server_cpu_hz), (1, 0), value=1.0
    ).to(need.device)
    full = batch.shares & torch.from_numpy(batch.prompts.latency_weight > 0)
    return place, torch.where(full[:, None].to(need.device), cpu / capacity.gather(1, place), floor)


def _costs(batch: Batch, place: Tensor, share_logit: Tensor, need: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rollouts' costs [B, O], and the share head's loss.

    Relative cost as a function of the shares.

    Where energy alone counts, the loss is the share itself: what is above a floor only takes from
    those to come.
    """
    place, need = place.cpu(), need.cpu()
    goal = batch.prompts.objective(batch.instances)
    cost = torch.empty(place.shape[:2], dtype=torch.float64)
    closed, shared = (np.flatnonzero(batch.shares.numpy() == mode) for mode in (False, True))
    if len(closed):
        count = place.shape[1]
        many = batch.instances.take(np.repeat(closed, count))
        flat = physics.association_cost(
            many, place[closed].flatten(0, 1).numpy(), goal.take(np.repeat(closed, count))
        )
        cost[closed] = torch.from_numpy(flat).view(-1, count)
    if not len(shared):
        return cost, torch.zeros(())
    share = share_logit.cpu()[shared].double().sigmoid()
    taken = losses.take_shares(share, need[shared, None], place[shared])
    some = goal.take(shared)
    some = Objective(
        cost_per_s=torch.from_numpy(some.cost_per_s), cost_per_j=torch.from_numpy(some.cost_per_j)
    )
    with_shares = losses.share_cost(
        batch.instances.take(shared).to(torch), some, place[shared], taken
    )
    cost[shared] = with_shares.detach()
    hoarded = (share.mean(-1) * (some.cost_per_s == 0)[:, None]).mean()
    return cost, _COST_WEIGHT * (with_shares / with_shares.detach()).mean() - _COST_WEIGHT + hoarded
