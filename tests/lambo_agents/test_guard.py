"""Agents that exit, wander off, print and meddle harm neither the table nor their neighbours."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cli
from lambo_agents import guard
from lambo_agents.registry import agent_spec, register_agent
from lambo_agents.testing.agent_checks import check_agent

AGENTS = """
import os, sys, random, warnings
import numpy as np
from baselines.heuristics.local import Local


class Well(Local):
    pass


class Exits(Local):
    def decide(self, *given):
        sys.exit("enough")


class ExitsEarly(Local):
    def supports(self, instances):
        raise SystemExit(0)


class Leaves(Local):
    def decide(self, *given):
        os.chdir("/")
        return super().decide(*given)


class Prints(Local):
    def decide(self, *given):
        print("LOOK AT ME")
        sys.stdout.flush()
        sys.stdout.close()
        np.seterr(all="raise")
        np.random.seed(0)
        random.seed(0)
        return super().decide(*given)


class Base(BaseException):
    pass


class RaisesBase(Local):
    def decide(self, *given):
        raise Base("gone")


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class RaisesUnspeakable(Local):
    def decide(self, *given):
        raise Unspeakable


class MakesNothing(Local):
    def __init__(self):
        sys.exit(3)


class Odd(Local):
    def decide(self, *given):
        return "no decision"
"""
BAD = {
    "exits": ("Exits", "SystemExit: enough"),
    "exits-early": ("ExitsEarly", "SystemExit: 0"),
    "raises-base": ("RaisesBase", "Base: gone"),
    "unspeakable": ("RaisesUnspeakable", "Unspeakable: its text raises RuntimeError"),
    "makes-nothing": ("MakesNothing", "SystemExit: 3"),
    "odd": ("Odd", "AttributeError: 'str' object"),
}
WELL = {"well": "Well", "leaves": "Leaves", "prints": "Prints"}


@pytest.fixture
def meddlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "meddlers.py").write_text(AGENTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAMBO_CACHE", str(tmp_path / "cache"))
    for name, cls in {**WELL, **{name: cls for name, (cls, _) in BAD.items()}}.items():
        register_agent(name, f"meddlers:{cls}")
    return tmp_path


def test_a_sweep_keeps_every_row_whatever_agents_do(
    meddlers: Path, capsys: pytest.CaptureFixture[str]
):
    names = json.dumps([*BAD, *WELL, "greedy"])
    Path("sweep.toml").write_text(
        f'agents = {names}\nscenarios = ["tiny"]\nprompts = ["minimum latency"]\ninstances = 2\n'
    )
    before = (os.getcwd(), str(np.random.get_state()), np.geterr())  # noqa: NPY002
    code = cli.main(["bench", "sweep.toml", "--out=run", "--jobs=1", "--no-figures"])
    after = (os.getcwd(), str(np.random.get_state()), np.geterr())  # noqa: NPY002
    out, error = capsys.readouterr()
    assert code == 1 and before == after
    assert "LOOK" not in out and "LOOK AT ME" in error
    rows = [json.loads(line) for line in Path("run/results.jsonl").read_text().splitlines()]
    assert {row["agent"] for row in rows} == {*WELL, "greedy"}
    for name, (_, reason) in BAD.items():
        assert any(
            line.startswith(f"{name} on tiny") and reason in line for line in out.split("\n")
        )


@pytest.mark.parametrize("name", BAD)
def test_evaluate_check_and_render_tell_what_an_agent_did(
    name: str, meddlers: Path, capsys: pytest.CaptureFixture[str]
):
    reason = BAD[name][1].partition(":")[0]
    assert cli.main(["evaluate", name, "--scenario=tiny", "--instances=2", "--no-bound"]) == 1
    assert reason in capsys.readouterr().out
    assert cli.main(["check", "agent", name]) in (1, 2)
    assert (reason if name != "odd" else "Decision") in "".join(capsys.readouterr()).replace(
        "\n", ""
    )
    assert (
        cli.main(["render", f"--agent={name}", "--scenario=tiny", "--out=x.txt", "--no-bound"]) == 2
    )
    assert reason in capsys.readouterr().err
    assert not Path("x.txt").exists()


def test_ctrl_c_in_an_agent_still_ends_the_command():
    with pytest.raises(KeyboardInterrupt), guard.guarded("agent 'x'"):
        raise KeyboardInterrupt


def test_an_exit_is_a_finding_of_a_check():
    class Exits:
        def decide(self, *given: object) -> None:
            sys.exit(4)

    report = check_agent(Exits(), raise_on_failure=False)
    assert [row.detail for row in report.failures] == ["SystemExit: 4"]


@pytest.mark.parametrize("code", ["raise BaseException('early')", "import os; os.chdir('/')\nX"])
def test_an_import_that_raises_anything_is_listed_with_its_error(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    module = f"early_{len(code)}"
    (tmp_path / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    register_agent("early", f"{module}:Mine")
    folder = os.getcwd()
    assert "cannot be imported" in (agent_spec("early").error or "")
    assert cli.main(["list", "agents"]) == 0
    assert "early" in capsys.readouterr().out and os.getcwd() == folder


def test_what_is_unknown_without_an_extra_is_said_to_be_unknown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name in [n for n in sys.modules if n.startswith("baselines.neural.droo")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    spec = agent_spec("droo")
    assert spec.error and spec.evaluator_in_loop in (None, True)
    assert agent_spec("local").evaluator_in_loop is False
