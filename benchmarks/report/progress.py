"""How a running sweep looks: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from benchmarks.report.statistics import gap_percent
from benchmarks.report.tables import digits, gap_text, unit_of
from benchmarks.sweep.config import Cell
from benchmarks.sweep.results import Row


def mean_gap(row: Row) -> float:
    """Return the mean gap of a row in percent, NaN without bounds."""
    return float(np.mean(gap_percent(row["cost"], np.array(row["bound"], dtype=float))))


class PlainWatch:
    """One line an event, for files and pipes."""

    def __init__(self) -> None:
        self.count = self.total = 0
        self.told: set[str] = set()

    def begin(self, cells: list[Cell], rows: list[Row]) -> None:
        """Say how much is there already."""
        done = {row["cell"] for row in rows}
        self.total, self.count = len(cells), sum(cell.id in done for cell in cells)
        self._say(f"{self.count} of {self.total} cells done")

    def bound(self, done: int, total: int) -> None:
        """Say how many bounds are proven."""
        self._say(f"bounds: {done} of {total} blocks proven")

    def row(self, row: Row) -> None:
        """Say what a cell gave."""
        self.count += 1
        cost = f"{digits(float(np.mean(row['cost'])))} {unit_of(row['latency_weight'])}".strip()
        gap = mean_gap(row)
        tail = "" if np.isnan(gap) else f", gap {gap_text(gap)} %"
        where = f"{row['scenario']}, {row['prompt']}, block {row['block']}"
        self._say(
            f"[{self.count}/{self.total}] {row['agent']} on {where}: {cost}{tail}, {digits(row['batched_ms'], 3)} ms"
        )

    def empty(self, cell: Cell, reason: str) -> None:
        """Say once an agent and scenario why cells stay empty."""
        what = f"{cell.agent.label} on {cell.source.name}"
        if what not in self.told:
            self.told.add(what)
            self._say(f"{what}: no result: {reason}")

    def end(self) -> None:
        """Nothing is left open."""

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class LiveWatch:
    """A table of agents and prompts that fills as cells finish."""

    def __init__(self) -> None:
        from rich.live import Live

        self.live = Live(console=_console(), refresh_per_second=4, transient=True)
        self.cells: list[Cell] = []
        self.rows: dict[str, Row] = {}
        self.reasons: dict[str, str] = {}
        self.bounds = (0, 0)
        self.start = time.monotonic()

    def begin(self, cells: list[Cell], rows: list[Row]) -> None:
        """Open the table with what is there already."""
        self.cells = cells
        wanted = {cell.id for cell in cells}
        self.rows = {row["cell"]: row for row in rows if row["cell"] in wanted}
        self.live.start()
        self._show()

    def bound(self, done: int, total: int) -> None:
        """Show how many bounds are proven."""
        self.bounds = (done, total)
        self._show()

    def row(self, row: Row) -> None:
        """Fill one more cell."""
        self.rows[row["cell"]] = row
        self._show()

    def empty(self, cell: Cell, reason: str) -> None:
        """Mark an agent's cells as empty."""
        self.reasons[cell.id] = reason
        self._show()

    def end(self) -> None:
        """Close the table."""
        self.live.stop()

    def _show(self) -> None:
        self.live.update(self._render())

    def _render(self) -> Any:
        from rich.table import Table

        columns = list(dict.fromkeys((cell.source.name, cell.prompt) for cell in self.cells))
        agents = list(dict.fromkeys(cell.agent.label for cell in self.cells))
        spent = time.monotonic() - self.start
        done, total = self.bounds
        proven = f", bounds {done} of {total}" if done < total else ""
        table = Table(
            title=f"{len(self.rows)} of {len(self.cells)} cells{proven}, {spent:.0f} s",
            title_justify="left",
        )
        table.add_column("mean gap % (blocks)", no_wrap=True)
        for scenario, prompt in columns:
            table.add_column(f"{scenario}\n{prompt}", justify="right")
        for agent in agents:
            table.add_row(agent, *(self._entry(agent, column) for column in columns))
        return table

    def _entry(self, agent: str, column: tuple[str, str]) -> str:
        cells = [
            c for c in self.cells if (c.agent.label, c.source.name, c.prompt) == (agent, *column)
        ]
        gaps = [mean_gap(self.rows[cell.id]) for cell in cells if cell.id in self.rows]
        if any(cell.id in self.reasons for cell in cells):
            return "[dim]none[/]"
        if not gaps:
            return f"[dim]0/{len(cells)}[/]"
        mean = float(np.mean(gaps))
        shown = "done" if np.isnan(mean) else gap_text(mean)
        return shown if len(gaps) == len(cells) else f"{shown} [dim]{len(gaps)}/{len(cells)}[/]"


def _console() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def make_watch() -> PlainWatch | LiveWatch:
    """Return the watch that suits where the errors stream goes."""
    return LiveWatch() if _console().is_terminal else PlainWatch()
