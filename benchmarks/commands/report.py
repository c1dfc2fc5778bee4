"""``lambo report``.

A results folder as Markdown, HTML and figures, or two of its agents compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lambo_env.utils import files, validate


def report(
    folder: Path = Path("results/paper"),
    *,
    output: Annotated[Path | None, Parameter(["--out", "--output", "-o"])] = None,
    submission: Path | None = None,
    by: str = "",
    url: str = "",
    compare: tuple[str, str] | None = None,
    figures: bool = True,
) -> int:
    """Write and print the report, or print a comparison.

    Args:
        folder: A folder that `lambo bench` wrote.
        output: Where the Markdown goes (default report.md in the folder); HTML and figures go
            beside it.
        submission: Write the file for the leaderboard (docs/leaderboard) here, and no report.
        by: Who sends it, for the leaderboard.
        url: An https address for the leaderboard, such as that of the paper or the code.
        compare: Two agents: print the paired difference of their costs with its interval, write
            nothing.
        figures: Draw the figures.
    """
    from benchmarks.report.report import print_comparison, print_report, write_report
    from benchmarks.report.tables import load

    results = load(folder)
    if compare is not None:
        validate.check(
            "--compare",
            compare,
            compare[0] != compare[1],
            "two different agents",
        )
        print_comparison(results, *compare)
        return 0
    if submission is not None:
        from benchmarks.report import leaderboard

        text = leaderboard.submission(results, by, url)
        files.write_text(submission, text, b'{\n "format": ')
        print(f"{submission}: send it as docs/leaderboard/NAME.json")
        return 0
    written = write_report(results, output or folder / "report.md", figures=figures)
    print_report(results)
    print(", ".join(str(path) for path in written))
    return 0
