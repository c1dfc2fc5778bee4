"""The report of ``lambo adapt``: gaps over time, what each method recovered, and what it cost."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import figures, report
from benchmarks.report.statistics import Interval, seeds_interval, student_half_width
from benchmarks.report.tables import digits, interval_text
from lambo_env.offloading import drift as suite
from lambo_env.utils import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
TITLE = "# Adaptation to drift"
LAST = 20  # slots at the end of a stream that "after" is measured on
DOUBLES = 2.0  # how much the frozen network's gap must grow for there to be something to recover
REGIME = suite.PERIOD // 2
WIDE = "-wide"  # end of the name of a figure two columns wide
SMOOTH = 3  # slots that a curve is averaged over
HEADER = (
    "drift",
    "method",
    "before %",
    "after %",
    "recovered %",
    "on return",
    "labels",
    "scored",
    "update s",
    "expert s",
)
CURVES = {
    "alef-entropy": "#1f5f99",
    "alef-random": "#d9822b",
    "frozen": "#5c6b73",
    "full": "#3a8f5c",
    "scratch": "#8a5aa8",
    "greedy": "#b5443c",
    "local-search": "#b9a23c",
}


@dataclasses.dataclass(frozen=True)
class MethodCurve:
    """One method under one drift, over the seeds."""

    drift: str
    method: str
    slots: NDArray[np.int64]  # [S] that were played
    gaps: Floats  # [seeds, S] percent
    labels: float
    evaluations: float  # decisions that the simulator scored for the agent, its expert's apart
    update_s: float
    expert_s: float

    def _mean(self, first: int, end: int) -> Floats:
        """Return the gap of slots ``first`` to ``end`` - 1, one per seed.

        NaN where none was played.
        """
        rows = (self.slots >= first) & (self.slots < end)
        return self.gaps[:, rows].mean(axis=1) if rows.any() else np.full(len(self.gaps), np.nan)

    @property
    def before(self) -> Floats:
        """The gap before the drift, one per seed."""
        return self._mean(0, REGIME if self.cyclic else suite.START)

    @property
    def after(self) -> Floats:
        """The gap in the drifted world at the end.

        The last slots, or a cyclic stream's second shifted half-period.
        """
        end = int(self.slots[-1]) + 1
        return self._mean(3 * REGIME, 4 * REGIME) if self.cyclic else self._mean(end - LAST, end)

    @property
    def returned(self) -> Floats | None:
        """The gap when the first regime is back, over what it was.

        None where it never comes back.
        """
        if not self.cyclic or self.slots[-1] < 2 * REGIME:
            return None
        return np.asarray(self._mean(2 * REGIME, 3 * REGIME) / self.before)

    @property
    def cyclic(self) -> bool:
        """Whether the drift comes and goes."""
        return self.drift.endswith("cyclic")


def curves_of(cells: Sequence[dict[str, Any]]) -> list[MethodCurve]:
    """Return the curves of finished cells: one per drift and method."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for cell in cells:
        groups.setdefault((cell["drift"], cell["method"]), []).append(cell)
    return [_line(*key, group) for key, group in groups.items()]


def _line(drift: str, method: str, cells: list[dict[str, Any]]) -> MethodCurve:
    gaps = np.array([[row["gap"] for row in cell["rows"]] for cell in cells])
    names = ("labels", "evaluations", "update_s", "expert_s")
    spent = {name: float(np.mean([cell.get(name, 0) for cell in cells])) for name in names}
    slots = np.array([row["slot"] for row in cells[0]["rows"]])
    return MethodCurve(drift, method, slots, gaps, **spent)


def recovered(line: MethodCurve, frozen: MethodCurve) -> Interval | None:
    """Return the share of the frozen network's lost gap that a method won back, in percent.

    None where little was lost.
    """
    seeds = min(len(line.gaps), len(frozen.gaps))
    lost = frozen.after[:seeds] - frozen.before[:seeds]
    if float(frozen.after.mean()) < DOUBLES * float(frozen.before.mean()):
        return None
    return seeds_interval(100 * (frozen.after[:seeds] - line.after[:seeds]) / lost)


