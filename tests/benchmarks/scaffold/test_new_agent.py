"""Somebody else's agent.

The scaffold runs as it is, and a package outside the tree is installed, found, checked and ranked.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import cli
from benchmarks.scaffold.scaffold import new_agent

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "docs" / "examples" / "third_party_agent"


def run(*command: object, folder: Path, **environment: str) -> str:
    """Run a command and return what it printed; the test fails with its whole output."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_scaffold_is_four_files_and_says_what_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["new-agent", "my_rule", "--out", str(tmp_path / "my_rule")]) == 0
    assert {path.name for path in (tmp_path / "my_rule").iterdir()} == {
        *("pyproject.toml", "my_rule.py", "test_my_rule.py", "README.md"),
    }
    out = capsys.readouterr().out
    assert (
        "lambo check agent my_rule" in out
        and "lambo bench quick --agents my_rule,greedy,exact" in out
    )


def metadata(folder: Path, name: str, value: str) -> None:
    """What pip would write for an installed package with one entry point."""
    info = folder / f"{name}-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[lambo.agents]\n{name} = {value}\n")


def test_the_agent_runs_as_it_is(tmp_path: Path):
    """Its own tests, and its row in a sweep.

    Found through its metadata, as if it were installed.
    """
    new_agent("my_rule", tmp_path)
    metadata(tmp_path, "my_rule", "my_rule:MyRule")
    there = {
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "LAMBO_CACHE": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    assert "2 passed" in run(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder=tmp_path, **there
    )
    lambo = [sys.executable, "-m", "benchmarks.cli"]
    assert "FAIL" not in run(*lambo, "check", "agent", "my_rule", folder=tmp_path, **there)
    (tmp_path / "small.toml").write_text(
        'agents = ["greedy"]\nscenarios = ["tiny"]\nprompts = ["minimum latency"]\ninstances = 4\n'
    )
    run(
        *lambo,
        "bench",
        "small.toml",
        "--agents",
        "my_rule,greedy",
        "--no-figures",
        "--jobs",
        "1",
        folder=tmp_path,
        **there,
    )
    rows = (tmp_path / "results" / "small" / "results.jsonl").read_text().splitlines()
    assert {json.loads(row)["agent"] for row in rows} >= {"my_rule", "greedy"}


@pytest.mark.parametrize("name", ["My-Rule", "class", "2nd", "greedy", "numpy", "setup", ""])
def test_names_that_cannot_be_are_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["new-agent", name, "--out", str(tmp_path / "x")]) == 2
    assert f"new-agent NAME is '{name}'; allowed:" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_folder_in_use_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "notes.txt").write_text("mine")
    assert cli.main(["new-agent", "my_rule", "--out", str(tmp_path)]) == 2
    assert "holds something already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_third_party_example_keeps_the_contract():
    there = {
        "PYTHONPATH": f"{EXAMPLE}{os.pathsep}{ROOT}",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    out = run(
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        EXAMPLE,
        folder=EXAMPLE,
        **there,
    )
    assert "2 passed" in out


@pytest.mark.slow
def test_strangers_packages_in_a_fresh_environment(tmp_path: Path):
    """The wheel, the example and a scaffold in a new virtual environment.

    Listed with their origin, checked, ranked.
    """
    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "venv", python.parents[1], folder=tmp_path)
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "-q"]
    done = subprocess.run(
        [*pip, "-c", ROOT / "constraints.txt", "setuptools", "wheel", "numpy"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"needs a package index: {done.stderr[-200:]}")
    source = tmp_path / "source"  # built from a copy: a build leaves traces
    run("git", "-C", ROOT, "checkout-index", "-a", f"--prefix={source}/", folder=tmp_path)
    run(*pip, "-c", ROOT / "constraints.txt", source, folder=tmp_path)
    new_agent("my_rule", tmp_path / "my_rule")
    for package in (EXAMPLE, tmp_path / "my_rule"):
        copy = shutil.copytree(package, tmp_path / "copies" / package.name)
        run(*pip, "--no-build-isolation", copy, folder=tmp_path)
    lambo, there = (
        python.parent / "lambo",
        {"LAMBO_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
    )
    listed = run(lambo, "list", "agents", folder=tmp_path, **there)
    for name in ("my_rule", "my-rule", "tightest-first", "tightest-first-calm"):
        assert name in listed
    for name in ("my_rule", "tightest-first-calm"):
        assert "FAIL" not in run(lambo, "check", "agent", name, folder=tmp_path, **there)
    run(
        lambo,
        "bench",
        "quick",
        "--agents",
        "my_rule,tightest-first,greedy,exact",
        "--no-figures",
        folder=tmp_path,
        **there,
    )
    rows = (tmp_path / "results" / "quick" / "results.jsonl").read_text().splitlines()
    assert {json.loads(row)["agent"] for row in rows} >= {
        "my_rule",
        "tightest-first",
        "greedy",
        "exact",
    }
