"""The phases of a training by name: prompt pretraining, imitation, policy gradient.

Each returns the loss of an update's problems (``data.draw``) with the numbers that are shown.
Shapes: B instances, O orders or rollouts of an instance, N UEs, P places.
"""

from __future__ import annotations

import math
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lambo_agents.acl import losses, prompt_corpus, reading
from lambo_agents.acl.config import Recipe
from lambo_agents.acl.data import Batch, places
from lambo_agents.acl.regrets import regrets
from lambo_agents.acl.stages import GradientStage, ImitationStage, ReadingStage, Stage
from lambo_agents.network import decoding
from lambo_agents.network.aed import AED, Encoded
from lambo_agents.network.critic import Critic
from lambo_agents.network.decision_order import confident_order
from lambo_agents.network.prompt_encoder import meaning_of
from lambo_agents.network.server_encoding import in_order
from lambo_agents.protocol import Agent
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Objective

READER = "prompt.reader"  # of a network's weights, those that read texts
_PRIOR_WEIGHT = 0.3  # of the encoder's place prior in the imitation loss
_GUIDED_WEIGHT = 0.1  # of the same in the policy gradient's: towards the cheapest rollout
_PROMPT_WEIGHT = 3.0
# of the relative cost, whose gradient is small beside that of a log-probability
_COST_WEIGHT = 10.0
_LEAST_LOG = -20.0  # of a probability in the imitation loss
_LEAST_SPREAD = 3e-4  # of an instance's mean cost
_TABLE_SCALE = 0.1  # of a deep network's embeddings, drawn as N(0, 1), to begin with
_LARGEST_REGRET = 4.0  # standard deviations

Loss = tuple[Tensor, dict[str, float]]
Kind = TypeVar("Kind", bound=Stage)


class Learner:
    """The networks of a training, its teacher, and how far it has come."""

    def __init__(self, recipe: Recipe, teacher: Agent | None) -> None:
        self.recipe, self.teacher = recipe, teacher
        self.actor = AED(recipe.shape())
        _draw_anew(self.actor, recipe.seed)
        if recipe.deep:
            _calm(self.actor)
        self.actor.to(recipe.device)
        # for the loss alone, never shipped
        self.reader = nn.Linear(self.actor.config.d_model, 1).to(recipe.device)
        critic = None if recipe.baseline == "mean" else Critic(self.actor.config)
        self.critic = None if critic is None else critic.to(recipe.device).eval()
        self.actor.recompute = recipe.recompute
        if critic is not None:
            critic.aed.recompute = recipe.recompute
        self.turn = 0  # updates that decided so far
        self.step, self.cpu_s, self.rollouts, self.labels = 0, 0.0, 0, 0

    def slots(self, batch: Batch) -> decoding.Slot:
        """Return the problems as what the network and the rules read."""
        return decoding.slot(
            batch.instances, batch.prompts.tokens, batch.shares, self.recipe.device
        )

    def encode(self, slots: decoding.Slot, batch: Batch) -> Encoded:
        """Return the encodings, told what the texts mean where the network has meanings.

        So what the reader of texts learns, and when, changes nothing about the decisions.
        """
        if not self.actor.config.prompt_bins:
            return self.actor.encode(slots.inputs)
        meaning = meaning_of(batch.prompts.latency_weight, self.actor.config.prompt_bins)
        return self.actor.encode(slots.inputs._replace(meaning=meaning.to(slots.need.device)))

    def label(self, batch: Batch, rng: np.random.Generator) -> Tensor:
        """Return the teacher's places [B, N]: those of the batch, or asked for now."""
        place = batch.label
        if place is None:
            assert self.teacher is not None
            place = places(self.teacher, batch, rng)
        self.labels += len(place)
        return torch.from_numpy(place).to(self.recipe.device)

    def prompt_loss(self, encoded: Encoded, batch: Batch) -> Tensor:
        """Return the loss of regressing the latency share on the prompt's embedding.

        0 for a network with a prompt encoder of its own, which is pretrained.
        """
        if self.actor.config.prompt_bins:
            return torch.zeros((), device=encoded.prompt.device)
        weight = torch.from_numpy(batch.prompts.latency_weight.copy()).to(encoded.prompt)
        return _PROMPT_WEIGHT * functional.mse_loss(self.reader(encoded.prompt)[:, 0], weight)


def _draw_anew(actor: AED, seed: int) -> None:
    """Draw all weights but the text reader's from the seed, whatever the reader's shape is."""
    torch.manual_seed(seed)
    for name, module in actor.named_modules():
        reset = getattr(module, "reset_parameters", None)
        if reset is not None and not name.startswith(READER):
            reset()


