"""The folder of a sweep's results: JSON Lines that survive a killed run, and a manifest."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.sweep.config import FORMAT
from lambo_env.prompts.grammar import parse_weights
from lambo_env.utils import files, jsons, runs, validate

RESULTS, MANIFEST, BOUNDS = "results.jsonl", "manifest.json", "bounds"
Values = list[float | None]  # one per instance; None stands for what is not finite
_KINDS: dict[str, Any] = {  # what JSON gives for a field's annotation
    "str": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "int | None": (int, type(None)),
    "dict[str, Any]": dict,
    "dict[str, Any] | None": (dict, type(None)),
    "Values": list,
    "list[bool]": list,
}


_RANGES = dict.fromkeys(
    ("cost", "latency_s", "energy_j", "single_ms", "batched_ms", "seconds", "labels_used"),
    sys.float_info.max,
) | {"late": 1.0, "latency_weight": 1.0}
_MANIFEST = {
    "format": int,
    "sweep": {
        "name": str,
        "agents": [{"label": str}],
        "scenarios": {},
        "instances": int,
        "root": int,
        "bound_gap": (int, float),
    },
    "runs": [
        {
            "command": str,
            "started": str,
            "versions": {},
            "machine": {"cpu": str, "cores": int},
            "jobs": int,
        }
    ],
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellResult:
    """One line of a results file: what was played, what came of it, bounds of the instances.

    Raises:
        ValueError: another format, a wrong type, or a list that is not as long as the block.
    """

    format: int = FORMAT
    cell: str
    """Content hash of everything that the result depends on."""
    agent: str
    """What tables call the agent."""
    name: str
    """Its registered name, or ``labels`` for the decisions that a file ships."""
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Its arguments."""
    version: str = ""
    """Distribution that brings the agent, and its version."""
    scenario: str
    scenario_hash: str
    """Content hash of the scenario, or of the arrays of a file."""
    prompt: str
    latency_weight: float
    """What the prompt means: 1 latency, 0 energy, between them a mix."""
    block: int
    """Number of the evaluation block."""
    root: int
    """Root of all seed sequences."""
    instances: int
    """Instances of the block."""
    cost: Values
    """In its native unit: s, J, or the normalised mix."""
    latency_s: Values
    """Mean over UEs."""
    energy_j: Values
    """Sum over UEs."""
    late: Values
    """Share of UEs that are late."""
    single_ms: float
    """Median decision time of one instance; 0 where nothing decided."""
    batched_ms: float
    """Decision time per instance of the whole block."""
    threads: int = 1
    finished: str = ""
    """UTC, ISO 8601."""
    parameters: int | None = None
    """Learned parameters of the agent, where it has some."""
    labels_used: int = 0
    """Labels that the agent learned from."""
    evaluator_in_loop: bool = False
    """Whether the agent calls an evaluator while it decides."""
    seconds: float = 0.0
    """What the cell took in all."""
    bound: Values
    """Certified lower bound of the cost."""
    proven: list[bool]
    """Whether the bound reached the gap asked for."""
    first: dict[str, Any] | None = None
    """Decision of the first instance, where UEs are decided: place and cpu_hz [N]."""

    def __post_init__(self) -> None:
        """Check format, types and lengths."""
        if self.format != FORMAT:
            raise ValueError(f"its format is {self.format!r}")
        wrong = [
            field.name
            for field in dataclasses.fields(self)
            if not isinstance(value := getattr(self, field.name), _KINDS[str(field.type)])
            or (isinstance(value, list) and len(value) != self.instances)
        ]
        wrong += [
            name
            for name, high in _RANGES.items()
            for value in _numbers(getattr(self, name))
            if not (0 <= value <= high)
        ]
        wrong += ["bound"] * any(map(math.isnan, _numbers(self.bound)))
        wrong += ["proven"] * any(not isinstance(ok, bool) for ok in self.proven)
        wrong += ["first"] * (self.first is not None and not _is_decision(self.first))
        if wrong or self.instances < 1:
            raise ValueError(f"wrong {', '.join(dict.fromkeys(wrong)) or 'instances'}")

    @classmethod
    def from_json(cls, line: bytes) -> CellResult:
        """Return the result of a line; keys that this version does not know are left out.

        Raises:
            ValueError: no JSON of a result.
        """
        fields, names = jsons.loads(line), {field.name for field in dataclasses.fields(cls)}
        try:
            parse_weights(fields["prompt"])
            return cls(**{name: value for name, value in fields.items() if name in names})
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(str(error)) from error

    def to_json(self) -> str:
        """Return the line, newline included."""
        return json.dumps(vars(self), allow_nan=False, separators=(",", ":")) + "\n"

    def bounded(self, lower: Iterable[float], proven: Iterable[bool]) -> CellResult:
        """Return the result with the bounds of its instances."""
        return dataclasses.replace(
            self, bound=finite_or_none(lower), proven=[bool(ok) for ok in proven]
        )

    @property
    def place(self) -> tuple[str, str, str, int]:
        """What the result is about; a later one about the same replaces an earlier one."""
        return self.agent, self.scenario_hash, self.prompt, self.block


