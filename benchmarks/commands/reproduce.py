"""``lambo reproduce droo|are``.

Another paper's number, ours, the interval, the time, and what differed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cyclopts import Parameter

from benchmarks.report.console import print_table

if TYPE_CHECKING:
    from benchmarks.report.statistics import Interval
    from benchmarks.studies.reproductions.quantity import Quantity


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class DrooOptions:
    """What ``lambo reproduce droo`` takes."""

    data: str
    """One of DROO's files, data_10.mat for the headline (github.com/revenol/DROO, folder data)."""
    _: dataclasses.KW_ONLY
    seeds: int = 5
    """Runs."""
    frames: int | None = None
    """Play the first so many frames only."""
    variant: str = "default"
    """"default", or "original": with the details of their code that harm it."""


def droo(options: DrooOptions) -> None:
    """Play DROO on its own frames, and say what its normalised rate is."""
    from benchmarks.studies.reproductions import droo as study

    _print(
        study.reproduce(options.data, options.seeds, options.frames, options.variant),
        f"DROO ({options.variant}) on {options.data}, {options.seeds} seeds",
        study.DIFFERENCES,
    )


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class AreOptions:
    """What ``lambo reproduce are`` takes."""

    data: str
    """ARE's file, are-Data1.mat (github.com/jiangfeibo/ARE, data/Data1.mat)."""
    _: dataclasses.KW_ONLY
    seeds: int = 5
    """Runs."""
    optimum: bool = False
    """Train nothing: solve every scenario to 0.01 % (minutes), compare with the shipped labels."""


def are(options: AreOptions) -> None:
    """Train ARE's original network on its own scenarios, and score the last 60."""
    from benchmarks.studies.reproductions import are as study

    if options.optimum:
        quantities = study.compare_labels(options.data)
        _print(quantities, f"the optimum and the labels of {options.data}", ())
        return
    _print(
        study.reproduce(options.data, options.seeds),
        f"ARE on {options.data}, {options.seeds} seeds",
        study.DIFFERENCES,
    )


def _print(quantities: Iterable[Quantity], title: str, differences: Sequence[str]) -> None:
    rows = [(q.name, f"{q.value.mean:.6g}", _ends(q.value), q.theirs, q.note) for q in quantities]
    print_table(("", "ours", "95 %", "theirs", ""), rows, title)
    if differences:
        print("What differs:")
    for line in differences:
        print(f"- {line}")


def _ends(value: Interval) -> str:
    return "-" if math.isnan(value.low) else f"{value.low:.6g} .. {value.high:.6g}"