@torch.no_grad()
def _calm(actor: AED) -> None:
    """Scale down what would drown the UEs' columns in a deep stack.

    What each residual branch adds, so that the sum over a stack keeps its size; and the tables of
    characters, positions and token types, so that all parts of a token begin about as large.
    """
    for stack in (actor.encoder, actor.decoder):
        ends = [part for name, part in stack.named_modules() if name.endswith((".out", ".down"))]
        for end in ends:
            for weight in end.parameters():
                weight /= math.sqrt(len(ends))
    for table in actor.modules():
        if isinstance(table, nn.Embedding):
            table.weight *= _TABLE_SCALE


class Phase(Generic[Kind]):
    """One way to learn, for a stretch of a training's updates."""

    def __init__(self, learner: Learner, stage: Kind) -> None:
        self.learner, self.stage = learner, stage

    def loss(self, batch: Any, rng: np.random.Generator) -> Loss:
        """Return the loss on an update's problems, and the numbers that are shown."""
        raise NotImplementedError


class Reading(Phase[ReadingStage]):
    """Learn what texts ask for: less of which objective in what share, nothing known, or more."""

    def loss(self, batch: prompt_corpus.Texts, rng: np.random.Generator) -> Loss:
        """Return the cross-entropy of what texts ask for."""
        summary: Any = self.learner.actor.prompt
        return reading.loss(summary, batch, rng)


class Imitation(Phase[ImitationStage]):
    """Learn the teacher's places in the confident order and in shuffled ones.

    The closed form's shares on the rows of shares.
    """

    def loss(self, batch: Batch, rng: np.random.Generator) -> Loss:
        """Return the cross-entropy of the labels in several orders."""
        stage, learner = self.stage, self.learner
        slots, (size, num_ues) = learner.slots(batch), batch.instances.cycles.shape
        place, taken = _followed(batch, learner.label(batch, rng), slots.need)
        count = stage.orders if stage.shuffled else 1
        orders = np.broadcast_to(np.arange(num_ues), (size, count, num_ues))
        order = torch.from_numpy(rng.permuted(orders, axis=-1)).to(slots.need.device)
        encoded = learner.encode(slots, batch)
        with torch.no_grad():
            order[:, 0] = confident_order(learner.actor, encoded, slots.need)
        target = self._target(batch, place)
        place, taken, need, target = (
            in_order(part, order) for part in (place, taken, slots.need, target)
        )
        plan = learner.actor.plan(encoded, order)
        scored = losses.score(learner.actor, plan, need, place, taken)
        loss = stage.share_weight * losses.share_imitation(
            scored.share_logit, need, place, taken, slots.inputs.shares
        )
        wrong = -(target * scored.log_probs.clamp(min=_LEAST_LOG)).sum(-1).mean()
        loss = loss + wrong - _PRIOR_WEIGHT * losses.prior_log_prob(plan, need, place)
        loss = loss + learner.prompt_loss(encoded, batch)
        return loss, {"agreed": float((scored.log_prob.detach() > math.log(0.5)).float().mean())}

    def _target(self, batch: Batch, place: Tensor) -> Tensor:
        """Return what the network shall say [B, N, P]: the labels, or softer ones.

        Softer, where the closed form allots the CPU: a place counts by its regret, all others as
        they are, over the temperature.
        """
        chosen = functional.one_hot(place, batch.instances.num_servers + 1).float()
        if not self.stage.temperature:
            return chosen
        objective = batch.prompts.objective(batch.instances)
        label = place.cpu().numpy()
        growth, fits = (part[:, 0] for part in regrets(batch.instances, objective, label[:, None]))
        cost = physics.association_cost(batch.instances, label, objective)
        unit = self.stage.temperature * cost / label.shape[1]
        logits = np.where(fits, growth / -unit[:, None, None], -np.inf)
        softer = torch.from_numpy(logits).softmax(-1).to(chosen)
        return torch.where(batch.shares[:, None, None].to(chosen.device), chosen, softer)