def left_by_labels(
    line: MethodCurve, frozen: MethodCurve, cells: Sequence[dict[str, Any]]
) -> tuple[Floats, Floats]:
    """Return numbers of labels [K], rising from 0, and the gap over the frozen network's [K].

    Both gaps are of the same slots, from the drift on.
    """
    mine = [cell for cell in cells if (cell["drift"], cell["method"]) == (line.drift, line.method)]
    paid = np.array([[row["labels"] for row in cell["rows"]] for cell in mine]).mean(axis=0)
    drifted = line.slots >= suite.START
    stages = np.unique(paid[drifted])
    seeds = min(len(line.gaps), len(frozen.gaps))
    left = [
        float(line.gaps[:seeds, rows].mean() / frozen.gaps[:seeds, rows].mean())
        for stage in stages
        for rows in [drifted & (paid == stage)]
    ]
    return stages, np.array(left)


def labels_to(curve: tuple[Floats, Floats], goal: float) -> float:
    """Return the labels after which a curve of ``left_by_labels`` reaches ``goal``.

    Linear between its points; inf if it never does.
    """
    labels, left = curve
    reached = np.flatnonzero(left <= goal)
    if not len(reached) or reached[0] == 0:
        return math.inf if not len(reached) else 0.0
    k = int(reached[0])
    return float(
        labels[k - 1] + (labels[k] - labels[k - 1]) * (left[k - 1] - goal) / (left[k - 1] - left[k])
    )


def rows_of(lines: Sequence[MethodCurve]) -> list[tuple[str, ...]]:
    """Return the summary table's rows."""
    frozen = {line.drift: line for line in lines if line.method == "frozen"}
    return [_row(line, frozen.get(line.drift)) for line in lines]


def _row(line: MethodCurve, frozen: MethodCurve | None) -> tuple[str, ...]:
    won = None if frozen is None or line.method == "frozen" else recovered(line, frozen)
    back = line.returned
    return (
        line.drift,
        line.method,
        _with_mean(seeds_interval(line.before)),
        _with_mean(seeds_interval(line.after)),
        "" if won is None else _with_mean(won),
        "" if back is None else _with_mean(seeds_interval(back)),
        f"{line.labels:g}",
        f"{line.evaluations:,.0f}",
        digits(line.update_s, 3),
        digits(line.expert_s, 3),
    )


