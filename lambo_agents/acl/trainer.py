"""Actor-critic learning (ACL): updates through the phases of a training, by its clock."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from lambo_agents.acl.config import ReadingStage, Recipe, Stage, name_of
from lambo_agents.acl.data import update_rng
from lambo_agents.acl.phases import PHASES, READER, Learner, Phase, Reading
from lambo_agents.network import checkpoint
from lambo_agents.network.aed import AED
from lambo_agents.network.device import known_device
from lambo_agents.protocol import Agent
from lambo_env.utils import validate

_READING_STREAM = 2**30  # of the training draws, on from here
# of the network's numbers that weights to start from must have; by chance a few biases fit any
# other network
_STARTED = 0.5


class Trainer(Learner):
    """Running mean of the weights, optimizer and phases of one training."""

    def __init__(self, recipe: Recipe, teacher: Agent | None = None) -> None:
        known_device("Recipe.device", recipe.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            super().__init__(recipe, teacher)
        if recipe.start is not None:
            reads = any(isinstance(stage, ReadingStage) for stage in recipe.phases)
            begin_from(self.actor, recipe.start, anew=READER if reads else "")
        self.actor.eval()  # drop-out is for reading alone
        self.phases = [(stage, PHASES[name_of(stage)](self, stage)) for stage in recipe.phases]
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
        stage, phase, done, before = self._now()
        reads, self.turn = isinstance(phase, Reading), done + before
        rng = update_rng(self.recipe, self.turn + reads * _READING_STREAM)
        for parameter in self.texts:
            parameter.requires_grad_(reads)
        with self._precision():
            loss, numbers = phase.loss(phase.sample(rng), rng)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip))
        lost = float(loss.detach())
        if not math.isfinite(lost) or not math.isfinite(norm):
            raise FloatingPointError(
                f"training stopped at step {self.step}: loss {lost}, norm of its gradient {norm}"
            )
        rate = _rate(stage, done)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self._average(reads, self.turn)
        self.step += 1
        return {"loss": lost, "gradient": norm, "learning_rate": rate, **numbers}

    def progress(self) -> float:
        """Return how much of the training is done, 0..1."""
        return min(1.0, self.step / self.recipe.updates)

    @property
    def phase(self) -> str:
        """Name of the phase that this step belongs to."""
        return name_of(self._now()[0])

    def _now(self) -> tuple[Stage, Phase[Any], int, int]:
        """Return stage and phase of this step, how many of its updates are done, how many before.

        Before: in stages that read if it reads, else in those that do not. So the length of one
        kind does not change what the other draws.
        """
        done, before = self.step, {True: 0, False: 0}
        for stage, phase in self.phases[:-1]:
            if done < stage.updates:
                break
            done -= stage.updates
            before[isinstance(phase, Reading)] += stage.updates
        else:
            stage, phase = self.phases[-1]
        return stage, phase, done, before[isinstance(phase, Reading)]

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
