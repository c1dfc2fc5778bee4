"""How well the shipped weights read sentences that no training saw, and how that is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="LAMBO needs torch")

from benchmarks.cli import main
from benchmarks.studies import reading_accuracy

DATA = Path(__file__).parents[2] / "data"
ROWS = [
    row
    for name in ("", "-fresh", "-third", "-fourth")
    for row in reading_accuracy.load(DATA / f"prompts{name}.jsonl")
]


@pytest.fixture(scope="module")
def scores() -> dict[str, reading_accuracy.Score]:
    found = reading_accuracy.readings([row["text"] for row in ROWS], "lambo-s")
    return {by: reading_accuracy.score(ROWS, *found[by]) for by in reading_accuracy.READERS}


def test_sentences_are_read_as_what_they_say(scores: dict[str, reading_accuracy.Score]) -> None:
    both = scores["both"]
    assert both.read >= 95
    assert both.opposite <= 1
    assert both.refused <= 3
    assert both.none_refused >= 95


def test_the_network_alone_reads_most(scores: dict[str, reading_accuracy.Score]) -> None:
    alone = scores["network"]
    assert alone.read >= 75
    assert alone.opposite <= 10
    assert alone.none_refused >= 70


def test_scores_count_each_text_once() -> None:
    rows = [
        {"text": "a", "latency_weight": 1.0, "tolerance": 0.05},
        {"text": "b", "latency_weight": 1.0, "tolerance": 0.05},
        {"text": "c", "latency_weight": 0.7, "tolerance": 0.05},
        {"text": "d", "latency_weight": 0.0},
        {"text": "e", "latency_weight": None},
    ]
    weight, sure = np.array([1.0, 0.0, 0.9, 0.0, 1.0]), np.array([1.0, 0.9, 0.5, 0.4, 0.6])
    assert reading_accuracy.score(rows, weight, sure) == (25, 25, 25, 25, 0)
    assert np.isnan(reading_accuracy.score(rows[:4], weight[:4], sure[:4]).none_refused)


def test_the_command_shows_texts_and_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text('{"text": "minimum latency", "latency_weight": 1, "tolerance": 0.05}\n')
    assert main(["read", "not energy but latency", "--test", str(path)]) in (0, None)
    shown = capsys.readouterr().out
    assert "1.00 (1.00)" in shown
    assert "100.0" in shown
    path.write_text('{"txt": "x"}\n')
    with pytest.raises(ValueError, match="line 1"):
        reading_accuracy.load(path)
