"""``lambo completion`` in the shells themselves."""

import os
import pty
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks import cli

CASES = [
    ("lambo ", ["evaluate", "new-agent"]),
    ("lambo train ", ["are-small", "sb3"]),
    ("lambo train sb3 --time", ["--timesteps"]),
    ("lambo completion ", ["bash", "zsh", "fish"]),
    ("lambo evaluate droo --we", ["--weights"]),  # an agent that is also a command of train's
    ("lambo tune neural droo --be", ["--best"]),
]
SECONDS = 60.0  # that a shell may take for an answer


def script(shell: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    path.parent.mkdir(parents=True)
    path.write_text(capsys.readouterr().out, encoding="utf-8")


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


@needs("bash")
def test_bash_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    script("bash", tmp_path / "completions" / "lambo", capsys)
    ask = """
        source "$0"; COMP_WORDS=($1); [[ $1 == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_LINE=$1; COMP_POINT=${#1}
        $(complete -p lambo | sed 's/.*-F \\([^ ]*\\).*/\\1/'); echo "${COMPREPLY[@]}"
    """
    for line, words in CASES:
        command = ["bash", "-c", ask, str(tmp_path / "completions" / "lambo"), line]
        told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert set(words) <= set(told.stdout.split()), (line, told.stdout, told.stderr)


@needs("fish")
def test_fish_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    script("fish", tmp_path / "fish" / "completions" / "lambo.fish", capsys)
    (tmp_path / "a-file").touch()
    command = tmp_path / "bin" / "lambo"  # without one fish reads no completions
    command.parent.mkdir()
    command.write_text("#!/bin/sh\n", encoding="utf-8")
    command.chmod(0o755)
    folders = {name: str(tmp_path) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    search = f"{command.parent}:{os.environ['PATH']}"
    environment = {**os.environ, **folders, "PATH": search}
    for line, words in CASES:
        told = subprocess.run(
            ["fish", "-c", f"complete -C '{line}'"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found = {row.split("\t")[0] for row in told.stdout.splitlines()}
        assert set(words) <= found and not told.stderr, (line, found, told.stderr)
        assert line != "lambo " or "a-file" not in found


@needs("zsh")
@pytest.mark.parametrize("way", ["fpath", "source"])
def test_zsh_completes(way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "functions" / "_lambo"
    script("zsh", path, capsys)
    start = "autoload -Uz compinit; compinit -u -D; LISTMAX=1000; stty rows 100 cols 200"
    start = f"fpath=({path.parent} $fpath); {start}" if way == "fpath" else f"{start}; . {path}"
    with Terminal(["zsh", "-f", "-i"], tmp_path) as terminal:
        terminal.type(f"PS1=; {start}; echo be''gin\n")
        terminal.until(["begin"])
        for line, words in CASES:
            terminal.type(f"{line}\t\t")
            terminal.until(words)
            terminal.type("\x15echo do''ne\n")  # Ctrl-U drops the line
            terminal.until(["done"])


class Terminal:
    """A shell that thinks it talks to a person."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvpe(command[0], command, {**os.environ, "TERM": "dumb", "HOME": str(folder)})

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *error: object) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def until(self, words: list[str]) -> None:
        """Read until all words have come."""
        told, end = "", time.monotonic() + SECONDS
        while not all(word in told for word in words):
            assert time.monotonic() < end, (words, told)
            if select.select([self.fd], [], [], 0.5)[0]:
                told += os.read(self.fd, 65536).decode(errors="replace")
