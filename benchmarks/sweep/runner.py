"""Playing a sweep: bounds first, then the cells, in parallel, each written down the moment it is done."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from benchmarks.sweep import bounds, provenance
from benchmarks.sweep.config import FORMAT, LABELS, Cell, Sweep
from benchmarks.sweep.play import Answer, cell_plan, plain, play_cell
from benchmarks.sweep.pool import RunAll, default_jobs, pool
from benchmarks.sweep.results import BOUNDS, MANIFEST, Row, Store, opened, read_manifest
from lambo_agents import registry
from lambo_env.offloading.instances import Instances
from lambo_env.prompts import prompts as prompt_module
from lambo_env.utils import validate


class Watch(Protocol):
    """Who wants to hear how the sweep goes."""

    def begin(self, cells: list[Cell], rows: list[Row]) -> None:
        """The cells of the sweep, and the rows that are there already."""

    def bound(self, done: int, total: int) -> None:
        """How many of the missing bounds are proven."""

    def row(self, row: Row) -> None:
        """A cell is done and written down."""

    def empty(self, cell: Cell, reason: str) -> None:
        """A cell stays empty."""

    def end(self) -> None:
        """The sweep is over, well or not."""


@dataclasses.dataclass(frozen=True)
class Finished:
    """What a run leaves: its rows are in the folder."""

    folder: Path
    played: int
    kept: int  # cells that earlier runs had done
    empty: dict[str, str]  # agent or "agent on scenario" -> why its cells are empty
    failed: dict[str, str]  # the same, for agents that raised
    notes: list[str]


def run_sweep(
    sweep: Sweep, folder: Path, *, jobs: int = 0, fresh: bool = False, watch: Watch | None = None
) -> Finished:
    """Play the cells that ``folder`` lacks and return what was done.

    Args:
        sweep: what to play.
        folder: where results are kept; a second run continues.
        jobs: worker processes of one thread each; 0 means one a core, or one in all without joblib.
        fresh: play the sweep's cells anew even where results are there.
        watch: hears of the progress.

    Raises:
        ValueError: the folder holds another evaluation set, foreign or damaged files, or is in use;
            bad arguments of an agent.
    """
    jobs = validate.integer("--jobs", jobs, low=0) or default_jobs()
    specs, missing = _specs(sweep)
    versions = {
        name: f"{spec.origin} {provenance.version_of(spec.origin)}" for name, spec in specs.items()
    }
    cells = sweep.cells(versions)
    _refuse_other_sets(sweep, folder)
    with opened(folder) as store:
        if fresh:
            store.forget({cell.id for cell in cells})
        run = _Run(sweep, store, specs, watch, jobs, cells, dict(missing))
        return run.play()


def _specs(sweep: Sweep) -> tuple[dict[str, registry.AgentSpec], dict[str, str]]:
    """Return the usable agents by name, and why each of the others is not."""
    specs, missing = {}, {}
    for entry in sweep.agents:
        if entry.name == LABELS:
            continue
        try:
            spec = registry.agent_spec(entry.name)
        except ValueError as error:
            missing[entry.name] = str(error)
            continue
        if spec.error is None:
            specs[entry.name] = spec
            if entry.kwargs:
                spec.make(**entry.kwargs)  # a bad argument is refused before anything runs
        else:
            missing[entry.name] = spec.error
    return specs, missing


def _refuse_other_sets(sweep: Sweep, folder: Path) -> None:
    """Refuse a folder whose rows were played on other instances under the same names."""
    if not (folder / MANIFEST).is_file():
        return
    there = read_manifest(folder)["sweep"]
    advice = "choose another --out"
    for key in ("instances", "root", "bound_gap"):
        mine = getattr(sweep, key)
        validate.check(
            f"Sweep.{key}",
            mine,
            there[key] == mine,
            f"{there[key]}, as the results in {folder} have it; {advice}",
        )
    for source in sweep.scenarios:
        kept = there["scenarios"].get(source.name, {}).get("hash", source.hash)
        allowed = f"{kept}, the hash of {source.name!r} in {folder}; {advice}"
        validate.check(
            f"hash of scenario {source.name!r}", source.hash, kept == source.hash, allowed
        )


@dataclasses.dataclass
class _Run:
    sweep: Sweep
    store: Store
    specs: dict[str, registry.AgentSpec]
    watch: Watch | None
    jobs: int
    cells: list[Cell]
    empty: dict[str, str]
    failed: dict[str, str] = dataclasses.field(default_factory=dict)
    instances: dict[tuple[str, int], Instances] = dataclasses.field(default_factory=dict)

    def play(self) -> Finished:
        done = {row["cell"] for row in self.store.rows}
        todo = [
            c
            for c in self.cells
            if c.id not in done and (c.agent.name in self.specs or c.agent.name == LABELS)
        ]
        entry = {**provenance.describe(self.jobs), "cells": len(todo)}
        history = self._history()
        self._manifest([*history, entry])
        if self.watch:
            self.watch.begin(self.cells, self.store.rows)
        played = 0
        try:
            with pool(self.jobs, len(todo)) as run_all:
                proven = self._bounds(todo, run_all)
                for cell, answer in run_all(play_cell, self._tasks(todo)):
                    played += self._take(cell, answer, proven[cell.task])
        finally:
            if self.watch:
                self.watch.end()
        entry |= {"finished": provenance.now(), "played": played}
        self._manifest([*history, entry])
        kept = sum(cell.id in done for cell in self.cells)
        return Finished(self.store.folder, played, kept, self.empty, self.failed, self.store.notes)

    def _history(self) -> list[dict[str, Any]]:
        path = self.store.folder / MANIFEST
        return list(read_manifest(self.store.folder)["runs"]) if path.is_file() else []

    def _manifest(self, runs: list[dict[str, Any]]) -> None:
        sweep = self.sweep.to_dict()
        if runs[:-1]:
            sweep["scenarios"] = {
                **read_manifest(self.store.folder)["sweep"]["scenarios"],
                **sweep["scenarios"],
            }
        self.store.write_manifest(
            {"sweep": sweep, "empty": self.empty, "failed": self.failed, "runs": runs}
        )

    def _block(self, cell: Cell) -> Instances:
        key = (cell.source.hash, cell.block)
        if key not in self.instances:
            self.instances[key] = cell.source.load(cell.root, cell.block, cell.instances)
        return self.instances[key]

    def _bounds(
        self, todo: list[Cell], run_all: RunAll
    ) -> dict[tuple[str, str, int], bounds.Bounds]:
        """Return the bounds of every block that is still to play, proving those that no file holds."""
        folder = self.store.folder / BOUNDS
        found: dict[tuple[str, str, int], bounds.Bounds] = {}
        jobs: dict[tuple[str, str, int], tuple[Any, ...]] = {}
        for cell in {cell.task: cell for cell in todo}.values():
            instances, key = self._block(cell), bound_key_of(cell, self.sweep.bound_gap)
            kept = bounds.find(key, instances, folder, self.sweep.bound_limit_s)
            if kept is None:
                limits = self.sweep.bound_gap, self.sweep.bound_limit_s
                jobs[cell.task] = (instances, cell.prompt, key, *limits, folder)
            else:
                found[cell.task] = kept
        for count, (task, answer) in enumerate(run_all(bounds.obtain, jobs.items()), 1):
            found[task] = answer
            if answer.reason is not None:
                self.empty[f"certified bound of “{task[1]}”"] = answer.reason
            if self.watch:
                self.watch.bound(count, len(jobs))
        return found

    def _tasks(self, todo: list[Cell]) -> Iterator[tuple[Cell, tuple[Any, ...]]]:
        for cell in todo:
            labels = (
                cell.source.labels(cell.block, cell.instances)
                if cell.agent.name == LABELS
                else None
            )
            yield (
                cell,
                (cell_plan(cell, self.specs.get(cell.agent.name)), self._block(cell), labels),
            )

    def _take(self, cell: Cell, answer: Answer, bound: bounds.Bounds) -> int:
        """Write an answer down; return 1 if it is a result."""
        if answer.fields is None:
            where = self.failed if answer.failed else self.empty
            reason = answer.failed or answer.empty or ""
            where[f"{cell.agent.label} on {cell.source.name}"] = reason
            if self.watch:
                self.watch.empty(cell, reason)
            return 0
        row = complete_row(cell, answer.fields, bound)
        self.store.append(row)
        if self.watch:
            self.watch.row(row)
        return 1


def bound_key_of(cell: Cell, gap: float) -> str:
    """Return the name of the file with the bounds of a cell's block."""
    weight = prompt_module.parse(cell.prompt)
    return bounds.bound_key(cell.source.hash, cell.root, cell.block, cell.instances, weight, gap)


def complete_row(cell: Cell, fields: Row, bound: bounds.Bounds) -> Row:
    """Return a cell's row: what was played, what came of it, and the bounds of its instances."""
    return {
        **identity(cell),
        **fields,
        "bound": plain(bound.lower.tolist()),
        "proven": bound.proven.tolist(),
    }


def identity(cell: Cell) -> Row:
    """Return the part of a row that says what was played."""
    return {
        "format": FORMAT,
        "cell": cell.id,
        "agent": cell.agent.label,
        "name": cell.agent.name,
        "kwargs": dict(cell.agent.kwargs),
        "version": cell.version,
        "scenario": cell.source.name,
        "scenario_hash": cell.source.hash,
        "prompt": cell.prompt,
        "latency_weight": prompt_module.parse(cell.prompt),
        "block": cell.block,
        "root": cell.root,
    }
