"""``lambo reproduce``: what it measures on a short run, what it prints, bad input."""

import math

import pytest
from data_files import shared_data

from benchmarks import cli
from benchmarks.studies.reproductions import are, droo, queueing


def test_a_short_run_of_droo_measures_all_it_names():
    quantities = {
        q.name: q for q in droo.reproduce(shared_data("droo-data_6.mat"), seeds=2, frames=600)
    }
    last, own = (
        quantities["normalised rate, last 20 %"],
        quantities["the network's own modes, last 20 %"],
    )
    assert 0.9 < own.value.mean <= last.value.mean <= 1 + 1e-5
    assert last.value.low <= last.value.mean <= last.value.high
    assert 1 < quantities["candidates K, last 20 %"].value.mean <= 6
    assert quantities["allocation against the file"].value.mean < 1e-4
    assert quantities["CPU ms per frame"].value.mean > 0
    times = quantities["their ms over CPU ms"].value
    assert times.low <= times.mean <= times.high
    assert math.isnan(quantities["allocation against the file"].value.low)


def test_the_command_prints_numbers_and_differences(capsys):
    code = cli.main(
        ["reproduce", "droo", str(shared_data("droo-data_6.mat")), "--seeds", "1", "--frames", "64"]
    )
    text = capsys.readouterr().out
    assert code == 0
    assert "normalised rate, last 20 %" in text
    assert "evaluator in the loop" in text
    assert "What differs:" in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["droo", "absent.mat"], "allowed: an existing .mat file of DROO's frames"),
        (["are", "absent.mat"], "allowed: an existing .mat file of ARE's data set"),
    ],
)
def test_missing_files_are_refused(arguments, text, capsys):
    assert cli.main(["reproduce", *arguments]) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"seeds": 0}, "seeds is 0"),
        ({"frames": 10_001}, "frames is 10001; allowed: at most 10000"),
        ({"variant": "orginal"}, "did you mean 'original'"),
    ],
)
def test_bad_arguments_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        droo.reproduce(shared_data("droo-data_6.mat"), **fields)


@pytest.mark.slow
def test_ares_network_comes_near_its_labels():
    quantities = {
        q.name: q.value.mean for q in are.reproduce(shared_data("are-Data1.mat"), seeds=1)
    }
    assert quantities["static, closed form: places as labelled"] > 0.8
    assert 0.485 < quantities["static, closed form: latency, s per UE"] < 0.515
    assert (
        quantities["static, closed form: latency, s per UE"]
        <= quantities["static, own shares: latency, s per UE"]
    )
    assert quantities["stream, closed form: places as labelled"] > 0.8
    assert 0 < quantities["labels that the stream asked for"] <= 300


@pytest.mark.parametrize("name", ["tang-wong", "qeco"])
def test_rules_get_in_published_worlds_what_the_authors_code_gives(name):
    late = {q.name: q for q in queueing.reproduce(name, episodes=12)}
    for load in ("0.3", "0.5"):
        local, at_random, *shortest = [
            q for title, q in late.items() if title.startswith(f"p {load}") and "their" not in title
        ]
        for simple in (local, at_random):
            assert simple.value.mean == pytest.approx(float(simple.theirs), abs=2.5)
        means = [q.value.mean for q in (local, at_random, *shortest)]
        assert means == sorted(means, reverse=True) and len(means) == 5


def test_the_published_worlds_print_their_papers_claims(capsys):
    assert cli.main(["reproduce", "qeco", "--episodes", "1"]) == 0
    text = capsys.readouterr().out
    assert "6.74 +- 0.26" in text and "14.4 % more completed tasks" in text
    assert cli.main(["reproduce", "tang-wong", "--episodes", "0"]) == 2
    assert "episodes is 0" in capsys.readouterr().err
