"""From rows to the lines of a table: means with intervals, gaps to the certified bound, times."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report.statistics import Comparison, Interval, compare, mean_interval
from benchmarks.sweep.results import RESULTS, CellResult, latest, parse_results, read_manifest
from lambo_env.prompts.grammar import parse_weights
from lambo_env.prompts.objectives import unit_of
from lambo_env.utils import validate
from lambo_env.utils.gaps import gap_percent

BELOW_BOUND_PERCENT = (
    -1e-3
)  # 1e-5 relative: the tolerances of physics; lower means that something is wrong


@dataclasses.dataclass(frozen=True)
class Results:
    """The rows of a results folder, one each agent and block, and its manifest."""

    folder: Path
    rows: list[CellResult]
    manifest: dict[str, Any]
    notes: list[str]

    def agents(self) -> list[str]:
        """Return the agents that have rows, in the sweep's order."""
        listed = [entry["label"] for entry in self.manifest["sweep"]["agents"]]
        met = {row.agent for row in self.rows}
        return [*(label for label in listed if label in met), *sorted(met - set(listed))]

    def tables(self) -> list[tuple[str, str]]:
        """Return the (scenario, prompt) pairs that have rows, in their order of appearance."""
        return list({(row.scenario, row.prompt): None for row in self.rows})

    def of(self, scenario: str, prompt: str, agent: str) -> list[CellResult]:
        """Return an agent's rows of one table by block."""
        found = [
            r for r in self.rows if (r.scenario, r.prompt, r.agent) == (scenario, prompt, agent)
        ]
        return sorted(found, key=lambda row: row.block)


@dataclasses.dataclass(frozen=True)
class AgentLine:
    """One agent under one prompt on one scenario."""

    agent: str
    scenario: str
    prompt: str
    unit: str  # of the cost: s, J, or none
    blocks: int
    instances: int
    cost: Interval
    late_percent: float
    latency_s: float  # mean over UEs and instances, lateness not weighed
    energy_j: float  # mean over instances of all UEs' total
    gap_percent: Interval | None  # None where no bound is known
    single_ms: float | None  # None where nothing decided (shipped labels)
    batched_ms: float | None
    parameters: int | None
    labels_used: int
    evaluator_in_loop: bool


@dataclasses.dataclass(frozen=True)
class Table:
    """The lines of one scenario and prompt, and the mean of the certified bounds."""

    scenario: str
    scenario_hash: str
    prompt: str
    unit: str
    lines: list[AgentLine]
    bound: float | None
    unproven: int  # instances whose bound did not reach the gap asked for
    notes: list[str]
    not_trained: tuple[str, ...] = ()  # agents without results


def load(folder: Path) -> Results:
    """Return the results of a folder.

    Raises:
        ValueError: missing, damaged or foreign files; one scenario's name with two hashes; blocks
            of two sizes.
    """
    validate.check(
        "results folder", str(folder), folder.is_dir(), "a folder that `lambo bench` wrote"
    )
    path = folder / RESULTS
    rows, whole = parse_results(path)
    notes = []
    if whole < path.stat().st_size:
        notes.append(
            "The last line of the results file was cut short by a killed run; "
            "run the same sweep again."
        )
    rows = latest(rows)
    validate.check("results file", str(path), len(rows) > 0, "one finished cell or more")
    _refuse_mixtures(rows)
    return Results(folder, rows, read_manifest(folder), notes)


def _refuse_mixtures(rows: Sequence[CellResult]) -> None:
    hashes: dict[str, set[str]] = {}
    sets: set[tuple[int, str]] = set()
    for row in rows:
        hashes.setdefault(row.scenario, set()).add(row.scenario_hash)
        sets.add((row.root, row.scenario_hash))
    for name, found in hashes.items():
        allowed = "one hash: results of different worlds are never mixed in a report"
        validate.check(f"hashes of scenario {name!r}", sorted(found), len(found) == 1, allowed)
    roots = sorted({root for root, _ in sets})
    validate.check(
        "roots of the results",
        roots,
        len(roots) == 1,
        "one root seed: all agents get the same instances",
    )


def values(rows: Sequence[CellResult], name: str) -> NDArray[np.float64]:
    """Return a per-instance quantity of an agent's rows, joined over blocks.

    NaN where the file has none.
    """
    return np.concatenate([np.array(getattr(row, name), dtype=float) for row in rows])


def tabulate(results: Results) -> list[Table]:
    """Return the tables of a results folder."""
    return [_table(results, scenario, prompt) for scenario, prompt in results.tables()]


def _table(results: Results, scenario: str, prompt: str) -> Table:
    rows = {
        agent: found for agent in results.agents() if (found := results.of(scenario, prompt, agent))
    }
    first = next(iter(rows.values()))[0]
    unit = unit_of(parse_weights(prompt))
    by_block = {row.block: row for found in rows.values() for row in found}
    bound = values(list(by_block.values()), "bound")
    proven = values(list(by_block.values()), "proven") > 0
    lines = [line_of(agent, found, unit) for agent, found in rows.items()]
    return Table(
        scenario=scenario,
        scenario_hash=first.scenario_hash,
        prompt=prompt,
        unit=unit,
        lines=lines,
        bound=float(np.mean(bound)) if np.all(np.isfinite(bound)) else None,
        unproven=int(np.sum(~proven)),
        notes=_notes(lines),
        not_trained=tuple(map(str, results.manifest["sweep"].get("not_trained", ()))),
    )


