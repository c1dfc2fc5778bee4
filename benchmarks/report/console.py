"""Printing to the terminal: one console, and tables of texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.report.escaping import plain


class _Console(Console):
    """Standard output, whose reader may leave."""

    def on_broken_pipe(self) -> None:
        """Leave it to the command, where rich would exit with an error."""
        raise


def console(width: int | None = None) -> Console:
    """Return the console of standard output."""
    return _Console(highlight=False, soft_wrap=False, width=width)


def print_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None
) -> None:
    """Print rows of texts under a header.

    All columns but the first are right-aligned where they hold numbers.
    """
    rows = [[plain(text) for text in row] for row in rows]
    table = Table(
        title=None if title is None else Text(plain(title)),
        title_justify="left",
        title_style="bold",
    )
    for column, name in enumerate(header):
        numbers = column > 0 and all(row[column][:1] in "-+0123456789[" for row in rows)
        table.add_column(Text(plain(name)), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    out = console()
    if not out.is_terminal:  # a pipe has no width: let nothing be folded
        out = console(width=200)
    out.print(table)
