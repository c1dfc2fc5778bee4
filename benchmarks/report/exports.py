"""A report's tables for other programs: CSV with every digit, LaTeX as a paper prints them."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.report.escaping import plain
from benchmarks.report.tables import (
    DASH,
    EXTRA,
    HEADER,
    AgentLine,
    Results,
    Table,
    compare_agents,
    rows_of,
)

Pair = tuple[Any, ...]
PAIRS_AT_MOST = 600  # comparisons in one report: each is a bootstrap of its own
PAIRED = (
    "scenario",
    "prompt",
    "unit",
    "a",
    "b",
    "a_minus_b",
    "low",
    "high",
    "a_lower",
    "instances",
)
CSV_MARKS = (b"scenario,scenario_hash,prompt,", b"scenario,prompt,unit,a,b,")
_PRINTED = ("agent", "cost", "95 % interval", "late %", "gap %", "ms batched")
_SPECIAL = re.compile(r"[\\{}$&#_%~^]")
_SPELT = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def csv_of(tables: Sequence[Table]) -> str:
    """Return all lines of all tables, one row each; an interval is three columns."""
    rows = [_flat(table, line) for table in tables for line in table.lines]
    return csv_text(list(rows[0]), (row.values() for row in rows))


def _flat(table: Table, line: AgentLine) -> dict[str, Any]:
    first = ("scenario", "scenario_hash", "prompt")
    out: dict[str, Any] = {name: getattr(table, name) for name in first}
    for field in dataclasses.fields(line):
        value = getattr(line, field.name)
        if field.name in ("cost", "gap_percent"):
            out[field.name] = value and value.mean
            out |= {f"{field.name}_{end}": value and getattr(value, end) for end in ("low", "high")}
        elif field.name not in first:
            out[field.name] = value
    return {**out, "bound": table.bound}


def pairs_of(results: Results) -> list[Pair] | None:
    """Return the paired differences, as ``PAIRED`` names them, of every two agents in each table.

    None where there are more than PAIRS_AT_MOST.
    """
    pairs = list(itertools.combinations(results.agents(), 2))
    if not 0 < len(pairs) * len(results.tables()) <= PAIRS_AT_MOST:
        return None
    return [
        (scenario, prompt, unit, a, b, d.mean, d.low, d.high, found.wins, found.instances)
        for a, b in pairs
        if _shared(results, a, b)
        for scenario, prompt, unit, found in compare_agents(results, a, b)
        for d in (found.difference,)
    ]


def _shared(results: Results, a: str, b: str) -> bool:
    met = [{(r.scenario, r.prompt, r.block) for r in results.rows if r.agent == x} for x in (a, b)]
    return bool(met[0] & met[1])


def csv_text(header: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return rows as CSV, such as a spreadsheet reads without running any of their texts."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([f"'{v}" if str(v)[:1] in tuple("=+@") else v for v in row] for row in rows)
    return out.getvalue()


def latex_of(tables: Sequence[Table], origin: str) -> str:
    """Return the tables for a document that loads booktabs; the first line says where from."""
    return "\n".join([f"% {plain(origin)}", *map(_tabular, tables)]) + "\n"


def _tabular(table: Table) -> str:
    at = [(*HEADER, *EXTRA).index(name) for name in _PRINTED]
    rows = [" & ".join(_latex(row[k]) for k in at) + r" \\" for row in rows_of(table)]
    if table.bound is not None:
        rows.insert(-1, r"\midrule")
    head = " & ".join(map(_latex, _PRINTED)) + r" \\"
    title = _latex(f"“{table.prompt}” on {table.scenario} ({table.scenario_hash})")
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{title}}}",
            r"\begin{tabular}{l" + "r" * (len(_PRINTED) - 1) + "}",
            *(r"\toprule", head, r"\midrule", *rows, r"\bottomrule"),
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _latex(text: str) -> str:
    """Return a text that LaTeX prints as it is."""
    shown = _SPECIAL.sub(lambda m: _SPELT.get(m[0], "\\" + m[0]), plain(text))
    return "--" if shown == DASH else shown.replace("“", "``").replace("”", "''")
