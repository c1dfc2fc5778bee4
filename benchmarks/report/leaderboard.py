"""The leaderboard: one file per sender, read strictly, and the tables made of all of them."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report.escaping import markdown
from benchmarks.report.tables import (
    BELOW_BOUND_PERCENT,
    DASH,
    Results,
    digits,
    gap_text,
    tabulate,
)
from lambo_env.prompts.grammar import parse_weights
from lambo_env.prompts.objectives import unit_of
from lambo_env.utils import jsons, validate

FORMAT = 1
LONGEST = 120  # characters of a text
HEADER = ("agent", "by", "gap %", "95 % interval", "cost", "late %", "evaluates", "labels",
          "parameters")  # fmt: skip
_NUMBER = (int, float)
_TEXTS = ("agent", "scenario", "scenario_hash", "prompt")
_LINE: dict[str, Any] = {
    **dict.fromkeys(_TEXTS, str),
    "instances": int,
    "cost": [_NUMBER],
    "gap_percent": [_NUMBER],
    "late_percent": _NUMBER,
    "parameters": (int, type(None)),
    "labels_used": int,
    "evaluator_in_loop": bool,
}
_SHAPE: dict[str, Any] = {
    "format": int,
    **dict.fromkeys(("by", "url", "made"), str),
    **dict.fromkeys(("root", "per_block"), int),
    "lines": [_LINE],
}


@dataclasses.dataclass(frozen=True)
class Submission:
    """What one sender sent."""

    by: str
    url: str  # https, or empty
    made: str  # command, versions and machine
    root: int  # of the evaluation seeds
    per_block: int  # instances of an evaluation block
    lines: list[dict[str, Any]]  # one per agent, scenario and prompt


def submission(results: Results, by: str, url: str) -> str:
    """Return the file to send, checked as a reader will check it.

    Raises:
        ValueError: no line has a certified bound, or a text that no leaderboard shows.
    """
    from benchmarks.report.report import origin

    lines = [
        {
            **{name: getattr(line, name) for name in _TEXTS if name != "scenario_hash"},
            "scenario_hash": table.scenario_hash,
            "instances": line.instances,
            "cost": _ends(line.cost),
            "gap_percent": _ends(line.gap_percent),
            "late_percent": line.late_percent,
            "parameters": line.parameters,
            "labels_used": line.labels_used,
            "evaluator_in_loop": line.evaluator_in_loop,
        }
        for table in tabulate(results)
        for line in table.lines
        if line.gap_percent is not None and not math.isnan(line.gap_percent.low)
    ]
    sent: dict[str, Any] = {"format": FORMAT, "by": by, "url": url, "made": origin(results)}
    sent |= {"root": results.rows[0].root, "per_block": results.manifest["sweep"]["instances"]}
    text = json.dumps({**sent, "lines": lines}, indent=1) + "\n"
    _parse(text, "submission")
    return text


def _ends(interval: Any) -> list[float]:
    return [float(f"{v:.6g}") for v in (interval.mean, interval.low, interval.high)]


def read(path: Path) -> Submission:
    """Return what a file says.

    Raises:
        ValueError: naming the file and what in it is not as it must be.
    """
    try:
        return _parse(path.read_text(encoding="utf-8"), "submission")
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path}: {error}") from error


def _parse(text: str, field: str) -> Submission:
    sent = jsons.loads(text)
    jsons.check(field, sent, _SHAPE)
    allowed = f"the keys {', '.join(_SHAPE)}"
    validate.check(field, sorted(sent), set(sent) == set(_SHAPE), allowed)
    validate.check(f"{field}.format", sent["format"], sent["format"] == FORMAT, str(FORMAT))
    _text(f"{field}.by", sent["by"])
    known = sent["url"] == "" or re.fullmatch(r"https://[\w./~%#?=&+-]+", sent["url"])
    validate.check(f"{field}.url", sent["url"], bool(known), "an https address, or empty")
    for name, least in (("root", 0), ("per_block", 1)):
        validate.check(f"{field}.{name}", sent[name], sent[name] >= least, f">= {least}")
    fits = len(sent["made"]) <= 2000
    validate.check(f"{field}.made", len(sent["made"]), fits, "2000 characters at most")
    validate.check(f"{field}.lines", len(sent["lines"]), len(sent["lines"]) > 0, "one or more")
    for k, line in enumerate(sent["lines"]):
        _check_line(f"{field}.lines[{k}]", line)
    places = [tuple(line[name] for name in _TEXTS) for line in sent["lines"]]
    once = len(set(places)) == len(places)
    validate.check(f"{field}.lines", len(places), once, "each agent once per scenario and prompt")
    return Submission(**{f.name: sent[f.name] for f in dataclasses.fields(Submission)})


def _text(field: str, value: str) -> None:
    shown = 0 < len(value.strip()) <= LONGEST and value.isprintable()
    validate.check(field, value, shown, f"1 .. {LONGEST} printable characters")


def _check_line(field: str, line: dict[str, Any]) -> None:
    allowed = f"the keys {', '.join(_LINE)}"
    validate.check(field, sorted(line), set(line) == set(_LINE), allowed)
    for name in _TEXTS:
        _text(f"{field}.{name}", line[name])
    hashed = re.fullmatch("[0-9a-f]{16}", line["scenario_hash"]) is not None
    validate.check(f"{field}.scenario_hash", line["scenario_hash"], hashed, "16 hex digits")
    parse_weights(line["prompt"])
    validate.check(f"{field}.instances", line["instances"], line["instances"] >= 2, ">= 2")
    for name, least in (("cost", 0.0), ("gap_percent", BELOW_BOUND_PERCENT)):
        ends = line[name]
        ordered = len(ends) == 3 and all(map(math.isfinite, ends)) and ends[0] >= least
        ordered = ordered and ends[1] <= ends[0] <= ends[2]
        validate.check(f"{field}.{name}", ends, ordered, f"[mean, low, high], mean >= {least:g}")
    share = 0 <= line["late_percent"] <= 100
    validate.check(f"{field}.late_percent", line["late_percent"], share, "0 .. 100")
    for name in ("parameters", "labels_used"):
        validate.check(f"{field}.{name}", line[name], (line[name] or 0) >= 0, ">= 0")


def tables(sent: Sequence[Submission]) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Yield title and rows, as Markdown, per evaluation set and prompt: the smallest gap first.

    Lines of different evaluation instances never share a table.
    """
    groups: dict[tuple[Any, ...], list[tuple[Submission, dict[str, Any]]]] = {}
    for one in sent:
        for line in one.lines:
            weights = tuple(sorted(parse_weights(line["prompt"]).items()))
            instances = one.root, one.per_block, line["instances"]
            key = (line["scenario_hash"], weights, instances)
            groups.setdefault(key, []).append((one, line))
    for (scenario_hash, _, (root, size, count)), found in groups.items():
        found.sort(key=lambda pair: (pair[1]["gap_percent"][0], pair[1]["agent"]))
        first = found[0][1]
        where = f"{first['scenario']} ({scenario_hash})"
        title = (
            f"“{first['prompt']}” on {where}, {count} instances in blocks of {size}, root {root}"
        )
        yield markdown(title), [_row(one, line) for one, line in found]


def _row(one: Submission, line: dict[str, Any]) -> tuple[str, ...]:
    mean, low, high = line["gap_percent"]
    unit = unit_of(parse_weights(line["prompt"]))
    by = markdown(one.by)
    return (
        markdown(line["agent"]),
        f"[{by}]({one.url})" if one.url else by,
        gap_text(mean),
        f"[{gap_text(low)}, {gap_text(high)}]",
        f"{digits(line['cost'][0])} {unit}".strip(),
        f"{line['late_percent']:.1f}",
        "yes" if line["evaluator_in_loop"] else "no",
        f"{line['labels_used']:,}",
        DASH if line["parameters"] is None else f"{line['parameters']:,}",
    )
