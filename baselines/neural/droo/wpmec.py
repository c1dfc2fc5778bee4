"""DROO on the problem it was made for (Huang, Bi, Zhang, IEEE TMC 2020).

Deep reinforcement learning for online offloading.

Each frame a network maps gains to relaxed modes in (0, 1), order-preserving quantisation makes K
binary candidates of them, the best by exact allocation is played and remembered, and every tenth
frame the network learns from its memory. So the algorithm has an evaluator in the loop, and K falls
as the network comes to be right. The network and K stand still between updates: the frames between
two of them are evaluated with all their candidates in one call, which changes no number. Shapes: B
frames, K candidates, N devices.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from baselines.neural.networks import hidden_widths, parameters, plain, seeded
from baselines.neural.replay import OnlineLearner, ReplayBuffer, ReplayConfig
from lambo_env.offloading.instances import Decision
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate
from lambo_env.utils.timing import one_thread
from lambo_env.wpmec import physics
from lambo_env.wpmec.instances import Frames

Floats = NDArray[np.float64]
Modes = NDArray[np.bool_]

INPUT_SCALE = 1e6


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrooWpmecConfig(ReplayConfig):
    """Settings; the defaults are the original's but for the last three fields.

    Those are details of the original that harm it.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    hidden: tuple[int, ...] = (120, 80)
    weight_decay: float = 1e-4
    beta1: float = 0.9  # Adam's; the original's code has 0.09
    fresh_optimiser: bool = (
        False  # True: forget Adam's moments at each update, as the original does
    )
    zero_row: bool = (
        False  # True: an empty row 0 counts as a sample until the memory has gone round
    )

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        object.__setattr__(self, "hidden", hidden_widths("DrooWpmecConfig.hidden", self.hidden))
        for name in ("fresh_optimiser", "zero_row"):
            validate.boolean(f"DrooWpmecConfig.{name}", getattr(self, name))
        validate.non_negative("DrooWpmecConfig.weight_decay", self.weight_decay)
        beta1 = validate.non_negative("DrooWpmecConfig.beta1", self.beta1)
        validate.check("DrooWpmecConfig.beta1", self.beta1, beta1 < 1, "in [0, 1)")


ORIGINAL = DrooWpmecConfig(beta1=0.09, fresh_optimiser=True, zero_row=True)


@dataclasses.dataclass(frozen=True)
class Trace:
    """What a run played: T frames."""

    rate_bps: Floats  # [T] of the modes played, the best of K
    first_rate_bps: Floats  # [T] of the first candidate, the network's own modes
    candidates: NDArray[np.int64]  # [T] K
    seconds: float  # all of it, training included
    cpu_seconds: float  # the same on the processor's clock: what an idle machine would need
    parameters: int


def order_preserving(relaxed: Floats, count: int) -> Modes:
    """Return ``count`` candidates [B, K, N] of relaxed modes [B, N], K <= N + 1.

    The first is relaxed > 0.5. The k-th takes as threshold t the (k - 1)-th entry nearest to 0.5:
    modes above t, and t's own if t <= 0.5.
    """
    first = (relaxed > 0.5)[:, None]
    order = np.argsort(np.abs(relaxed - 0.5), axis=1)[:, : count - 1]
    threshold = np.take_along_axis(relaxed, order, axis=1)[:, :, None]
    value = relaxed[:, None, :]
    return np.concatenate(
        [first, np.where(threshold > 0.5, value > threshold, value >= threshold)], axis=1
    )