class PolicyGradient(Phase[GradientStage]):
    """Roll out, score, and weigh log-probabilities by their excess over the baseline."""

    def loss(self, batch: Batch, rng: np.random.Generator) -> Loss:
        """Return the surrogate loss of places, the shares' cost and the critic's loss."""
        stage, learner = self.stage, self.learner
        slots = learner.slots(batch)
        encoded, order = learner.encode(slots, batch), None
        # else as drawn: UEs are drawn alike, so that order is a shuffled one
        if learner.turn % 2 or not stage.shuffled:
            with torch.no_grad():
                order = confident_order(learner.actor, encoded, slots.need)
            batch = batch._replace(instances=batch.instances.order(order.cpu().numpy()))
            slots, order = slots.ordered(order), order[:, None]
        plan = learner.actor.plan(encoded, order)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rolled = decoding.rollout(learner.actor, plan, slots, stage.rollouts, generator)
        learner.rollouts += rolled.place.shape[0] * rolled.place.shape[1]
        if stage.include_teacher:
            rolled = self.with_teacher(batch, slots, rolled, rng)
        scored = losses.score(learner.actor, plan, slots.need[:, None], rolled.place, rolled.taken)
        cost, share_loss = _costs(batch, rolled.place, scored.share_logit, slots.need)
        advantage, critic_loss = self._advantage(batch, slots, rolled, cost)
        loss = (
            stage.reinforce_weight * (advantage.to(scored.log_prob) * scored.log_prob).mean()
            - stage.entropy * scored.entropy.mean()
        )
        if stage.regret_weight:
            loss = loss + stage.regret_weight * _regret(batch, rolled.place, cost, scored)
        loss = (
            loss
            + stage.share_weight * share_loss.to(loss)
            + critic_loss
            + learner.prompt_loss(encoded, batch)
        )
        # the place prior, which the order and what is to come rest on, keeps to what is decided
        best = rolled.place.gather(
            1, cost.argmin(1).to(rolled.place)[:, None, None].expand_as(rolled.place[:, :1])
        )
        loss = loss - _GUIDED_WEIGHT * losses.prior_log_prob(plan, slots.need[:, None], best)
        return loss, {"entropy": float(scored.entropy.detach().mean())}

    def with_teacher(
        self, batch: Batch, slots: decoding.Slot, rolled: decoding.Rollout, rng: np.random.Generator
    ) -> decoding.Rollout:
        """Return the rollouts with the teacher's as the last.

        For the shares, which it does not know, with a rollout twice.
        """
        place, taken = _followed(batch, self.learner.label(batch, rng), slots.need)
        own = slots.inputs.shares[:, None]
        place = torch.where(own, rolled.place[:, 0], place)[:, None]
        taken = torch.where(own, rolled.taken[:, 0], taken)[:, None]
        return decoding.Rollout(
            torch.cat([rolled.place, place], dim=1), torch.cat([rolled.taken, taken], dim=1)
        )

    def _advantage(
        self, batch: Batch, slots: decoding.Slot, rolled: decoding.Rollout, cost: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return each decision's excess over the baseline [B, O, 1 or N], and the critic's loss."""
        mean = losses.advantage(cost)[..., None]
        if self.learner.critic is None:
            return mean, torch.zeros(())
        local = physics.all_local_cost(batch.instances, batch.prompts)
        target = (cost / torch.from_numpy(local)[:, None]).float()[..., None].to(slots.need.device)
        value = self.learner.critic(slots, rolled.place, rolled.taken).float()
        gap = target - value.detach()
        paid = gap / gap.std().clamp(min=1e-6)
        advantage = paid if self.learner.recipe.baseline == "critic" else (paid + mean.to(paid)) / 2
        return advantage, functional.mse_loss(value, target.expand_as(value))


def _regret(batch: Batch, place: Tensor, cost: Tensor, scored: losses.Scored) -> Tensor:
    """Return the expected regret of the steps, in standard deviations of the rollouts' costs."""
    growth, fits = regrets(
        batch.instances, batch.prompts.objective(batch.instances), place.cpu().numpy()
    )
    spread = cost.std(1, correction=0).clamp(min=_LEAST_SPREAD * cost.mean(1)).numpy()
    regret = np.clip(growth / spread[:, None, None, None], -_LARGEST_REGRET, _LARGEST_REGRET)
    like = scored.log_probs
    legal = like.detach() > decoding.NEVER / 2
    return losses.expected_regret(
        like, torch.from_numpy(regret).to(like), torch.from_numpy(fits).to(like.device) & legal
    )


def _followed(batch: Batch, label: Tensor, need: Tensor) -> tuple[Tensor, Tensor]:
    """Return the labels' places [B, N], infeasible ones local, and what each takes of its server.

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
    objective = batch.prompts.objective(batch.instances)
    cost = torch.empty(place.shape[:2], dtype=torch.float64)
    closed, shared = (np.flatnonzero(batch.shares.numpy() == mode) for mode in (False, True))
    if len(closed):
        count = place.shape[1]
        many = batch.instances.take(np.repeat(closed, count))
        flat = physics.association_cost(
            many, place[closed].flatten(0, 1).numpy(), objective.take(np.repeat(closed, count))
        )
        cost[closed] = torch.from_numpy(flat).view(-1, count)
    if not len(shared):
        return cost, torch.zeros(())
    share = share_logit.cpu()[shared].double().sigmoid()
    taken = losses.take_shares(share, need[shared, None], place[shared])
    some = objective.take(shared)
    some = Objective(
        cost_per_s=torch.from_numpy(some.cost_per_s), cost_per_j=torch.from_numpy(some.cost_per_j)
    )
    with_shares = losses.share_cost(
        batch.instances.take(shared).to(torch), some, place[shared], taken
    )
    cost[shared] = with_shares.detach()
    hoarded = (share.mean(-1) * (some.cost_per_s == 0)[:, None]).mean()
    return cost, _COST_WEIGHT * (with_shares / with_shares.detach()).mean() - _COST_WEIGHT + hoarded


PHASES: dict[str, type[Phase[Any]]] = {
    "reading": Reading,
    "imitation": Imitation,
    "policy_gradient": PolicyGradient,
}
