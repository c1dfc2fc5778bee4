"""``lambo study ladder|ablations|literal|queue-parts``: trainings side by side."""

from __future__ import annotations

import math
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
        names: ladder (sizes), ablations (parts of the method), literal (the paper's own form),
            queue-parts (parts of the method where tasks wait), or TOML files of such studies.
        out: Folder of the trainings; the same command goes on with what it holds.
        seeds: Trainings of each variant.
        instances: Fresh instances that each network is measured on; episodes, where tasks wait.
        engine: Where trainings run: this machine (joblib), or a Ray cluster (ray) whose nodes share
            --out.
        address: Of the Ray cluster: host:port of its head, ray://host:port, or auto; left out, one
            here.
        jobs: Trainings at once; 0: one per core.
    """
    from benchmarks.report.console import print_table
    from benchmarks.studies.ablations.study import study as run
    from benchmarks.studies.ablations.study import variants, world_of

    where = EngineChoice(engine, address, jobs)
    found = run(names, Path(out), seeds, instances, engine=where)
    for name in names:
        told = variants(name)
        world = world_of(told[0].recipe.to_dict())
        rows = [table_row(one.name, one.about, found[one.name]) for one in told]
        print_table(header(world.TITLES), rows, f"{name}: {seeds} seeds, {world.ABOUT}")


def header(titles: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns of the table."""
    return ("variant", "what", "parameters", *titles, "CPU s", "rollouts")


def table_row(name: str, about: str, results: list[dict[str, object]]) -> tuple[str, ...]:
    """Return a variant's line of the table."""
    import statistics
    from typing import Any

    from benchmarks.studies.ablations.study import summary

    rows: Any = results
    means = (_told(one.mean, one.low, one.high) for one in summary(rows))
    clock = rows[0]["clock"]
    seconds = f"{statistics.median(row['cpu_s'] for row in rows):.0f}"
    return (name, about, f"{clock['parameters']:,}", *means, seconds, f"{clock['rollouts']:,}")


def _told(mean: float, low: float, high: float) -> str:
    """Return a mean with its interval, which one seed has none of."""
    return f"{mean:.3f}" if math.isnan(low) else f"{mean:.3f} [{low:.3f}, {high:.3f}]"
