"""The folder of a sweep's results: JSON Lines that survive a killed run, and a manifest."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from benchmarks.sweep.config import FORMAT
from lambo_env.utils import files, validate

Row = dict[str, Any]
RESULTS, MANIFEST, BOUNDS, LOCK = "results.jsonl", "manifest.json", "bounds", ".lock"
_TEXT = ("cell", "agent", "name", "scenario", "scenario_hash", "prompt")
_LISTS = ("cost", "latency_s", "energy_j", "late", "bound", "proven")
_NUMBERS = (
    "latency_weight",
    "block",
    "root",
    "instances",
    "single_ms",
    "batched_ms",
    "labels_used",
)


def parse_rows(path: Path) -> tuple[list[Row], int]:
    """Return the whole rows of a results file and their length in bytes.

    A last line cut short by a killed run is left out.

    Raises:
        ValueError: no such file, or a line that ``lambo bench`` did not write; the text names the
            line.
    """
    validate.check(
        "results file", str(path), path.is_file(), "the results.jsonl that `lambo bench` wrote"
    )
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    return [
        _row(path, number, line) for number, line in enumerate(data[:whole].splitlines(), 1)
    ], whole


def _row(path: Path, number: int, line: bytes) -> Row:
    try:
        row = json.loads(line)
        if row["format"] != FORMAT:
            raise ValueError(f"its format is {row['format']!r}")
        wrong = [key for key in _TEXT if not isinstance(row[key], str)]
        wrong += [key for key in _NUMBERS if not isinstance(row[key], (int, float))]
        wrong += [
            key
            for key in _LISTS
            if not isinstance(row[key], list) or len(row[key]) != row["instances"]
        ]
        if wrong:
            raise ValueError(f"wrong {', '.join(wrong)}")
    except (ValueError, KeyError, TypeError) as error:
        cause = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"results file {path}, line {number} is damaged or foreign ({cause}); "
            f"allowed: rows of `lambo bench`, format {FORMAT}; remove the line or the file, and the sweep plays it again"
        ) from error
    return dict(row)


def place_of(row: Row) -> tuple[str, str, str, int]:
    """Return what a row is about: a later row about the same replaces an earlier one."""
    return row["agent"], row["scenario_hash"], row["prompt"], row["block"]


def latest(rows: list[Row]) -> list[Row]:
    """Return the last row about each thing, in the order of their first appearance."""
    return list({place_of(row): row for row in rows}.values())


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a results folder.

    Raises:
        ValueError: missing, broken or foreign.
    """
    path = folder / MANIFEST
    validate.check(
        "manifest", str(path), path.is_file(), "the manifest.json that `lambo bench` wrote"
    )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT or not isinstance(manifest["sweep"]["scenarios"], dict):
            raise ValueError("another format")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"manifest is {str(path)!r}; allowed: a whole manifest.json of `lambo bench` ({error})"
        ) from error
    return dict(manifest)


class Store:
    """An open results folder.

    One process writes at a time, each finished cell at once and for good.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / RESULTS
        self.rows: list[Row] = []
        self.notes: list[str] = []

    def open(self) -> None:
        """Read what is there; cut off a last line that a killed run left unfinished.

        Raises:
            ValueError: a damaged or foreign results file.
        """
        if not self.path.is_file():
            return
        rows, whole = parse_rows(self.path)
        self.rows = latest(rows)
        if whole < self.path.stat().st_size:
            os.truncate(self.path, whole)
            self.notes.append(
                f"{self.path}: the last line was cut short by a killed run; its cell is played again"
            )

    def append(self, row: Row) -> None:
        """Add one finished cell and wait until it is on the disk."""
        line = json.dumps(row, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        with self.path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self.rows = latest([*self.rows, row])

    def forget(self, cells: Collection[str]) -> None:
        """Remove cells, so that they are played anew."""
        self.rows = [row for row in self.rows if row["cell"] not in cells]
        if self.path.is_file():
            files.write_text(
                self.path,
                "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in self.rows),
            )

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replace the manifest, atomically."""
        files.write_text(
            self.folder / MANIFEST, json.dumps({"format": FORMAT, **manifest}, indent=2) + "\n"
        )


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Store]:
    """Yield the store of ``folder``, held against other runs.

    The system frees it even from a killed process.

    Raises:
        ValueError: another run holds it, the path is a file, or the files in it are damaged or
            foreign.
    """
    validate.check("--out", str(folder), not folder.exists() or folder.is_dir(), "a folder")
    if (folder / MANIFEST).exists():
        read_manifest(folder)
    existed = (folder / RESULTS).exists()
    if existed:
        parse_rows(folder / RESULTS)  # refuse before anything is touched
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as handle:
        _hold(handle.fileno(), folder)
        store = Store(folder)
        store.open()
        yield store


def _hold(handle: int, folder: Path) -> None:
    try:
        import fcntl
    except (
        ImportError
    ):  # no such locks on this system: two runs in one folder are the user's to avoid
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ValueError(
            f"--out is {str(folder)!r}; allowed: a folder that no other run is writing"
        ) from error