class DrooWpmec(OnlineLearner):
    """The algorithm: play frames in order, learn on the way.

    Args:
        num_devices: N.
        config: settings.
        seed: of the initial weights and of the draws from memory.
    """

    config: DrooWpmecConfig

    def __init__(
        self, num_devices: int, config: DrooWpmecConfig | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        self.num_devices = validate.integer("DrooWpmec.num_devices", num_devices)
        self.config = config = config or DrooWpmecConfig()
        with seeded(validate.integer("DrooWpmec.seed", seed, low=0)):
            self.net = plain([num_devices, *config.hidden, num_devices])
        self.candidates = self.most_candidates = num_devices
        self._rng = np.random.default_rng(seed)
        self.memory = ReplayBuffer(config.memory, int(config.zero_row))
        self.optimiser = self._make_optimiser()

    def _make_optimiser(self) -> torch.optim.Adam:
        config = self.config
        betas = (config.beta1, 0.999)
        return torch.optim.Adam(
            self.net.parameters(),
            config.learning_rate,
            betas=betas,
            weight_decay=config.weight_decay,
            fused=True,
        )

    @torch.no_grad()
    def relaxed(self, frames: Frames) -> Floats:
        """Return the network's relaxed modes [B, N]."""
        return torch.sigmoid(self.net(torch.from_numpy(_inputs(frames)))).numpy().astype(np.float64)

    def decide(self, frames: Frames) -> Modes:
        """Return the network's own modes [B, N], without any evaluation: DROO frozen."""
        self._check(frames)
        return self.relaxed(frames) > 0.5

    def play(self, frames: Frames) -> tuple[Floats, Floats, NDArray[np.int64], Modes]:
        """Play frames in order and learn.

        The rate of the best candidate, of the first, and K, each [B], and the modes [B, N].
        """
        self._check(frames)
        parts = [self._play(frames.take(slice(*ends))) for ends in self._stretches(len(frames))]
        best, first, count, modes = (np.concatenate(x) for x in zip(*parts, strict=True))
        return best, first, count, modes

    def _check(self, frames: Frames) -> None:
        count = frames.num_devices
        validate.check(
            "frames.num_devices",
            count,
            count == self.num_devices,
            f"{self.num_devices}, DrooWpmec's own",
        )

    def _stretches(self, frames: int) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) of the frames between two changes of the network or of K."""
        start, before = 0, self.memory.stored
        while start < frames:
            now = before + start
            step = min(
                every - now % every for every in (self.config.train_every, self.config.adapt_every)
            )
            yield start, min(start + step, frames)
            start += step

    def _play(self, frames: Frames) -> tuple[Floats, Floats, NDArray[np.int64], Modes]:
        modes = order_preserving(self.relaxed(frames), self.candidates)
        rate = physics.rate_bps(frames, modes)
        best, row = np.argmax(rate, axis=1), np.arange(len(frames))
        count = np.full(len(frames), self.candidates)
        self.remember(_inputs(frames), modes[row, best].astype(np.float32), best, self._rng)
        return rate[row, best], rate[:, 0], count, modes[row, best]

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean binary cross-entropy of modes [B, N] in nats."""
        return nn.functional.binary_cross_entropy_with_logits(self.net(inputs), labels)

    def learn(self, rng: np.random.Generator) -> float:
        """Take one step on a batch from the replay buffer; return its loss."""
        if self.config.fresh_optimiser:
            self.optimiser = self._make_optimiser()
        return super().learn(rng)


class DrooOfFrames:
    """DROO on frames, as its authors play it: in order, a new network that learns on the way.

    Args:
        config: settings.
    """

    world = "wpmec"
    evaluator_in_loop = True
    batch_invariant = False  # a frame is decided by what was learned from those before it

    def __init__(self, config: DrooWpmecConfig | None = None) -> None:
        kind = DrooWpmecConfig
        self.config = kind() if config is None else validate.of_kind("config", config, kind)

    def decide(self, instances: Frames, prompts: Prompts, rng: np.random.Generator) -> Decision:
        """Return the modes [B, N] as places, 1 where offloaded; servers allot nothing."""
        validate.generator(rng)
        learner = DrooWpmec(instances.num_devices, self.config, int(rng.integers(2**31)))
        place = learner.play(instances)[-1].astype(np.int64)
        return Decision(place, np.zeros(place.shape))


def _inputs(frames: Frames) -> NDArray[np.float32]:
    return (frames.gain * INPUT_SCALE).astype(np.float32)


def run(frames: Frames, config: DrooWpmecConfig | None = None, seed: int = 0) -> Trace:
    """Play all frames once, in order, on one core, and return what came of it."""
    with one_thread():
        start, cpu = time.perf_counter(), time.process_time()
        agent = DrooWpmec(frames.num_devices, config, seed)
        rate, first, count, _ = agent.play(frames)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return Trace(rate, first, count, seconds, cpu, parameters(agent.net))
