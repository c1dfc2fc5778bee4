"""Figures: each a function of the tables that returns a matplotlib Figure."""

from __future__ import annotations

import dataclasses
import io
import itertools
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.report.escaping import plain, tell
from benchmarks.report.statistics import Interval
from benchmarks.report.tables import AgentLine, Table, digits, gap_text
from lambo_env.prompts.grammar import parse_weights
from lambo_env.prompts.objectives import sole
from lambo_env.utils import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK, GRID, BOUND = "#22303c", "#e3e7ea", "#c0392b"
PLAIN, LEARNED = "#8fa8bf", "#1f5f99"
MARKS = ("o", "s", "^", "D", "v", "P")
COLOURS = ("#1f5f99", "#d9822b", "#3a8f5c", "#8a5aa8", "#b0413e", "#5c6b73", "#b59f1e", "#2a9d9d")
COLUMN, PAGE = 3.5, 7.0  # inches: a column of a two-column paper, and both
MARK = "lambo report"  # in each picture: only such a file is replaced
GAP_FLOOR = 1e-3  # percent: what is drawn for a gap of nothing on a logarithmic axis
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 7.5,
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
    "savefig.dpi": 300,
    "svg.hashsalt": "lambo",  # the same numbers give the same file
}


@dataclasses.dataclass(frozen=True)
class Picture:
    """One figure in the forms that reports and papers need, and what it shows."""

    png: bytes
    svg: str
    pdf: bytes
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
            not_trained=tuple(map(plain, table.not_trained)),
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
    """Return a figure as PNG, SVG and PDF."""
    png, svg, pdf = io.BytesIO(), io.StringIO(), io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": MARK})
    metadata = {"Creator": MARK, **dict.fromkeys(("Date", "Format", "Type"))}
    figure.savefig(svg, format="svg", metadata=metadata)
    figure.savefig(pdf, format="pdf", metadata={"Creator": MARK, "CreationDate": None})
    text = svg.getvalue()
    return Picture(png.getvalue(), text[text.index("<svg") :], pdf.getvalue())


