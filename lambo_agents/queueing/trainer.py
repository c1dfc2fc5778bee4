"""Updates of ``lambo-q``: episodes are played, and their decisions learned from at once.

Shapes as in ``episodes``; S = kept slots x rows.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lambo_agents.queueing.advantages import QueueCritic, Returns, advantages, critic_loss, returns
from lambo_agents.queueing.episodes import Played, joined, play
from lambo_agents.queueing.network import KNOTS, LOADS, QueueNet, QueueSlot, SlotInputs
from lambo_agents.queueing.recipe import QueueRecipe
from lambo_agents.registry import make_agent
from lambo_env.cell.seeding import training_rng
from lambo_env.queueing.instances import Trace
from lambo_env.queueing.policies.columns import COLUMNS
from lambo_env.queueing.policies.simulation import Simulation
from lambo_env.queueing.policies.turns import Floats, Ints
from lambo_env.queueing.scenario import load_scenario
from lambo_env.queueing.slots import sample_trace
from lambo_env.utils import validate

_EARLIEST = {"finish": 1.0, "late": 1.0}  # earliest finish, but for tasks that are late everywhere
_CLIP = 0.2  # of the ratio of chances, as PPO's (Schulman et al., arXiv 1707.06347)
_LARGEST = 5.0  # advantage, in standard deviations
_LAST = ("linear", "out")  # of the network: what steps along the natural gradient
_MEMORY = 0.7  # of the gradient and the Fisher matrix, per update
_DAMPING = 1e-2  # of the Fisher matrix's diagonal; a tenth of that of its mean
_COOLING = 40  # updates after which steps are half as long
_STEPS, _SLOTS = 60, 64  # of the critic per update, and slots of each
_START_STREAM, _FIRST_STREAM = 99, 100  # of the training draws


class Lessons(NamedTuple):
    """Decisions to learn from."""

    inputs: SlotInputs  # [S]
    columns: Tensor  # [S, J, P, K]
    place: Tensor  # [S, J]
    chance: Tensor  # [S, J]
    advantage: Tensor  # [S, J]


class QueueTrainer:
    """Network, its running mean, critic and optimizers of one training."""

    def __init__(self, recipe: QueueRecipe) -> None:
        self.recipe, self.step, self.cpu_s = recipe, 0, 0.0
        self.scenario = load_scenario(recipe.worlds[0].scenario)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.actor, self.critic = QueueNet(recipe.shape()), QueueCritic()
            nn.init.normal_(self.actor.out, std=1e-2)
        with torch.no_grad():
            self.actor.linear[::LOADS] = torch.as_tensor(self._first_weights()).float()
        self.mean = {name: w.detach().clone() for name, w in self.actor.state_dict().items()}
        size = self.actor.linear.numel() + self.actor.config.hidden
        self.fisher = torch.zeros(size, size, dtype=torch.float64)  # running means, as are
        self.gradient = torch.zeros(size, dtype=torch.float64)
        below = [p for name, p in self.actor.named_parameters() if name not in _LAST]
        self.optimizer = torch.optim.Adam(below, recipe.learning_rate, betas=(0.9, 0.98))
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), recipe.critic_rate)

    # ---- the start -------------------------------------------------------------------------------

    def _first_weights(self) -> Floats:
        """Return linear weights [KNOTS, K] whose two best scores have the median distance asked."""
        weights = np.tile([_EARLIEST.get(name, 0.0) for name in COLUMNS], (KNOTS, 1))
        if self.recipe.start is not None:
            weights = np.asarray(getattr(make_agent(self.recipe.start), "weights", ()))
            fits = weights.shape == (KNOTS, len(COLUMNS))
            validate.check("QueueRecipe.start", self.recipe.start, fits, "a rule with such weights")
        scale = [
            self.recipe.sharpness / self._median_distance(row, k / (KNOTS - 1))
            for k, row in enumerate(weights)
        ]
        return np.asarray(weights * np.array(scale)[:, None])

    def _median_distance(self, weights: Floats, share: float) -> float:
        """Return the median distance of the two best scores under a prompt's weight of latency."""
        rng = training_rng(self.recipe.seed, self.scenario, _START_STREAM)
        net, gaps = QueueNet(self.recipe.shape()), []
        with torch.no_grad():
            net.linear[::LOADS] = torch.as_tensor(weights).float()

        def choose(scores: Floats, columns: Floats, hidden: Floats) -> Ints:
            best = np.sort(scores, axis=1)
            gaps.append(best[:, 1] - best[:, 0])
            return np.argmin(scores, axis=1)

        traces = sample_trace(self.scenario, 4, rng)
        shares = np.full(4, share)
        Simulation(self.scenario, traces, shares).play(
            lambda shown: QueueSlot(net, shown, shares).decide(choose)
        )
        return max(float(np.median(np.concatenate(gaps))), 1e-9)

    # ---- one update ------------------------------------------------------------------------------

    def update(self) -> dict[str, float]:
        """Play, learn, and return the update's numbers.

        Raises:
            FloatingPointError: the loss or its gradient is not finite; the weights are as before
                the step.
        """
        recipe = self.recipe
        rng = training_rng(recipe.seed, self.scenario, _FIRST_STREAM + self.step)
        played = self._play(rng)
        critic = self.critic if recipe.critic else None
        told = returns(played, critic, recipe.discount, recipe.trace if recipe.critic else 1.0)
        numbers = {"cost": float(played.cost.sum() / np.count_nonzero(played.cost))}
        if critic is not None:
            numbers["critic_loss"] = self._teach(critic, played, told, rng)
        better = [
            advantages(played, slot, told, recipe.copies, recipe.discount) for slot in played.slots
        ]
        spread = _spread(played, better)[:, None]
        better = [np.clip(part / spread, -_LARGEST, _LARGEST) for part in better]
        numbers |= self._step_last(played, better)
        if self.step >= recipe.linear_updates:
            numbers |= self._step_below(played, better, rng)
        self._average()
        self.step += 1
        return numbers

    def _play(self, rng: np.random.Generator) -> Played:
        recipe, shares = self.recipe, np.array([world.share for world in self.recipe.worlds])
        traces: list[Trace] = []
        for world, count in zip(
            recipe.worlds, rng.multinomial(recipe.episodes, shares / shares.sum()), strict=True
        ):
            for scenario, number in world.draw(int(count), rng):
                traces += sample_trace(scenario, number, rng)
        kind, mix = rng.random((2, recipe.episodes))
        energy = kind < recipe.latency_share + recipe.energy_share
        prompts = np.where(kind < recipe.latency_share, 1.0, np.where(energy, 0.0, mix))
        return play(
            self.actor,
            self.scenario,
            traces,
            prompts,
            rng,
            copies=recipe.copies,
            seen=recipe.seen if self.step >= recipe.linear_updates else 0.0,
        )

    def _teach(
        self, critic: QueueCritic, played: Played, told: Returns, rng: np.random.Generator
    ) -> float:
        high = (self.recipe.episodes, self.scenario.num_slots)
        for _ in range(_STEPS):
            rows = torch.as_tensor(rng.integers(0, high, (_SLOTS, 2)))
            loss = critic_loss(critic, played, told, self.recipe.copies, rows)
            self.critic_optimizer.zero_grad()
            loss.backward()
            self.critic_optimizer.step()
        return float(loss.detach())

    def _step_last(self, played: Played, better: list[Floats]) -> dict[str, float]:
        """Step along the natural gradient of the linear weights and the last layer.

        Kakade, A natural policy gradient (2001): the gradient, over how strongly each direction
        changes chances; shortened where chances would change by more than ``divergence`` nats.
        """
        fisher, gradient = _moments(played, better)
        size, cut = len(gradient), self.actor.linear.numel()
        self.fisher.lerp_(torch.as_tensor(fisher), 1 - _MEMORY)
        self.gradient.lerp_(torch.as_tensor(gradient), 1 - _MEMORY)
        full = 1 - _MEMORY ** (self.step + 1)
        told = self.fisher.numpy() / full
        damped = told + np.diag(_damping(np.diag(told), cut))
        free = np.arange(size) < (cut if self.step < self.recipe.linear_updates else size)
        step = np.zeros(size)
        step[free] = np.linalg.solve(damped[free][:, free], self.gradient.numpy()[free] / full)
        step *= self.recipe.step / (1 + self.step / _COOLING)
        divergence = 0.5 * float(step @ told @ step)
        step *= math.sqrt(min(1.0, self.recipe.divergence / max(divergence, 1e-12)))
        with torch.no_grad():
            self.actor.linear.add_(torch.as_tensor(step[:cut].reshape(KNOTS * LOADS, -1)))
            self.actor.out.add_(torch.as_tensor(step[cut:]))
        return {"gain": float(gradient @ step)}

    def _step_below(
        self, played: Played, better: list[Floats], rng: np.random.Generator
    ) -> dict[str, float]:
        """Step along the gradient of the layers below the last, on the slots that were kept."""
        kept = [
            (slot.seen, part) for slot, part in zip(played.slots, better, strict=True) if slot.seen
        ]
        if not kept:
            return {}
        inputs = joined([seen.inputs for seen, _ in kept])
        most = inputs.tasks.shape[1]

        def padded(parts: list[Any]) -> Tensor:
            wide = [
                np.pad(part, [(0, 0), (0, most - part.shape[1]), *[(0, 0)] * (part.ndim - 2)])
                for part in parts
            ]
            return torch.as_tensor(np.concatenate(wide))

        lessons = Lessons(
            inputs,
            padded([seen.columns for seen, _ in kept]),
            padded([seen.place for seen, _ in kept]),
            padded([seen.chance for seen, _ in kept]).float(),
            padded([part for _, part in kept]).float(),
        )
        order = rng.permutation(len(lessons.place))
        numbers: dict[str, float] = {}
        for rows in np.array_split(order, max(1, len(order) // self.recipe.batch)):
            numbers = self._learn(lessons, torch.as_tensor(rows))
        return numbers

    def _learn(self, lessons: Lessons, rows: Tensor) -> dict[str, float]:
        """Take one step on some slots; return its numbers."""
        inputs, actor = lessons.inputs.take(rows), self.actor
        weights = actor.weights(inputs.cell)[:, None]
        columns, place = lessons.columns[rows], lessons.place[rows]
        weights = weights.expand(-1, columns.shape[1], -1)
        logs = (-actor.scores(actor.encode(inputs), weights, columns)).log_softmax(-1)
        log = logs.gather(-1, place[..., None])[..., 0]
        ratio, better = (log - lessons.chance[rows]).exp(), lessons.advantage[rows]
        gain = torch.minimum(better * ratio, better * ratio.clamp(1 - _CLIP, 1 + _CLIP))
        loss = -gain[inputs.there].mean()
        self.optimizer.zero_grad()
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(actor.parameters(), 1.0))
        if not math.isfinite(norm) or not math.isfinite(float(loss.detach())):
            raise FloatingPointError(f"training stopped at step {self.step}: gradient {norm}")
        self.optimizer.step()
        return {"loss": float(loss.detach()), "gradient": norm}

    def _average(self) -> None:
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        for name, weight in self.actor.state_dict().items():
            self.mean[name].lerp_(weight, 1 - decay)


def _spread(played: Played, better: list[Floats]) -> Floats:
    """Return the standard deviation of each row's episode's advantages [B], all copies together.

    So a light load is as much worth learning as a heavy one, whose costs vary many times as much.
    """
    count, square = np.zeros((2, played.share.size))
    for slot, part in zip(played.slots, better, strict=True):
        count += slot.there.sum(axis=1)
        square += (np.where(slot.there, part, 0.0) ** 2).sum(axis=1)
    copies = played.share.size // played.episodes
    by_episode = square.reshape(copies, -1).sum(axis=0) / count.reshape(copies, -1).sum(axis=0)
    return np.tile(np.maximum(np.sqrt(by_episode), 1e-9), copies)


def _moments(played: Played, better: list[Floats]) -> tuple[Floats, Floats]:
    """Return the Fisher matrix and the gradient, per decision, of linear weights and last layer."""
    cut, ends = len(COLUMNS), played.slots[0].slope.shape[2]
    wide = played.slots[0].grounds.shape[1]
    linear, mixed = np.zeros((wide * wide, cut * cut)), np.zeros((wide, cut * (ends - cut)))
    last = np.zeros((ends - cut, ends - cut))
    upper, lower, count = np.zeros((wide, cut)), np.zeros(ends - cut), 0
    for slot, part in zip(played.slots, better, strict=True):
        slope, told = slot.slope * slot.there[..., None], slot.grounds
        rows, both = len(slope), (told[:, :, None] * told[:, None]).reshape(len(told), -1)
        product = slope.swapaxes(1, 2) @ slope
        linear += both.T @ product[:, :cut, :cut].reshape(rows, -1)
        mixed += told.T @ product[:, :cut, cut:].reshape(rows, -1)
        last += product[:, cut:, cut:].sum(axis=0)
        pull = (part[:, None] @ slope)[:, 0]
        upper += told.T @ pull[:, :cut]
        lower += pull[:, cut:].sum(axis=0)
        count += int(np.count_nonzero(slot.there))
    top = linear.reshape(wide, wide, cut, cut).transpose(0, 2, 1, 3).reshape(wide * cut, -1)
    side = mixed.reshape(wide * cut, -1)
    fisher = np.block([[top, side], [side.T, last]]) / count
    return fisher, np.concatenate([upper.reshape(-1), lower]) / count


def _damping(diagonal: Floats, cut: int) -> Floats:
    """Return what is added to the diagonal: without, what seldom matters would move far."""
    mean = np.repeat([diagonal[:cut].mean(), diagonal[cut:].mean()], [cut, diagonal.size - cut])
    return np.asarray(_DAMPING * (diagonal + 0.1 * mean) + 1e-12)
