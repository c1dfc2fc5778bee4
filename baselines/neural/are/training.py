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
from baselines.neural.features import Places
from baselines.neural.networks import PlaceNet, parameters, seeded
from baselines.neural.options import SOME, NetTraining
from lambo_agents import weights_io
from lambo_agents.protocol import Agent
from lambo_env.cell.seeding import training_rng
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import files, runs, validate
from lambo_env.utils.rules import ruled
from lambo_env.utils.timing import one_thread

SHARD = 250  # labels per file


# by size, chosen by hand; `lambo tune neural` searches around them
SETTINGS: dict[str, dict[str, Any]] = {
    "pooled": {
        "labels": 10_000,
        "epochs": 12,
        "width": 32,
        "batch": 64,
        "learning_rate": 4e-3,
    },
    "60fc": {
        "labels": 20_000,
        "epochs": 6,
        "width": 192,
        "batch": 128,
        "learning_rate": 2e-3,
    },
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AreTraining(NetTraining):
    """Labels and how to learn from them."""

    labels: int | None = ruled(None, SOME)
    """Labelled instances."""
    epochs: int | None = ruled(None, SOME)
    """Times that each label is learnt."""

    def settled(self) -> dict[str, dict[str, Any]]:
        """Return the settings of each size."""
        return SETTINGS


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
    with runs.held_file(path), one_thread():
        files.remove_parts(path.with_suffix(".labels"))
        start = time.process_time()
        with seeded(options.seed):
            net = options.net(share_head=True).network()
        lesson = labelled(options, net, expert, path.with_suffix(".labels"))
        labelling = time.process_time() - start
        card = _Fit(options, net, lesson, path, type(expert).__name__).run()
    return {**card, "labelling_cpu_seconds": round(labelling, 1)}


def labelled(options: AreTraining, net: PlaceNet, expert: Agent, folder: Path) -> Lesson:
    """Return the first labelled slots as ``net`` reads them, as many as the options say.

    Shards that exist are read, the others are made and written.
    """
    scenario, labels = load_scenario(options.scenario), options.values["labels"]
    owner = f"{type(expert).__name__} {scenario.hash} {options.seed}"
    parts = []
    for index in range(-(-labels // SHARD)):
        rng = training_rng(options.seed, scenario, index)
        slots = sample_instances(scenario, SHARD, rng), Prompts.sample(SHARD, rng)
        place = _shard(folder / f"{index:05d}.npz", owner, expert, *slots, rng)
        decision = Decision(place, physics.allocate(slots[0], place))
        parts.append(Lesson.of(net, *slots, decision))
    return parts[0].joined(*parts[1:]).take(slice(0, labels))


def _shard(
    path: Path,
    owner: str,
    expert: Agent,
    instances: Instances,
    prompts: Prompts,
    rng: np.random.Generator,
) -> Places:
    """Return the labels in a file, which is made where it is not there."""
    if path.is_file():
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            validate.check(
                f"labels in {path}", str(file["owner"]), str(file["owner"]) == owner, f"{owner!r}"
            )
            return file["place"].astype(np.int64)
    place = label(expert, instances, prompts, rng).place
    with files.atomic_writer(path) as out:
        np.savez_compressed(out, place=place.astype(np.uint8), owner=owner)
    return place


class _Fit:
    """Epochs over a lesson; what is needed to go on is saved after each."""

    def __init__(
        self, options: AreTraining, net: PlaceNet, lesson: Lesson, path: Path, expert: str
    ) -> None:
        self.options, self.lesson, self.path, self.expert = options, lesson, path, expert
        self.net, self.values = net, options.values
        self.state_path = path.with_suffix(".state")
        self.scenario = load_scenario(options.scenario)
        self.net.standardise(torch.from_numpy(lesson.inputs[:500]))
        self.optimiser = torch.optim.Adam(
            self.net.parameters(), self.values["learning_rate"], fused=True
        )
        self.epoch, self.seconds, self.losses = 0, 0.0, []  # type: int, float, list[float]
        if self.state_path.is_file():
            self._resume()

    def run(self) -> dict[str, Any]:
        begun = time.process_time() - self.seconds
        with runs.deferred() as pause:
            while self.epoch < self.values["epochs"]:
                self.losses.append(self._one_epoch())
                self.epoch += 1
                self.seconds = time.process_time() - begun
                self._save()
                pause(lambda: None)
        card = {
            "agent": checkpoint.agent_name("are", self.options.size),
            "options": self.values,
            "scenario_hash": self.scenario.hash,
            "parameters": parameters(self.net),
            "cpu_seconds": round(self.seconds, 1),
            "labels": self.values["labels"],
            "expert": self.expert,
            "loss_nats": round(self.losses[-1], 4),
        }
        checkpoint.save_net(self.path, self.net, card)
        return card

    def _one_epoch(self) -> float:
        values, count = self.values, len(self.lesson.place)
        rng = np.random.default_rng([values["seed"], self.epoch])
        order, losses = rng.permutation(count), []
        for start in range(0, count, values["batch"]):
            done = (self.epoch + start / count) / values["epochs"]
            self.optimiser.param_groups[0]["lr"] = values["learning_rate"] * (1 - 0.99 * done)
            part = self.lesson.take(order[start : start + values["batch"]])
            losses.append(learn(self.net, self.optimiser, part, rng))
        return float(np.mean(losses))

    def _save(self) -> None:
        progress = {"epoch": self.epoch, "seconds": self.seconds, "losses": self.losses}
        progress["options"] = self.values
        tensors = checkpoint.pack(self.net, self.optimiser)
        weights_io.save(self.state_path, tensors, checkpoint.FORMAT, progress)

    def _resume(self) -> None:
        tensors, meta = weights_io.load(self.state_path, checkpoint.FORMAT)
        grow = ("epochs", "labels")
        runs.check_options(str(self.state_path), meta["options"], self.values, grow=grow)
        checkpoint.unpack(tensors, self.net, self.optimiser)
        self.epoch, self.seconds, self.losses = meta["epoch"], meta["seconds"], meta["losses"]
