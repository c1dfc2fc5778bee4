"""Reports.

Numbers follow from the rows, worlds are never mixed, figures and pages stand alone.
"""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.report import exports
from benchmarks.report import tables as summary
from benchmarks.report.report import (
    markdown_table,
    overviews,
    print_comparison,
    print_report,
    write_report,
)
from benchmarks.sweep.config import FORMAT, sweep_from
from benchmarks.sweep.results import MANIFEST, RESULTS


def row(
    agent: str, block: int = 0, *, weight: float = 1.0, scale: float = 1.02, **fields: Any
) -> dict[str, Any]:
    """A made-up row: costs are ``scale`` times bounds that differ from block to block."""
    bound = np.linspace(0.8, 0.9, 8) + 0.01 * block
    plain = {
        "format": FORMAT,
        "cell": f"{agent}-{block}-{weight}",
        "agent": agent,
        "name": agent,
        "scenario": "tiny",
        "scenario_hash": "00f16ad84b7b4445",
        "prompt": {1.0: "minimum latency", 0.0: "minimum energy"}[weight],
        "latency_weight": weight,
        "block": block,
        "root": 0,
        "instances": 8,
        "cost": (bound * scale).tolist(),
        "latency_s": (bound * scale).tolist(),
        "energy_j": (bound * 50).tolist(),
        "late": [0.0] * 8,
        "bound": bound.tolist(),
        "proven": [True] * 8,
        "single_ms": 2.0,
        "batched_ms": 0.5,
        "parameters": None,
        "labels_used": 0,
        "evaluator_in_loop": False,
    }
    return {**plain, **fields}


@pytest.fixture
def put(tmp_path: Path):
    """Return a function that makes a results folder of rows."""

    def make(*rows: dict[str, Any], runs: int = 1) -> Path:
        agents = list(dict.fromkeys(row["agent"] for row in rows))
        sweep = sweep_from(
            {"agents": agents, "scenarios": ["tiny"], "prompts": ["minimum latency"]}, "test"
        )
        run = {"command": "lambo bench", "started": "2030-01-01", "jobs": 1, "commit": None}
        run |= {
            "machine": {"cpu": "abacus", "cores": 1},
            "versions": {"lambo-mec": "0", "numpy": "1"},
        }
        manifest = {
            "format": FORMAT,
            "sweep": sweep.to_dict(),
            "empty": {"droo": "no torch"},
            "failed": {},
            "runs": [run] * runs,
        }
        (tmp_path / MANIFEST).write_text(json.dumps(manifest))
        (tmp_path / RESULTS).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path

    return make


def test_means_and_gaps_follow_from_the_rows(put):
    folder = put(row("a"), row("a", 1), row("b", scale=1.1), row("b", 1, scale=1.1, late=[0.5] * 8))
    (table,) = summary.tabulate(summary.load(folder))
    first, second = table.lines
    assert table.bound == pytest.approx(0.855)
    assert first.cost.mean == pytest.approx(0.855 * 1.02)
    assert first.gap_percent.mean == pytest.approx(2.0)
    assert second.gap_percent.mean == pytest.approx(10.0)
    assert (first.late_percent, second.late_percent) == (0.0, 25.0)
    assert first.cost.low < first.cost.mean < first.cost.high
    assert (first.instances, first.unit, first.single_ms, first.batched_ms) == (16, "s", 2.0, 0.5)


def test_a_later_row_replaces_an_earlier_one_about_the_same(put):
    folder = put(row("a", scale=1.5), row("a", scale=1.1, cell="newer"))
    (table,) = summary.tabulate(summary.load(folder))
    assert table.lines[0].gap_percent.mean == pytest.approx(10.0)


def test_worlds_are_never_mixed(put):
    folder = put(row("a"), row("b", scenario_hash="ffffffffffffffff"))
    with pytest.raises(ValueError, match="hashes of scenario 'tiny'.*never mixed"):
        summary.load(folder)


def test_roots_are_never_mixed(put):
    with pytest.raises(ValueError, match="roots of the results"):
        summary.load(put(row("a"), row("b", root=1)))


def test_missing_blocks_unproven_bounds_and_impossible_costs_are_said(put):
    folder = put(row("a"), row("a", 1), row("b", scale=0.9), row("c", 1, proven=[False] * 8))
    (table,) = summary.tabulate(summary.load(folder))
    notes = " ".join(table.notes)
    assert "Not every agent has every block" in notes
    assert "b costs less than the certified bound" in notes
    page = write_report(summary.load(folder), folder / "report.md", figures=False)[0].read_text()
    assert "bounds were not proven" in page


