"""A process that has imported every command and forks one per line: killing is cheap to test.

A line of its input is JSON: ``arguments`` of the ``lambo`` command, ``log`` for what it prints,
``cache`` for bounds and, where it is to be disturbed, ``signal`` and ``after_s``. It answers with
the exit ``code`` (minus the signal where that ended it), whether the signal ``met`` it running,
``wall_s`` that it took and how many processes of its session were ``left`` two seconds later.
"""

import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

MODULES = (
    *("baselines.neural.are.training", "baselines.neural.droo.training", "baselines.sb3.tune"),
    *("benchmarks.adaptation.runner", "benchmarks.commands.adapt", "benchmarks.commands.bench"),
    *("benchmarks.commands.study", "benchmarks.commands.train.dnn", "benchmarks.report.report"),
    *("benchmarks.commands.train.lambo", "benchmarks.commands.train.sb3", "lambo_agents.acl.run"),
    *("benchmarks.studies.ablations", "lambo_agents.alef.agent", "scipy.optimize", "scipy.stats"),
)


def begin(arguments: list[str], log: str, cache: str) -> int:
    """Fork a command into a session of its own."""
    process = os.fork()
    if process:
        return process
    os.setsid()
    os.environ["LAMBO_CACHE"] = cache
    signal.signal(signal.SIGINT, signal.default_int_handler)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    code = 70
    try:
        code = importlib.import_module("benchmarks.cli").main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def session(number: int) -> list[str]:
    """Return the living processes of a session that we started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == number and fields[0] != "Z":
            found.append(entry.parent.name)
    return found


def run(asked: dict[str, Any]) -> dict[str, Any]:
    """Run a command to its end, or disturb it on the way."""
    begun, met = time.monotonic(), False
    process = begin(asked["arguments"], asked["log"], asked["cache"])
    until = begun + asked.get("after_s", 300)
    while not (ended := os.waitpid(process, os.WNOHANG))[0]:
        if time.monotonic() > until:
            os.kill(process, asked.get("signal", signal.SIGKILL))
            met, ended = True, os.waitpid(process, 0)
            break
        time.sleep(0.005)
    now, code = time.monotonic(), os.waitstatus_to_exitcode(ended[1])
    while (left := session(process)) and time.monotonic() < now + 2:
        time.sleep(0.02)
    return {"code": code, "met": met, "wall_s": now - begun, "left": len(left)}


if __name__ == "__main__":
    for name in MODULES:
        importlib.import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
