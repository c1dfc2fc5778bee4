"""Trainings side by side.

A variant differs by what it names alone, a study goes on where it stopped, its table says what was
measured.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="LAMBO needs torch")

from benchmarks.commands.study import header, table_row
from benchmarks.report.statistics import seeds_interval
from benchmarks.studies import queue_card
from benchmarks.studies.ablations import offloading, queueing
from benchmarks.studies.ablations import study as ablations
from lambo_agents.queueing import run as queue_run

STUDY = """
name = "plain"
about = "as it is"
preset = "lambo_xs"
validation_instances = 2

[[phases]]
phase = "reading"
updates = 1
texts = 8

[[phases]]
phase = "policy_gradient"
updates = 2
instances = 2
rollouts = 2

[[variants]]
name = "one-order"
about = ""
deciding = { shuffled = false }
"""

QUEUE_STUDY = """
world = "queueing"
name = "whole"
about = "as it is"
updates = 2
episodes = 2
copies = 2
start = "linear-rule"
network = { d_model = 4, num_heads = 1, hidden = 3 }

[[worlds]]
scenario = "CELL"

[[variants]]
name = "bare"
about = "without the rule"
without = ["start"]
"""


@pytest.mark.parametrize("study", ablations.STUDIES)
def test_variants_do_as_many_updates_as_the_reference_and_differ_from_it(study: str) -> None:
    reference, *others = ablations.variants(study)
    plain = reference.recipe.to_dict()
    assert len({variant.name for variant in (reference, *others)}) == len(others) + 1
    for variant in others:
        assert variant.recipe.to_dict() != plain, variant.name
        assert variant.recipe.updates == reference.recipe.updates, variant.name
        assert variant.about


def test_studies_share_the_variants_of_a_name() -> None:
    found: dict[str, ablations.Variant] = {}
    for study in ablations.STUDIES:
        for variant in ablations.variants(study):
            assert found.setdefault(variant.name, variant).recipe == variant.recipe, variant.name


def test_a_study_goes_on_where_it_stopped_and_measures_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBO_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "two.toml"
    path.write_text(STUDY)
    said: list[str] = []
    first = ablations.study((str(path),), tmp_path / "out", 2, 3, tell=said.append)
    assert [len(rows) for rows in first.values()] == [2, 2]
    assert len(said) == 4
    assert first["plain"][0]["recipe"]["seed"] == 0
    assert first["one-order"][1]["recipe"]["phases"][1]["shuffled"] is False
    whole = json.loads((tmp_path / "out" / "plain-0" / "result.json").read_text())
    assert whole["percent"] == first["plain"][0]["percent"]
    (tmp_path / "out" / "one-order-1" / "result.json").write_text("{half")
    again = ablations.study((str(path),), tmp_path / "out", 2, 3, tell=said.append)
    assert again["plain"] == first["plain"]
    # its training was there, only measured anew
    assert again["one-order"][1]["percent"] == first["one-order"][1]["percent"]
    row = table_row("plain", "as it is", first["plain"])
    assert len(row) == len(header(offloading.TITLES))
    assert f"{math.sqrt(math.prod(r['percent'][0] for r in first['plain'])):.3f} [" in row[3]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (("deciding = {", "deciding = { rollout = 2,"), r"variant 'one-order'.*rollout: unknown"),
        (('about = ""', 'about = ""\nseeds = 3'), r"variant 'one-order' of .*seeds: unknown field"),
        (("updates = 1", "updates = -1"), r"phases\[0\].*updates is -1; allowed: an integer >= 1"),
    ],
)
def test_a_bad_study_says_where(tmp_path: Path, change: tuple[str, str], error: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(STUDY.replace(*change))
    with pytest.raises(ValueError, match=error):
        ablations.study((str(path),), tmp_path / "out", 1, 1)


def test_an_unknown_study_and_no_seeds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown study 'three'"):
        ablations.study(("three",), tmp_path, 1, 1)
    with pytest.raises(ValueError, match="--seeds is 0"):
        ablations.study(("ladder",), tmp_path, 0, 1)


def test_the_interval_of_a_few_seeds_is_students() -> None:
    found = seeds_interval([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.high - 2 == pytest.approx(
        4.302653 / math.sqrt(3), rel=1e-5
    )  # t(0.975; 2), deviation 1
    assert found.low - 2 == pytest.approx(2 - found.high)
    assert math.isnan(seeds_interval([1.0]).low)
    with pytest.raises(ValueError, match="seeds_interval"):
        seeds_interval([])


def test_a_study_of_the_world_where_tasks_wait_measures_against_the_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, path = tmp_path / "cell.toml", tmp_path / "parts.toml"
    cell.write_text('world = "queueing"\nnum_slots = 4\nnum_ues = 8\n')
    monkeypatch.setattr(queue_card, "SCENARIOS", (str(cell),))
    monkeypatch.setattr(queueing, "TITLES", ("latency", "energy"))
    monkeypatch.setattr(queue_run, "_MEASURED", ((str(cell), 1.0),))
    path.write_text(QUEUE_STUDY.replace("CELL", str(cell)))
    whole, bare = ablations.variants(path)
    assert whole.recipe.start == "linear-rule" and bare.recipe.start is None
    found = ablations.study((str(path),), tmp_path / "out", 1, 2, tell=[].append)
    assert found["whole"][0]["clock"]["rollouts"] == 2 * 2 * 2
    assert found["whole"][0]["percent"] != found["bare"][0]["percent"]
    row = table_row("bare", "", found["bare"])
    assert len(row) == len(header(queueing.TITLES))
    assert row[3] == f"{found['bare'][0]['percent'][0]:.3f}"  # one seed has no interval
