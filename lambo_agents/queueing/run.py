"""Runs or resumes a training of ``lambo-q`` in a folder.

``last.safetensors`` (all that a resumption needs), ``weights.safetensors`` (the mean weights as
they were last measured: what ships), ``curve.jsonl`` and ``train.log``.
"""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lambo_agents import weights_io
from lambo_agents.queueing import checkpoint
from lambo_agents.queueing.network import QueueNet, QueueSlot
from lambo_agents.queueing.recipe import QueueRecipe
from lambo_agents.queueing.trainer import QueueTrainer
from lambo_env.cell.seeding import training_rng
from lambo_env.queueing.policies.simulation import Simulation
from lambo_env.queueing.policies.turns import Floats
from lambo_env.queueing.scenario import load_scenario
from lambo_env.queueing.slots import sample_trace
from lambo_env.utils import files, jsons, runs

LAST, WEIGHTS, CURVE, LOG = "last.safetensors", "weights.safetensors", "curve.jsonl", "train.log"
_FREE = ("validate_every", "checkpoint_every", "validation_episodes")  # may change
_VALIDATION_STREAM = 2**31 - 1  # of the training draws: no update ever gets there
_SCENARIOS = ("queue", "queue-light", "queue-bursts")
_MEASURED = tuple((name, weight) for name in _SCENARIOS for weight in (1.0, 0.0))
_MEMORY = ("fisher", "gradient")
_OPTIMIZERS = ("optimizer", "critic_optimizer")


def train(
    recipe: QueueRecipe,
    out: str | Path,
    tell: Callable[[str], None] = print,
    tellers: Sequence[Callable[[dict[str, float]], None]] = (),
) -> Path:
    """Train a network, or go on with a training that was stopped or killed.

    Args:
        recipe: what to train and how; more updates than before extend a run.
        out: folder; made if absent.
        tell: told a line per measurement.
        tellers: each is called with the numbers of each update, "step" among them.

    Returns:
        The file of its weights.

    Raises:
        ValueError: another run holds the folder, or it has a training of another recipe.
        FloatingPointError: the loss was not finite; the last good checkpoint is kept.
        Stopped: a signal came; the training is saved as it was then.
    """
    out, told = Path(out), recipe.to_dict()
    held = runs.opened(out, "train lambo-q", told, grow=("updates",), free=_FREE)
    with held, runs.deferred() as pause:
        trainer = QueueTrainer(recipe)
        if (last := out / LAST).exists():
            _restore(trainer, last)
        judge = _Judge(recipe, QueueNet(recipe.shape()).eval())
        _trim(out / CURVE, trainer.step)
        with open(out / LOG, "a", encoding="utf-8", buffering=1) as log:
            while trainer.step < recipe.updates:
                row = _update(trainer, judge, out)
                line = " ".join(f"{name} {value:.4g}" for name, value in row.items())
                line = textwrap.fill(line, 80, subsequent_indent="    ")
                log.write(line + "\n")
                for teller in tellers:
                    teller(row)
                if "cost" in row and judge.name(0) in row:
                    tell(line)
                done = trainer.step >= recipe.updates
                if done or trainer.step % recipe.checkpoint_every == 0:
                    _save(trainer, last)
                pause(lambda: _save(trainer, last))
    return out / WEIGHTS


