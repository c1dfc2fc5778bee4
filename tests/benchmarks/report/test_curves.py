"""Curves of trainings: what is drawn is what the folders hold."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from benchmarks.report import curves
from benchmarks.report.figures import Picture

GAPS = {"latency": 4.0, "energy": 2.0, "mix": 1.0}


def training(folder: Path, seed: int, factor: float, steps: tuple[int, ...] = (10, 20)) -> Path:
    """Write the folder of a training that was measured at some updates."""
    folder.mkdir()
    options = {"seed": seed, "phases": 2, "phases[0].updates": 12, "phases[1].updates": 8}
    (folder / "run.json").write_text(json.dumps(options))
    rows = [
        {"step": step, "cpu_s": step / 10, "phase": "imitation", "rollouts": 0, "labels": step}
        | {
            f"gap_{name}{end}": factor * v / step
            for name, v in GAPS.items()
            for end in ("", "_share")
        }
        for step in steps
    ]
    (folder / "curve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"half')
    return folder


def test_seeds_of_a_recipe_are_one_line_with_a_band(tmp_path: Path) -> None:
    runs = curves.load(
        [training(tmp_path / "a", 0, 1.0), training(tmp_path / "b", 1, 4.0, (10, 20, 30))]
    )
    panels = curves.draw(runs).axes
    assert [axes.get_title(loc="left") or axes.get_title() for axes in panels] == list(GAPS)
    line = panels[0].lines[0]
    assert line.get_xdata().tolist() == [10, 20]  # what both have
    assert line.get_ydata() == pytest.approx([0.8, 0.4])  # geometric means of 0.4 and 1.6, ...
    low, high = panels[0].collections[0].get_datalim(panels[0].transData).intervaly
    assert (low, high) == pytest.approx((0.2, 1.6))
    assert [mark.get_xdata()[0] for mark in panels[0].lines[2:]] == [12]  # where a phase ends


def test_other_recipes_are_lines_of_their_own(tmp_path: Path) -> None:
    first, second = training(tmp_path / "a", 0, 1.0), training(tmp_path / "b", 0, 2.0)
    options = json.loads((second / "run.json").read_text()) | {"ema": 0.5}
    (second / "run.json").write_text(json.dumps(options))
    panels = curves.draw(curves.load([first, second])).axes
    assert [text.get_text() for text in panels[0].get_legend().get_texts()] == ["a", "b"]
    assert not panels[0].collections


def test_pictures_and_table_are_written_and_only_such_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = training(tmp_path / "a", 3, 1.0)
    paths = curves.write([folder], tmp_path / "out")
    assert [path.name for path in paths] == ["out.csv", "out.png", "out.svg", "out.pdf"]
    rows = list(csv.DictReader(paths[0].read_text().splitlines()))
    assert [(row["run"], row["seed"], row["step"]) for row in rows] == [
        ("a", "3", "10"),
        ("a", "3", "20"),
    ]
    assert float(rows[1]["gap_mix"]) == 1 / 20
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in curves.write([folder], tmp_path / "out")] == before
    png, svg, pdf = before[1:]
    made = {"curves": Picture(png, svg.decode().rstrip("\n"), pdf)}
    monkeypatch.setattr(curves, "drawn", lambda make: made)  # not drawn again for each
    for path in paths:
        path.write_text("mine")
        with pytest.raises(ValueError, match="out"):
            curves.write([folder], tmp_path / "out")
        path.unlink()


@pytest.mark.parametrize("fault", ["absent", "no rows", "damaged", "not a number", "no gap's step"])
def test_a_folder_that_is_none_is_refused_by_name(tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "a"
    if fault != "absent":
        row = {"step": 1, "cpu_s": 1.0, "gap_mix": 1.0}
        text = {
            "no rows": "",
            "damaged": "{]\n",
            "not a number": json.dumps(row | {"gap_mix": "x"}) + "\n",
            "no gap's step": json.dumps({"gap_mix": 1.0}) + "\n",
        }[fault]
        training(folder, 0, 1.0)
        (folder / "curve.jsonl").write_text(text)
    with pytest.raises(ValueError, match="rundir is .*a'; allowed: a folder that `lambo train`"):
        curves.load([folder])


def test_no_folder_and_one_twice_are_refused(tmp_path: Path) -> None:
    folder = training(tmp_path / "a", 0, 1.0)
    for folders in ([], [folder, folder]):
        with pytest.raises(
            ValueError, match="allowed: one folder of a training or more, each once"
        ):
            curves.load(folders)
