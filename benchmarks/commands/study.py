"""``lambo study ladder|ablations``: trainings side by side."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cyclopts import Parameter


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class StudyOptions:
    """What ``lambo study`` takes."""

    names: tuple[str, ...] = ("ladder", "ablations")
    """ladder (sizes), ablations (parts of the method), or both."""
    _: dataclasses.KW_ONLY
    out: str = "runs/study"
    """Folder of the trainings; the same command goes on with what it holds."""
    seeds: int = 3
    """Trainings of each variant."""
    instances: int = 1000
    """Fresh instances that each network is measured on."""


def study(options: StudyOptions = StudyOptions()) -> None:
    """Train every variant with every seed, alike, and print the table of gaps."""
    from benchmarks.report.console import print_table
    from benchmarks.studies.ablations import STUDIES
    from benchmarks.studies.ablations import study as run

    found = run(options.names, Path(options.out), options.seeds, options.instances)
    for name in options.names:
        rows = [
            table_row(variant.name, variant.about, found[variant.name]) for variant in STUDIES[name]
        ]
        print_table(
            HEADER,
            rows,
            f"{name}: {options.seeds} seeds, "
            "geometric mean gap in % and 95 % t-interval of its logarithm",
        )


HEADER = (
    "variant",
    "what",
    "parameters",
    "latency",
    "energy",
    "mix",
    "latency, its own shares",
    "CPU s",
    "rollouts",
)


def table_row(name: str, about: str, results: list[dict[str, object]]) -> tuple[str, ...]:
    """Return a variant's line of the table."""
    import statistics
    from typing import Any

    from benchmarks.studies.ablations import summary

    rows: Any = results
    gaps = (f"{gap.mean:.3f} [{gap.low:.3f}, {gap.high:.3f}]" for gap in summary(rows))
    seconds = statistics.median(row["cpu_s"] for row in rows)
    return (
        name,
        about,
        f"{rows[0]['parameters']:,}",
        *gaps,
        f"{seconds:.0f}",
        f"{rows[0]['clock']['rollouts']:,}",
    )