def test_rows_without_bounds_have_no_gap(put):
    (table,) = summary.tabulate(summary.load(put(row("a", bound=[None] * 8))))
    assert table.bound is None
    assert table.lines[0].gap_percent is None


def test_a_torn_last_line_is_told_and_left_out(put):
    folder = put(row("a"), row("b"))
    path = folder / RESULTS
    path.write_bytes(path.read_bytes()[:-20])
    results = summary.load(folder)
    assert [found.agent for found in results.rows] == ["a"]
    assert "cut short" in results.notes[0]


def test_the_report_stands_alone(put, capsys: pytest.CaptureFixture[str]):
    folder = put(
        row("a"), row("b", scale=1.1, parameters=12345), row("a", weight=0.0), row("b", weight=0.0)
    )
    results = summary.load(folder)
    markdown, page, *_ = write_report(results, folder / "out" / "sub.md")
    text = markdown.read_text()
    pictures = re.findall(r"\(figures/([^)]+)\)", text)
    assert len(pictures) == 3
    for name in pictures:
        data = (markdown.parent / "figures" / name).read_bytes()
        assert data.startswith(b"\x89PNG") and len(data) > 5000
        path = markdown.parent / "figures" / name
        assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
        assert path.with_suffix(".svg").read_text().startswith("<svg")
    write_report(results, folder / "out" / "sub.md")  # its own pictures are replaced
    for word in (
        "00f16ad84b7b4445",
        "12,345",
        "certified bound",
        "minimum energy",
        "droo: no result: no torch",
        "abacus",
    ):
        assert word in text
    html = page.read_text()
    assert html.count("<table>") == 2 and "figures/" not in html
    assert not re.search(r"(src|href)=.https?:", html)  # nothing is fetched
    print_report(results)
    assert "12,345" in capsys.readouterr().out


def test_the_page_escapes_names_and_keeps_their_marks(put):
    folder = put(row("a<b> & *c* [d](e)"))
    page = write_report(summary.load(folder), folder / "report.md", figures=False)[1].read_text()
    assert ">a&lt;b&gt; &amp; *c* [d](e)</td>" in page


def test_reports_of_the_same_rows_are_equal(put):
    folder = put(row("a"), row("b", scale=1.1))
    pages = [write_report(summary.load(folder), folder / f"{k}.md")[1].read_bytes() for k in (0, 1)]
    assert pages[0] == pages[1]


def test_compare_is_paired_over_the_blocks_that_both_have(put, capsys: pytest.CaptureFixture[str]):
    folder = put(row("a"), row("a", 1), row("b", scale=1.1), row("b", 2))
    results = summary.load(folder)
    ((_, _, unit, found),) = summary.compare_agents(results, "a", "b")
    assert (found.instances, unit) == (8, "s")
    assert found.difference.mean == pytest.approx(-0.08 * 0.85)
    assert found.difference.high < 0
    print_comparison(results, "a", "b")
    assert "a is lower" in capsys.readouterr().out


def test_compare_refuses_strangers_and_agents_that_never_met(put):
    results = summary.load(put(row("alpha"), row("beta", 1)))
    with pytest.raises(ValueError, match="did you mean 'alpha'"):
        summary.compare_agents(results, "alhpa", "beta")
    with pytest.raises(ValueError, match="blocks shared by alpha and beta"):
        summary.compare_agents(results, "alpha", "beta")


def test_a_report_goes_to_markdown_only(put):
    folder = put(row("a"))
    with pytest.raises(ValueError, match=r"ends in \.md"):
        write_report(summary.load(folder), folder / "report.txt")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.80321, "0.8032"),
        (29.8321, "29.83"),
        (0.00112233, "0.001122"),
        (12345.6, "12346"),
        (0.0, "0"),
        (None, "-"),
        (float("nan"), "-"),
    ],
)
def test_numbers_have_four_digits(value: float | None, text: str):
    assert summary.digits(value) == text


def test_a_gap_that_rounds_to_nothing_has_no_sign():
    assert [summary.gap_text(value) for value in (-1e-6, 0.0, 0.0123, 1.234)] == [
        "0.000",
        "0.000",
        "0.012",
        "1.23",
    ]


