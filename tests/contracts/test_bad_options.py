"""Five bad values for every option of every verb of the command line.

Exit code 2, one line that names option and value, nothing written.

Verbs and options are found by introspection, their values by name or else by type; an option of a
new kind fails here until it has some.
"""

import dataclasses
import importlib
import inspect
import re
import signal
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from benchmarks import cli

NAMES = ("", "no such thing", "3", "grEEdy!", "x,y")
PLACES = ("", "gone.file", "gone/x.mat", "foreign.bin", "3")
BY_NAME: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            "agent",
            "agents",
            "versus",
            "expert",
            "drifts",
            "methods",
            "algo",
            "what",
            "names",
            "shell",
        ),
        NAMES,
    ),
    **dict.fromkeys(("engine", "address"), NAMES),
    **dict.fromkeys(
        (
            "family",
            "size",
            "variant",
            "preset",
            "sweep",
            "id",
            "weights",
            "student",
            "prompt",
            "prompts",
        ),
        NAMES,
    ),
    **dict.fromkeys(
        ("scenario", "scenarios", "others"), ("", "no such thing", "3", "gone.toml", "broken.toml")
    ),
    "name": ("", "no such thing", "3", "a b", "broken.toml"),
    **dict.fromkeys(("folder", "config", "test", "figure"), PLACES),
    "data_folder": ("gone", "gone/x", "foreign.bin", "broken.toml", "3"),
    "data": (*PLACES, "gone.npz", "mat:gone.mat", "csv:x", "broken.toml"),
}
BY_TYPE: dict[type, tuple[str, ...]] = {
    int: ("-7", "2.5", "three", "nan", ""),
    float: ("-inf", "one", "nan", "", "1,2"),
    bool: ("perhaps", "2", "", "0.5", "none"),
}
FREE = {
    "out",
    "output",
    "trained_by",
    "note",
    "submission",
    "by",
    "url",
    "compare",
    "texts",
    "rundir",
}  # any text will do; compare and rundir take several (tests/benchmarks/report)
MANDATORY: dict[str, list[str]] = {
    "evaluate": ["--agent=lambo-s", "--scenario=tiny", "--instances=1"],
    "check agent": ["--name=local"],
    "scenario check": ["--name=tiny", "--instances=2"],
    "reproduce are": ["--data=gone.mat"],
    "reproduce droo": ["--data=data_2.mat", "--seeds=1"],
    "train droo": ["--out=new.safetensors", "--scenario=tiny", "--slots=10"],
    "train are": ["--out=new.safetensors", "--scenario=tiny", "--labels=10", "--expert=greedy"],
    "tune neural": ["--family=are", "--scenario=tiny"],
    "train are-small": ["--out=new.safetensors", "--data=gone.mat"],
    "read": ["minimum latency"],
    "render": ["--agent=local", "--scenario=tiny", "--out=new.txt"],
    "throughput": ["--agents=local", "--scenario=tiny"],
    "decode": ["--preset=lambo_xs", "--scenario=tiny"],
}
# These verbs' own test files walk their options, or their first act is long.
ELSEWHERE = {"train lambo", "train sb3", "tune sb3", "adapt", "card", "export"}
LONGEST_S = 20


def options() -> Iterator[tuple[str, str, Any]]:
    for verb, (target, _) in cli.COMMANDS.items():
        module, _, name = target.partition(":")
        function = getattr(importlib.import_module(f"benchmarks.commands.{module}"), name)
        for option, annotation in declared(function):
            if verb not in ELSEWHERE and option not in {"_", "return", *FREE}:
                yield verb, option, annotation


def declared(function: Any) -> Iterator[tuple[str, Any]]:
    """A verb's parameters; in place of a dataclass its fields."""
    for name, kind in typing.get_type_hints(function).items():
        parts = [part for part in (kind, *typing.get_args(kind)) if inspect.isclass(part)]
        classes = [part for part in parts if dataclasses.is_dataclass(part)]
        for part in classes:
            yield from typing.get_type_hints(part).items()
        if not classes:
            yield name, kind


def bad_values(option: str, annotation: Any) -> tuple[str, ...]:
    inner = typing.get_args(annotation)
    kinds = {annotation, *inner, *(kind for part in inner for kind in typing.get_args(part))}
    numbers = [BY_TYPE[kind] for kind in kinds if kind in BY_TYPE]
    return numbers[0] if numbers else BY_NAME[option]


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAMBO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "broken.toml").write_text("agents = [")
    (tmp_path / "foreign.bin").write_bytes(bytes(100))
    modes = np.array([[0, 1]] * 3, dtype=np.uint8)
    shares = {
        "output_a": np.full((3, 1), 0.5),
        "output_tau": modes * 0.5,
        "output_obj": np.full((3, 1), 1e6),
    }
    scipy.io.savemat(
        tmp_path / "data_2.mat", {"input_h": np.full((3, 2), 1e-6), "output_mode": modes, **shares}
    )
    return tmp_path


@pytest.fixture
def alarm() -> Iterator[None]:
    def late(*_: object) -> None:
        raise AssertionError(f"a bad value was taken: the verb still runs after {LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, late)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(("verb", "option", "annotation"), list(options()))
def test_five_bad_values_are_refused_in_one_line(
    verb: str,
    option: str,
    annotation: Any,
    scratch: Path,
    alarm: None,
    capsys: pytest.CaptureFixture[str],
):
    bad = bad_values(option, annotation)
    assert len(bad) >= 5
    flag = f"--{option.replace('_', '-')}"
    others = [given for given in MANDATORY.get(verb, []) if not given.startswith(f"{flag}=")]
    before = sorted(scratch.rglob("*"))
    for value in bad:
        signal.alarm(LONGEST_S)
        code = cli.main([*verb.split(), *others, f"{flag}={value}"])
        signal.alarm(0)
        out, error = capsys.readouterr()
        assert code == 2, f"{value!r}: exit code {code}, {out} {error}"
        assert out == ""
        assert error.startswith("lambo: error: ") and error.count("\n") == 1
        assert said(option, error), f"{value!r}: {error}"
        assert any(part in error for part in value.split(",")), f"{value!r}: {error}"
    assert sorted(scratch.rglob("*")) == before


def said(option: str, error: str) -> bool:
    """Whether a line names an option, in the words of the command line or of what it reached."""
    words = [f"num_{option}", option, option.removesuffix("s"), option.replace("_", "-")]
    words += {
        "agents": ["list"],
        "scenarios": ["list"],
        "data": ["path"],
        "versus": ["agent"],
        "expert": ["agent"],
        "names": ["study"],
        "student": ["weights"],
    }.get(option, [])
    words += {"name": ["agent", "scenario"], "id": ["environment"], "folder": ["results"]}.get(
        option, []
    )
    return any(re.search(rf"\b{re.escape(word)}\b", error, re.IGNORECASE) for word in words)
