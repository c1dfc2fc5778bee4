"""Training of DROO for the MEC world.

It plays a long stream of slots of one scenario and keeps what it has become.
"""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines.neural import checkpoint
from baselines.neural.droo.agent import Droo, DrooConfig
from baselines.neural.networks import parameters
from baselines.neural.options import SOME, NetTraining
from lambo_agents import weights_io
from lambo_env.cell.seeding import training_rng
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import runs, validate
from lambo_env.utils.rules import ruled
from lambo_env.utils.timing import one_thread

# by size, chosen by hand; `lambo tune neural` searches around them
SETTINGS: dict[str, dict[str, Any]] = {
    "pooled": {"slots": 30_000, "width": 32, "batch": 64, "learning_rate": 5e-3},
    "60fc": {"slots": 30_000, "width": 192, "batch": 128, "learning_rate": 3e-3},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrooTraining(NetTraining):
    """A stream of slots to learn from, one update for every 10."""

    slots: int | None = ruled(None, SOME)
    """Slots to play."""
    save_every: int = ruled(100, validate.integer)
    """Updates between two saved states."""

    def settled(self) -> dict[str, dict[str, Any]]:
        """Return the settings of each size."""
        return SETTINGS


def train(options: DrooTraining, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Train and write weights to ``path`` (.safetensors) with a card beside them.

    A killed run goes on where it last saved.

    Returns:
        The card: options, size, CPU seconds, labels, mean cost over local cost of the last tenth of
        the slots.

    Raises:
        ValueError: the state beside ``path`` belongs to other options.
    """
    with runs.held_file(Path(path)), one_thread():
        return _Run(options, Path(path)).run()


class _Run:
    def __init__(self, options: DrooTraining, path: Path) -> None:
        self.options, self.path = options, path
        self.state_path = path.with_suffix(".state")
        self.scenario = load_scenario(options.scenario)
        self.values = options.values
        learning = {name: self.values[name] for name in ("batch", "learning_rate")}
        self.agent = Droo(
            None, config=DrooConfig(**learning), net=options.net(False), seed=options.seed
        )
        self.block, self.seconds = 0, 0.0
        self.ratio: list[float] = []  # of the cost played to the local one, one mean per block
        if self.state_path.is_file():
            self._resume()
        else:
            instances, prompts, _ = self._draw(0, 512)
            net = self.agent.net
            net.standardise(torch.from_numpy(net.columns(instances, prompts.latency_weight)))

    def run(self) -> dict[str, Any]:
        each = self.agent.config.train_every
        blocks = -(-self.values["slots"] // each)
        begun = time.process_time() - self.seconds
        with runs.deferred() as pause:
            while self.block < blocks:
                left = 1 - 0.99 * self.block / blocks
                self.agent.optimiser.param_groups[0]["lr"] = self.values["learning_rate"] * left
                self._play(*self._draw(self.block + 1, each))
                self.block += 1
                self.seconds = time.process_time() - begun
                if self.block % self.options.save_every == 0 or self.block == blocks:
                    self._save()
                pause(self._save)
        return self._finish(blocks)

    def _draw(self, stream: int, count: int) -> tuple[Instances, Prompts, np.random.Generator]:
        rng = training_rng(self.options.seed, self.scenario, stream)
        return sample_instances(self.scenario, count, rng), Prompts.sample(count, rng), rng

    def _play(self, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> None:
        goal, inputs = (
            prompts.objective(instances),
            self.agent.net.columns(instances, prompts.latency_weight),
        )
        place, best = self.agent.choose(instances, goal, inputs)
        cost = physics.association_cost(instances, place, goal)
        self.ratio.append(float(np.mean(cost / physics.all_local_cost(instances, prompts))))
        self.agent.remember(inputs, place, best, rng)

    def _save(self) -> None:
        agent = self.agent
        tensors = checkpoint.pack(agent.net, agent.optimiser)
        tensors["memory/inputs"] = torch.from_numpy(agent.memory.inputs)
        tensors["memory/place"] = torch.from_numpy(agent.memory.labels)
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
        agent.memory.inputs, agent.memory.labels = (
            tensors["memory/inputs"].numpy(),
            tensors["memory/place"].numpy(),
        )
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
