"""Training of ARE: an expert labels instances shard by shard, then the network learns them."""

from __future__ import annotations

import dataclasses
import io
import os
import time
from collections.abc import Callable
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
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import files, runs, validate
from lambo_env.utils.rules import ruled
from lambo_env.utils.timing import one_thread

SHARD = 250  # labels per file
STANDARD = 500  # labels whose columns' mean and spread the network takes


# by size; of pooled the width, batch and rate are what `lambo tune neural are` found
SETTINGS: dict[str, dict[str, Any]] = {
    "pooled": {
        "labels": 20_000,
        "epochs": 8,
        "width": 64,
        "batch": 32,
        "learning_rate": 8e-3,
        "varied": 0.5,
    },
    "60fc": {
        "labels": 20_000,
        "epochs": 6,
        "width": 192,
        "batch": 128,
        "learning_rate": 2e-3,
        "varied": 0.0,
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


def train(
    options: AreTraining,
    expert: Agent,
    path: str | os.PathLike[str],
    report: Callable[[dict[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:
    """Label, train and write weights to ``path`` (.safetensors) with a card beside them.

    A killed run goes on where it was.

    Labels lie in shards in a folder beside ``path``: they depend on the scenario, the seed and the
    expert alone, and a run with other options that names the same path uses them again. ``report``
    gets a row after each shard of labels and each batch.

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
        lesson = labelled(options, net, expert, path.with_suffix(".labels"), report)
        labelling = time.process_time() - start
        card = _Fit(options, net, lesson, path, type(expert).__name__, report).run()
    return {**card, "labelling_cpu_seconds": round(labelling, 1)}


def labelled(
    options: AreTraining,
    net: PlaceNet,
    expert: Agent,
    folder: Path,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
) -> dict[tuple[int, ...], Lesson]:
    """Return the first labelled slots as ``net`` reads them, as many as the options say.

    By size: those of equal N and M together. Shards that exist are read, the others are made and
    written.
    """
    scenario, labels = options.base, options.values["labels"]
    varied = f" {options.ranges.to_dict()}" if options.ranges.varied else ""
    owner = f"{type(expert).__name__} {scenario.hash} {options.seed}{varied}"
    parts: dict[tuple[int, ...], list[Lesson]] = {}
    shards = -(-labels // SHARD)
    for index in range(shards):
        rng = training_rng(options.seed, scenario, index)
        groups = options.groups(SHARD, rng)
        places = _shard(folder / f"{index:05d}.npz", owner, expert, groups, rng)
        for (instances, prompts), place in zip(groups, places, strict=True):
            decision = Decision(place, physics.allocate(instances, place))
            part = Lesson.of(net, instances, prompts, decision).take(slice(labels))
            labels -= len(part.place)
            if len(part.place):
                parts.setdefault(part.inputs.shape[1:], []).append(part)
        report({"what": "labels", "step": 0, "shard": index + 1, "shards": shards})
    return {size: group[0].joined(*group[1:]) for size, group in parts.items()}


def _shard(
    path: Path,
    owner: str,
    expert: Agent,
    groups: list[tuple[Instances, Prompts]],
    rng: np.random.Generator,
) -> list[Places]:
    """Return the labels in a file, which is made where it is not there."""
    if path.is_file():
        with weights_io.reading(path, "labels", "a whole .npz of `lambo train are`; or remove it"):
            return _kept(path, owner, [(len(slots), slots.num_ues) for slots, _ in groups])
    places = [label(expert, *group, rng).place for group in groups]
    flat = np.concatenate([place.ravel() for place in places])
    with files.atomic_writer(path) as out:
        np.savez_compressed(out, place=flat.astype(np.uint8), owner=owner)
    return places


def _kept(path: Path, owner: str, sizes: list[tuple[int, int]]) -> list[Places]:
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
        found, places = str(file["owner"]), file["place"].astype(np.int64).ravel()
    validate.check(f"labels in {path}", found, found == owner, f"{owner!r}")
    parts = np.split(places, np.cumsum([np.prod(size) for size in sizes])[:-1])
    return [part.reshape(size) for part, size in zip(parts, sizes, strict=True)]


class _Fit:
    """Epochs over a lesson; what is needed to go on is saved after each, and before a stop."""

    def __init__(
        self,
        options: AreTraining,
        net: PlaceNet,
        lessons: dict[tuple[int, ...], Lesson],
        path: Path,
        expert: str,
        report: Callable[[dict[str, Any]], None],
    ) -> None:
        self.report = report
        self.options, self.path, self.expert = options, path, expert
        self.lessons = list(lessons.values())
        self.net, self.values = net, options.values
        self.state_path = path.with_suffix(".state")
        self.scenario = load_scenario(options.scenario)
        share = STANDARD / max(STANDARD, sum(len(lesson.place) for lesson in self.lessons))
        self.net.standardise(
            lesson.inputs[: max(1, round(share * len(lesson.place)))] for lesson in self.lessons
        )
        self.optimiser = torch.optim.Adam(
            self.net.parameters(), self.values["learning_rate"], fused=True
        )
        self.epoch, self.seconds, self.losses = 0, 0.0, []  # type: int, float, list[float]
        self.lost: list[float] = []  # in the batches of the epoch under way
        self.rng: dict[str, Any] | None = None  # state after them
        if self.state_path.is_file():
            with weights_io.reading(self.state_path, *checkpoint.STATE):
                self._resume()

    def run(self) -> dict[str, Any]:
        self._begun = time.process_time() - self.seconds
        with runs.deferred() as pause:
            while self.epoch < self.values["epochs"]:
                self._one_epoch(pause)
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

    def _one_epoch(self, pause: runs.Pause) -> None:
        """Learn every slot once; the rest of them where a signal stopped the epoch."""
        values, rng = self.values, np.random.default_rng([self.values["seed"], self.epoch])
        batches = self._batches(rng)
        rng.bit_generator.state = self.rng or rng.bit_generator.state
        sizes = [len(part.place) for part in batches]
        for index in range(len(self.lost), len(batches)):
            done = (self.epoch + sum(sizes[:index]) / sum(sizes)) / values["epochs"]
            self.optimiser.param_groups[0]["lr"] = values["learning_rate"] * (1 - 0.99 * done)
            self.lost.append(learn(self.net, self.optimiser, batches[index], rng))
            self.rng = dict(rng.bit_generator.state)
            told = {"loss_nats": self.lost[-1], "cpu_s": time.process_time() - self._begun}
            step = self.epoch * len(batches) + index + 1
            total = values["epochs"] * len(batches)
            self.report({"what": "batch", "step": step, "of": total, **told})
            pause(self._save)
        self.losses.append(float(np.mean(self.lost)))
        self.epoch, self.lost, self.rng = self.epoch + 1, [], None

    def _batches(self, rng: np.random.Generator) -> list[Lesson]:
        """Return an epoch's batches in random order, each of slots of one size."""
        ends = np.cumsum([0, *(len(lesson.place) for lesson in self.lessons)])
        rank = np.argsort(rng.permutation(ends[-1]))  # when each slot's turn comes
        found: list[tuple[int, Lesson]] = []
        for lesson, start, end in zip(self.lessons, ends[:-1], ends[1:], strict=True):
            order = np.argsort(rank[start:end])
            for first in range(0, len(order), self.values["batch"]):
                rows = order[first : first + self.values["batch"]]
                # a batch comes when one of its slots does, the same of all: the one listed first
                found.append((rank[start + rows.min()], lesson.take(rows)))
        return [part for _, part in sorted(found, key=lambda pair: pair[0])]

    def _save(self) -> None:
        self.seconds = time.process_time() - self._begun
        names = ("epoch", "seconds", "losses", "lost", "rng")
        progress = {name: getattr(self, name) for name in names} | {"options": self.values}
        tensors = checkpoint.pack(self.net, self.optimiser)
        weights_io.save(self.state_path, tensors, checkpoint.FORMAT, progress)

    def _resume(self) -> None:
        tensors, meta = weights_io.load(self.state_path, checkpoint.FORMAT)
        grow = ("epochs", "labels")
        runs.check_options(str(self.state_path), meta["options"], self.values, grow=grow)
        checkpoint.unpack(tensors, self.net, self.optimiser)
        for name in ("epoch", "seconds", "losses", "lost", "rng"):
            setattr(self, name, meta[name])
