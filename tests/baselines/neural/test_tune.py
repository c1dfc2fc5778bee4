"""The search of the trainings' settings: what it tries, keeps and does not try again."""

import json

import pytest

from baselines.neural import tune
from baselines.neural.checkpoint import WEIGHTS

SHORT = {"are": {"labels": 20, "epochs": 1}, "droo": {"slots": 10}}
FULL = {"are": {"labels": 40, "epochs": 2}, "droo": {"slots": 20, "rounds": 1}}


@pytest.fixture(params=["are", "droo"])
def family(request, monkeypatch):
    """Return a family whose space, short trials and full trainings are small."""
    monkeypatch.setitem(tune.SPACE, "pooled", {"width": (4, 8), "batch": (5, 10)})
    monkeypatch.setitem(tune.BUDGETS, request.param, SHORT[request.param])
    module = getattr(tune, f"{request.param}_training")
    settled = {**module.SETTINGS["pooled"], **FULL[request.param], "varied": 0.0}
    monkeypatch.setitem(module.SETTINGS, "pooled", settled)
    return request.param


def test_each_option_is_tried_with_the_best_before_it_and_the_best_few_in_full(family, tmp_path):
    told = []
    found = tune.search(family, "pooled", tmp_path, "tiny", 4, best=2, tell=told.append)
    widths, batches = ([row["options"][name] for row in told] for name in ("width", "batch"))
    best = min(told[:2], key=lambda row: row["mean"])["options"]["width"]
    assert widths[:4] == [4, 8, best, best]
    assert batches[:4] == [10, 10, 5, 10]
    short, full = told[:4], told[4:]
    for rows, budget in ((short, SHORT), (full, FULL)):
        assert all(budget[family].items() <= row["options"].items() for row in rows)
    picked = sorted({(row["mean"], *pair(row)) for row in short})[:2]
    assert [pair(row) for row in full] == [key[1:] for key in picked]
    assert found[0] == min(full, key=lambda row: row["mean"])
    assert len(found) == 2 + 3
    lines = (tmp_path / f"{family}.jsonl").read_text().splitlines()
    assert sorted(map(json.dumps, found)) == sorted(lines)


def pair(row):
    return row["options"]["width"], row["options"]["batch"]


def test_a_second_run_goes_on(family, tmp_path, monkeypatch):
    given = (family, "pooled", tmp_path, "tiny", 4, 1)
    first = tune.search(*given, tell=lambda row: None)
    monkeypatch.setattr(getattr(tune, f"{family}_training"), "train", None)
    assert tune.search(*given, tell=lambda row: None) == first


def backwards(function, tasks):
    """An engine whose last task is done first."""
    for key, arguments in reversed(list(tasks)):
        yield key, function(*arguments)


def test_the_order_in_which_trials_are_done_changes_nothing(family, tmp_path):
    given = (family, "pooled"), ("tiny", 4, 1, lambda row: None)
    found = [
        tune.search(*given[0], tmp_path / name, *given[1], **where)
        for name, where in (("here", {}), ("there", {"engine": backwards}))
    ]
    for rows in found:
        for row in rows:
            del row["cpu_seconds"]
    assert found[0] == found[1]


@pytest.mark.parametrize("family", ["are", "droo"])
def test_what_ships_is_trained_with_values_of_the_space(family):
    """The settings are among those that the search tries, and the card holds them."""
    settled = getattr(tune, f"{family}_training").SETTINGS["pooled"]
    card = json.loads((WEIGHTS / f"{family}.json").read_text())
    assert all(settled[name] in values for name, values in tune.SPACE["pooled"].items())
    assert settled.items() <= card["options"].items()
    assert card["command"] == f"lambo train {family} OUT"
