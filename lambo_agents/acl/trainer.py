"""Actor-critic learning (ACL): updates through the phases of a training, by its clock."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from lambo_agents.acl import data
from lambo_agents.acl.config import Recipe
from lambo_agents.acl.flop import counted
from lambo_agents.acl.phases import PHASES, READER, Learner, Phase
from lambo_agents.acl.processes import ALONE, Processes
from lambo_agents.acl.stages import ReadingStage, Stage, name_of
from lambo_agents.network import checkpoint
from lambo_agents.network.aed import AED
from lambo_agents.network.device import known_device
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
        self.draw = draw or functools.partial(data.draw, recipe, teacher)
        self.flop_of: dict[int, float] = {}  # index of a stage -> model FLOP of its first update
        self.flop = 0.0  # of the updates since this trainer was made
        self.phases: list[tuple[Stage, Phase[Any]]] = [
            (stage, PHASES[name_of(stage)](self, stage.piece(recipe.shards)))
            for stage in recipe.phases
        ]
        reader: Any = self.actor.prompt
        self.texts = list(reader.reader.parameters()) if self.actor.config.prompt_bins else []
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
        self.optimizer.zero_grad(set_to_none=True)
        numbers = self._accumulate(now.stage)
        self.processes.sum_gradients(self.parameters)
        norm = float(nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip))
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
        state = self.actor.state_dict()
        names = [name for name in state if name.startswith(READER) == reads]
        torch._foreach_lerp_(
            [self.mean[name] for name in names], [state[name] for name in names], 1 - decay
        )


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
