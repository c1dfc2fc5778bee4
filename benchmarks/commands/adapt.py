"""``lambo adapt``: drifting streams.

ALEF beside a frozen network, full fine-tuning, retraining and heuristics.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from benchmarks.commands.groups import PLAYED, RUN, TRAINED, WRITTEN
from benchmarks.sweep.engines.choice import EngineChoice, Name


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class AdaptOptions:
    """What ``lambo adapt`` takes."""

    plan: str | None = None
    """A shipped plan (rivals), or a .toml file of these keys; methods there may be tables
    {name, agent, kwargs} of any registered agents."""
    _: dataclasses.KW_ONLY
    drifts: Annotated[list[str] | None, Parameter(group=PLAYED)] = None
    """Drifts (`lambo list drifts`), separated by commas; default all."""
    methods: Annotated[list[str] | None, Parameter(group=PLAYED)] = None
    """Methods, separated by commas: frozen, alef-entropy, alef-random, alef-margin,
    alef-committee, alef-diverse, full, scratch, or any registered agent."""
    seeds: Annotated[int | None, Parameter(group=PLAYED)] = None
    """Streams of each drift (default 5)."""
    scenario: Annotated[str | None, Parameter(group=PLAYED)] = None
    """Preset or .toml file that drifts (default paper)."""
    batch: Annotated[int | None, Parameter(group=PLAYED)] = None
    """Worlds side by side in a stream: the instances of a slot (default 20)."""
    num_slots: Annotated[int | None, Parameter(["--num-slots", "--slots"], group=PLAYED)] = None
    """Slots of a stream (default 100)."""
    stride: Annotated[int | None, Parameter(group=PLAYED)] = None
    """Of so many slots one is played: decided, scored and learned from (default 5)."""
    labels: Annotated[int | None, Parameter(group=TRAINED)] = None
    """Labels that a stream may cost (default 64)."""
    labels_per_slot: Annotated[int | None, Parameter(group=TRAINED)] = None
    """Labels that a slot may cost (default 16)."""
    expert: Annotated[str | None, Parameter(group=TRAINED)] = None
    """Registered agent that labels: exact, local-search (default), de, policy-gradient, ..."""
    weights: Annotated[str | None, Parameter(group=TRAINED)] = None
    """Shipped weights (default lambo-s) or a path, of the network that is adapted."""
    out: Annotated[Path, Parameter(group=WRITTEN)] = Path("results/adapt")
    """Where results are kept; a second run continues there."""
    jobs: Annotated[int, Parameter(group=RUN)] = 0
    """Worker processes of one thread each; 0: one per core."""
    engine: Annotated[Name, Parameter(group=RUN)] = "joblib"
    """Where streams are played: processes of this machine (joblib), or a Ray cluster's (ray), whose
    nodes share --out."""
    address: Annotated[str | None, Parameter(group=RUN)] = None
    """Of the Ray cluster: host:port of its head, ray://host:port, or auto; left out, one here."""
    figures: Annotated[bool, Parameter(group=WRITTEN)] = True
    """Draw a figure per drift."""


def adapt(options: AdaptOptions = AdaptOptions()) -> int:
    """Play the streams and report: gaps over time, what was recovered, labels and seconds.

    1 where a method failed.
    """
    from benchmarks.adaptation import plan as adapt_plan
    from benchmarks.adaptation import report as adapt_report
    from benchmarks.adaptation import runner as adaptation
    from benchmarks.report.console import print_table

    lists = ("drifts", "methods")
    given: dict[str, Any] = {
        name: adapt_plan.chosen(v) for name in lists if (v := getattr(options, name))
    }
    names = {*adapt_plan.Adaptation.field_names()} - set(lists)
    given |= {name: value for name in names if (value := getattr(options, name)) is not None}
    plan = (
        adapt_plan.load_plan(options.plan, **given)
        if options.plan
        else adapt_plan.Adaptation(**given)
    )
    engine = EngineChoice(options.engine, options.address, options.jobs)
    cells = adaptation.adapt(plan, options.out, tell=_tell, engine=engine)
    written = adapt_report.write(cells, options.out, draw=options.figures)
    print_table(adapt_report.HEADER, adapt_report.rows_of(adapt_report.curves_of(cells)))
    print(", ".join(str(path) for path in written))
    return int(len(cells) < len(plan.cells()))


def _tell(cell: dict[str, Any]) -> None:
    from benchmarks.report import escaping

    end = f"FAILED: {cell['failed']}" if "failed" in cell else ""
    end = end or f"last gap {cell['rows'][-1]['gap']:.2f} %, {cell['labels']} labels"
    escaping.tell(f"{cell['drift']} {cell['method']} seed {cell['seed']}: {end}")
