"""Figures: each a function of the tables that returns a matplotlib Figure."""

from __future__ import annotations

import dataclasses
import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.report.escaping import plain, tell
from benchmarks.report.statistics import Interval
from benchmarks.report.tables import AgentLine, Table, digits
from lambo_env.prompts.grammar import parse_weights
from lambo_env.prompts.objectives import sole
from lambo_env.utils import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GRID, BOUND = "#22303c", "#e3e7ea", "#c0392b"
PLAIN, LEARNED = "#8fa8bf", "#1f5f99"
MARKS = ("o", "s", "^", "D", "v", "P")
COLOURS = ("#1f5f99", "#d9822b", "#3a8f5c", "#8a5aa8", "#b0413e", "#5c6b73", "#b59f1e", "#2a9d9d")
MARK = "lambo report"  # in each PNG: only such a file is replaced
GAP_FLOOR = 1e-3  # percent: what is drawn for a gap of nothing on a logarithmic axis
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "text.parse_math": False,  # labels are nobody's formulas
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "legend.frameon": False,
    "savefig.bbox": "tight",
    "savefig.dpi": 160,
    "svg.hashsalt": "lambo",  # the same numbers give the same file
}


@dataclasses.dataclass(frozen=True)
class Picture:
    """One figure in the two forms that reports need, and what it shows."""

    png: bytes
    svg: str
    scenario: str = ""
    prompt: str | None = None  # None: all of the scenario's


def drawn(make: Callable[[], dict[str, Picture]]) -> dict[str, Picture]:
    """Return what ``make`` draws in this style; nothing, and say so, without matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError:
        tell('no figures: they need matplotlib; pip install "lambo-mec[report]"', error=True)
        return {}
    with mpl.rc_context(STYLE), warnings.catch_warnings():  # type: ignore[arg-type]
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a label; a box stands for it
        return make()


def pictures(tables: Sequence[Table]) -> dict[str, Picture]:
    """Return every figure of a report by name: bars per table, gap against time per scenario."""
    found: dict[str, Picture] = {}
    for what, scenario, prompt, figure in _figures(tables):
        name = stem = files.safe_name(re.sub("[^a-z0-9]+", "-", what.lower()).strip("-"))
        while name in found:  # texts that differ in what a file's name cannot hold
            name = f"{stem}-{len(found)}"
        found[name] = dataclasses.replace(picture(figure), scenario=scenario, prompt=prompt)
    return found


def _figures(tables: Sequence[Table]) -> Iterator[tuple[str, str, str | None, Figure]]:
    shown = [
        dataclasses.replace(
            table,
            scenario=plain(table.scenario),
            lines=[dataclasses.replace(line, agent=plain(line.agent)) for line in table.lines],
        )
        for table in tables
    ]
    for table, drawable in zip(tables, shown, strict=True):
        yield f"{table.scenario} {table.prompt}", table.scenario, table.prompt, bars(drawable)
    for scenario in dict.fromkeys(table.scenario for table in tables):
        each = zip(tables, shown, strict=True)
        scatter = gap_against_time([drawn for table, drawn in each if table.scenario == scenario])
        if scatter is not None:
            yield f"gap-time-{scenario}", scenario, None, scatter


def picture(figure: Figure) -> Picture:
    """Return a figure as PNG and SVG."""
    png, svg = io.BytesIO(), io.StringIO()
    figure.savefig(png, format="png", metadata={"Software": MARK})
    figure.savefig(svg, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = svg.getvalue()
    return Picture(png.getvalue(), text[text.index("<svg") :])


def new(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return an empty figure of ``columns`` panels side by side."""
    from matplotlib.figure import Figure  # no pyplot: no window, no global state

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def _cost_label(table: Table) -> str:
    late = any(line.late_percent > 0 for line in table.lines)
    row = sole(parse_weights(table.prompt))
    what = f"{row.measure} ({row.unit})" if row else "cost (all local = 1)"
    return f"cost with lateness: {what}" if late else what


