"""Actor-critic learning (ACL): updates through the phases of a training, by its clock."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from lambo_agents.acl.config import ACLConfig
from lambo_agents.acl.data import step_rng
from lambo_agents.acl.phases import PHASES, Learner
from lambo_agents.network import checkpoint
from lambo_agents.network.aed import AED
from lambo_agents.network.device import known_device
from lambo_agents.protocol import Agent
from lambo_env.utils import validate

_PRETRAINING_WARMUP = 50  # updates
# of the network's numbers that weights to start from must have; by chance a few biases fit any
# other network
_STARTED = 0.5


class Trainer(Learner):
    """Running mean of the weights, optimizer and phases of one training."""

    def __init__(self, config: ACLConfig, teacher: Agent | None = None) -> None:
        known_device("ACLConfig.device", config.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            super().__init__(config, teacher)
        if config.start is not None:
            begin_from(self.actor, config.start)
        self.actor.eval()  # drop-out is for prompt pretraining alone
        bins = self.actor.config.prompt_bins
        self.pretraining_steps = config.pretraining_steps if bins else 0
        self.phases = {name: phase(self) for name, phase in PHASES.items()}
        reader: Any = self.actor.prompt
        self.texts = list(reader.reader.parameters()) if bins else []
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

    # ---- one update ------------------------------------------------------------------------------

    def update(self) -> dict[str, float]:
        """Do one update; return its numbers.

        Raises:
            FloatingPointError: the loss or its gradient is not finite; the weights are as before
                the update.
        """
        start = time.perf_counter()
        rng = step_rng(self.config, self.step)
        for parameter in self.texts:
            parameter.requires_grad_(self.phase == "prompt_pretraining")
        phase = self.phases[self.phase]
        with self._precision():
            loss, numbers = phase.loss(phase.sample(rng), rng)
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

    @property
    def phase(self) -> str:
        """Name of the phase that this step belongs to."""
        if self.step < self.pretraining_steps:
            return "prompt_pretraining"
        imitates = self.step < self.pretraining_steps + self.config.imitation_steps
        return "imitation" if imitates else "policy_gradient"

    def rate(self) -> float:
        """Return the learning rate of this step."""
        config = self.config
        if self.phase == "prompt_pretraining":
            warm = min(1.0, (self.step + 1) / _PRETRAINING_WARMUP)
            return (
                config.pretraining_rate
                * warm
                * max(0.01, _cosine(self.step / self.pretraining_steps))
            )
        warm = min(1.0, (self.step - self.pretraining_steps + 1) / max(1, config.warmup_steps))
        warm *= config.gradient_rate if self.phase == "policy_gradient" else 1.0
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
    try:
        mine, theirs = actor.state_dict(), checkpoint.load(path).tensors
    except ValueError as error:
        validate.refuse("ACLConfig.start", str(path), f"finite weights of a checkpoint ({error})")
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
    validate.check("ACLConfig.start", str(path), share >= _STARTED, allowed)
    actor.load_state_dict({**mine, **fits})
