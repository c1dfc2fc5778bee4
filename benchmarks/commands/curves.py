"""``lambo curves RUNDIR...``: what happened in trainings, drawn and as a table."""

from __future__ import annotations

from pathlib import Path


def curves(*rundir: Path, out: Path = Path("curves")) -> None:
    """Draw the gaps of trainings over their updates; seeds of one recipe become a band.

    Args:
        rundir: Folders that `lambo train` wrote, finished or not.
        out: Where the pictures and the table go: this name with .png, .svg, .pdf and .csv.
    """
    from benchmarks.report.curves import write

    print(", ".join(str(path) for path in write(rundir, out)))