def bars(table: Table) -> Figure:
    """Return a bar per agent with its 95 % interval, and the certified bound as a line.

    The paper's figures 5 and 6.
    """
    lines = table.lines
    figure, (axes,) = new(max(4.2, 0.78 * len(lines) + 1.2), 3.3)
    means = [line.cost.mean for line in lines]
    colours = [LEARNED if line.parameters else PLAIN for line in lines]
    axes.bar(range(len(lines)), means, 0.66, color=colours)
    top = max(_high(line.cost) for line in lines)
    for x, line in enumerate(lines):
        if not math.isnan(line.cost.low):
            down, up = line.cost.mean - line.cost.low, line.cost.high - line.cost.mean
            axes.errorbar(x, line.cost.mean, [[down], [up]], color=INK, capsize=3, lw=1.1)
        axes.annotate(
            digits(line.cost.mean),
            (x, _high(line.cost)),
            (0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    if table.bound is not None:
        axes.axhline(table.bound, color=BOUND, lw=1.2, ls=(0, (4, 2)), zorder=3)
        axes.text(
            0.995,
            0.985,
            f"certified optimum {digits(table.bound)}",
            color=BOUND,
            ha="right",
            va="top",
            fontsize=8,
            transform=axes.transAxes,
        )
    axes.set_xticks(
        range(len(lines)),
        [line.agent for line in lines],
        rotation=25,
        ha="right",
        rotation_mode="anchor",
    )
    axes.set_ylabel(_cost_label(table))
    axes.set_ylim(0, 1.18 * top)
    axes.grid(axis="y")
    axes.tick_params(axis="x", length=0)
    axes.set_title(f"“{table.prompt}” on {table.scenario}, {lines[0].instances} instances")
    return figure


def _high(interval: Interval) -> float:
    return interval.mean if math.isnan(interval.high) else interval.high


def gap_against_time(tables: Sequence[Table]) -> Figure | None:
    """Return mean gap against decision time at batch 1 and batched, a panel per prompt.

    Both axes are logarithmic. None without bounds.
    """
    tables = [table for table in tables if any(_drawable(line) for line in table.lines)]
    if not tables:
        return None
    agents = list(
        dict.fromkeys(line.agent for table in tables for line in table.lines if _drawable(line))
    )
    figure, panels = new(min(3.5 * len(tables) + 0.6, 14), 3.9, len(tables))
    for axes, table in zip(panels, tables, strict=True):
        _scatter(axes, table, agents)
    panels[0].set_ylabel("mean gap to the certified bound (%)")
    _legend(figure, agents)
    low = min(panel.get_ylim()[0] for panel in panels)
    high = max(panel.get_ylim()[1] for panel in panels)
    for panel in panels:
        panel.set_ylim(low, high)
    return figure


def _drawable(line: AgentLine) -> bool:
    return (
        line.gap_percent is not None and line.single_ms is not None and line.batched_ms is not None
    )


def _scatter(axes: Axes, table: Table, agents: Sequence[str]) -> None:
    from matplotlib.ticker import FuncFormatter

    axes.set_xscale("log")
    axes.set_yscale("log")
    for line in table.lines:
        if line.gap_percent is None or line.single_ms is None or line.batched_ms is None:
            continue
        index, gap = agents.index(line.agent), line.gap_percent
        colour, mark = COLOURS[index % len(COLOURS)], MARKS[index % len(MARKS)]
        y = max(gap.mean, GAP_FLOOR)
        axes.plot([line.batched_ms, line.single_ms], [y, y], color=colour, lw=1, alpha=0.5)
        axes.plot([line.batched_ms], [y], mark, mfc="white", mec=colour, ms=6)
        axes.plot([line.single_ms], [y], mark, color=colour, ms=6)
        if gap.low > GAP_FLOOR:
            axes.plot([line.single_ms] * 2, [gap.low, gap.high], color=colour, lw=1.4)
    axes.margins(0.08, 0.08)
    axes.grid(which="major")
    axes.tick_params(which="minor", length=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("decision time per instance (ms)")
    axes.set_title(f"“{table.prompt}”")


def _legend(figure: Figure, agents: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            color=COLOURS[k % len(COLOURS)],
            marker=MARKS[k % len(MARKS)],
            ls="",
            label=agent,
        )
        for k, agent in enumerate(agents)
    ]
    handles += [
        Line2D([], [], color=INK, marker="o", ls="", label="one by one"),
        Line2D([], [], mec=INK, mfc="white", marker="o", ls="", label="batched"),
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), 9),
        columnspacing=1.4,
        handletextpad=0.2,
    )
