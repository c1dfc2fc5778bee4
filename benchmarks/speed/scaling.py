"""What a decision costs against the size of the problem: gap, CPU seconds, exponents, and a figure.

``metro`` and its parts: N UEs and M servers at one density and one number of servers per UE. The
bound is the dual's, certified. Times are CPU time of one decision at batch 1 on one core.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from benchmarks.report import figures
from lambo_agents.protocol import Solver
from lambo_agents.registry import make_agent
from lambo_env.cell.seeding import evaluation_rng
from lambo_env.offloading import physics
from lambo_env.offloading.scenario import Scenario, load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import files, validate
from lambo_env.utils.gaps import gap_percent
from lambo_env.utils.timing import measure, one_thread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AGENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "lambo-s": ("lambo-s", {}),
    "lambo-s, polished": ("lambo-s", {"polish": "local-search"}),
    "local-search": ("local-search", {}),
    "greedy": ("greedy", {}),
}
PARTS = (1, 2, 4, 8)  # of the scenario: it, its half, a quarter, an eighth
ROUNDS = 3
BOUND_GAP, BOUND_LIMIT_S = 5e-3, 120.0
CELLS = 1000  # of which the seconds are told


@dataclasses.dataclass(frozen=True)
class ScalingRow:
    """One agent at one size."""

    agent: str
    num_ues: int
    num_servers: int
    gap_percent: float  # to the certified bound
    cpu_s: float  # of a decision


def part_of(scenario: Scenario, part: int) -> Scenario:
    """Return a ``part``-th of a scenario: its UEs, servers and area."""
    return scenario.replace(
        num_ues=scenario.num_ues // part,
        side_m=scenario.side_m / math.sqrt(part),
        server_cpu_hz=scenario.server_cpu_hz[: scenario.num_servers // part],
    )


def scaling(
    source: str = "metro",
    prompt: str = "minimum latency",
    tell: Callable[[ScalingRow], None] = lambda row: None,
) -> list[ScalingRow]:
    """Return the rows of all agents, smallest size first.

    Raises:
        ValueError: an unknown scenario or prompt, or one with too few servers to be cut.
    """
    whole, rows = load_scenario(source), []
    fewest = max(PARTS)
    enough = min(whole.num_servers, whole.num_ues) >= fewest and whole.server_xy is None
    validate.check("scenario", source, enough, f"at least {fewest} UEs and servers, no site plan")
    prompts = Prompts.of(prompt, 1)
    agents = {label: make_agent(name, **options) for label, (name, options) in AGENTS.items()}
    solver = cast(Solver, make_agent("exact", gap=BOUND_GAP, time_limit_s=BOUND_LIMIT_S))
    for part in reversed(PARTS):
        scenario = part_of(whole, part)
        instances = sample_instances(scenario, 1, evaluation_rng(0, scenario, 0))
        bound = solver.solve(instances, prompts).lower_bound
        for label, agent in agents.items():
            rng = np.random.default_rng(0)
            with one_thread():
                timing = measure(lambda: agent.decide(instances, prompts, rng), ROUNDS)  # noqa: B023
            outcome = physics.evaluate(instances, timing.result, prompts.objective(instances))
            gap = float(np.mean(gap_percent(outcome.cost, bound)))
            size = scenario.num_ues, scenario.num_servers
            rows.append(ScalingRow(label, *size, gap, float(timing.cpu_s.min())))
            tell(rows[-1])
    return rows


def exponents(rows: list[ScalingRow]) -> dict[str, float]:
    """Return how each agent's seconds grow with N, M growing alike: the slope of the logarithms."""
    slopes = {}
    for label in dict.fromkeys(row.agent for row in rows):
        own = [row for row in rows if row.agent == label]
        sizes, seconds = ([getattr(row, name) for row in own] for name in ("num_ues", "cpu_s"))
        slopes[label] = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
    return slopes


def draw(rows: list[ScalingRow], path: Path) -> bool:
    """Write a figure of seconds over N on logarithmic axes; False, and say so, if none is drawn."""
    shown = figures.drawn(lambda: {"scaling": figures.picture(_figure(rows))})
    for picture in shown.values():
        with files.atomic_writer(path, b"\x89PNG") as file:
            file.write(picture.png)
    return bool(shown)


def _figure(rows: list[ScalingRow]) -> Figure:
    figure, (axes,) = figures.new(figures.COLUMN, 2.8)
    marked = zip(exponents(rows).items(), figures.COLOURS, figures.MARKS, strict=False)
    for (label, slope), colour, mark in marked:
        own = [row for row in rows if row.agent == label]
        sizes, seconds = ([getattr(row, name) for row in own] for name in ("num_ues", "cpu_s"))
        text = f"{label}: N^{slope:.2f}"
        axes.loglog(sizes, seconds, marker=mark, ms=4, lw=1.2, color=colour, label=text)
    shown = sorted({row.num_ues for row in rows})
    axes.set_xticks(shown, [str(size) for size in shown])
    axes.set_xticks([], minor=True)
    figures.plain_numbers(axes.yaxis)
    servers = ", ".join(str(size) for size in sorted({row.num_servers for row in rows}))
    axes.set(xlabel=f"UEs (with {servers} servers)", ylabel="CPU time of a decision (s)")
    axes.grid()
    figure.legend(loc="outside lower center", ncols=2, columnspacing=1.0)
    return figure


def print_scaling(scenario: str = "metro", prompt: str = "minimum latency") -> None:
    """Print the rows, the exponents and what a thousand cells take; draw ``scaling.png``."""
    from benchmarks.report.console import print_table

    rows = scaling(scenario, prompt)
    slopes = exponents(rows)
    drawn = draw(rows, Path("scaling.png"))
    print_table(
        ("agent", "UEs", "servers", "gap % to the bound", "CPU s", "exponent in N", "1,000 cells"),
        [
            (
                row.agent,
                str(row.num_ues),
                str(row.num_servers),
                f"{row.gap_percent:.2f}",
                f"{row.cpu_s:.3f}",
                f"{slopes[row.agent]:.2f}",
                f"{CELLS * row.cpu_s:.0f} core-s",
            )
            for row in rows
        ],
        f"{scenario} and its parts, “{prompt}”{'; the figure is scaling.png' if drawn else ''}",
    )
