"""Actor-critic learning (ACL): updates through the phases of a training, by its clock."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lambo_agents.acl import data
from lambo_agents.acl.config import Recipe
from lambo_agents.acl.flop import counted
from lambo_agents.acl.phases import PHASES, READER, Learner, Phase
from lambo_agents.acl.processes import ALONE, Processes, connected
from lambo_agents.acl.stages import ReadingStage, Stage, name_of
from lambo_agents.network import checkpoint
from lambo_agents.network.aed import AED
from lambo_agents.network.device import known_device
from lambo_agents.network.spread import fitted, is_spread, mine, part_of, spread, whole
from lambo_agents.protocol import Agent
from lambo_env.utils import validate

# of the network's numbers that weights to start from must have; by chance a few biases fit any
# other network
_STARTED = 0.5


class Trainer(Learner):
    """Running mean of the weights, optimizer and phases of one training.

    Args:
        recipe: what to train and how.
        teacher: who labels.
        processes: that share the pieces of its updates; each has a trainer like this one.
        draw: of a piece by the update's number and its own, as ``data.draw``; None draws here.
    """

    def __init__(
        self,
        recipe: Recipe,
        teacher: Agent | None = None,
        processes: Processes = ALONE,
        draw: Callable[[int, int], Any] | None = None,
    ) -> None:
        known_device("Recipe.device", recipe.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            super().__init__(recipe, teacher)
        if recipe.start is not None:
            reads = any(isinstance(stage, ReadingStage) for stage in recipe.phases)
            begin_from(self.actor, recipe.start, anew=READER if reads else "")
        self.actor.eval()  # drop-out is for reading alone
        self.processes = processes
        if recipe.fully_shard:
            deciding = (self.actor, *((self.critic.aed,) if self.critic else ()))
            layers = [layer for network in deciding for layer in network.encoder]
            spread(layers, processes.device, processes.count)
        self.draw = draw or functools.partial(data.draw, recipe, teacher)
        self.flop_of: dict[int, float] = {}  # index of a stage -> model FLOP of its first update
        self.flop = 0.0  # of the updates since this trainer was made
        self.phases: list[tuple[Stage, Phase[Any]]] = [
            (stage, PHASES[name_of(stage)](self, stage.piece(recipe.shards)))
            for stage in recipe.phases
        ]
        reader: Any = self.actor.prompt
        self.texts = list(reader.reader.parameters()) if self.actor.config.prompt_bins else []
        self.mean = {name: weight.detach().clone() for name, weight in self._weights().items()}
        self.parameters = [
            *self.actor.parameters(),
            *self.reader.parameters(),
            *(self.critic.parameters() if self.critic else ()),
        ]
        self.held = [  # of the parameters, with their memory
            nn.Parameter(mine(weight.detach())) if is_spread(weight) else weight
            for weight in self.parameters
        ]
        self.optimizer = torch.optim.AdamW(
            self.held,
            lr=1e-3,  # set at each update
            betas=(0.9, 0.98),
            weight_decay=recipe.weight_decay,
            fused=True,
        )

    # ---- one update ------------------------------------------------------------------------------

    def update(self) -> dict[str, float]:
        """Do one update; return its numbers.

        Raises:
            FloatingPointError: the loss or its gradient is not finite; the weights are as before
                the update.
        """
        now = data.moment(self.recipe, self.step)
        stage, self.turn = self.recipe.phases[now.stage], now.turn
        reads = isinstance(stage, ReadingStage)
        for parameter in self.texts:
            parameter.requires_grad_(reads)
        for parameter in self.parameters:
            parameter.grad = None
        with connected(computes=True):
            numbers = self._accumulate(now.stage)
        self.processes.sum_gradients([p for p in self.parameters if not is_spread(p)])
        norm = self._clip()
        lost = numbers.pop("loss")
        if not math.isfinite(lost) or not math.isfinite(norm):
            raise FloatingPointError(
                f"training stopped at step {self.step}: loss {lost}, norm of its gradient {norm}"
            )
        rate = _rate(stage, now.done)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self._average(reads, self.turn)
        self.step += 1
        return {"loss": lost, "gradient": norm, "learning_rate": rate, **numbers}

    def _accumulate(self, stage: int) -> dict[str, float]:
        """Sum the gradients of this process' pieces of the update.

        Return all pieces' mean numbers, the loss among them; count what all have drawn.
        """
        phase, shards = self.phases[stage][1], self.recipe.shards
        before, total = (self.rollouts, self.labels), {"loss": 0.0}
        for piece in self.processes.share(shards):
            batch, rng = self.draw(self.step, piece)
            with self._precision(), counted(self.flop_of, stage, shards):
                loss, numbers = phase.loss(batch, rng)
            (loss / shards).backward()
            for name, value in {"loss": float(loss.detach()), **numbers}.items():
                total[name] = total.get(name, 0.0) + value / shards
        self.flop += self.flop_of[stage]
        drawn = (self.rollouts - before[0], self.labels - before[1])
        *means, rollouts, labels = self.processes.total([*total.values(), *drawn])
        self.rollouts, self.labels = before[0] + round(rollouts), before[1] + round(labels)
        return dict(zip(total, means, strict=True))

    def _clip(self) -> float:
        """Give the optimizer the gradient, clipped; return its norm before."""
        parts = []
        for parameter, held in zip(self.parameters, self.held, strict=True):
            if parameter is not held:
                held.grad = None if parameter.grad is None else mine(parameter.grad)
                parts.append(held.grad)
        if not parts:
            return float(nn.utils.clip_grad_norm_(self.held, self.recipe.clip))
        here = nn.utils.get_total_norm([grad for grad in parts if grad is not None])
        everywhere = [p.grad for p in self.parameters if p.grad is not None and not is_spread(p)]
        squares = self.processes.total([float(here) ** 2])[0]
        norm = math.hypot(float(nn.utils.get_total_norm(everywhere)), math.sqrt(squares))
        nn.utils.clip_grads_with_norm_(self.held, self.recipe.clip, torch.tensor(norm))
        return norm

    def progress(self) -> float:
        """Return how much of the training is done, 0..1."""
        return min(1.0, self.step / self.recipe.updates)

    @property
    def phase(self) -> str:
        """Name of the phase that this step belongs to."""
        return name_of(self.recipe.phases[data.moment(self.recipe, self.step).stage])

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if self.recipe.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self.recipe.device).type, dtype=torch.bfloat16)

    def _average(self, reads: bool, count: int) -> None:
        """Move the mean of the weights that an update of this kind changes, the ``count``th."""
        decay = min(self.recipe.ema, (1 + count) / (10 + count))
        state = self._weights()
        names = [name for name in state if name.startswith(READER) == reads]
        torch._foreach_lerp_(
            [self.mean[name] for name in names], [state[name] for name in names], 1 - decay
        )

    def _weights(self) -> dict[str, Tensor]:
        """Return what this process holds of the network's weights."""
        return {name: mine(weight) for name, weight in self.actor.state_dict().items()}

    # ---- what all processes hold together --------------------------------------------------------

    @property
    def is_spread(self) -> bool:
        """Whether no process holds all weights, so that all have to ask for them together."""
        return any(is_spread(parameter) for parameter in self.parameters)

    def whole_mean(self) -> dict[str, Tensor]:
        """Return the mean of the weights."""
        like = self.actor.state_dict()
        return {name: whole(part, like[name]) for name, part in self.mean.items()}

    def whole_weights(self) -> dict[str, Tensor]:
        """Return the weights of all networks by "actor/", "reader/" or "critic/" and name."""
        return {
            f"{part}/{name}": whole(mine(weight), weight)
            for part, module in self._modules().items()
            for name, weight in module.state_dict().items()
        }

    def whole_moments(self) -> dict[int, dict[str, Tensor]]:
        """Return the optimizer's state by the number of a parameter and name."""
        return {
            index: {
                name: whole(value, self.parameters[index]) if value.ndim else value
                for name, value in state.items()
            }
            for index, state in self.optimizer.state_dict()["state"].items()
        }

    def restore(
        self,
        mean: Mapping[str, Tensor],
        weights: Mapping[str, Mapping[str, Tensor]],
        moments: Mapping[int, Mapping[str, Tensor]],
        path: str,
    ) -> None:
        """Take over what the three above gave, of any number of processes.

        Raises:
            ValueError: weights that are not this network's; ``path`` is named.
        """
        checkpoint.fit_tensors(self.actor, fitted(weights["actor"], self.actor), path)
        for part, module in self._modules().items():
            if part != "actor":
                module.load_state_dict(fitted(weights[part], module))
        like, device = self.actor.state_dict(), self.recipe.device
        self.mean = {name: part_of(mean[name], like[name]).to(device) for name in self.mean}
        groups = self.optimizer.state_dict()["param_groups"]
        state = {
            index: {
                name: part_of(value, self.parameters[index]) if value.ndim else value
                for name, value in values.items()
            }
            for index, values in moments.items()
        }
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})

    def _modules(self) -> dict[str, nn.Module]:
        known: dict[str, nn.Module] = {"actor": self.actor, "reader": self.reader}
        return known | ({"critic": self.critic} if self.critic else {})


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


