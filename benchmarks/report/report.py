"""The report of a results folder: Markdown, HTML that stands alone, and figures.

In the terminal, the same tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.report import exports
from benchmarks.report.console import print_table
from benchmarks.report.escaping import markdown, plain, tell
from benchmarks.report.figures import MARK, Picture, drawn, pictures
from benchmarks.report.page.data import page_json
from benchmarks.report.page.page import html_page
from benchmarks.report.tables import (
    DASH,
    EXTRA,
    HEADER,
    Results,
    Table,
    cells_of,
    compare_agents,
    gap_text,
    interval_text,
    rows_of,
    tabulate,
)
from lambo_env.utils import files, validate

if TYPE_CHECKING:
    from benchmarks.report.statistics import Interval

PHYSICAL = ("latency s", "energy J")
MADE = (b"Made by `", b"Made by <code>")  # in each report: only such a file is replaced
SEVERAL = 3  # scenarios from which on an overview is worth its space
COMPARED = ("scenario", "prompt", "A - B", "95 % interval", "A lower in", "instances", "")
_HOW = (
    "Cost in its native unit: mean latency of a UE (s), total energy (J), or the normalised mix. "
    "Gap: to the certified lower bound of each instance. "
    "Intervals: 95 % BCa bootstrap over instances, which all agents share. "
    "Times: median decision time per instance in ms on one thread, one by one and batched. "
    "Evaluates: calls an evaluator while it decides."
)


def titled(table: Table) -> str:
    """Return a table's heading."""
    return f"“{table.prompt}” on {table.scenario} ({table.scenario_hash})"


def notes_of(table: Table) -> list[str]:
    """Return what a reader of the table must know."""
    total = max(line.instances for line in table.lines)
    unproven = (
        [f"{table.unproven} of {total} bounds were not proven to the gap asked for."]
        if table.unproven
        else []
    )
    return (
        [*table.notes, *unproven]
        if table.bound is not None
        else [*table.notes, "No certified bound."]
    )


