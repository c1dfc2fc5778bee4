"""Trainings side by side.

A variant differs by what it names alone, a study goes on where it stopped, its table says what was
measured.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="LAMBO needs torch")

from benchmarks.commands.study import HEADER, table_row
from benchmarks.report.statistics import seeds_interval
from benchmarks.studies import ablations

QUICK = dataclasses.replace(
    ablations.REFERENCE,
    preset="lambo_xs",
    steps=3,
    pretraining_steps=1,
    pretraining_texts=8,
    imitation_steps=1,
    imitation_instances=2,
    instances=2,
    rollouts=2,
    validation_instances=2,
    validate_every=3,
    checkpoint_every=3,
)


def test_variants_differ_from_the_reference_by_what_they_name_alone() -> None:
    for variants in ablations.STUDIES.values():
        for variant in variants:
            own, plain = variant.config(2), dataclasses.replace(ablations.REFERENCE, seed=2)
            other = {
                name for name, value in own.to_dict().items() if value != plain.to_dict()[name]
            }
            assert other == set(variant.fields), variant.name
            assert own.steps == plain.steps  # as many updates


def test_a_study_goes_on_where_it_stopped_and_measures_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        ablations,
        "STUDIES",
        {
            "two": (
                ablations.Variant("plain", "as it is"),
                ablations.Variant("cold", "", {"imitation_steps": 0}),
            )
        },
    )
    said: list[str] = []
    first = ablations.study(("two",), tmp_path / "out", 2, 3, reference=QUICK, tell=said.append)
    assert [len(rows) for rows in first.values()] == [2, 2]
    assert len(said) == 4
    assert first["plain"][0]["config"]["seed"] == 0
    assert first["cold"][1]["clock"]["labels"] == 0
    whole = json.loads((tmp_path / "out" / "plain-0" / "result.json").read_text())
    assert whole["gap_percent"] == first["plain"][0]["gap_percent"]
    (tmp_path / "out" / "cold-1" / "result.json").write_text("{half")
    again = ablations.study(("two",), tmp_path / "out", 2, 3, reference=QUICK, tell=said.append)
    assert again["plain"] == first["plain"]
    assert (
        again["cold"][1]["gap_percent"] == first["cold"][1]["gap_percent"]
    )  # its training was there, only measured anew
    row = table_row("plain", "as it is", first["plain"])
    assert len(row) == len(HEADER)
    assert f"{math.sqrt(math.prod(r['gap_percent'][0] for r in first['plain'])):.3f} [" in row[3]
    with pytest.raises(ValueError, match="unknown study 'three'"):
        ablations.study(("three",), tmp_path, 1, 1)
    with pytest.raises(ValueError, match="--seeds is 0"):
        ablations.study(("two",), tmp_path, 0, 1)


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
