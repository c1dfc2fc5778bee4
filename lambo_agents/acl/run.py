"""Runs or resumes a training in a folder.

``last.safetensors`` (all that a resumption needs), ``weights.safetensors`` (the mean weights as
they were last measured: what ships), ``curve.jsonl`` and ``train.log``. What a clock says is in the
curve, the log and ``times.json`` alone: the other files are the same on every run.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import math
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lambo_agents import weights_io
from lambo_agents.acl.ahead import drawing, teacher_of
from lambo_agents.acl.config import Recipe
from lambo_agents.acl.flop import Meter, peak_flop_s
from lambo_agents.acl.processes import ALONE, Processes
from lambo_agents.acl.stages import STAGE_FIELDS
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
from lambo_env.utils import files, jsons, runs, validate

LAST, WEIGHTS, TIMES = "last.safetensors", "weights.safetensors", "times.json"
CURVE, LOG = "curve.jsonl", "train.log"
_VALIDATION_STREAM = 2**31 - 1  # of the training draws: no update ever gets there
_CLOCK = ("step", "rollouts", "labels")
# may change at a resumption
_FREE = (
    *("threads", "device", "recompute", "fully_shard", "workers"),
    *("validate_every", "checkpoint_every"),
)
# older folders say nothing of these; the weights do
_LATER = {"shards", "deep"}
_SEEN = "a folder that all processes see: as many updates in it as the others find"
_LINE_S = 30.0  # between two lines of the log
_COLUMNS = 80
Row = dict[str, Any]


@flushed()
def train(
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = True,
    tellers: Sequence[Callable[[Row], None]] = (),
    report: Callable[[Row], None] | None = None,
    processes: Processes = ALONE,
) -> Path:
    """Train a network, or go on with a training that was stopped or killed.

    Return the file of its weights.

    Args:
        recipe: what to train and how.
        out: folder; made if absent.
        resume: go on from ``out/last.safetensors`` if there is one; False refuses a folder that has
            one.
        tellers: each is called with the numbers of each update, "step" among them.
        report: called with each update's row of numbers; None prints a line every half minute and
            at each measurement.
        processes: that share the pieces of each update; each calls this, with a folder that all
            see. The first alone writes, and reports.

    Raises:
        ImportError: TensorBoard is asked for and not installed.
        ValueError: another run holds the folder, or it has a training of another recipe, or one
            where ``resume`` is False, or the processes cannot share an update evenly.
        LostProcessError: another process, or a worker, is gone; the last checkpoint is kept.
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
    processes.share(recipe.shards)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    with contextlib.ExitStack() as stack:
        draw = stack.enter_context(drawing(recipe, processes))
        trainer = Trainer(recipe, teacher_of(recipe), processes, draw)
        if processes.first:
            free = _free(out / LAST, recipe) | _LATER
            stack.enter_context(runs.opened(out, "train lambo", flat(recipe), free=free))
        processes.total([0])  # the others wait until the folder is held
        return _train(trainer, out, tellers, report)


