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

from baselines.neural import checkpoint, features
from baselines.neural.droo.agent import Droo, DrooConfig
from baselines.neural.networks import NetConfig, parameters
from lambo_agents import weights_io
from lambo_env.cell.seeding import training_rng
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate
from lambo_env.utils.timing import one_thread

SIZES: dict[str, dict[str, Any]] = {"droo": {}, "droo-small": {"depth": 0, "hidden": (120, 80)}}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrooTraining:
    """A stream of slots to learn from.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    size: str = "droo"
    """droo (60 layers) or droo-small (120, 80)."""
    scenario: str = "paper"
    """Preset or .toml file that the slots come from."""
    slots: int = 20_000
    """Slots to play."""
    seed: int = 0
    """Of the weights and of all draws."""
    learning_rate: float = 0.01
    """Adam's, at first; it falls linearly to a hundredth."""
    save_every: int = 100
    """Blocks of 10 slots between two saved states."""

    def __post_init__(self) -> None:
        """Check every field."""
        validate.known(self.size, SIZES, "DrooTraining.size")
        validate.integer("DrooTraining.slots", self.slots)
        load_scenario(self.scenario)  # raises with what is known
        validate.integer("DrooTraining.seed", self.seed, low=0)
        validate.integer("DrooTraining.save_every", self.save_every)
        validate.positive("DrooTraining.learning_rate", self.learning_rate)


def train(options: DrooTraining, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Train and write weights to ``path`` (.safetensors) with a card beside them.

    A killed run goes on where it last saved.

    Returns:
        The card: options, size, CPU seconds, labels, mean cost over local cost of the last tenth of
        the slots.

    Raises:
        ValueError: the state beside ``path`` belongs to other options.
    """
    with one_thread():
        return _Run(options, Path(path)).run()


class _Run:
    def __init__(self, options: DrooTraining, path: Path) -> None:
        self.options, self.path = options, path
        self.state_path = path.with_suffix(".state")
        self.scenario = load_scenario(options.scenario)
        size = {
            "num_ues": self.scenario.num_ues,
            "num_servers": self.scenario.num_servers,
            **SIZES[options.size],
        }
        self.net = NetConfig(**size)
        self.agent = Droo(
            None,
            config=DrooConfig(learning_rate=options.learning_rate),
            net=self.net,
            seed=options.seed,
        )
        self.block, self.seconds = 0, 0.0
        self.ratio: list[float] = []  # of the cost played to the local one, one mean per block
        if self.state_path.is_file():
            self._resume()
        else:
            instances, prompts, _ = self._draw(0, 512)
            self.agent.net.standardise(
                torch.from_numpy(features.columns(instances, prompts.latency_weight))
            )

    def run(self) -> dict[str, Any]:
        each = self.agent.config.train_every
        blocks = -(-self.options.slots // each)
        begun = time.process_time() - self.seconds
        while self.block < blocks:
            self.agent.optimiser.param_groups[0]["lr"] = self.options.learning_rate * (
                1 - 0.99 * self.block / blocks
            )
            self._play(*self._draw(self.block + 1, each))
            self.block += 1
            if self.block % self.options.save_every == 0 or self.block == blocks:
                self.seconds = time.process_time() - begun
                self._save()
        return self._finish(blocks)

    def _draw(self, stream: int, count: int) -> tuple[Instances, Prompts, np.random.Generator]:
        rng = training_rng(self.options.seed, self.scenario, stream)
        return sample_instances(self.scenario, count, rng), Prompts.sample(count, rng), rng

    def _play(self, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> None:
        goal, inputs = (
            prompts.objective(instances),
            features.columns(instances, prompts.latency_weight),
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
        progress["options"] = dataclasses.asdict(self.options)
        weights_io.save(self.state_path, tensors, checkpoint.FORMAT, progress)

    def _resume(self) -> None:
        tensors, meta = weights_io.load(self.state_path, checkpoint.FORMAT)
        checkpoint.check_options(
            str(self.state_path), meta["options"], dataclasses.asdict(self.options)
        )
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
            "options": dataclasses.asdict(self.options),
            "scenario_hash": self.scenario.hash,
            "parameters": parameters(self.agent.net),
            "cpu_seconds": round(self.seconds, 1),
            "labels": 0,
            "cost_over_local_cost": round(float(np.mean(self.ratio[-max(1, blocks // 10) :])), 4),
        }
        checkpoint.save_net(self.path, self.agent.net, card)
        return card
