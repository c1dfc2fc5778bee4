"""Playing a sweep: bounds first, then the cells in parallel, each written down when it is done."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.sweep import bounds, provenance
from benchmarks.sweep.config import LABELS, Sweep, SweepCell
from benchmarks.sweep.engines.choice import EngineChoice
from benchmarks.sweep.engines.joblib import default_jobs
from benchmarks.sweep.results import BOUNDS, MANIFEST, CellResult, Store, opened, read_manifest
from benchmarks.sweep.worker import NoResult, identity, play_cell
from lambo_agents import registry
from lambo_env.offloading.instances import Instances
from lambo_env.prompts.grammar import parse_weights
from lambo_env.prompts.objectives import PAIR
from lambo_env.utils import files, validate
from lambo_env.utils.tasks import Engine


@dataclasses.dataclass
class Progress:
    """How far a sweep is, and what happened last."""

    cells: list[SweepCell]
    results: dict[str, CellResult]  # by cell id
    reasons: dict[str, str] = dataclasses.field(default_factory=dict)  # of empty cells, by id
    proven: int = 0  # blocks whose bounds this run has proven so far
    to_prove: int = 0  # blocks whose bounds no file held
    last: CellResult | SweepCell | None = (
        None  # a result, an empty cell, or none: a bound, the start
    )


OnProgress = Callable[[Progress], None]


@dataclasses.dataclass(frozen=True)
class SweepSummary:
    """What a run did; its results are in the folder."""

    folder: Path
    played: int
    cached: int  # cells that earlier runs had done
    empty: dict[str, str]  # agent or "agent on scenario" -> why its cells are empty
    failed: dict[str, str]  # the same, for agents that raised
    notes: list[str]


def run_sweep(
    sweep: Sweep,
    folder: Path,
    *,
    jobs: int = 0,
    engine: EngineChoice | None = None,
    fresh: bool = False,
    on_progress: OnProgress = lambda progress: None,
) -> SweepSummary:
    """Play the cells that ``folder`` lacks and return what was done.

    Args:
        sweep: what to play.
        folder: where results are kept; a second run continues.
        jobs: worker processes of one thread each; 0 means one per core (or one without
            joblib) for what is left after some seconds in this process.
        engine: where the cells run, in place of ``jobs`` processes here.
        fresh: play the sweep's cells anew even where results are there.
        on_progress: called at the start, and after each bound, result and empty cell.

    Raises:
        ValueError: the folder holds another evaluation set, foreign or damaged files, or is in use;
            bad arguments of an agent.
        WorkerDiedError: a worker process is gone; what is finished is kept.
    """
    engine = EngineChoice(jobs=jobs) if engine is None else engine
    specs, missing = _specs(sweep)
    versions = {
        name: f"{spec.origin} {provenance.version_of(spec.origin)}" for name, spec in specs.items()
    }
    cells = sweep.cells(versions)
    _refuse_other_sets(sweep, folder)
    with opened(folder) as store:
        if fresh:
            store.forget({cell.id for cell in cells})
        ids = {cell.id for cell in cells}
        progress = Progress(cells, {r.cell: r for r in store.results if r.cell in ids})
        return _SweepRun(sweep, store, specs, engine, progress, on_progress, missing).play()


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
class _SweepRun:
    """One run of a sweep in an open folder."""

    sweep: Sweep
    store: Store
    specs: dict[str, registry.AgentSpec]
    engine: EngineChoice
    progress: Progress
    on_progress: OnProgress
    empty: dict[str, str]
    failed: dict[str, str] = dataclasses.field(default_factory=dict)
    blocks: dict[tuple[str, int], Instances] = dataclasses.field(default_factory=dict)

    def play(self) -> SweepSummary:
        results, playable = self.progress.results, {*self.specs, LABELS}
        todo = [
            cell
            for cell in self.progress.cells
            if cell.id not in results and cell.agent.name in playable
        ]
        cached = len(results)
        entry = {**provenance.describe(self.engine.jobs or default_jobs()), "cells": len(todo)}
        earlier: list[Any] = (
            read_manifest(self.store.folder)["runs"]
            if (self.store.folder / MANIFEST).is_file()
            else []
        )
        self._write_manifest([*earlier, entry])
        self.on_progress(self.progress)
        others = {spec.entry_point.partition(".")[0].partition(":")[0] for spec in self._others()}
        with self.engine.start(len(todo), sorted(others)) as engine:
            proven = self._bounds(todo, engine)
            for cell, answer in engine(play_cell, self._tasks(todo)):
                self._take(cell, self._bounded(cell, answer, proven))
        played = len(results) - cached
        entry |= {"finished": provenance.now(), "played": played}
        self._write_manifest([*earlier, entry])
        notes = self.store.notes
        return SweepSummary(self.store.folder, played, cached, self.empty, self.failed, notes)

    def _others(self) -> list[registry.AgentSpec]:
        """Return the agents of other packages."""
        return [spec for spec in self.specs.values() if spec.origin != registry.DISTRIBUTION]

    def _write_manifest(self, runs: list[dict[str, Any]]) -> None:
        sweep = self.sweep.to_dict()
        if runs[:-1]:
            earlier = read_manifest(self.store.folder)["sweep"]["scenarios"]
            sweep["scenarios"] = {**earlier, **sweep["scenarios"]}
        self.store.write_manifest(
            {"sweep": sweep, "empty": self.empty, "failed": self.failed, "runs": runs}
        )

    def _block(self, cell: SweepCell) -> Instances:
        key = (cell.source.hash, cell.block)
        if key not in self.blocks:
            self.blocks[key] = cell.source.load(cell.root, cell.block, cell.instances)
        return self.blocks[key]

    def _bounds(
        self, todo: list[SweepCell], engine: Engine
    ) -> dict[tuple[str, str, int], bounds.Bounds]:
        """Return the bounds of every block to play, proving those that no file holds."""
        proven: dict[tuple[str, str, int], bounds.Bounds] = {}
        missing: dict[tuple[str, str, int], tuple[Any, ...]] = {}
        for cell in {cell.task: cell for cell in todo}.values():
            task = instances, _, key, _, limit_s, folder = self._bound_task(cell)
            cached = bounds.find(key, instances, folder, limit_s)
            if cached is None:
                missing[cell.task] = task
            else:
                proven[cell.task] = cached
        self.progress.to_prove = len(missing)
        for task, answer in engine(bounds.obtain, missing.items()):
            proven[task] = answer
            if answer.reason is not None:
                self.empty[f"certified bound of “{task[1]}”"] = answer.reason
            elif bounds.find(missing[task][2], missing[task][0], missing[task][5]) is None:
                instances, _, key, *_, folder = missing[task]  # another machine proved them
                bounds.write(key, answer, instances, folder)
            self.progress.proven += 1
            self.on_progress(self.progress)
        return proven

    def _tasks(self, todo: list[SweepCell]) -> Iterator[tuple[SweepCell, tuple[Any, ...]]]:
        """Yield each cell with the arguments of ``play_cell``."""
        for cell in todo:
            spec = self.specs.get(cell.agent.name)
            labels = None if spec else cell.source.labels(cell.block, cell.instances)
            yield cell, (identity(cell), spec, self._block(cell), labels)

    def _bound_task(self, cell: SweepCell) -> tuple[Instances, str, str, float, float, Path]:
        """Return the arguments of ``bounds.obtain``."""
        gap, limit_s = self.sweep.bound_gap, self.sweep.bound_limit_s
        folder = files.subfolder(self.store.folder, BOUNDS).absolute()
        return self._block(cell), cell.prompt, bound_key_of(cell, gap), gap, limit_s, folder

    def _bounded(
        self,
        cell: SweepCell,
        answer: CellResult | NoResult,
        proven: dict[tuple[str, str, int], bounds.Bounds],
    ) -> CellResult | NoResult:
        """Return a result with its bounds, which it must not undercut."""
        if isinstance(answer, NoResult):
            return answer
        task, what = self._bound_task(cell), name_of(answer)
        try:
            found = bounds.held(answer.cost, proven[cell.task], what, task)
        except ValueError as error:
            return NoResult(str(error), failed=True)
        proven[cell.task] = found
        return answer.bounded(found.lower, found.proven)

    def _take(self, cell: SweepCell, answer: CellResult | NoResult) -> None:
        """Write an answer down."""
        if isinstance(answer, NoResult):
            where = self.failed if answer.failed else self.empty
            where[f"{cell.agent.label} on {cell.source.name}"] = answer.reason
            self.progress.reasons[cell.id] = answer.reason
            self.progress.last = cell
        else:
            self.store.append(answer)
            self.progress.results[cell.id] = self.progress.last = answer
        self.on_progress(self.progress)


def name_of(played: CellResult) -> str:
    """Return which row of a table a result is part of."""
    where = f"{played.agent} on {played.scenario} under {played.prompt!r}"
    return f"{where}, block {played.block}"


def bound_key_of(cell: SweepCell, gap: float) -> str:
    """Return the name of the file with the bounds of a cell's block."""
    weights = parse_weights(cell.prompt)
    weight: Any = weights if set(weights) - set(PAIR) else weights.get(PAIR[0], 0.0)
    return bounds.bound_key(cell.source.hash, cell.root, cell.block, cell.instances, weight, gap)