def queries(lines: Sequence[MethodCurve], cells: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return the labels that each query needs for 90 % of what random queries win with all.

    One row per query and drift where something was lost.
    """
    out: list[tuple[str, ...]] = []
    for drift in dict.fromkeys(line.drift for line in lines):
        mine = {line.method: line for line in lines if line.drift == drift}
        random, frozen = mine.get("alef-random"), mine.get("frozen")
        if random is None or frozen is None or random.cyclic or recovered(random, frozen) is None:
            continue
        curve = left_by_labels(random, frozen, cells)
        goal = 0.1 + 0.9 * float(curve[1][-1])
        base = labels_to(curve, goal)
        for method in [name for name in mine if name.startswith("alef-") and name != "alef-random"]:
            need = labels_to(left_by_labels(mine[method], frozen, cells), goal)
            ratio = need / base if base > 0 and math.isfinite(need) else math.nan
            out.append(
                (drift, method, digits(goal, 3), digits(need, 3), digits(base, 3), digits(ratio, 3))
            )
    return out


def overview(lines: Sequence[MethodCurve]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the summary.

    One row per drift: the gap at its end of each method, and what was won back.
    """
    methods = list(dict.fromkeys(line.method for line in lines))
    learn = [
        name for name in methods if any(line.method == name and line.labels > 0 for line in lines)
    ]
    header = ["drift", "before", *methods, *(f"{name} recovers %" for name in learn)]
    rows = []
    for drift in dict.fromkeys(line.drift for line in lines):
        mine = {line.method: line for line in lines if line.drift == drift}
        frozen = mine.get("frozen")
        won = [recovered(mine[name], frozen) if name in mine and frozen else None for name in learn]
        ends = [
            _with_mean(seeds_interval(mine[name].after)) if name in mine else "" for name in methods
        ]
        before = "" if frozen is None else _with_mean(seeds_interval(frozen.before))
        rows.append(
            [drift, before, *ends, *("" if part is None else _with_mean(part) for part in won)]
        )
    return header, rows


def _with_mean(interval: Interval) -> str:
    return f"{digits(interval.mean, 2 if interval.mean < 1 else 3)} {interval_text(interval, 2)}"


def write(cells: Sequence[dict[str, Any]], folder: Path, *, draw: bool = True) -> list[Path]:
    """Write ``report.md`` and two figures per drift, one and two columns wide; return paths."""
    lines = curves_of(cells)
    pictures = figures.drawn(lambda: _pictures(lines)) if draw else {}
    for name, picture in pictures.items():
        report.write_picture(folder, name, picture)
    first, seeds = cells[0], len({cell["seed"] for cell in cells})
    about = (
        f"{seeds} seed{'s' if seeds > 1 else ''}, "
        f"{first['batch']} worlds per stream, half under “minimum latency”, half under "
        "“minimum energy”. Gaps are to certified bounds, in percent, with 95 % intervals over the "
        f"seeds; before: the slots before the drift; after: the last {LAST} slots (cyclic: slots "
        "75 to 99). Recovered: how much of what the frozen network lost, where its gap at least "
        "doubles. On return: the gap of slots 50 to 74 over that of slots 0 to 24, the same world. "
        "Seconds are totals per stream, on one thread."
    )
    trained = {
        (cell["num_trainable"], cell["num_parameters"]) for cell in cells if "num_trainable" in cell
    }
    shares = "; ".join(
        f"{part:,} of {whole:,} ({100 * part / whole:.1f} %)" for part, whole in sorted(trained)
    )
    about += f" Parameters that learn: {shares}." if trained else ""
    parts = [TITLE, about, report.markdown_table(*overview(lines))]
    parts += ["## All numbers", report.markdown_table(HEADER, rows_of(lines))]
    asked = queries(lines, cells)
    if asked:
        header = ("drift", "query", "gap over frozen", "labels", "labels of random", "ratio")
        parts += [
            "## Labels to 90 % of what random queries win",
            report.markdown_table(header, asked),
        ]
    parts += [f"![{name}](figures/{name}.png)" for name in pictures if name.endswith(WIDE)]
    files.write_text(folder / "report.md", "\n\n".join(parts) + "\n", TITLE.encode())
    return [folder / "report.md", *(folder / "figures" / f"{name}.png" for name in pictures)]


def _pictures(lines: Sequence[MethodCurve]) -> dict[str, figures.Picture]:
    names = dict.fromkeys(line.drift for line in lines)
    forms = {"": figures.COLUMN, WIDE: figures.PAGE}
    return {
        files.safe_name(name) + end: figures.picture(
            _figure(name, [line for line in lines if line.drift == name], width)
        )
        for name in names
        for end, width in forms.items()
    }


def _figure(drift: str, lines: Sequence[MethodCurve], width: float) -> Figure:
    """Return mean gaps over the slots with their 95 % intervals, one curve per method."""
    columns = int(width // 1.15)  # of the legend
    figure, (axes,) = figures.new(width, 2.4 + 0.14 * -(-len(lines) // columns))
    spare = iter([colour for colour in figures.COLOURS if colour not in CURVES.values()] * 4)
    for line in lines:
        _curve(axes, line, CURVES.get(line.method) or next(spare))
    axes.set_yscale("log")
    axes.set_xlabel("slot")
    axes.set_ylabel("gap to the bound (%)")
    axes.axvline(
        REGIME if drift.endswith("cyclic") else suite.START, color=figures.INK, lw=0.8, ls=":"
    )
    axes.grid(which="major")
    figures.plain_numbers(axes.yaxis)
    figure.legend(loc="outside lower center", ncols=columns, columnspacing=1.0)
    axes.set_title(textwrap.fill(suite.describe(drift), int(14 * width)))
    return figure


def _curve(axes: Axes, line: MethodCurve, colour: str) -> None:
    smooth, slots = line.gaps, line.slots
    if len(slots) >= SMOOTH and slots[1] - slots[0] == 1:  # those of a stride are too far apart
        smooth = np.apply_along_axis(
            lambda row: np.convolve(row, np.ones(SMOOTH) / SMOOTH, mode="valid"), 1, smooth
        )
        slots = slots[SMOOTH // 2 : -(SMOOTH // 2)]
    mean = smooth.mean(axis=0)
    axes.plot(
        slots,
        mean,
        color=colour,
        lw=1.2,
        ls="-" if line.labels or line.method == "frozen" else "--",
        label=line.method,
    )
    if len(smooth) > 1:
        half = student_half_width(smooth)
        axes.fill_between(
            slots, np.maximum(mean - half, 1e-2), mean + half, color=colour, alpha=0.15, lw=0
        )
