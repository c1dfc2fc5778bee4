"""``lambo study ladder|ablations|literal``: trainings side by side."""

from __future__ import annotations

from pathlib import Path

from benchmarks.sweep.engines.choice import EngineChoice, Name


def study(
    names: tuple[str, ...] = ("ladder", "ablations"),
    *,
    out: str = "runs/study",
    seeds: int = 3,
    instances: int = 1000,
    engine: Name = "joblib",
    address: str | None = None,
    jobs: int = 1,
) -> None:
    """Train every variant with every seed, alike, and print the table of gaps.

    Args:
        names: ladder (sizes), ablations (parts of the method), literal (the paper's own form), or
            TOML files of such studies.
        out: Folder of the trainings; the same command goes on with what it holds.
        seeds: Trainings of each variant.
        instances: Fresh instances that each network is measured on.
        engine: Where trainings run: this machine (joblib), or a Ray cluster (ray) whose nodes share
            --out.
        address: Of the Ray cluster: host:port of its head, ray://host:port, or auto; left out, one
            here.
        jobs: Trainings at once; 0: one per core.
    """
    from benchmarks.report.console import print_table
    from benchmarks.studies.ablations import study as run
    from benchmarks.studies.ablations import variants

    where = EngineChoice(engine, address, jobs)
    found = run(names, Path(out), seeds, instances, engine=where)
    for name in names:
        rows = [
            table_row(variant.name, variant.about, found[variant.name])
            for variant in variants(name)
        ]
        print_table(
            HEADER,
            rows,
            f"{name}: {seeds} seeds, geometric mean gap in % and 95 % t-interval of its logarithm",
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
