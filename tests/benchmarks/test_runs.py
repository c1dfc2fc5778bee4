"""Every command that writes a folder: killed and stopped at random points, it ends the same.

What a clock says differs: the fields below, and provenance (machine, dates).
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from forked import session

from lambo_agents.weights_io import SUFFIX

Run = Callable[..., dict[str, Any]]

TIMED = {"cpu_s", "seconds", "cpu_seconds", "labelling_cpu_seconds", "single_ms", "batched_ms"}
TIMED |= {"finished", "made", "runs", "update_s", "expert_s", "decide_s"}
LEFT_OUT = {"times.json", "run.log", "train.log", "journal.log", "net.log"}
LEFT_OUT |= {f"report.{kind}" for kind in ("md", "html", "csv", "tex")}  # they hold times
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
EXITS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
_RECIPE = Path(__file__).parents[1] / "data" / "recipe-tiny.toml"
_SB3 = ("--algo", "dqn", "--timesteps", "6000", "--num-envs", "8")
COMMANDS: dict[str, tuple[str, ...]] = {
    "bench": (
        *("bench", "quick", "--agents", "local,random,greedy", "--scenarios", "tiny"),
        *("--jobs", "2", "--no-figures"),
    ),
    "train lambo": ("train", "lambo", "--recipe", str(_RECIPE)),
    "train sb3": ("train", "sb3", *_SB3, "--scores", "4"),
    "train droo": ("train", "droo", "--scenario", "tiny", "--slots", "400", "--save-every", "7"),
    "train are": ("train", "are", "--scenario", "tiny", "--labels", "250", "--epochs", "5"),
    "tune": (
        *("tune", *_SB3[:2], "--timesteps", "600", "--num-envs", "8"),
        *("--trials", "2", "--best", "1", "--seeds", "1"),
    ),
    "adapt": (
        *("adapt", "--drifts", "capacity-abrupt", "--methods", "greedy,alef-entropy"),
        *("--scenario", "tiny", "--seeds", "1", "--batch", "4", "--slots", "50"),
        *("--labels", "4", "--labels-per-slot", "2", "--jobs", "2", "--no-figures"),
    ),
    "study": ("study", str(_RECIPE), "--seeds", "2", "--instances", "2"),
}
# the same in a second or two each, by one process
FAST: dict[str, tuple[str, ...]] = {
    "bench": (*COMMANDS["bench"][:4], "--scenarios", "tiny", "--jobs", "1", "--no-figures"),
    "train lambo": COMMANDS["train lambo"],
    "train sb3": (
        "train",
        "sb3",
        *_SB3[:2],
        "--timesteps",
        "1500",
        "--num-envs",
        "8",
        "--scores",
        "2",
    ),
    "train droo": (
        *("train", "droo", "--scenario", "tiny", "--slots", "200", "--save-every", "3"),
        *("--measured", "0"),
    ),
    "train are": (
        *("train", "are", "--scenario", "tiny", "--labels", "120", "--epochs", "4"),
        *("--measured", "0"),
    ),
    "tune": COMMANDS["tune"],
    "adapt": (
        *("adapt", "--drifts", "capacity-abrupt", "--methods", "greedy,alef-entropy"),
        *("--scenario", "tiny", "--seeds", "1", "--batch", "2", "--slots", "30", "--labels", "2"),
        *("--labels-per-slot", "1", "--jobs", "1", "--no-figures"),
    ),
    "study": ("study", str(_RECIPE), "--seeds", "1", "--instances", "1"),
}


def target(command: str, out: Path) -> list[str]:
    one_file = command in ("train droo", "train are")
    return [str(out / "net.safetensors")] if one_file else ["--out", str(out)]


def start(command: str, out: Path) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own."""
    out.mkdir(exist_ok=True)
    line = [sys.executable, "-m", "benchmarks.cli", *COMMANDS[command], *target(command, out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LAMBO_CACHE": f"{out}-cache"}
    with (out / "run.log").open("ab") as log:
        return subprocess.Popen(
            line,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=environment,
        )


def content(folder: Path) -> dict[str, Any]:
    """Return what is compared of a folder: bytes, or JSON without what a clock says."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or path.name in LEFT_OUT:
            continue
        if path.suffix in (".json", ".jsonl"):
            lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
            rows = [json.dumps(untimed(json.loads(line)), sort_keys=True) for line in lines]
            found[name] = sorted(rows)
        elif path.suffix != ".state":  # whose header counts seconds
            found[name] = path.read_bytes()
    return found


def untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: untimed(part) for name, part in value.items() if name not in TIMED}
    return [untimed(part) for part in value] if isinstance(value, list) else value


def disturbed(command: str, out: Path, points: int, lasts_s: float, seed: int) -> int:
    """Run a command to its end through ``points`` signals; return how many met it running."""
    rng, met = random.Random(seed), 0
    for k in range(points):
        process = start(command, out)
        number = SIGNALS[k % len(SIGNALS)]
        try:
            process.wait(rng.uniform(0.15, 0.9) * lasts_s)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            met += 1
        # a signal before the command has begun finds no handler
        early = process.wait(60) == -number
        assert early or process.returncode in (EXITS[number], 0), (out / "run.log").read_text()
        deadline = time.monotonic() + 2
        while session(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not session(process.pid)
    process = start(command, out)
    assert process.wait(300) == 0, (out / "run.log").read_text()
    return met


def check(command: str, tmp_path: Path, points: int) -> None:
    begun = time.monotonic()
    whole = start(command, tmp_path / "whole")
    assert whole.wait(300) == 0, (tmp_path / "whole" / "run.log").read_text()
    lasts_s = time.monotonic() - begun
    assert disturbed(command, tmp_path / "parts", points, lasts_s, seed=points) > 0
    compare(tmp_path)


def compare(tmp_path: Path) -> None:
    first, second = content(tmp_path / "whole"), content(tmp_path / "parts")
    assert sorted(first) == sorted(second)
    assert [name for name in first if first[name] != second[name]] == []


LINUX = pytest.mark.skipif(
    not Path("/proc").is_dir(), reason="reads the processes of a session in /proc"
)


@pytest.fixture(scope="module")
def forked() -> Iterator[Run]:
    """A process that forks commands."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).parents[1] / "helpers" / "forked.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        assert server.stdout.readline() == "ready\n"

        def run(command: str, out: Path, **disturbed: Any) -> dict[str, Any]:
            out.mkdir(exist_ok=True)
            line = [*FAST[command], *target(command, out)]
            asked = {"arguments": line, "log": str(out / "run.log"), "cache": f"{out}-cache"}
            asked |= disturbed
            print(json.dumps(asked), file=server.stdin, flush=True)
            return dict(json.loads(server.stdout.readline()))

        yield run
        server.stdin.close()


@LINUX
@pytest.mark.parametrize(
    "command",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "study")) for name in FAST],
)
def test_a_command_that_is_killed_continues_to_the_same_files(
    command: str, forked: Run, tmp_path: Path
) -> None:
    pytest.importorskip("stable_baselines3")
    rng, met = random.Random(command), 0
    whole = forked(command, tmp_path / "whole")
    parts, log = tmp_path / "parts", tmp_path / "parts" / "run.log"
    for number in SIGNALS:
        after_s = rng.uniform(0.1, 0.7) * whole["wall_s"]
        done = forked(command, parts, signal=int(number), after_s=after_s)
        assert done["left"] == 0
        assert done["code"] in (EXITS[number], 0, -number), log.read_text()
        met += done["met"]
    assert met
    assert [whole["code"], forked(command, parts)["code"]] == [0, 0], log.read_text()
    compare(tmp_path)


