"""Runs or resumes a training in a folder.

``last.safetensors`` (all that a resumption needs), ``best.safetensors``, ``curve.jsonl``. What the
clock says is in the curve and in ``times.json`` alone: the other files are the same on every run.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lambo_agents.acl.config import ACLConfig
from lambo_agents.acl.trainer import Trainer, flushed
from lambo_agents.network import checkpoint, decoding
from lambo_agents.network.aed import AED
from lambo_agents.registry import make_agent
from lambo_agents.testing.validation import Validation
from lambo_env.cell import seeding
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import files, runs, validate

LAST, TIMES = "last.safetensors", "times.json"
_VALIDATION_STREAM = 2**31 - 1  # of the training draws: no update ever gets there
_CLOCK = ("step", "rollouts", "labels")
_GROW = ("steps",)  # a finished training may be extended
_FREE = (
    "gradient_rate",
    "minutes",
    "threads",
    "device",
    "validate_every",
    "checkpoint_every",
    "tensorboard",
)  # may change at a resumption
Row = dict[str, Any]


@flushed()
def train(
    config: ACLConfig,
    out: str | Path,
    *,
    resume: bool = True,
    report: Callable[[Row], None] | None = None,
) -> Path:
    """Train a network, or go on with a training that was stopped or killed.

    Return the file of the best one.

    Args:
        config: what to train and how.
        out: folder; made if absent.
        resume: go on from ``out/last.safetensors`` if there is one; False refuses a folder that has
            one.
        report: called with each row of the curve; None shows a progress bar.

    Raises:
        ValueError: another run holds the folder, or it has a training of another config, or one
            where ``resume`` is False.
        FloatingPointError: the loss was not finite; the last good checkpoint is kept and named.
        Stopped: a signal came; the training is saved as it was then.
    """
    out = Path(out)
    validate.check(
        "train(out)",
        str(out),
        resume or not (out / LAST).exists(),
        "a folder without a training, or resume=True",
    )
    if config.threads:
        torch.set_num_threads(config.threads)
    teacher = (
        make_agent(config.teacher) if config.imitation_steps or config.include_teacher else None
    )
    trainer = Trainer(config, teacher)
    with runs.opened(out, "train lambo", config.to_dict(), grow=_GROW, free=_FREE):
        return _train(trainer, out, report)


def _train(trainer: Trainer, out: Path, report: Callable[[Row], None] | None) -> Path:
    config = trainer.config
    if (last := out / LAST).exists():
        restore(trainer, last)
    scenario, solver = load_scenario(config.scenario), make_agent(config.validation_solver)
    rng = seeding.training_rng(config.seed, scenario, _VALIDATION_STREAM)
    validation = Validation.of(scenario, config.validation_instances, solver, rng)
    with contextlib.ExitStack() as stack:
        tell = report if report is not None else stack.enter_context(_bar(trainer))
        write = stack.enter_context(_curve(out, config.tensorboard, trainer.step))
        _loop(trainer, validation, out, lambda row: (write(row), tell(row)))
    return out / "best.safetensors"


def _loop(trainer: Trainer, validation: Validation, out: Path, tell: Callable[[Row], Any]) -> None:
    evaluated = AED(trainer.actor.config).to(trainer.config.device).eval()
    with runs.deferred() as pause:
        while trainer.progress() < 1:
            _update(trainer, validation, evaluated, out, tell)
            pause(lambda: save(trainer, out / LAST))


def _update(
    trainer: Trainer, validation: Validation, evaluated: AED, out: Path, tell: Callable[[Row], Any]
) -> None:
    """Do one update; measure, tell and save when it is time to."""
    config = trainer.config
    try:
        numbers = trainer.update()
    except FloatingPointError as error:
        raise FloatingPointError(f"{error}; the last good checkpoint is {out / LAST}") from None
    done = trainer.progress() >= 1
    row = {**{name: getattr(trainer, name) for name in _CLOCK}, **numbers}
    if done or trainer.step % config.validate_every == 0:
        evaluated.load_state_dict(trainer.mean)
        row |= _gaps(evaluated, validation, config.device)
        _keep_best(trainer, row, out / "best.safetensors")
    tell({**row, "seconds": trainer.seconds})
    if done or trainer.step % config.checkpoint_every == 0:
        save(trainer, out / LAST)


def _gaps(aed: AED, validation: Validation, device: str) -> dict[str, float]:
    """Return the mean gaps of greedy decisions: "gap_" and a prompt's name, each with "_share"."""
    greedy, shared = (
        validation.gaps(functools.partial(greedy_decision, aed, device, shares))
        for shares in (False, True)
    )
    return {
        f"gap_{name}{end}": gaps[name]
        for name in greedy
        for end, gaps in (("", greedy), ("_share", shared))
    }


@torch.inference_mode()
def greedy_decision(
    aed: AED, device: str, shares: bool, instances: Instances, prompts: Prompts
) -> Decision:
    """Return greedy decisions of NumPy instances, with the network's shares or the best."""
    slots = decoding.slot(instances, prompts.tokens, shares, device)
    place, taken = (part[:, 0].cpu().numpy() for part in decoding.decide_all(aed, slots))
    cpu = decoding.cpu_hz(instances, place, taken) if shares else physics.allocate(instances, place)
    return Decision(place, cpu)


