"""``lambo reproduce droo|are|tang-wong|qeco``.

Another paper's number, ours, the interval, the time, and what differed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from benchmarks.report.console import print_table

if TYPE_CHECKING:
    from benchmarks.studies.reproductions.quantity import Quantity


def droo(
    data: str,
    *,
    seeds: int = 5,
    frames: int | None = None,
    variant: str = "default",
) -> None:
    """Play DROO on its own frames, and say what its normalised rate is.

    Args:
        data: One of DROO's files, data_10.mat for the headline (github.com/revenol/DROO, folder
            data).
        seeds: Runs.
        frames: Play the first so many frames only.
        variant: "default", or "original": with the details of their code that harm it.
    """
    from benchmarks.studies.reproductions import droo as study

    _print(
        study.reproduce(data, seeds, frames, variant),
        f"DROO ({variant}) on {data}, {seeds} seeds",
        study.DIFFERENCES,
    )


def are(
    data: str,
    *,
    seeds: int = 5,
    optimum: bool = False,
) -> None:
    """Train ARE's original network on its own scenarios, and score the last 60.

    Args:
        data: ARE's file, are-Data1.mat (github.com/jiangfeibo/ARE, data/Data1.mat).
        seeds: Runs.
        optimum: Train nothing: solve every scenario to 0.01 % (minutes), compare with the shipped
            labels.
    """
    from benchmarks.studies.reproductions import are as study

    if optimum:
        _print(study.compare_labels(data), f"the optimum and the labels of {data}", ())
        return
    _print(
        study.reproduce(data, seeds),
        f"ARE on {data}, {seeds} seeds",
        study.DIFFERENCES,
    )


def tang_wong(*, episodes: int = 12, root: int = 0) -> None:
    """Play rules in the world of Tang and Wong: late %, beside what their code gives.

    Args:
        episodes: Of each load.
        root: Root seed of the episodes.
    """
    _queueing("tang-wong", episodes, root)


def qeco(*, episodes: int = 12, root: int = 0) -> None:
    """Play rules in the world of QECO: late %, beside what their code and network give.

    Args:
        episodes: Of each load.
        root: Root seed of the episodes.
    """
    _queueing("qeco", episodes, root)


def _queueing(name: str, episodes: int, root: int) -> None:
    from benchmarks.studies.reproductions import queueing as study

    quantities = study.reproduce(name, episodes, root)
    _print(quantities, f"late % in {name}, {episodes} episodes per load", study.DIFFERENCES)
    print(study.PUBLISHED[name].claim)


def _print(quantities: Iterable[Quantity], title: str, differences: Sequence[str]) -> None:
    rows = [
        (
            q.name,
            "-" if math.isnan(q.value.mean) else f"{q.value.mean:.6g}",
            "-" if math.isnan(q.value.low) else f"{q.value.low:.6g} .. {q.value.high:.6g}",
            q.theirs,
            q.note,
        )
        for q in quantities
    ]
    print_table(("", "ours", "95 %", "theirs", ""), rows, title)
    if differences:
        print("What differs:")
    for line in differences:
        print(f"- {line}")
