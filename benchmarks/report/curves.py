"""What happened in trainings of LAMBO: their gaps over the updates, seeds of a recipe as a band."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.report.exports import csv_text
from benchmarks.report.figures import (
    COLOURS,
    COLUMN,
    GAP_FLOOR,
    INK,
    MARK,
    Picture,
    drawn,
    new,
    picture,
)
from lambo_env.utils import files, jsons, validate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVE, OPTIONS = "curve.jsonl", "run.json"  # of a training's folder
PREFIX, SHARE = "gap_", "_share"
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Run:
    """One training: its folder, what it was told, and its measurements."""

    folder: Path
    options: Row
    rows: list[Row]

    @property
    def recipe(self) -> str:
        """What it was told but for the seed: trainings that agree in it are one line."""
        return json.dumps({k: v for k, v in self.options.items() if k != "seed"}, sort_keys=True)


def load(folders: Sequence[Path]) -> list[Run]:
    """Read the folders of trainings.

    Raises:
        ValueError: none, one twice, a folder of no training, or one that was not measured yet.
    """
    names = [str(folder) for folder in folders]
    once = len(names) > 0 and len({folder.resolve() for folder in folders}) == len(names)
    validate.check("rundir", names, once, "one folder of a training or more, each once")
    return [_load(folder) for folder in folders]


def _load(folder: Path) -> Run:
    allowed = "a folder that `lambo train` wrote, measured at least once"
    try:
        options = dict(jsons.loads((folder / OPTIONS).read_text(encoding="utf-8")))
        text = (folder / CURVE).read_text(encoding="utf-8")
        lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        rows = [dict(jsons.loads(line)) for line in lines]
        for row in rows:
            numbers = [row["step"], row["cpu_s"], *(row[name] for name in _gaps(row))]
            validate.check(CURVE, row, bool(np.isfinite(numbers).all()), "finite numbers")
    except (OSError, ValueError, TypeError, KeyError) as error:
        validate.refuse("rundir", str(folder), f"{allowed} ({validate.told(error)})")
    validate.check("rundir", str(folder), len(rows) > 0, allowed)
    return Run(folder, options, rows)


def _gaps(row: Row) -> list[str]:
    return [name for name in row if name.startswith(PREFIX)]


def table(runs: Sequence[Run]) -> str:
    """Return all measurements as CSV: one line each, gaps in per cent."""
    gaps = list(dict.fromkeys(name for run in runs for row in run.rows for name in _gaps(row)))
    columns = ("step", "phase", "cpu_s", "rollouts", "labels", *gaps)
    rows = [
        (run.folder.name, run.options.get("seed", ""), *(row.get(name, "") for name in columns))
        for run in runs
        for row in run.rows
    ]
    return csv_text(("run", "seed", *columns), rows)


def draw(runs: Sequence[Run]) -> Figure:
    """Return a panel per prompt: gap over updates, solid with the optimal CPU, dashed with shares.

    Seeds of one recipe are their geometric mean with a band from the least to the most; grey lines
    are where a phase ends.
    """
    kinds = [name for name in _gaps(runs[0].rows[0]) if not name.endswith(SHARE)]
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.recipe, []).append(run)
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    plain, nothing = FuncFormatter(lambda value, _: f"{value:g}"), NullFormatter()
    figure, panels = new(COLUMN, 1.9 * len(kinds), len(kinds))
    for axes, kind in zip(panels, kinds, strict=True):
        for colour, group in zip(_colours(len(groups)), groups.values(), strict=True):
            label = group[0].folder.name + (f" and {len(group) - 1} more" if group[1:] else "")
            for name, dashes in ((kind, "-"), (kind + SHARE, "--")):
                _line(axes, group, name, colour, dashes, label if dashes == "-" else None)
        for step in _ends(runs[0]):
            axes.axvline(step, color=INK, alpha=0.25, linewidth=0.8)
        axes.set(title=kind.removeprefix(PREFIX), yscale="log")
        axes.grid(axis="y")
        axes.yaxis.set_major_formatter(plain)
        axes.yaxis.set_minor_formatter(plain if _narrow(axes) else nothing)
    panels[-1].set_xlabel("updates")
    for panel in panels:
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.supylabel("gap (%); dashed: its own shares", fontsize="medium")
    panels[0].legend(fontsize=6)
    return figure


def _narrow(axes: Axes) -> bool:
    """Return whether less than a decade is shown, so that its ticks alone say too little."""
    low, high = axes.get_ylim()
    return high < 10 * low


def _colours(count: int) -> list[str]:
    return [COLOURS[k % len(COLOURS)] for k in range(count)]


def _line(
    axes: Axes, group: list[Run], name: str, colour: str, dashes: str, label: str | None
) -> None:
    """Draw the steps that all runs of a group have measured."""
    found = [{row["step"]: row[name] for row in run.rows if name in row} for run in group]
    steps = sorted(set.intersection(*(set(each) for each in found)))
    gaps = np.maximum([[each[step] for step in steps] for each in found], GAP_FLOOR)
    if not steps:
        return
    mean = np.exp(np.log(gaps).mean(axis=0))
    axes.plot(steps, mean, dashes, color=colour, label=label, linewidth=1.3)
    if len(group) > 1:
        axes.fill_between(
            steps, gaps.min(axis=0), gaps.max(axis=0), color=colour, alpha=0.18, linewidth=0
        )


def _ends(run: Run) -> list[int]:
    """Return the updates at which phases end, but for the last."""
    counts = [
        run.options[f"phases[{k}].updates"]
        for k in range(int(run.options.get("phases", 0)))
        if f"phases[{k}].updates" in run.options
    ]
    return [int(end) for end in np.cumsum(counts)[:-1]]


def write(folders: Sequence[Path], out: Path) -> list[Path]:
    """Write ``out``.csv, with matplotlib .png, .svg and .pdf too; return the paths."""
    runs = load(folders)
    shown: dict[str, Picture] = drawn(lambda: {"curves": picture(draw(runs))})
    written = [out.with_suffix(".csv")]
    files.write_text(written[0], table(runs), b"run,seed,step")
    for made in shown.values():
        forms = {".png": made.png, ".svg": made.svg.encode() + b"\n", ".pdf": made.pdf}
        for suffix, data in forms.items():
            path = out.with_suffix(suffix)
            with files.atomic_writer(path, MARK.encode(), b"<svg") as file:
                file.write(data)
            written.append(path)
    return written