def new(width: float, height: float, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Return an empty figure of ``rows`` panels, one below the other; sizes in inches."""
    from matplotlib.figure import Figure  # no pyplot: no window, no global state

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, 1, squeeze=False)[:, 0])


def _cost_label(table: Table) -> str:
    late = any(line.late_percent > 0 for line in table.lines)
    row = sole(parse_weights(table.prompt))
    what = f"{row.measure} ({row.unit})" if row else "cost (all local = 1)"
    return f"cost with lateness: {what}" if late else what


def queues(lines: Sequence[tuple[str, Sequence[float], Sequence[float]]], slot_s: float) -> Picture:
    """Draw the lengths of queues over time.

    Args:
        lines: per agent its name, and by slot what waits at servers and at UEs' CPUs.
        slot_s: length of a slot.
    """
    figure, panels = new(COLUMN, 4.2, 2)
    titles = ("servers, work under way included", "UEs")
    for axes, title, at in zip(panels, titles, (1, 2), strict=True):
        for line, colour in zip(lines, itertools.cycle(COLOURS), strict=False):
            times_s = [slot * slot_s for slot in range(len(line[at]))]
            axes.plot(times_s, line[at], color=colour, linewidth=1.2, label=plain(line[0]))
        axes.set(title=title, ylabel="work that waits (deadlines)", ylim=(0, None))
        axes.grid(axis="y")
    panels[1].set_xlabel("time (s)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return picture(figure)


def bars(table: Table) -> Figure:
    """Return a bar per agent with its 95 % interval, and below how far above the bound it is.

    Agents that are not trained have their row, and no bar. The bars are the paper's figures 5 and
    6; the distances are on a logarithmic axis, for among good agents bars tell nothing apart.
    Without bounds there are bars alone.
    """
    lines = table.lines
    gaps = [line.gap_percent for line in lines]
    count = 1 if all(gap is None for gap in gaps) else 2
    names = [*(line.agent for line in lines), *table.not_trained]
    figure, panels = new(COLUMN, count * (0.16 * len(names) + 0.75), count)
    rows = range(len(lines))
    colours = [LEARNED if line.parameters else PLAIN for line in lines]
    costs = panels[0]
    costs.barh(rows, [line.cost.mean for line in lines], 0.68, color=colours)
    for y, line in zip(rows, lines, strict=True):
        _interval(costs, y, line.cost)
        _beside(costs, _high(line.cost), y, digits(line.cost.mean))
    costs.set_xlim(0, 1.2 * max(_high(line.cost) for line in lines))
    costs.set_xlabel(_cost_label(table))
    costs.set_title(f"“{table.prompt}” on {table.scenario}, {lines[0].instances} instances")
    if table.bound is not None:
        costs.axvline(table.bound, color=BOUND, lw=1.2, ls=(0, (4, 2)), zorder=3)
        costs.text(
            table.bound,
            -0.75,
            f" certified optimum {digits(table.bound)}",
            color=BOUND,
            fontsize=6,
        )
    for axes in panels[1:]:
        axes.set_xscale("log")
        for y, gap, colour in zip(rows, gaps, colours, strict=True):
            if gap is not None:
                _interval(axes, y, gap, GAP_FLOOR)
                axes.plot([max(gap.mean, GAP_FLOOR)], [y], "o", color=colour, ms=4)
                _beside(axes, max(_high(gap), GAP_FLOOR), y, f"{gap_text(gap.mean)} %")
        low, high = axes.get_xlim()
        axes.set_xlim(low, high * (high / low) ** 0.2)  # room for the last number
        axes.set_xlabel("mean gap to the certified bound (%)")
        plain_numbers(axes.xaxis)
    for axes in panels:
        axes.set_ylim(len(names) - 0.4, -1.2)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_yticks(range(len(names)), names)
        for y in range(len(lines), len(names)):
            _beside(axes, axes.get_xlim()[0], y, "not trained")
    return figure


def _interval(axes: Axes, y: float, interval: Interval, least: float = 0.0) -> None:
    if not math.isnan(interval.low):
        ends = [max(end, least) for end in (interval.low, interval.high)]
        axes.plot(ends, [y, y], color=INK, lw=1.1, marker="|", ms=5, zorder=4)


def _beside(axes: Axes, x: float, y: float, text: str) -> None:
    axes.annotate(text, (x, y), (4, 0), textcoords="offset points", va="center", fontsize=6)


def plain_numbers(axis: Axis) -> None:
    """Write numbers of a logarithmic axis as they are: 0.01, not a power of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    axis.set_major_locator(LogLocator(numticks=6))  # more would touch each other
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


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
    figure, panels = new(COLUMN, 2.1 * len(tables) + 0.14 * len(agents) + 0.4, len(tables))
    for axes, table in zip(panels, tables, strict=True):
        _scatter(axes, table, agents)
    figure.supylabel("mean gap to the certified bound (%)", fontsize="medium")
    panels[-1].set_xlabel("decision time per instance (ms)")
    _legend(figure, agents)
    for panel in panels[1:]:
        panel.sharex(panels[0])
        panel.sharey(panels[0])
    panels[0].autoscale()
    return figure


def _drawable(line: AgentLine) -> bool:
    return (
        line.gap_percent is not None and line.single_ms is not None and line.batched_ms is not None
    )


def _scatter(axes: Axes, table: Table, agents: Sequence[str]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for line in table.lines:
        if line.gap_percent is None or line.single_ms is None or line.batched_ms is None:
            continue
        index, gap = agents.index(line.agent), line.gap_percent
        colour, mark = COLOURS[index % len(COLOURS)], MARKS[index % len(MARKS)]
        y = max(gap.mean, GAP_FLOOR)
        axes.plot([line.batched_ms, line.single_ms], [y, y], color=colour, lw=1, alpha=0.5)
        axes.plot([line.batched_ms], [y], mark, mfc="white", mec=colour, ms=4)
        axes.plot([line.single_ms], [y], mark, color=colour, ms=4)
        if gap.low > GAP_FLOOR:
            axes.plot([line.single_ms] * 2, [gap.low, gap.high], color=colour, lw=1.4)
    axes.margins(0.08, 0.08)
    axes.grid(which="major")
    axes.tick_params(which="minor", length=0)
    for axis in (axes.xaxis, axes.yaxis):
        plain_numbers(axis)
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
        ncols=3,
        columnspacing=1.0,
        handletextpad=0.2,
    )
