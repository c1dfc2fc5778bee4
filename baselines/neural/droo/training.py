"""Training of DROO for the MEC world.

It plays a long stream of slots of one scenario and keeps what it has become.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines.neural import checkpoint
from baselines.neural.droo.agent import Droo, DrooConfig
from baselines.neural.networks import parameters
from baselines.neural.options import SOME, NetTraining
from baselines.neural.replay import MixedBuffer
from lambo_agents import weights_io
from lambo_env.cell.seeding import training_rng
from lambo_env.offloading import physics
from lambo_env.offloading.scenario import load_scenario
from lambo_env.utils import runs, validate
from lambo_env.utils.rules import count, optional, ruled
from lambo_env.utils.timing import one_thread

# by size; of pooled the width, batch and rate are what `lambo tune neural droo` found
SETTINGS: dict[str, dict[str, Any]] = {
    "pooled": {
        "slots": 8_000,
        "width": 32,
        "batch": 128,
        "learning_rate": 1.6e-2,
        "rounds": 20,
        "varied": 0.5,
    },
    "60fc": {
        "slots": 16_000,
        "width": 192,
        "batch": 128,
        "learning_rate": 2e-3,
        "rounds": 60,
        "varied": 0.0,
    },
}
STANDARD = 512  # slots whose columns' mean and spread the network takes


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrooTraining(NetTraining):
    """A stream of slots to learn from, one update for every 10."""

    slots: int | None = ruled(None, SOME)
    """Slots to play."""
    rounds: int | None = ruled(None, optional(count))
    """Rounds of further candidates about the best one, each with one UE moved."""
    save_every: int = ruled(100, validate.integer)
    """Updates between two saved states."""

    def settled(self) -> dict[str, dict[str, Any]]:
        """Return the settings of each size."""
        return SETTINGS


def train(
    options: DrooTraining,
    path: str | os.PathLike[str],
    report: Callable[[dict[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:
    """Train and write weights to ``path`` (.safetensors) with a card beside them.

    A killed run goes on where it last saved. ``report`` gets a row after each update.

    Returns:
        The card: options, size, CPU seconds, labels, mean cost over local cost of the last tenth of
        the slots.

    Raises:
        ValueError: the state beside ``path`` belongs to other options.
    """
    with runs.held_file(Path(path)), one_thread():
        return _Run(options, Path(path), report).run()


class _Run:
    def __init__(
        self, options: DrooTraining, path: Path, report: Callable[[dict[str, Any]], None]
    ) -> None:
        self.options, self.path, self.report = options, path, report
        self.state_path = path.with_suffix(".state")
        self.scenario = load_scenario(options.scenario)
        self.values = options.values
        learning = {name: self.values[name] for name in ("batch", "learning_rate")}
        self.agent = Droo(
            None, config=DrooConfig(**learning), net=options.net(False), seed=options.seed
        )
        if options.ranges.varied:
            self.agent.memory = MixedBuffer(self.agent.config.memory)
        self.block, self.seconds = 0, 0.0
        self.ratio: list[float] = []  # of the cost played to the local one, one mean per block
        if self.state_path.is_file():
            with weights_io.reading(self.state_path, *checkpoint.STATE):
                self._resume()
        else:
            net = self.agent.net
            seen = options.groups(STANDARD, training_rng(options.seed, self.scenario, 0))
            net.standardise(net.columns(slots, prompts.latency_weight) for slots, prompts in seen)

    def run(self) -> dict[str, Any]:
        each = self.agent.config.train_every
        blocks = -(-self.values["slots"] // each)
        begun = time.process_time() - self.seconds
        with runs.deferred() as pause:
            while self.block < blocks:
                left = 1 - 0.99 * self.block / blocks
                self.agent.optimiser.param_groups[0]["lr"] = self.values["learning_rate"] * left
                self._play(training_rng(self.options.seed, self.scenario, self.block + 1))
                self.block += 1
                self.seconds = time.process_time() - begun
                if self.block % self.options.save_every == 0 or self.block == blocks:
                    self._save()
                told = {"cost_over_local_cost": self.ratio[-1], "cpu_s": self.seconds}
                self.report({"what": "update", "step": self.block, "of": blocks, **told})
                pause(self._save)
        return self._finish(blocks)

    def _play(self, rng: np.random.Generator) -> None:
        agent = self.agent
        instances, prompts = self.options.sample(agent.config.train_every, rng)
        goal = prompts.objective(instances)
        inputs = agent.net.columns(instances, prompts.latency_weight)
        place, best = agent.choose(instances, goal, inputs)
        cost = physics.association_cost(instances, place, goal)
        self.ratio.append(float(np.mean(cost / physics.all_local_cost(instances, prompts))))
        if self.values["rounds"]:
            place = agent.search(instances, goal, inputs, place, self.values["rounds"], rng)
        agent.remember(inputs, place, best, rng)

    def _save(self) -> None:
        agent = self.agent
        tensors = checkpoint.pack(agent.net, agent.optimiser)
        for name, array in agent.memory.pack().items():
            tensors[f"memory/{name}"] = torch.from_numpy(array)
        progress = {
            "block": self.block,
            "seconds": self.seconds,
            "ratio": self.ratio,
            "stored": agent.memory.stored,
        }
        progress |= {"candidates": agent.candidates, "best": agent.recent_best}
        progress["options"] = self.values
        weights_io.save(self.state_path, tensors, checkpoint.FORMAT, progress)

    def _resume(self) -> None:
        tensors, meta = weights_io.load(self.state_path, checkpoint.FORMAT)
        where, free = str(self.state_path), ("save_every",)
        runs.check_options(where, meta["options"], self.values, grow=("slots",), free=free)
        agent = self.agent
        checkpoint.unpack(tensors, agent.net, agent.optimiser)
        kept = {name: value for name, value in tensors.items() if name.startswith("memory/")}
        agent.memory.unpack({n.removeprefix("memory/"): v.numpy() for n, v in kept.items()})
        agent.memory.stored, agent.candidates, agent.recent_best = (
            meta["stored"],
            meta["candidates"],
            meta["best"],
        )
        self.block, self.seconds, self.ratio = meta["block"], meta["seconds"], meta["ratio"]

    def _finish(self, blocks: int) -> dict[str, Any]:
        card = {
            "agent": checkpoint.agent_name("droo", self.options.size),
            "options": self.values,
            "scenario_hash": self.scenario.hash,
            "parameters": parameters(self.agent.net),
            "cpu_seconds": round(self.seconds, 1),
            "labels": 0,
            "cost_over_local_cost": round(float(np.mean(self.ratio[-max(1, blocks // 10) :])), 4),
        }
        checkpoint.save_net(self.path, self.agent.net, card)
        return card
