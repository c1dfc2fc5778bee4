"""The numbers behind the page, as JSON: lines, sorted gaps, paired differences, slots."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.report.exports import PAIRED, Pair
from benchmarks.report.page.slots import slots_of
from benchmarks.report.statistics import Interval
from benchmarks.report.tables import (
    EXTRA,
    HEADER,
    AgentLine,
    Results,
    Table,
    bound_cells,
    cells_of,
    values,
)
from lambo_env.utils.gaps import gap_percent

GAPS_AT_MOST = 101  # of an agent in a table: where it has more, as many quantiles of them


def page_json(results: Results, tables: Sequence[Table], pairs: Sequence[Pair] | None) -> str:
    """Return the page's data; nothing in it ends an HTML script element."""
    slots, notes = slots_of(results)
    named = [dict(zip(PAIRED, pair, strict=True)) for pair in pairs or ()]
    data = {
        "header": [*HEADER, *EXTRA],
        "tables": [_table(results, table) for table in tables],
        "pairs": None if pairs is None else named,
        "slots": slots,
        "notes": notes,
    }
    text = json.dumps(_plain(data), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", " ").replace("\u2029", " ")


def _table(results: Results, table: Table) -> dict[str, Any]:
    shown = {name: getattr(table, name) for name in ("scenario", "scenario_hash", "prompt", "unit")}
    lines = [_line(results, line) for line in table.lines]
    bound = None if table.bound is None else bound_cells(table)
    return {**shown, "bound": bound, "lines": lines}


def _line(results: Results, line: AgentLine) -> dict[str, Any]:
    gap, rows = line.gap_percent, results.of(line.scenario, line.prompt, line.agent)
    gaps = gap_percent(values(rows, "cost"), values(rows, "bound"))
    if not np.all(np.isfinite(gaps)):
        gaps = gaps[:0]
    elif gaps.size > GAPS_AT_MOST:
        gaps = np.quantile(gaps, np.linspace(0, 1, GAPS_AT_MOST))
    keys = [
        *(line.agent, line.cost.mean, line.cost.low, line.late_percent),
        *((None, None) if gap is None else (gap.mean, gap.low)),
        *(line.single_ms, line.batched_ms, line.latency_s, line.energy_j, line.parameters),
        *(line.labels_used, line.evaluator_in_loop, line.instances),
    ]
    return {
        "agent": line.agent,
        "cells": cells_of(line),
        "keys": keys,
        "gap": None if gap is None else _ends(gap),
        "single_ms": line.single_ms,
        "batched_ms": line.batched_ms,
        "gaps": [float(f"{value:.4g}") for value in np.sort(gaps)],
    }


def _ends(interval: Interval) -> list[float]:
    return [interval.mean, interval.low, interval.high]


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it: None for what is not finite."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
