"""Results folders of others or with damage: whole, or refused with one clear error."""

import copy
import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import cli
from benchmarks.report.report import write_report
from benchmarks.report.tables import load
from benchmarks.sweep import bounds
from lambo_env.offloading.instances import Instances

NONSENSE = (None, True, -1, -1.5, 2**70, 10**400, "x", "", [], {}, [None], [-1.0, "x"], {"x": 1})
SWEEP = """
agents = ["local", "greedy"]
scenarios = ["tiny"]
prompts = ["minimum latency"]
instances = 2
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LAMBO_CACHE", str(folder / "cache"))
        Path("sweep.toml").write_text(SWEEP)
        assert cli.main(["bench", "sweep.toml", "--out=run", "--jobs=1", "--no-figures"]) == 0
    return folder / "run"


@pytest.mark.parametrize(
    ("kept", "owner"),
    [('{"command": "train lambo", "seed": 0}', "`lambo train lambo`"), ("{", "another command")],
)
def test_the_folder_of_another_command_is_refused_and_left_as_it_is(
    kept: str, owner: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    Path(tmp_path, "sweep.toml").write_text(SWEEP)
    other = tmp_path / "training"
    other.mkdir()
    Path(other, "run.json").write_text(kept)
    assert cli.main(["bench", str(tmp_path / "sweep.toml"), f"--out={other}", "--jobs=1"]) != 0
    told = " ".join(capsys.readouterr().err.split())
    assert "--out is" in told
    assert f"a folder of `lambo bench`, or a new one; {owner} wrote this one's run.json" in told
    assert [path.name for path in other.iterdir()] == ["run.json"]


def changed(value: Any) -> Iterator[Any]:
    """Yield copies of a JSON value with one part gone or replaced by nonsense, at any depth."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in list(parts):
        gone = copy.copy(value)
        del gone[key]
        yield gone
        for other in (*NONSENSE, *(changed(part) if isinstance(part, (dict, list)) else ())):
            new = copy.copy(value)
            new[key] = other
            yield new


def read(folder: Path) -> None:
    """Read and report, as `lambo report` does; what is refused is a ValueError."""
    try:
        results = load(folder)
    except ValueError as error:
        assert str(folder) in str(error) or "allowed" in str(error), error
        return
    write_report(results, folder / "other.md", figures=False)


@pytest.mark.parametrize("name", ["manifest.json", "results.jsonl"])
@pytest.mark.parametrize(
    "step", [40, pytest.param(1, marks=pytest.mark.slow)], ids=["sample", "all"]
)
def test_a_part_that_is_missing_or_nonsense_is_refused_or_harmless(
    name: str, step: int, run: Path, tmp_path: Path
):
    for file in ("manifest.json", "results.jsonl"):
        (tmp_path / file).write_bytes((run / file).read_bytes())
    first, *others = (run / name).read_text().splitlines() if name[0] == "r" else [""]
    whole = json.loads(first or (run / name).read_text())
    for damaged in list(changed(whole))[::step]:
        text = json.dumps(damaged) + "\n" + "".join(f"{line}\n" for line in others)
        (tmp_path / name).write_text(text)
        read(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("latency_s", [-1.0, 1.0]),
        ("cost", [-1.0, 1.0]),
        ("cost", ["x", 1.0]),
        ("late", [1.5, 0.0]),
        ("energy_j", [1e400, 1.0]),
        ("single_ms", -1.0),
        ("batched_ms", float("nan")),
        ("labels_used", -3),
        ("instances", 0),
    ],
)
def test_rows_that_cannot_be_are_refused_with_their_line(
    field: str, value: Any, run: Path, tmp_path: Path
):
    rows = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
    rows[1][field] = value
    (tmp_path / "manifest.json").write_bytes((run / "manifest.json").read_bytes())
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match="line 2 is damaged or foreign"):
        load(tmp_path)


@pytest.mark.parametrize("step", [37, pytest.param(1, marks=pytest.mark.slow)])
def test_an_archive_with_a_flipped_byte_is_read_or_refused(
    step: int, tiny: Instances, tmp_path: Path
):
    path = tmp_path / "i.npz"
    tiny.save(path)
    data = path.read_bytes()
    for at in range(0, len(data), step):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        try:
            Instances.load(path)
        except ValueError as error:
            assert "Instances" in str(error)


def test_bounds_of_an_older_version_are_proven_again(monkeypatch: pytest.MonkeyPatch):
    given = ("0" * 16, 0, 0, 8, 1.0, 1e-4)
    now = bounds.bound_key(*given)
    monkeypatch.setattr(bounds, "VERSION", bounds.VERSION - 1)
    assert bounds.bound_key(*given) != now


def test_a_disk_that_is_full_during_a_sweep_names_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    import os

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAMBO_CACHE", str(tmp_path / "cache"))
    Path("sweep.toml").write_text(SWEEP)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert cli.main(["bench", "sweep.toml", "--out=run", "--jobs=1", "--no-figures"]) == 2
    error = capsys.readouterr().err
    assert "No space left on device" in error and str(Path("run")) in error
    assert np.all([path.suffix != ".part" for path in tmp_path.rglob("*")])
