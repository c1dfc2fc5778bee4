"""``lambo report``.

A results folder as Markdown, HTML and figures, or two of its agents compared.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lambo_env.utils import validate


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class ReportOptions:
    """What ``lambo report`` takes."""

    folder: Path = Path("results/paper")
    """A folder that `lambo bench` wrote."""
    _: dataclasses.KW_ONLY
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None
    """Where the Markdown goes (default report.md in the folder); HTML and figures go beside it."""
    compare: Annotated[tuple[str, str] | None, Parameter(negative=())] = None
    """Two agents: print the paired difference of their costs with its interval, write nothing."""
    figures: bool = True
    """Draw the figures."""


def report(options: ReportOptions = ReportOptions()) -> int:
    """Write and print the report, or print a comparison."""
    from benchmarks.report.report import print_comparison, print_report, write_report
    from benchmarks.report.tables import load

    results = load(options.folder)
    if options.compare is not None:
        validate.check(
            "--compare",
            options.compare,
            options.compare[0] != options.compare[1],
            "two different agents",
        )
        print_comparison(results, *options.compare)
        return 0
    written = write_report(
        results, options.output or options.folder / "report.md", figures=options.figures
    )
    print_report(results)
    print(", ".join(str(path) for path in written))
    return 0