def _numbers(value: Any) -> list[float]:
    """Return the numbers of a field, NaN for what is none; none are missing."""
    values = value if isinstance(value, list) else [value]
    return [
        float(v) if isinstance(v, int | float) and abs(v) <= sys.float_info.max else math.nan
        for v in values
        if v is not None
    ]


def _is_decision(value: Any) -> bool:
    """Return whether a value holds place and cpu_hz, as many of each."""
    if not isinstance(value, dict):
        return False
    place, cpu_hz = value.get("place"), value.get("cpu_hz")
    if not isinstance(place, list) or not isinstance(cpu_hz, list) or len(place) != len(cpu_hz):
        return False
    counted = all(type(p) is int and 0 <= p < sys.maxsize for p in place)
    return counted and None not in cpu_hz and all(v >= 0 for v in _numbers(cpu_hz))


def finite_or_none(values: Iterable[float]) -> Values:
    """Return numbers that JSON can hold: 12 digits, and None for what is not finite."""
    return [float(f"{value:.12g}") if math.isfinite(value) else None for value in values]


def parse_results(path: Path) -> tuple[list[CellResult], int]:
    """Return the whole lines of a results file and their length in bytes.

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
    results = []
    for number, line in enumerate(data[:whole].splitlines(), 1):
        try:
            results.append(CellResult.from_json(line))
        except ValueError as error:
            raise ValueError(
                f"results file {path}, line {number} is damaged or foreign ({error}); "
                f"allowed: rows of `lambo bench`, format {FORMAT}; "
                "remove the line or the file, and the sweep plays it again"
            ) from error
    return results, whole


def latest(results: Iterable[CellResult]) -> list[CellResult]:
    """Return the last result about each thing, in the order of their first appearance."""
    return list({result.place: result for result in results}.values())


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
        manifest = jsons.loads(path.read_text(encoding="utf-8"))
        jsons.check("manifest", manifest, _MANIFEST)
        validate.check(
            "manifest.format", manifest["format"], manifest["format"] == FORMAT, str(FORMAT)
        )
        runs_of = manifest["runs"]
        validate.check("manifest.runs", runs_of, len(runs_of) > 0, "one or more")
        for entry in runs_of:
            jsons.check("manifest.runs.commit", entry.get("commit"), (str, type(None)))
        for name in ("empty", "failed"):
            jsons.check(f"manifest.{name}", manifest.get(name, {}), dict)
        for name, entry in manifest["sweep"]["scenarios"].items():
            jsons.check(f"manifest.sweep.scenarios.{name}", entry, {"hash": str})
    except ValueError as error:
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
        self.results: list[CellResult] = []
        self.notes: list[str] = []

    def open(self) -> None:
        """Read what is there; cut off a last line that a killed run left unfinished.

        Raises:
            ValueError: a damaged or foreign results file.
        """
        if not self.path.is_file():
            return
        results, whole = parse_results(self.path)
        self.results = latest(results)
        if whole < self.path.stat().st_size:
            os.truncate(self.path, whole)
            self.notes.append(
                f"{self.path}: the last line was cut short by a killed run; "
                "its cell is played again"
            )

    def append(self, result: CellResult) -> None:
        """Add one finished cell and wait until it is on the disk."""
        with files.named_errors(self.path), files.check_target(self.path).open("ab") as file:
            file.write(result.to_json().encode())
            file.flush()
            os.fsync(file.fileno())
        self.results = latest([*self.results, result])

    def forget(self, cells: Collection[str]) -> None:
        """Remove cells, so that they are played anew."""
        self.results = [result for result in self.results if result.cell not in cells]
        if self.path.is_file():
            files.write_text(self.path, "".join(result.to_json() for result in self.results))

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replace the manifest, atomically."""
        text = json.dumps({"format": FORMAT, **manifest}, indent=2) + "\n"
        files.write_text(self.folder / MANIFEST, text)


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Store]:
    """Yield the store of ``folder``, held against other runs.

    Raises:
        ValueError: another run holds it, the path is a file, it is the folder of a training or of
            another command, or the files in it are damaged or foreign.
    """
    runs.check_no_other_command(folder, "bench")
    if (folder / MANIFEST).exists():
        read_manifest(folder)
    if (folder / RESULTS).exists():
        parse_results(folder / RESULTS)  # refuse before anything is touched
    with runs.held(folder):
        store = Store(folder)
        store.open()
        yield store