@LINUX
@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_twenty_kills_change_nothing(command: str, tmp_path: Path) -> None:
    check(command, tmp_path, points=20)


def test_a_second_run_is_refused_by_the_number_of_the_first(tmp_path: Path) -> None:
    from lambo_env.utils import runs

    with (
        runs.held(tmp_path),
        pytest.raises(ValueError, match=rf"--out is .*\(process {os.getpid()} is\)"),
        runs.held(tmp_path),
    ):
        pass
    assert (tmp_path / ".lock").read_text() == ""
    target = tmp_path / f"net{SUFFIX}"
    with runs.held_file(target), pytest.raises(ValueError, match="no other run is writing"):
        runs.held_file(target).__enter__()
    with runs.held_file(target):
        pass


def test_options_are_the_same_or_extend_the_run(tmp_path: Path) -> None:
    from lambo_env.utils import runs

    def opened(**options: Any) -> None:
        with runs.opened(tmp_path, "train x", options, grow=("steps",), free=("threads",)):
            pass

    opened(steps=3, seed=0, threads=1, pair=(1, 2))
    opened(steps=3, seed=0, threads=2, pair=(1, 2))
    opened(steps=5, seed=0, threads=2, pair=(1, 2))
    for bad, text in (
        ({"steps": 4, "seed": 0}, "steps is 4; allowed: 5 or more, as in "),
        ({"steps": 5, "seed": 1}, "seed is 1; allowed: 0, as in "),
    ):
        with pytest.raises(ValueError, match=text):
            opened(**bad)
    with (
        pytest.raises(ValueError, match="command is 'bench'; allowed: 'train x'"),
        runs.opened(tmp_path, "bench", {}),
    ):
        pass
    (tmp_path / "run.json").write_text("[[")
    with pytest.raises(ValueError, match="options is .*run.json.*allowed: whole JSON"):
        opened(steps=5)


def test_a_signal_waits_for_a_safe_point_and_a_second_interrupt_does_not() -> None:
    from lambo_env.utils import runs

    saved: list[int] = []
    with pytest.raises(runs.Stopped) as stopped, runs.deferred() as pause:
        os.kill(os.getpid(), signal.SIGTERM)
        assert not saved
        pause(lambda: saved.append(1))
    assert saved == [1] and stopped.value.exit_code == 143
    with pytest.raises(runs.Stopped) as stopped, runs.deferred():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        saved.append(2)
    assert saved == [1] and stopped.value.exit_code == 130