def _rate(stage: Stage, done: int) -> float:
    """Return the learning rate after ``done`` updates of a stage."""
    warm = min(1.0, (done + 1) / max(1, stage.warmup_updates))
    cosine = 0.5 * (1 + math.cos(math.pi * done / stage.updates))
    return warm * (stage.final_rate + (stage.learning_rate - stage.final_rate) * cosine)


def begin_from(actor: AED, weights: str, anew: str = "") -> None:
    """Load every weight of a file that the network has under the same name and shape.

    Parts may be new; those whose names start with ``anew`` are not looked for. So a training that
    reads learns its reader from nothing, whatever it begins from.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a checkpoint, weights that are not finite, or less than half of the network
            is in it.
    """
    path = checkpoint.weights_path(weights)
    try:
        mine, theirs = actor.state_dict(), checkpoint.load(path).tensors
        mine = {name: w for name, w in mine.items() if not (anew and name.startswith(anew))}
    except ValueError as error:
        validate.refuse("Recipe.start", str(path), f"finite weights of a checkpoint ({error})")
    fits = {
        name: theirs[name]
        for name in mine
        if name in theirs and theirs[name].shape == mine[name].shape
    }
    share = sum(weight.numel() for weight in fits.values()) / sum(
        weight.numel() for weight in mine.values()
    )
    part = f"{share:.0%} of the network is in this file"
    allowed = f"weights of a network of this preset and its layers ({part})"
    validate.check("Recipe.start", str(path), share >= _STARTED, allowed)
    actor.load_state_dict(fits, strict=False)
