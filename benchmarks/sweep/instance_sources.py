"""Where a sweep's instances come from: a scenario's evaluation blocks, or a file."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.sweep.data_sources import DataSource, data_source
from lambo_env import registration
from lambo_env.cell.seeding import evaluation_rng
from lambo_env.datasets.are import load_are
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.queueing.instances import Trace
from lambo_env.queueing.slots import sample_trace
from lambo_env.utils import validate
from lambo_env.utils.rows import content_hash


@dataclasses.dataclass(frozen=True)
class Episodes:
    """A block of episodes: what an agent decides slot by slot."""

    scenario: Any
    traces: tuple[Trace, ...]

    @property
    def batch_size(self) -> int:
        """How many there are."""
        return len(self.traces)


@dataclasses.dataclass(frozen=True)
class ScenarioSource:
    """Evaluation blocks of a scenario; every agent gets the same ones."""

    name: str
    scenario: Any  # of any world

    @property
    def hash(self) -> str:
        """Content hash of the scenario, 16 hex digits."""
        return self.scenario.hash

    def blocks(self, seeds: Sequence[int], size: int) -> tuple[int, ...]:
        """Return the blocks to play: one per seed."""
        return tuple(seeds)

    def load(self, root: int, block: int, size: int) -> Any:
        """Return the ``size`` instances of a block, whole episodes where slots are one story."""
        rng = evaluation_rng(root, self.scenario, block)
        if "play" in registration.world_of(self.scenario, "scenario").offers:
            return Episodes(self.scenario, tuple(sample_trace(self.scenario, size, rng)))
        return registration.sample_instances(self.scenario, size, rng)

    def labels(self, block: int, size: int) -> Decision | None:
        """Return None: a scenario brings no decisions."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return what the manifest keeps."""
        return {"hash": self.hash, "fields": self.scenario.to_dict()}


@dataclasses.dataclass(frozen=True)
class FileSource:
    """The instances of a file, cut into blocks.

    ``are:PATH`` reads ARE's data set, ``WORLD:PATH`` a file of another world, anything else a saved
    Instances.
    """

    name: str
    text: str  # as the user wrote it

    @functools.cached_property
    def _content(self) -> tuple[Instances, Decision | None]:
        kind, _, path = self.text.rpartition(":")
        if kind in registration.WORLDS:
            return registration.WORLDS[kind].get("load_file")(path)
        return load_are(path) if kind == "are" else (Instances.load(self.text), None)

    @functools.cached_property
    def hash(self) -> str:
        """Content hash of the arrays, 16 hex digits."""
        return content_hash(self._content[0])[:16]

    def blocks(self, seeds: Sequence[int], size: int) -> tuple[int, ...]:
        """Return the blocks to play: as many as the file fills, whatever the seeds."""
        return tuple(range(-(-self._content[0].batch_size // size)))

    def load(self, root: int, block: int, size: int) -> Instances:
        """Return the instances of a block; the last one may be short."""
        return self._content[0].take(slice(block * size, (block + 1) * size))

    def labels(self, block: int, size: int) -> Decision | None:
        """Return the decisions that the file ships for a block, if it does."""
        shipped = self._content[1]
        return None if shipped is None else shipped.take(slice(block * size, (block + 1) * size))

    def describe(self) -> dict[str, Any]:
        """Return what the manifest keeps."""
        return {
            "hash": self.hash,
            "file": Path(self.text).name,
            "instances": self._content[0].batch_size,
        }


Source = ScenarioSource | FileSource | DataSource


def file_source(text: str) -> FileSource:
    """Return the source of ``are:PATH`` or ``FILE.npz``.

    Reads it, so that a bad file is refused at once.
    """
    path = text.rpartition(":")[2]
    kind = text[: -len(path) - 1]
    validate.check(
        "--data",
        text,
        kind in ("", "are", *registration.WORLDS),
        "are:PATH, WORLD:PATH or FILE.npz",
    )
    source = FileSource(Path(path).stem, text)
    validate.check("--data", text, len(source.hash) == 16, "a readable file")
    return source


def scenario_source(
    entry: str | Mapping[str, Any], folder: Path | None = None
) -> ScenarioSource | DataSource:
    """Return the source of a preset's name, a TOML path, or a table of fields.

    A path is relative to ``folder``.
    A table may have ``name``, and ``base``, the preset that it changes; with ``data`` it is a row
    of measured data.
    """
    if isinstance(entry, Mapping) and "data" in entry:
        return data_source(entry)
    if isinstance(entry, Mapping):
        fields = dict(entry)

        base, name = fields.pop("base", "paper"), fields.pop("name", None)
        validate.check(
            "Sweep.scenarios.name",
            name,
            isinstance(name, str) and bool(name),
            "a name for the table's scenario",
        )
        if "world" in fields:
            return ScenarioSource(name, registration.load_scenario(fields))
        return ScenarioSource(name, registration.load_scenario(base).replace(**fields))
    validate.check(
        "Sweep.scenarios", entry, isinstance(entry, str), "presets, .toml paths or tables of fields"
    )
    beside = folder / entry if folder is not None and entry.endswith(".toml") else None
    path = os.fspath(beside) if beside is not None and beside.is_file() else entry
    return ScenarioSource(Path(entry).stem, registration.load_scenario(path))