def test_bars_in_texts_do_not_break_a_markdown_table():
    assert markdown_table(("a", "b"), [("x|y", "1")]).splitlines()[-1] == "| x\\|y | 1 |"


def test_a_sweep_over_several_worlds_begins_with_an_overview_of_gaps(
    put: Any, tmp_path: Path
) -> None:
    worlds = [
        row("local", scenario=name, scenario_hash=name, cell=name, scale=1 + k / 100)
        for k, name in enumerate("abc")
    ]
    tables = summary.tabulate(summary.load(put(*worlds)))
    ((title, header, rows),) = overviews(tables)
    assert "local" in title
    assert header == ["scenario", "minimum latency"]
    assert [line[0] for line in rows] == ["a", "b", "c"]
    assert [line[1].split()[0] for line in rows] == ["0.000", "1.00", "2.00"]
    assert not list(overviews(tables[:2]))  # two worlds need none
    more = [row("mine", scenario=n, scenario_hash=n, cell=f"mine-{n}", scale=1.5) for n in "abc"]
    *_, (title_by_prompt, header, rows) = overviews(
        summary.tabulate(summary.load(put(*worlds, *more)))
    )
    assert "minimum latency" in title_by_prompt
    assert header == ["scenario", "local", "mine"]
    assert [[text.split()[0] for text in line[1:]] for line in rows][2] == ["2.00", "50.00"]
    write_report(summary.load(tmp_path), tmp_path / "report.md", figures=False)
    text = (tmp_path / "report.md").read_text()
    assert text.index(title) < text.index("on a (a)")


def test_tables_as_csv_hold_every_digit(put):
    folder = put(row("a"), row("=b", scale=1.1), row("a", weight=0.0, bound=[None] * 8))
    results = summary.load(folder)
    write_report(results, folder / "report.md", figures=False)
    with (folder / "report.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["agent"] for line in lines] == ["a", "'=b", "a"]
    (first, *_) = summary.tabulate(results)[0].lines
    for name, value in (("cost", first.cost.mean), ("gap_percent_high", first.gap_percent.high)):
        assert float(lines[0][name]) == value
    assert lines[2]["gap_percent"] == lines[2]["bound"] == "" and lines[2]["unit"] == "J"
    with (folder / "report-pairs.csv").open() as file:
        (pair,) = csv.DictReader(file)
    assert (pair["a"], pair["b"], pair["a_lower"]) == ("a", "'=b", "1.0")
    assert float(pair["low"]) < float(pair["a_minus_b"]) < float(pair["high"]) < 0
    write_report(results, folder / "report.md", figures=False)  # its own are replaced
    (folder / "report.csv").write_text("mine")
    with pytest.raises(ValueError, match="report.csv.*another's"):
        write_report(results, folder / "report.md", figures=False)


def test_too_many_pairs_are_left_out(put, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(exports, "PAIRS_AT_MOST", 2)
    folder = put(row("a"), row("b"), row("c"))
    written = write_report(summary.load(folder), folder / "report.md", figures=False)
    assert [path.name for path in written] == [
        f"report.{kind}" for kind in ("md", "html", "csv", "tex")
    ]


def test_latex_prints_names_as_they_are(put):
    folder = put(row(r"50%_of {x} & \y $#^~"))
    write_report(summary.load(folder), folder / "report.md", figures=False)
    text = (folder / "report.tex").read_text()
    assert r"50\%\_of \{x\} \& \textbackslash{}y \$\#\textasciicircum{}\textasciitilde{} &" in text
    assert text.startswith("% Made by `lambo bench`") and r"\caption{``minimum latency''" in text
    columns = text.count(r"\begin{tabular}{lrrrrr}")
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    unescaped = [re.sub(r"\\.", "", line).count("&") for line in rows]
    assert columns == 1 and len(rows) == 3 and set(unescaped) == {5}


def test_an_agent_that_is_not_trained_has_a_row_without_numbers(put):
    folder = put(row("a"), row("b"))
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["sweep"]["not_trained"] = ["lambo-m"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    for table in summary.tabulate(summary.load(folder)):
        name, told, *others = summary.rows_of(table)[len(table.lines)]
        assert (name, told, {*others}) == ("lambo-m", "not trained", {summary.DASH})
    write_report(summary.load(folder), folder / "report.md", figures=False)
    assert "lambo-m & not trained" in (folder / "report.tex").read_text()
    assert "| lambo-m | not trained |" in (folder / "report.md").read_text()