def line_of(agent: str, rows: list[CellResult], unit: str) -> AgentLine:
    """Return the line of an agent's rows under one prompt on one scenario."""
    cost, gap = values(rows, "cost"), gap_percent(values(rows, "cost"), values(rows, "bound"))
    decided = rows[0].single_ms > 0
    return AgentLine(
        agent=agent,
        scenario=rows[0].scenario,
        prompt=rows[0].prompt,
        unit=unit,
        blocks=len(rows),
        instances=cost.size,
        cost=mean_interval(cost),
        latency_s=float(np.mean(values(rows, "latency_s"))),
        energy_j=float(np.mean(values(rows, "energy_j"))),
        late_percent=100 * float(np.mean(values(rows, "late"))),
        gap_percent=mean_interval(gap) if np.all(np.isfinite(gap)) else None,
        single_ms=float(np.median([row.single_ms for row in rows])) if decided else None,
        batched_ms=float(np.median([row.batched_ms for row in rows])) if decided else None,
        parameters=rows[0].parameters,
        labels_used=rows[0].labels_used,
        evaluator_in_loop=rows[0].evaluator_in_loop,
    )


def _notes(lines: list[AgentLine]) -> list[str]:
    notes = []
    if len({line.instances for line in lines}) > 1:
        notes.append(
            "Not every agent has every block yet: "
            "means over different instances are not comparable."
        )
    for line in lines:
        if line.gap_percent is not None and line.gap_percent.mean < BELOW_BOUND_PERCENT:
            notes.append(
                f"{line.agent} costs less than the certified bound: "
                "an error in the agent, the bound or the physics."
            )
    return notes


def compare_agents(results: Results, a: str, b: str) -> list[tuple[str, str, str, Comparison]]:
    """Return the paired comparisons of two agents' costs.

    (scenario, prompt, unit, comparison) for each table they share.

    Raises:
        ValueError: an agent without rows (with the closest known one), or no block that both have.
    """
    for agent in (a, b):
        validate.known(agent, results.agents(), "agent of these results")
    found = []
    for scenario, prompt in results.tables():
        first, second = (
            {row.block: row for row in results.of(scenario, prompt, agent)} for agent in (a, b)
        )
        shared = sorted(first.keys() & second.keys())
        if shared:
            cost = [values([rows[block] for block in shared], "cost") for rows in (first, second)]
            found.append((scenario, prompt, unit_of(parse_weights(prompt)), compare(*cost)))
    validate.check(f"blocks shared by {a} and {b}", len(found), len(found) > 0, "one or more")
    return found


# ---- how numbers are written: one place for the terminal, Markdown and HTML ----------------------

DASH = "-"
HEADER = (
    "agent",
    "cost",
    "95 % interval",
    "late %",
    "gap %",
    "95 % interval",
    "ms single",
    "ms batched",
)
EXTRA = ("latency s", "energy J", "parameters", "labels", "evaluates", "instances")


def digits(value: float | None, significant: int = 4) -> str:
    """Return a number with so many significant digits, without exponent where it reads well.

    A dash for none.
    """
    if value is None or math.isnan(value):
        return DASH
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = max(0, significant - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(places, 6)}f}"


def interval_text(interval: Interval | None, significant: int = 4) -> str:
    """Return ``[low, high]``, or a dash."""
    if interval is None or math.isnan(interval.low):
        return DASH
    return f"[{digits(interval.low, significant)}, {digits(interval.high, significant)}]"


def gap_text(value: float) -> str:
    """Return a gap in percent with two decimals, three where it is small.

    What rounding makes of zero is zero.
    """
    text = f"{value:.3f}" if abs(value) < 0.1 else f"{value:.2f}"
    return text.removeprefix("-") if float(text) == 0 else text


def cells_of(line: AgentLine) -> tuple[str, ...]:
    """Return a line's texts under ``HEADER`` and ``EXTRA``."""
    gap = line.gap_percent
    known = gap is not None and not math.isnan(gap.low)
    return (
        line.agent,
        f"{digits(line.cost.mean)} {line.unit}".strip(),
        interval_text(line.cost),
        f"{line.late_percent:.1f}",
        DASH if gap is None else gap_text(gap.mean),
        f"[{gap_text(gap.low)}, {gap_text(gap.high)}]" if gap is not None and known else DASH,
        digits(line.single_ms, 3),
        digits(line.batched_ms, 3),
        digits(line.latency_s),
        digits(line.energy_j),
        DASH if line.parameters is None else f"{line.parameters:,}",
        str(line.labels_used),
        "yes" if line.evaluator_in_loop else "no",
        str(line.instances),
    )


_OTHERS = (DASH,) * (len(HEADER) + len(EXTRA) - 2)  # what a row has none of, beside its first two


def bound_cells(table: Table) -> tuple[str, ...]:
    """Return the texts of the certified bound's line."""
    return ("certified bound", f"{digits(table.bound)} {table.unit}".strip(), *_OTHERS)


def rows_of(table: Table) -> list[tuple[str, ...]]:
    """Return a table's rows of texts: agents, those not trained, the certified bound last."""
    rows = [cells_of(line) for line in table.lines]
    rows += [(agent, "not trained", *_OTHERS) for agent in table.not_trained]
    return [*rows, bound_cells(table)] if table.bound is not None else rows
