"""Who hears of a training: its log file and the terminal, TensorBoard, Weights & Biases."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import math
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from benchmarks.commands.groups import WRITTEN

Row = Mapping[str, Any]
Teller = Callable[[Row], None]
COLUMNS = 80
LINE_S = 30.0  # between two lines


@Parameter(name="*")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Telling:
    """Where a training's numbers go beside its log file."""

    tensorboard: Annotated[bool, Parameter(negative=(), group=WRITTEN)] = False
    """Also write all numbers for TensorBoard, into the training's folder."""
    track: Annotated[bool, Parameter(negative=(), group=WRITTEN)] = False
    """Also send all numbers to Weights & Biases (extra track)."""


@contextlib.contextmanager
def writers(
    telling: Telling, folder: Path, name: str, config: Mapping[str, Any]
) -> Iterator[list[Teller]]:
    """Yield what takes the rows of a training for TensorBoard and Weights & Biases.

    A row has "step" and numbers by name.

    Args:
        telling: which of the two.
        folder: of the training.
        name: of the run, for Weights & Biases.
        config: of the training, likewise.

    Raises:
        ImportError: one of them is not installed.
    """
    with contextlib.ExitStack() as stack:
        tellers: list[Teller] = []
        if telling.tensorboard:
            tellers.append(stack.enter_context(_board(folder)))
        if telling.track:
            wandb = importlib.import_module("wandb")
            folder.mkdir(parents=True, exist_ok=True)
            run = wandb.init(project="lambo", name=name, dir=str(folder), config=dict(config))
            stack.callback(run.finish)
            tellers.append(lambda row: run.log(dict(numbers(row)), step=int(row["step"])))
        yield tellers


@contextlib.contextmanager
def _board(folder: Path) -> Iterator[Teller]:
    """Yield what writes rows for TensorBoard; a resumed training goes on at its own step."""
    kind = importlib.import_module("torch.utils.tensorboard").SummaryWriter
    boards: list[Any] = []

    def write(row: Row) -> None:
        if not boards:
            boards.append(kind(str(folder), purge_step=row["step"]))
        for name, value in numbers(row):
            boards[0].add_scalar(name, value, row["step"])

    try:
        yield write
    finally:
        for board in boards:
            board.close()


@contextlib.contextmanager
def told(
    telling: Telling, folder: Path, log: Path, name: str, config: Mapping[str, Any]
) -> Iterator[Teller]:
    """Yield one teller for all: the log file, the terminal, and those of ``writers``.

    The log gets a line at least every half minute, as long as rows come, and one for each row that
    says ``"scored": True``; none is wider than 80 columns.
    """
    with writers(telling, folder, name, config) as tellers:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a", encoding="utf-8", buffering=1) as file:
            last_s = -math.inf

            def tell(row: Row) -> None:
                nonlocal last_s
                if row.get("scored") or time.monotonic() >= last_s + LINE_S:
                    last_s = time.monotonic()
                    text = line(row)
                    file.write(text + "\n")
                    print(text, flush=True)
                for teller in tellers:
                    teller(row)

            yield tell


def numbers(row: Row) -> list[tuple[str, float]]:
    """Return the numbers of a row by name, without its step."""
    skipped = ("step", "of", "scored")
    return [(k, v) for k, v in row.items() if k not in skipped and not isinstance(v, str | bool)]


def line(row: Row) -> str:
    """Return a row as text, folded at 80 columns."""
    place = f"{row['step']}/{row['of']}" if "of" in row else f"{row['step']}"
    parts = [f"{row.get('what', 'step')} {place}", *(f"{k} {v:.4g}" for k, v in numbers(row))]
    return folded(", ".join(parts))


def folded(text: str) -> str:
    """Return a text in lines of at most 80 columns, the further ones indented."""
    return textwrap.fill(text, COLUMNS, subsequent_indent="    ")