def flat(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe's fields with its tables' under names of their own, as phases[0].updates."""
    fields = recipe.to_dict()
    for table in ("phases", "worlds"):
        for index, entry in enumerate(entries := fields.pop(table)):
            fields |= {f"{table}[{index}].{name}": value for name, value in entry.items()}
        fields[table] = len(entries)
    return fields


def _free(last: Path, recipe: Recipe) -> set[str]:
    """Return the fields that may change at a resumption, since what was done would be the same.

    Those of phases that have not begun, and how long the present one lasts if its rate is steady.

    Raises:
        ValueError: ``last`` is no checkpoint of a training, or the recipe ends where an unfinished
            one stands: no update would be left whose weights are measured.
    """
    free, done, told = set(_FREE), 0, recipe
    if last.exists():
        with _reading(last):
            meta = checkpoint.load(last).meta
            done, told = int(meta["clock"]["step"]), Recipe.from_dict(meta["recipe"])
        allowed = f"> {done}, those that are done in {last}; or another --out"
        measured = recipe.updates > done or told.updates == done  # at its end
        validate.check("updates of all phases", recipe.updates, measured, allowed)
    begun = 0  # phases
    for index, stage in enumerate(told.phases):
        if done > 0:
            begun = index + 1
        longest = len(recipe.phases) > index and recipe.phases[index].updates >= done
        if 0 < done <= stage.updates and stage.final_rate == stage.learning_rate and longest:
            free.add(f"phases[{index}].updates")
        done -= min(done, stage.updates)
    if len(recipe.phases) >= begun:
        free.add("phases")
    for index in range(begun, len(recipe.phases)):
        free |= {f"phases[{index}].{name}" for name in ("phase", *STAGE_FIELDS)}
    return free


def _train(
    trainer: Trainer,
    out: Path,
    further: Sequence[Callable[[Row], None]],
    report: Callable[[Row], None] | None,
) -> Path:
    recipe = trainer.recipe
    if (last := out / LAST).exists():
        restore(trainer, last)
    processes = trainer.processes
    steps = processes.total([trainer.step])[0]
    seen = f"{out} after {trainer.step} updates"
    validate.check("--out", seen, steps == trainer.step * processes.count, _SEEN)
    if not processes.first:
        _loop(trainer, None, out, [])
        return out / WEIGHTS
    scenario, solver = load_scenario(recipe.scenario), make_agent(recipe.validation_solver)
    rng = seeding.training_rng(recipe.seed, scenario, _VALIDATION_STREAM)
    validation = Validation.of(scenario, recipe.validation_instances, solver, rng)
    with contextlib.ExitStack() as stack:
        tellers = [
            stack.enter_context(_curve(out, trainer.step)),
            stack.enter_context(_log(out, trainer, print if report is None else None)),
            *([] if report is None else [report]),
            *further,
        ]
        _loop(trainer, validation, out, tellers)
    return out / WEIGHTS


def _loop(
    trainer: Trainer, validation: Validation | None, out: Path, tellers: list[Callable[[Row], Any]]
) -> None:
    processes, every = trainer.processes, trainer.recipe.checkpoint_every

    def keep() -> None:
        if processes.first or trainer.is_spread:
            save(trainer, out / LAST)

    def keep_together() -> None:  # whoever ends before it is written would end the first, too
        keep()
        processes.total([0])

    with runs.deferred(processes.largest) as pause:
        while trainer.progress() < 1:
            start = time.process_time()
            row = _update(trainer, validation, out)
            trainer.cpu_s += processes.total([time.process_time() - start])[0]
            for tell in tellers:
                tell({**row, "cpu_s": trainer.cpu_s})
            if trainer.progress() >= 1 or trainer.step % every == 0:
                keep()
            pause(keep_together)


def _update(trainer: Trainer, validation: Validation | None, out: Path) -> Row:
    """Do one update, and measure when it is time to; return the numbers."""
    phase = trainer.phase
    try:
        numbers = trainer.update()
    except FloatingPointError as error:
        raise FloatingPointError(f"{error}; the last good checkpoint is {out / LAST}") from None
    row = {**{name: getattr(trainer, name) for name in _CLOCK}, "phase": phase, **numbers}
    due = trainer.progress() >= 1 or trainer.step % trainer.recipe.validate_every == 0
    mean = trainer.whole_mean() if due and (validation is not None or trainer.is_spread) else {}
    if validation is not None and due:
        evaluated = _with(trainer, mean)
        row |= _gaps(evaluated, validation, trainer.recipe.device)
        meta = {"recipe": trainer.recipe.to_dict(), "row": row}
        checkpoint.save(out / WEIGHTS, mean, trainer.actor.config, **meta)
    return row


def _with(trainer: Trainer, weights: dict[str, Tensor]) -> AED:
    """Return a network of its own with other weights."""
    if trainer.is_spread:
        with torch.random.fork_rng(devices=[]):
            evaluated = AED(trainer.actor.config).to(trainer.recipe.device).eval()
    else:
        evaluated = copy.deepcopy(trainer.actor)
    evaluated.load_state_dict(weights)
    return evaluated


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


# ---- checkpoints ---------------------------------------------------------------------------------


def save(trainer: Trainer, path: str | Path) -> None:
    """Write everything that a resumption needs.

    Weights, their mean, the optimizer's moments, the clock; its CPU seconds go to a file beside it.
    Processes of a spread network call it together; the first writes.
    """
    tensors = {**trainer.whole_mean(), **trainer.whole_weights()}
    for index, state in trainer.whole_moments().items():
        tensors |= {f"optimizer/{index}/{name}": value for name, value in state.items()}
    if not trainer.processes.first:
        return
    clock = {name: getattr(trainer, name) for name in _CLOCK}
    files.write_text(Path(path).with_name(TIMES), json.dumps({"cpu_s": trainer.cpu_s}) + "\n")
    checkpoint.save(
        path, tensors, trainer.actor.config, recipe=trainer.recipe.to_dict(), clock=clock
    )


def restore(trainer: Trainer, path: str | Path) -> None:
    """Put a training back to where ``save`` left it.

    Raises:
        ValueError: the file is not such a checkpoint, or its training had another config.
    """
    with _reading(path):
        _restore(trainer, Path(path))


def _reading(path: str | Path) -> contextlib.AbstractContextManager[None]:
    return weights_io.reading(path, "checkpoint", "that of this very training; or another --out")


def _restore(trainer: Trainer, path: Path) -> None:
    tensors, meta = checkpoint.load(path)
    theirs = flat(Recipe.from_dict(meta["recipe"]))
    runs.check_options(str(path), theirs, flat(trainer.recipe), free=_free(path, trainer.recipe))
    parts = _parts(tensors)
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in parts["optimizer"].items():
        index, field = name.split("/")
        moments.setdefault(int(index), {})[field] = value
    trainer.restore(parts[""], parts, moments, str(path))
    for name in _CLOCK:
        setattr(trainer, name, meta["clock"][name])
    times = path.with_name(TIMES)
    shape = {"cpu_s": (int, float)}
    trainer.cpu_s = jsons.read(times, shape)["cpu_s"] if times.exists() else 0.0


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
def _curve(out: Path, step: int) -> Iterator[Callable[[Row], None]]:
    """Append rows with a gap to ``curve.jsonl``.

    Rows behind ``step``, where the training goes on, are dropped: it comes by there again.
    """
    path = out / CURVE
    kept = (row for row in jsons.read_lines(path, {"step": (int, float)}) if row["step"] <= step)
    files.write_text(path, "".join(json.dumps(row) + "\n" for row in kept))

    def write(row: Row) -> None:
        if _measured(row):
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    yield write


@contextlib.contextmanager
def _log(
    out: Path, trainer: Trainer, show: Callable[[str], None] | None
) -> Iterator[Callable[[Row], None]]:
    """Append a line to ``train.log``, and show it, every half minute and at each measurement."""
    told_s, recipe = -math.inf, trainer.recipe
    peak = trainer.processes.count * peak_flop_s(recipe.device, recipe.precision)
    meter = Meter(lambda: (trainer.rollouts, trainer.labels, trainer.flop), peak)
    with open(out / LOG, "a", encoding="utf-8", buffering=1) as file:

        def tell(row: Row) -> None:
            nonlocal told_s
            if not _measured(row) and time.monotonic() < told_s + _LINE_S:
                return
            told_s = time.monotonic()
            text = line(row, recipe.updates, meter.line())
            file.write(text + "\n")
            if show is not None:
                show(text)

        yield tell


def line(row: Row, updates: int, rates: str) -> str:
    """Return what a person wants to know of an update's numbers, at most 80 columns wide."""
    numbers = " ".join(
        f"{name} {row[name]:.3g}"
        for name in ("loss", "entropy", "misread", "agreed")
        if name in row
    )
    gaps = " ".join(f"{k[4:]} {v:.3f}" for k, v in row.items() if k.startswith("gap_"))
    text = (
        f"update {row['step']}/{updates} {row['phase']}, {row['cpu_s']:.0f} CPU s, "
        f"rate {row['learning_rate']:.2g}, {numbers}" + (f" | gap %: {gaps}" if gaps else "")
    )
    text = f"{text} | {rates}"
    return textwrap.fill(text, _COLUMNS, subsequent_indent="    ")


def _measured(row: Row) -> bool:
    return any(name.startswith("gap_") for name in row)
