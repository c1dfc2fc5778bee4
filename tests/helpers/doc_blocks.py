"""The fenced blocks of a Markdown page and how the tests run them: a page says what works.

- ``python``: executed in the page's order, one namespace a page, in an empty folder. ``<!-- not
  run: why -->`` on the line before leaves a block out; it must still compile.
- A block whose first line is ``# file: NAME`` is written to that file of the folder and not
  executed.
- ``text`` right after a python block: what that block prints, to the letter.
- ``console``, ``bash``: every ``lambo`` command must be one that the command line accepts, options
  and all, and every ``make`` verb one of the Makefile's. ``<!-- test -->`` on the line before runs
  the ``lambo`` commands of the block too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import cli

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(
    r"^(?P<ticks>`{3,})(?P<kind>[^\n`]*)\n(?P<body>.*?)^(?P=ticks)[ ]*$", re.MULTILINE | re.DOTALL
)
_NOTE = re.compile(r"<!-- (.*?) -->\s*\Z")
_FILE = re.compile(r"\A# file: (\S+)\n")
_SHELLS = ("console", "bash", "sh", "shell")


@dataclasses.dataclass(frozen=True)
class Block:
    """One fenced block.

    Its language, its text, the line of its first line, and the comment before it.
    """

    kind: str
    body: str
    line: int
    note: str

    @property
    def left_out(self) -> bool:
        """Whether the page says, with a reason, that this block is not run."""
        return bool(re.match(r"not run: \w", self.note))


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    found = []
    for match in _FENCE.finditer(text):
        note = _NOTE.search(text[: match.start()])
        line = text.count("\n", 0, match.start("body")) + 1
        found.append(Block(match["kind"].strip(), match["body"], line, note[1] if note else ""))
    return found


def commands(block: Block) -> Iterator[list[str]]:
    """Yield the words of every command of a shell block.

    In a console block commands follow a dollar sign, the rest is output.
    """
    for line in block.body.replace("\\\n", " ").splitlines():
        if block.kind == "console" and not line.startswith("$ "):
            continue
        for part in line.removeprefix("$ ").split(" && "):
            words = shlex.split(part, comments=True)
            if ">" in words:
                words = words[: words.index(">")]
            if words:
                yield words


class Page:
    """A page on its way: the namespace and the folder that its blocks share.

    Args:
        path: of the Markdown file.
        folder: where its files go and its code runs; the caller makes it the working directory.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path, folder
        self.blocks = blocks(path.read_text(encoding="utf-8"))
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        self.printed = ""

    def run(self) -> None:
        """Run every block; an error's traceback shows the page and its line.

        Modules of its folder are forgotten at the end.
        """
        known = set(sys.modules)
        try:
            self._run()
        finally:
            for name in set(sys.modules) - known:
                if str(getattr(sys.modules[name], "__file__", None)).startswith(str(self.folder)):
                    del sys.modules[name]

    def _run(self) -> None:
        before = None
        for block in self.blocks:
            if block.kind in _SHELLS:
                self._shell(block)
            elif named := _FILE.match(block.body):
                (self.folder / named[1]).write_text(block.body, encoding="utf-8")
            elif block.kind == "python":
                self._python(block)
            elif (
                block.kind == "text"
                and before is not None
                and before.kind == "python"
                and not before.left_out
            ):
                assert self.printed.rstrip() == block.body.rstrip(), (
                    f"{self.path.name}:{block.line}: the code prints\n{self.printed}"
                )
            before = block

    def _python(self, block: Block) -> None:
        code = compile("\n" * (block.line - 1) + block.body, str(self.path), "exec")
        if block.left_out:
            return
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code, self.namespace)
        self.printed = out.getvalue()

    def _shell(self, block: Block) -> None:
        for words in commands(block):
            where = f"{self.path.name}:{block.line}: {shlex.join(words)}"
            if words[0] == "make":
                assert words[1] in _make_verbs(), f"{where}: the Makefile has no such verb"
            if words[0] != "lambo":
                continue
            if block.note == "test":
                assert cli.main(words[1:]) == 0, where
            else:
                check_command(words[1:], where)


def check_command(words: list[str], where: str) -> None:
    """Refuse what the command line would refuse; nothing is run."""
    if words in (["--help"], ["--version"]):
        return
    try:
        cli.build().parse_args(cli.named(words), exit_on_error=False, print_error=False)
    except cli.CycloptsError as error:
        raise AssertionError(f"{where}: {error}") from error


def _make_verbs() -> set[str]:
    return set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