def _keep_best(trainer: Trainer, row: Row, path: Path) -> None:
    """Write the mean weights if their gap over prompts and allocations is the smallest yet."""
    gap = sum(value for name, value in row.items() if name.startswith("gap_"))
    known = checkpoint.load(path).meta["gap"] if path.exists() else float("inf")
    if gap <= known:
        meta = {"acl": trainer.config.to_dict(), "gap": gap, "row": row}
        checkpoint.save(path, trainer.mean, trainer.actor.config, **meta)


# ---- checkpoints ---------------------------------------------------------------------------------


def save(trainer: Trainer, path: str | Path) -> None:
    """Write everything that a resumption needs.

    Weights, their mean, the optimizer's moments, the clock; its seconds go to a file beside it.
    """
    tensors: dict[str, Tensor] = dict(trainer.mean)
    modules = {"actor": trainer.actor, "reader": trainer.reader} | (
        {"critic": trainer.critic} if trainer.critic else {}
    )
    for part, module in modules.items():
        tensors |= {
            f"{part}/{name}": weight.clone() for name, weight in module.state_dict().items()
        }
    for index, state in trainer.optimizer.state_dict()["state"].items():
        tensors |= {
            f"optimizer/{index}/{name}": torch.as_tensor(value).clone()
            for name, value in state.items()
        }
    clock = {name: getattr(trainer, name) for name in _CLOCK}
    files.write_text(Path(path).with_name(TIMES), json.dumps({"seconds": trainer.seconds}) + "\n")
    checkpoint.save(path, tensors, trainer.actor.config, acl=trainer.config.to_dict(), clock=clock)


def restore(trainer: Trainer, path: str | Path) -> None:
    """Put a training back to where ``save`` left it.

    Raises:
        ValueError: the file is not such a checkpoint, or its training had another config.
    """
    tensors, meta = checkpoint.load(path)
    ours, theirs = trainer.config.to_dict(), ACLConfig.from_dict(meta["acl"]).to_dict()
    runs.check_options(str(path), theirs, ours, grow=_GROW, free=_FREE)
    parts = _parts(tensors)
    checkpoint.fit_tensors(trainer.actor, parts["actor"], str(path))
    trainer.reader.load_state_dict(parts["reader"])
    if trainer.critic is not None:
        trainer.critic.load_state_dict(parts["critic"])
    trainer.mean = {name: parts[""][name].to(trainer.config.device) for name in trainer.mean}
    groups = trainer.optimizer.state_dict()["param_groups"]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in parts["optimizer"].items():
        index, field = name.split("/")
        state.setdefault(int(index), {})[field] = value
    trainer.optimizer.load_state_dict({"state": state, "param_groups": groups})
    for name in _CLOCK:
        setattr(trainer, name, meta["clock"][name])
    times = Path(path).with_name(TIMES)
    trainer.seconds = json.loads(times.read_text())["seconds"] if times.exists() else 0.0


def _parts(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {
        "": {},
        "actor": {},
        "reader": {},
        "critic": {},
        "optimizer": {},
    }
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/") if "/" in name else ("", "", name)
        parts[part][rest] = tensor
    return parts


# ---- what is shown -------------------------------------------------------------------------------


@contextlib.contextmanager
def _curve(out: Path, tensorboard: bool, step: int) -> Iterator[Callable[[Row], None]]:
    """Append rows with a gap to ``curve.jsonl``, and all rows to TensorBoard if asked.

    Rows behind ``step``, where the training goes on, are dropped: it comes by there again.
    """
    path, writer = out / "curve.jsonl", None
    kept = (line for line in _lines(path) if int(json.loads(line)["step"]) <= step)
    files.write_text(path, "".join(kept))
    if tensorboard:
        from torch.utils.tensorboard import SummaryWriter  # an extra, slow to import

        writer = SummaryWriter(str(out), purge_step=step + 1)

    def write(row: Row) -> None:
        if any(name.startswith("gap_") for name in row):
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        if writer is not None:
            for name, value in row.items():
                writer.add_scalar(name, value, row["step"])

    yield write
    if writer:
        writer.close()


def _lines(path: Path) -> list[str]:
    """Return the whole lines of a file, none where there is no file."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


@contextlib.contextmanager
def _bar(trainer: Trainer) -> Iterator[Callable[[Row], None]]:
    """Show progress, rollouts a second and the last gaps."""
    from rich.progress import (  # only for people
        BarColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns) as progress:
        task = progress.add_task("train", total=1.0, note="")
        gaps: Row = {}

        def tell(row: Row) -> None:
            gaps.update({name[4:]: value for name, value in row.items() if name.startswith("gap_")})
            shown = " ".join(f"{name} {value:.2f}%" for name, value in gaps.items())
            speed = trainer.rollouts / max(trainer.seconds, 1e-9)
            progress.update(
                task,
                completed=trainer.progress(),
                note=f"step {row['step']} {speed:.0f} rollouts/s gap: {shown}",
            )

        yield tell
