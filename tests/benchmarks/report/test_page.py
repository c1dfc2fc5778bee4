"""report.html: what its script reads, and in a real browser what it does."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser as browsers
import numpy as np
import pytest

from benchmarks import cli
from benchmarks.report import tables
from benchmarks.report.page import data, slots
from benchmarks.report.report import write_report
from benchmarks.sweep.results import RESULTS
from lambo_env.utils.gaps import gap_percent

SWEEP = """
agents = ["local", "random", "greedy", {name = "exact", label = "<b>&exact</script>"}]
scenarios = ["tiny", {name = "eight", base = "tiny", num_ues = 8}]
prompts = ["minimum latency", "minimum energy"]
instances = 5
"""
EXACT = "<b>&exact</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setenv("LAMBO_CACHE", str(path / "cache"))
        Path("sweep.toml").write_text(SWEEP)
        assert cli.main(["bench", "sweep.toml", "--out=run", "--jobs=1", "--no-figures"]) == 0
    return path / "run"


def read(folder: Path) -> dict[str, Any]:
    page = (folder / "report.html").read_text()
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    return json.loads(text)


def test_the_data_are_those_of_the_rows(folder: Path):
    results, found = tables.load(folder), read(folder)
    assert [(t["scenario"], t["prompt"]) for t in found["tables"]] == results.tables()
    for table in found["tables"]:
        for line in table["lines"]:
            rows = results.of(table["scenario"], table["prompt"], line["agent"])
            gaps = gap_percent(tables.values(rows, "cost"), tables.values(rows, "bound"))
            assert line["gaps"] == pytest.approx(sorted(gaps), rel=1e-3, abs=1e-9)
            assert len(line["keys"]) == len(line["cells"]) == len(found["header"])
    pair = next(p for p in found["pairs"] if (p["a"], p["b"]) == ("local", "random"))
    assert pair["low"] <= pair["a_minus_b"] <= pair["high"] and pair["instances"] == 5


def test_a_slot_ends_at_the_rows_own_cost(folder: Path):
    results, found = tables.load(folder), read(folder)
    assert len(found["slots"]) == 4 and found["notes"] == []
    for slot in found["slots"]:
        costs = {}
        for one in slot["agents"]:
            (row,) = results.of(slot["scenario"], slot["prompt"], one["agent"])
            assert one["cost"][-1] == pytest.approx(row.cost[0], rel=1e-4)
            assert len(one["cost"]) == len(slot["ue_xy"]) + 1 == len(one["place"]) + 1
            share = np.bincount(one["place"], one["cpu_share"], 5)[1:]
            assert np.all(share < 1.001)
            costs[one["agent"]] = one["cost"]
        assert len({cost[0] for cost in costs.values()}) == 1  # all local
        assert costs["local"][0] == costs["local"][-1] > slot["bound"]
        assert costs[EXACT][-1] >= slot["bound"] * (1 - 1e-4)
        assert np.all(np.array(slot["ue_xy"]) <= slot["side_m"])


def test_texts_of_others_end_no_element(folder: Path):
    page = (folder / "report.html").read_text()
    assert page.count("</script>") == 2 and EXACT not in page
    assert EXACT in {line["agent"] for line in read(folder)["tables"][0]["lines"]}


def test_nothing_is_fetched(folder: Path):
    page = (folder / "report.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)\s*=|@import|url\(|fetch\(|XMLHttpRequest", page)


def rewritten(folder: Path, to: Path, change: Any) -> list[str]:
    """Change every row of a copy and return the notes of its page."""
    rows = [json.loads(line) for line in (folder / RESULTS).read_text().splitlines()]
    for row in rows:
        change(row)
    to.mkdir()
    (to / RESULTS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (to / "manifest.json").write_text((folder / "manifest.json").read_text())
    write_report(tables.load(to), to / "report.md", figures=False)
    assert read(to)["slots"] == []
    return read(to)["notes"]


def test_older_rows_and_illegal_decisions_are_not_played(folder: Path, tmp_path: Path):
    notes = rewritten(folder, tmp_path / "old", lambda row: row.pop("first"))
    assert len(notes) == 4 and "hold no decision" in notes[0]
    one_server = {"place": [9] * 6, "cpu_hz": [1.0] * 6}
    assert (
        "place" in rewritten(folder, tmp_path / "bad", lambda row: row.update(first=one_server))[0]
    )


@pytest.mark.parametrize(
    "first", [{}, {"place": [1], "cpu_hz": []}, {"place": [0.5], "cpu_hz": [0.0]}, [1], "x"]
)
def test_a_row_with_a_broken_decision_is_refused(folder: Path, tmp_path: Path, first: Any):
    with pytest.raises(ValueError, match="wrong first"):
        rewritten(folder, tmp_path / "broken", lambda row: row.update(first=first))


def test_a_page_of_many_tables_stays_small(folder: Path, monkeypatch: pytest.MonkeyPatch):
    results = tables.load(folder)
    monkeypatch.setattr(slots, "VALUES_AT_MOST", 100)
    shown, notes = slots.slots_of(results)
    assert shown == [] and "too large" in notes[0]
    monkeypatch.setattr(data, "GAPS_AT_MOST", 3)
    text = data.page_json(results, tables.tabulate(results), None)
    assert {len(line["gaps"]) for t in json.loads(text)["tables"] for line in t["lines"]} == {3}


# ---- in a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[browsers.Browser]:
    if browsers.found() is None:
        pytest.skip(browsers.MISSING)
    with browsers.started() as found:
        yield found


def first_column(browser: browsers.Browser) -> list[str]:
    cells = "document.querySelectorAll('#table tbody td:first-child')"
    return browser.run(f"return [...{cells}].map((cell) => cell.textContent)")


def test_the_table_sorts_filters_and_follows_what_is_picked(browser: Any, folder: Path):
    browser.open(folder / "report.html", 1400)
    assert first_column(browser) == ["local", "random", "greedy", EXACT, "certified bound"]
    costs = "return [...document.querySelectorAll('#table tbody td:nth-child(2)')]"
    shown = f"{costs}.slice(0, -1).map((cell) => parseFloat(cell.textContent))"
    before = browser.run(shown)
    browser.click("#table th:nth-child(2) button")
    assert browser.run(shown) == sorted(before) != before
    browser.click("#table th:nth-child(2) button")
    assert browser.run(shown) == sorted(before, reverse=True)
    browser.type("#filter", "gre")
    assert first_column(browser) == ["greedy", "certified bound"]
    assert "1 of 4" in browser.run("return document.getElementById('count').textContent")
    browser.click("#agents label:nth-child(3) input")
    assert first_column(browser) == ["certified bound"]
    cost = "return document.querySelector('#table tr.bound td:nth-child(2)').textContent"
    before = browser.run(cost)
    browser.type("#prompt", "minimum energy")
    assert browser.run(cost) != before and browser.run(cost).endswith("J")
    assert browser.console() == []


def test_the_player_steps_by_key_and_button(browser: Any, folder: Path):
    browser.open(folder / "report.html", 1400)
    say = "return document.getElementById('right-text').textContent"
    assert EXACT in browser.run(say) and "UE 5" in browser.run(say)
    browser.click("#back")
    assert "UE 4" in browser.run(say)
    browser.type("#step", browsers.KEYS["right"])
    assert "UE 5" in browser.run(say)
    browser.type("#scenario", "eight")
    browser.type("#step", browsers.KEYS["right"] * 3)
    assert "UE 7" in browser.run(say)
    bars = "return document.querySelectorAll('#right-map svg rect').length"
    assert browser.run(bars) == 1 + 4 + 2 * 4  # the square, servers, a frame and a bar of each
    assert browser.console() == []


def test_marks_tell_on_focus_what_they_are(browser: Any, folder: Path):
    browser.open(folder / "report.html", 800)
    for chart in ("gaps", "spread", "time", "pairs"):
        assert browser.run(f"return document.querySelectorAll('#{chart} [tabindex]').length") >= 3
        browser.run(f"document.querySelector('#{chart} [tabindex]').focus()")
        tip = "const box = document.getElementById('tip'); return box.hidden ? '' : box.textContent"
        assert "local" in browser.run(tip)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 800, 400])
def test_the_page_fits_and_can_be_read(browser: Any, folder: Path, width: int, dark: bool):
    browser.open(folder / "report.html", width, dark=dark)
    size = "return document.documentElement.scrollWidth"
    assert browser.run(size) <= width
    low = browser.run(CONTRAST)
    assert low == []
    assert browser.run(CLIPPED) == []
    named = "(one) => one.labels?.length || one.textContent.trim()"
    inputs = "[...document.querySelectorAll('button, select, input')]"
    assert browser.run(f"return {inputs}.every({named})")


# texts of drawings that end beyond them
CLIPPED = """
return [...document.querySelectorAll('svg text')].filter((node) => {
  const [text, drawing] = [node, node.closest('svg')].map((one) => one.getBoundingClientRect());
  return text.width && (text.right > drawing.right + 1 || text.left < drawing.left - 1);
}).map((node) => node.textContent);
"""

# texts whose contrast with what lies behind them is below WCAG's 4.5
CONTRAST = """
const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = (rgb) => rgb.map((v) => linear(v / 255))
  .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
const parts = (text) => text.match(/[0-9.]+/g).map(Number);
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const [r, g, b, a] = parts(getComputedStyle(at).backgroundColor);
    if (a !== 0) return [r, g, b];
  }
  return [255, 255, 255];
};
return [...document.querySelectorAll('body *')].filter((node) => {
  const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim());
  if (!own || !node.checkVisibility()) return false;
  const style = getComputedStyle(node);
  const ink = parts(node.closest('svg') ? style.fill : style.color).slice(0, 3);
  if (node.closest('svg') && style.fontWeight === '700') return false; // a letter on its server
  const [a, b] = [light(ink), light(behind(node))].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05) < 4.5;
}).map((node) => node.textContent);
"""