def overviews(tables: Sequence[Table]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield title, header and rows of tables of gaps: per agent, scenarios by prompts, and back.

    Per prompt, scenarios by agents, where there are several. None for a sweep over few scenarios.
    """
    scenarios, prompts = (
        list(dict.fromkeys(getattr(t, name) for t in tables)) for name in ("scenario", "prompt")
    )
    if len(scenarios) < SEVERAL:
        return
    gaps = {
        (line.agent, line.scenario, line.prompt): line.gap_percent
        for table in tables
        for line in table.lines
    }
    agents = list(dict.fromkeys(agent for agent, *_ in gaps))
    for agent in agents:
        found = {(s, p): gaps.get((agent, s, p)) for s in scenarios for p in prompts}
        if any(gap is not None for gap in found.values()):
            rows = [[s, *(_gap_cell(found[s, p]) for p in prompts)] for s in scenarios]
            yield f"Gap in % of {agent}, with its interval", ["scenario", *prompts], rows
    for prompt in prompts if len(agents) > 1 else ():
        rows = [[s, *(_gap_cell(gaps.get((a, s, prompt))) for a in agents)] for s in scenarios]
        if any(gap is not None for (_, _, text), gap in gaps.items() if text == prompt):
            yield f"Gap in % under “{prompt}”, with its interval", ["scenario", *agents], rows


def _gap_cell(gap: Interval | None) -> str:
    if gap is None or math.isnan(gap.low):
        return DASH if gap is None else gap_text(gap.mean)
    return f"{gap_text(gap.mean)} [{gap_text(gap.low)}, {gap_text(gap.high)}]"


def missing_of(results: Results) -> list[str]:
    """Return why agents of the sweep have no result."""
    manifest = results.manifest
    return [
        f"{what}: no result: {reason}" for what, reason in manifest.get("empty", {}).items()
    ] + [f"{what}: FAILED: {reason}" for what, reason in manifest.get("failed", {}).items()]


def origin(results: Results) -> str:
    """Return in one sentence where the numbers come from."""
    runs = results.manifest["runs"]
    last: dict[str, Any] = runs[-1]
    machine, versions = last["machine"], last["versions"]
    packages = ", ".join(
        f"{name} {versions[name]}"
        for name in ("lambo-mec", "numpy", "scipy", "torch")
        if name in versions
    )
    commit = f", commit {last['commit'][:12]}" if last.get("commit") else ""
    load = f"load {machine.get('load')} at the start"
    where = f"{machine['cpu']}, {machine['cores']} cores, {last['jobs']} jobs of one thread, {load}"
    command = last["command"].replace("`", "'")
    made = f"Made by `{command}` ({len(runs)} run(s), {last['started']})"
    return f"{made} on {where}; {packages}{commit}."


def print_report(results: Results) -> None:
    """Print the tables to the terminal."""
    for note in results.notes:
        tell(note)
    tables = tabulate(results)
    for title, wide, texts in overviews(tables):
        print_table(wide, texts, title)
    for table in tables:
        keep = _columns(table)
        header = [(*HEADER, *EXTRA)[k] for k in keep]
        print_table(header, ([row[k] for k in keep] for row in rows_of(table)), titled(table))
        for note in notes_of(table):
            tell(f"  note: {note}")


def _columns(table: Table) -> list[int]:
    """Return the columns worth a terminal's width.

    Extra ones where agents differ, physical ones where the cost is neither.
    """
    rows = [cells_of(line) for line in table.lines]
    physical = table.unit == "" or any(line.late_percent > 0 for line in table.lines)
    keep = list(range(len(HEADER)))
    for k, name in enumerate(EXTRA, len(HEADER)):
        if len({row[k] for row in rows}) > 1 and (physical or name not in PHYSICAL):
            keep.append(k)
    return keep


def write_report(results: Results, path: Path, *, figures: bool = True) -> list[Path]:
    """Write ``path`` (.md), the same as .html beside it, and the figures in ``figures/``.

    Beside it the tables as .csv and .tex, and every two agents' paired differences as -pairs.csv
    where they are not too many. Return the paths.

    Raises:
        ValueError: ``path`` does not end in .md, or a file there is another's.
    """
    validate.check("report path", str(path), path.suffix == ".md", "a path that ends in .md")
    tables = tabulate(results)
    shown = drawn(lambda: pictures(tables)) if figures else {}
    for name, picture in shown.items():
        write_picture(path.parent, name, picture)
    text = "\n".join(_markdown(results, tables, shown)) + "\n"
    files.write_text(path, text, *MADE)
    page = path.with_suffix(".html")
    pairs = exports.pairs_of(results)
    files.write_text(page, html_page(text, page_json(results, tables, pairs)), *MADE)
    table, paired = path.with_suffix(".csv"), path.with_name(f"{path.stem}-pairs.csv")
    files.write_text(table, exports.csv_of(tables), *exports.CSV_MARKS)
    latex = path.with_suffix(".tex")
    files.write_text(latex, exports.latex_of(tables, origin(results)), b"% Made by `")
    if pairs is None:
        return [path, page, table, latex]
    files.write_text(paired, exports.csv_text(exports.PAIRED, pairs), *exports.CSV_MARKS)
    return [path, page, table, latex, paired]


def write_picture(folder: Path, name: str, picture: Picture) -> Path:
    """Write ``figures/name`` in a report's folder as .png, .svg and .pdf, and return the first.

    Only a picture of a report is replaced.
    """
    path = files.subfolder(folder, "figures") / f"{name}.png"
    forms = {".png": picture.png, ".svg": picture.svg.encode(), ".pdf": picture.pdf}
    for suffix in forms:
        files.check_target(path.with_suffix(suffix), MARK.encode(), b"Matplotlib")
    for suffix, data in forms.items():
        with files.atomic_writer(path.with_suffix(suffix), MARK.encode(), b"Matplotlib") as file:
            file.write(data)
    return path


def _markdown(
    results: Results, tables: Sequence[Table], shown: Mapping[str, Picture]
) -> Iterator[str]:
    yield f"# Sweep {markdown(results.manifest['sweep']['name'])}\n"
    names = {(picture.scenario, picture.prompt): name for name, picture in shown.items()}
    yield f"{_HOW}\n"
    yield from (f"> {markdown(note)}\n" for note in results.notes)
    for title, header, rows in overviews(tables):
        yield f"## {markdown(title)}\n\n{markdown_table(header, rows)}\n"
    for table in tables:
        yield f"## {markdown(titled(table))}\n"
        yield markdown_table((*HEADER, *EXTRA), rows_of(table)) + "\n"
        yield from (f"> {markdown(note)}\n" for note in notes_of(table))
        if (name := names.get((table.scenario, table.prompt))) is not None:
            yield f"![bars of cost](figures/{name}.png)\n"
    for name, picture in shown.items():
        if picture.prompt is None:
            yield f"## Gap against decision time, {markdown(picture.scenario)}\n"
            yield f"![Gap against decision time](figures/{name}.png)\n"
    yield from (f"- {markdown(note)}" for note in missing_of(results))
    made, command, where = origin(results).split("`")
    yield f"\n{markdown(made)}`{plain(command)}`{markdown(where)}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is left-aligned, the others right."""
    texts = [[markdown(text) for text in line] for line in (header, *rows)]
    lines = [texts[0], ["---", *["--:"] * (len(header) - 1)], *texts[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def comparison_rows(results: Results, a: str, b: str) -> list[tuple[str, ...]]:
    """Return the texts of the paired comparison of two agents, one row per scenario and prompt."""
    return [
        (
            scenario,
            prompt,
            f"{comparison.difference.mean:+.4g} {unit}".strip(),
            interval_text(comparison.difference),
            f"{100 * comparison.wins:.0f} %",
            str(comparison.instances),
            comparison.verdict.replace("A is", f"{a} is").replace("B is", f"{b} is"),
        )
        for scenario, prompt, unit, comparison in compare_agents(results, a, b)
    ]


def print_comparison(results: Results, a: str, b: str) -> None:
    """Print the paired comparison of two agents."""
    print_table(
        COMPARED,
        comparison_rows(results, a, b),
        f"A = {a}, B = {b}: mean difference of cost on the same instances",
    )
