"""How a running sweep looks: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table as RichTable
from rich.text import Text

from benchmarks.report.escaping import plain, tell
from benchmarks.report.tables import digits, gap_text, values
from benchmarks.sweep.config import SweepCell
from benchmarks.sweep.results import CellResult
from benchmarks.sweep.runner import OnProgress, Progress
from lambo_env.prompts.grammar import parse_weights
from lambo_env.prompts.objectives import unit_of
from lambo_env.utils.gaps import gap_percent


@contextlib.contextmanager
def shown() -> Iterator[OnProgress]:
    """Yield an ``on_progress`` that suits where the error stream goes."""
    console, start_s = Console(stderr=True), time.monotonic()
    if not console.is_terminal:
        yield print_event
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield lambda progress: live.update(progress_table(progress, time.monotonic() - start_s))


def mean_gap(result: CellResult) -> float:
    """Return the mean gap of a result in percent, NaN without bounds."""
    return float(np.mean(gap_percent(values([result], "cost"), values([result], "bound"))))


def print_event(progress: Progress) -> None:
    """Print what happened last as a line."""
    text, last = "", progress.last
    count = f"{len(progress.results)} of {len(progress.cells)}"
    if isinstance(last, CellResult):
        cost = digits(float(np.mean(values([last], "cost"))))
        cost = f"{cost} {unit_of(parse_weights(last.prompt))}".strip()
        gap = mean_gap(last)
        tail = "" if np.isnan(gap) else f", gap {gap_text(gap)} %"
        where = f"{last.agent} on {last.scenario}, {last.prompt}, block {last.block}"
        text = f"[{count}] {where}: {cost}{tail}, {digits(last.batched_ms, 3)} ms"
    elif isinstance(last, SweepCell):
        if len(_empty_like(last, progress)) == 1:  # said once per agent and scenario
            reason = progress.reasons[last.id]
            text = f"{last.agent.label} on {last.source.name}: no result: {reason}"
    elif progress.proven:
        text = f"bounds: {progress.proven} of {progress.to_prove} blocks proven"
    else:
        text = f"{count} cells done"
    if text:
        tell(text, error=True)


def _empty_like(cell: SweepCell, progress: Progress) -> list[SweepCell]:
    """Return the empty cells of the same agent and scenario."""
    what = (cell.agent.label, cell.source.name)
    empty = (other for other in progress.cells if other.id in progress.reasons)
    return [other for other in empty if (other.agent.label, other.source.name) == what]


def progress_table(progress: Progress, elapsed_s: float) -> RichTable:
    """Return a table of agents and prompts that fills as cells finish."""
    columns = list(dict.fromkeys((cell.source.name, cell.prompt) for cell in progress.cells))
    bounds = f", bounds {progress.proven} of {progress.to_prove}"
    table = RichTable(
        title=f"{len(progress.results)} of {len(progress.cells)} cells"
        f"{bounds if progress.proven < progress.to_prove else ''}, {elapsed_s:.0f} s",
        title_justify="left",
    )
    table.add_column("mean gap % (blocks)", no_wrap=True)
    for column in columns:
        table.add_column(Text("\n".join(map(plain, column))), justify="right")
    for agent in dict.fromkeys(cell.agent.label for cell in progress.cells):
        table.add_row(
            Text(plain(agent)), *(_entry(progress, (agent, *column)) for column in columns)
        )
    return table


def _entry(progress: Progress, what: tuple[str, str, str]) -> str:
    """Return the text of an agent, scenario and prompt."""
    cells = [c for c in progress.cells if (c.agent.label, c.source.name, c.prompt) == what]
    gaps = [mean_gap(progress.results[c.id]) for c in cells if c.id in progress.results]
    if any(cell.id in progress.reasons for cell in cells):
        return "[dim]none[/]"
    if not gaps:
        return f"[dim]0/{len(cells)}[/]"
    mean = float(np.mean(gaps))
    text = "done" if np.isnan(mean) else gap_text(mean)
    return text if len(gaps) == len(cells) else f"{text} [dim]{len(gaps)}/{len(cells)}[/]"
