"""The leaderboard: what is sent is read strictly, and tables mix no worlds."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cli
from benchmarks.report import leaderboard

LINE = {
    "agent": "mine|<b>",
    "scenario": "paper",
    "prompt": "minimum latency",
    "scenario_hash": "6b4df35477816657",
    "instances": 32,
    "cost": [0.81, 0.8, 0.82],
    "gap_percent": [0.3, 0.2, 0.4],
    "late_percent": 0.0,
    "parameters": None,
    "labels_used": 0,
    "evaluator_in_loop": True,
}
SENT: dict[str, Any] = {
    "format": 1,
    "by": "A & [B](x)",
    "url": "https://example.org/a",
    "made": "lambo bench",
    "root": 0,
    "per_block": 32,
    "lines": [LINE],
}


def put(path: Path, changes: dict[str, Any], line: dict[str, Any]) -> Path:
    sent = copy.deepcopy(SENT)
    sent["lines"][0] |= line
    path.write_text(json.dumps(sent | changes))
    return path


@pytest.mark.parametrize(
    ("changes", "line", "words"),
    [
        ({"format": 2}, {}, "format is 2"),
        ({"by": " "}, {}, "by is ' '"),
        ({"by": "x" * 121}, {}, "printable"),
        ({"by": "\x1b[2J"}, {}, "printable"),
        ({"url": "javascript:alert(1)"}, {}, "https address"),
        ({"url": "https://a.org/) [x](y"}, {}, "https address"),
        ({"root": -1}, {}, "root is -1"),
        ({"lines": []}, {}, "one or more"),
        ({"lines": [LINE, LINE]}, {}, "each agent once"),
        ({"extra": 1}, {}, "the keys format"),
        ({}, {"extra": 1}, "the keys agent"),
        ({}, {"agent": 3}, "agent is 3"),
        ({}, {"scenario_hash": "../../x"}, "16 hex digits"),
        ({}, {"prompt": "sideways"}, "sideways"),
        ({}, {"cost": [1.0, 0.5]}, "low, high"),
        ({}, {"cost": [float("nan"), 0.5, 1.0]}, "low, high"),
        ({}, {"cost": ["x", 0.5, 1.0]}, "cost"),
        ({}, {"gap_percent": [-1.0, -2.0, 0.0]}, "gap_percent"),
        ({}, {"gap_percent": [0.3, 0.4, 0.5]}, "gap_percent"),
        ({}, {"late_percent": 101}, "0 .. 100"),
        ({}, {"labels_used": -1}, "labels_used"),
        ({}, {"evaluator_in_loop": 1}, "evaluator_in_loop"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(
    tmp_path: Path, changes: dict[str, Any], line: dict[str, Any], words: str
):
    path = put(tmp_path / "sent.json", changes, line)
    with pytest.raises(ValueError, match=rf"sent\.json: .*{words}"):
        leaderboard.read(path)


def test_no_json_and_no_object_are_refused(tmp_path: Path):
    for text in ("", "[", "[]", "3", "[" * 100_000):
        (tmp_path / "sent.json").write_text(text)
        with pytest.raises(ValueError, match="sent.json"):
            leaderboard.read(tmp_path / "sent.json")


def test_tables_are_sorted_escaped_and_never_mix_instances(tmp_path: Path):
    one = leaderboard.read(put(tmp_path / "a.json", {}, {}))
    better = {"agent": "other", "gap_percent": [0.1, 0.0, 0.2]}
    two = leaderboard.read(put(tmp_path / "b.json", {"by": "C", "url": ""}, better))
    elsewhere = leaderboard.read(put(tmp_path / "c.json", {"root": 1}, {}))
    found = list(leaderboard.tables([one, two, elsewhere]))
    names = [[row[0] for row in rows] for _, rows in found]
    assert names == [["other", r"mine\|\<b>"], [r"mine\|\<b>"]]
    assert found[0][1][1][1] == r"[A & [B\](x)](https://example.org/a)"
    assert found[0][1][0][1] == "C" and "root 1" in found[1][0]


def test_the_command_writes_what_the_reader_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAMBO_CACHE", str(tmp_path / "cache"))
    line = "bench ci --agents local,greedy --scenarios tiny --out run --no-figures --jobs 1"
    assert cli.main(line.split()) == 0
    send = ["report", "run", "--submission", "mine.json"]
    assert cli.main([*send, "--by", "me"]) == 0
    sent = leaderboard.read(tmp_path / "mine.json")
    assert {entry["agent"] for entry in sent.lines} == {"local", "greedy"}
    assert len(sent.lines) == 4 and sent.made.startswith("Made by")
    assert cli.main([*send, "--by", "me again"]) == 0  # its own is replaced
    capsys.readouterr()
    assert cli.main(send) == 2
    assert "submission.by is ''" in capsys.readouterr().err
    (tmp_path / "mine.json").write_text("{}")
    assert cli.main([*send, "--by", "me"]) == 2
