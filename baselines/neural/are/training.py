"""Training of ARE: an expert labels instances shard by shard, then the network learns them."""

from __future__ import annotations

import dataclasses
import io
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines.neural import checkpoint
from baselines.neural.are.agent import Lesson, label, learn
from baselines.neural.networks import NetConfig, PlaceNet, parameters, seeded
from lambo_agents import weights_io
from lambo_agents.protocol import Agent
from lambo_env.cell.seeding import training_rng
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision
from lambo_env.offloading.scenario import Scenario, load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import files, validate
from lambo_env.utils.timing import one_thread

SIZES: dict[str, dict[str, Any]] = {"are": {}, "are-2": {"depth": 0, "hidden": (120, 80)}}
SHARD = 250  # labels per file


@dataclasses.dataclass(frozen=True, kw_only=True)
class AreTraining:
    """Labels and how to learn from them.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    size: str = "are"
    """are (60 layers) or are-2 (120, 80)."""
    scenario: str = "paper"
    """Preset or .toml file that the instances come from."""
    labels: int = 20_000
    """Labelled instances."""
    epochs: int = 30
    """Times that each label is learnt."""
    batch: int = 128
    """Labels of an update."""
    seed: int = 0
    """Of the weights and of all draws."""
    learning_rate: float = 3e-3
    """Adam's, at first; it falls linearly to a hundredth."""

    def __post_init__(self) -> None:
        """Check every field."""
        validate.known(self.size, SIZES, "AreTraining.size")
        for name in ("labels", "epochs", "batch"):
            validate.integer(f"AreTraining.{name}", getattr(self, name))
        load_scenario(self.scenario)  # raises with what is known
        validate.integer("AreTraining.seed", self.seed, low=0)
        validate.positive("AreTraining.learning_rate", self.learning_rate)


def train(options: AreTraining, expert: Agent, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Label, train and write weights to ``path`` (.safetensors) with a card beside them.

    A killed run goes on where it was.

    Labels lie in shards in a folder beside ``path``: they depend on the scenario, the seed and the
    expert alone, and a run with other options that names the same path uses them again.

    Returns:
        The card: options, size, CPU seconds, labels, expert, training loss of the last epoch in
        nats.

    Raises:
        ValueError: an expert's needlessly late label, or a state beside ``path`` that belongs to
            other options.
    """
    path = Path(path)
    with one_thread():
        start = time.process_time()
        lesson = labelled(options, expert, path.with_suffix(".labels"))
        labelling = time.process_time() - start
        card = _Fit(options, lesson, path, type(expert).__name__).run()
    return {**card, "labelling_cpu_seconds": round(labelling, 1)}


def labelled(options: AreTraining, expert: Agent, folder: Path) -> Lesson:
    """Return the first ``options.labels`` labelled slots.

    Shards that exist are read, the others are made and written.
    """
    scenario = load_scenario(options.scenario)
    owner = f"{type(expert).__name__} {scenario.hash} {options.seed}"
    parts = [
        _shard(options, scenario, expert, folder, k, owner)
        for k in range(-(-options.labels // SHARD))
    ]
    return parts[0].joined(*parts[1:]).take(slice(0, options.labels))


def _shard(
    options: AreTraining, scenario: Scenario, expert: Agent, folder: Path, index: int, owner: str
) -> Lesson:
    rng = training_rng(options.seed, scenario, index)
    instances, prompts = sample_instances(scenario, SHARD, rng), Prompts.sample(SHARD, rng)
    path = folder / f"{index:05d}.npz"
    if path.is_file():
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            validate.check(
                f"labels in {path}", str(file["owner"]), str(file["owner"]) == owner, f"{owner!r}"
            )
            place = file["place"].astype(np.int64)
    else:
        place = label(expert, instances, prompts, rng).place
        with files.atomic_writer(path) as out:
            np.savez_compressed(out, place=place.astype(np.uint8), owner=owner)
    return Lesson.of(instances, prompts, Decision(place, physics.allocate(instances, place)))


class _Fit:
    """Epochs over a lesson; what is needed to go on is saved after each."""

    def __init__(self, options: AreTraining, lesson: Lesson, path: Path, expert: str) -> None:
        self.options, self.lesson, self.path, self.expert = options, lesson, path, expert
        self.state_path = path.with_suffix(".state")
        self.scenario = load_scenario(options.scenario)
        size = {
            "num_ues": self.scenario.num_ues,
            "num_servers": self.scenario.num_servers,
            **SIZES[options.size],
        }
        with seeded(options.seed):
            self.net = PlaceNet(NetConfig(share_head=True, **size))
        self.net.standardise(torch.from_numpy(lesson.inputs[:2000]))
        self.optimiser = torch.optim.Adam(self.net.parameters(), options.learning_rate, fused=True)
        self.epoch, self.seconds, self.losses = 0, 0.0, []  # type: int, float, list[float]
        if self.state_path.is_file():
            self._resume()

    def run(self) -> dict[str, Any]:
        begun = time.process_time() - self.seconds
        while self.epoch < self.options.epochs:
            self.losses.append(self._one_epoch())
            self.epoch += 1
            self.seconds = time.process_time() - begun
            self._save()
        card = {
            "options": dataclasses.asdict(self.options),
            "scenario_hash": self.scenario.hash,
            "parameters": parameters(self.net),
            "cpu_seconds": round(self.seconds, 1),
            "labels": self.options.labels,
            "expert": self.expert,
            "loss_nats": round(self.losses[-1], 4),
        }
        checkpoint.save_net(self.path, self.net, card)
        return card

    def _one_epoch(self) -> float:
        options, count = self.options, len(self.lesson.place)
        rng = np.random.default_rng([options.seed, self.epoch])
        order, losses = rng.permutation(count), []
        for start in range(0, count, options.batch):
            done = (self.epoch + start / count) / options.epochs
            self.optimiser.param_groups[0]["lr"] = options.learning_rate * (1 - 0.99 * done)
            part = self.lesson.take(order[start : start + options.batch])
            losses.append(learn(self.net, self.optimiser, part))
        return float(np.mean(losses))

    def _save(self) -> None:
        progress = {"epoch": self.epoch, "seconds": self.seconds, "losses": self.losses}
        progress["options"] = dataclasses.asdict(self.options)
        tensors = checkpoint.pack(self.net, self.optimiser)
        weights_io.save(self.state_path, tensors, checkpoint.FORMAT, progress)

    def _resume(self) -> None:
        tensors, meta = weights_io.load(self.state_path, checkpoint.FORMAT)
        checkpoint.check_options(
            str(self.state_path), meta["options"], dataclasses.asdict(self.options)
        )
        checkpoint.unpack(tensors, self.net, self.optimiser)
        self.epoch, self.seconds, self.losses = meta["epoch"], meta["seconds"], meta["losses"]