def _update(trainer: QueueTrainer, judge: _Judge, out: Path) -> dict[str, float]:
    """Do one update, and measure when it is time to; return the numbers."""
    recipe, start = trainer.recipe, time.process_time()
    row = trainer.update()
    measures = trainer.step >= recipe.updates or trainer.step % recipe.validate_every == 0
    if measures:
        row |= judge.above_start(trainer.mean)
    trainer.cpu_s += time.process_time() - start
    row = {"step": trainer.step, "cpu_s": trainer.cpu_s, **row}
    if measures:
        meta = {"recipe": recipe.to_dict(), "row": row}
        checkpoint.save(out / WEIGHTS, trainer.mean, recipe.shape(), **meta)
        with open(out / CURVE, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    return row


class _Judge:
    """Fixed episodes on which greedy decisions are measured."""

    def __init__(self, recipe: QueueRecipe, net: QueueNet) -> None:
        self.net, count = net, recipe.validation_episodes
        self.scenario = load_scenario(recipe.worlds[0].scenario)
        self.traces = []
        for name, _ in _MEASURED:
            scenario = load_scenario(name)
            rng = training_rng(recipe.seed, scenario, _VALIDATION_STREAM)
            self.traces += sample_trace(scenario, count, rng)
        self.shares = np.repeat([weight for _, weight in _MEASURED], count)
        self.start = self._costs(QueueTrainer(recipe).mean)

    def name(self, k: int) -> str:
        """Return what the k-th measure is called."""
        scenario, weight = _MEASURED[k]
        return f"{scenario}/{'latency' if weight else 'energy'}"

    def above_start(self, tensors: dict[str, torch.Tensor]) -> dict[str, float]:
        """Return what greedy decisions cost above those of the start, in percent."""
        above = 100 * (self._costs(tensors) / self.start - 1)
        return {self.name(k): float(value) for k, value in enumerate(above)}

    def _costs(self, tensors: dict[str, torch.Tensor]) -> Floats:
        self.net.load_state_dict(tensors)
        simulation = Simulation(self.scenario, self.traces, self.shares)
        played = simulation.play(lambda shown: QueueSlot(self.net, shown, self.shares).decide())
        return np.asarray(played.episode_cost.reshape(len(_MEASURED), -1).mean(axis=1))


# ---- checkpoints ---------------------------------------------------------------------------------


def _trim(path: Path, step: int) -> None:
    """Drop the rows behind ``step`` from a curve: the training comes by there again."""
    rows = jsons.read_lines(path, {"step": (int, float)})
    kept = "".join(json.dumps(row) + "\n" for row in rows if row["step"] <= step)
    files.write_text(path, kept)


def _save(trainer: QueueTrainer, path: Path) -> None:
    """Write everything that a resumption needs."""
    tensors = {f"mean/{name}": tensor for name, tensor in trainer.mean.items()}
    tensors |= {f"memory/{name}": getattr(trainer, name) for name in _MEMORY}
    for part in ("actor", "critic"):
        state = getattr(trainer, part).state_dict()
        tensors |= {f"{part}/{name}": tensor for name, tensor in state.items()}
    for part in _OPTIMIZERS:
        for index, state in getattr(trainer, part).state_dict()["state"].items():
            tensors |= {f"{part}/{index}/{k}": torch.as_tensor(v) for k, v in state.items()}
    clock = {"step": trainer.step, "cpu_s": trainer.cpu_s}
    checkpoint.save(path, tensors, trainer.recipe.shape(), clock=clock)


def _restore(trainer: QueueTrainer, path: Path) -> None:
    """Put a training back to where ``_save`` left it.

    Raises:
        ValueError: the file is not such a checkpoint.
    """
    with weights_io.reading(path, "checkpoint", "that of this very training; or another --out"):
        tensors, meta = weights_io.load(path, checkpoint.FORMAT)
        parts: dict[str, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            part, _, rest = name.partition("/")
            parts.setdefault(part, {})[rest] = tensor
        trainer.actor.load_state_dict(parts["actor"])
        trainer.critic.load_state_dict(parts["critic"])
        trainer.mean = parts["mean"]
        for name in _MEMORY:
            getattr(trainer, name).copy_(parts["memory"][name])
        for name in _OPTIMIZERS:
            optimizer = getattr(trainer, name)
            state: dict[int, dict[str, Any]] = {}
            for key, value in parts.get(name, {}).items():
                index, _, field = key.partition("/")
                state.setdefault(int(index), {})[field] = value
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state, "param_groups": groups})
        trainer.step, trainer.cpu_s = int(meta["clock"]["step"]), float(meta["clock"]["cpu_s"])
