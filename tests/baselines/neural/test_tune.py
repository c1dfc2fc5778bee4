"""The search of the trainings' settings: what it tries, keeps and does not try again."""

import json

import pytest

from baselines.neural import tune

SHORT = {"are": {"labels": 20, "epochs": 1}, "droo": {"slots": 10}}


@pytest.mark.parametrize("family", ["are", "droo"])
def test_each_option_is_tried_with_the_best_before_it(family, tmp_path, monkeypatch):
    monkeypatch.setitem(tune.SPACE, "pooled", {"width": (4, 8), "batch": (5, 10)})
    given = (family, "pooled", tmp_path, "tiny", 4, SHORT[family])
    told = []
    found = tune.search(*given, told.append)
    widths = [row["options"]["width"] for row in told]
    best = min(told[:2], key=lambda row: row["mean"])["options"]["width"]
    assert widths == [4, 8, best, best]
    assert found[0]["mean"] == min(row["mean"] for row in told)
    lines = (tmp_path / f"{family}.jsonl").read_text().splitlines()
    assert sorted(map(json.dumps, found)) == sorted(lines)


def test_a_second_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setitem(tune.SPACE, "pooled", {"width": (4, 8)})
    given = ("droo", "pooled", tmp_path, "tiny", 4, SHORT["droo"], lambda row: None)
    first = tune.search(*given)
    monkeypatch.setattr(tune.droo_training, "train", None)
    assert tune.search(*given) == first
