"""Agents on drifting streams of slots; one agent on one stream is a cell."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from baselines.search.exact import Exact
from benchmarks.adaptation.plan import FORMAT, Adaptation, StreamCell
from benchmarks.sweep import bounds, provenance
from benchmarks.sweep.engines.choice import EngineChoice
from benchmarks.sweep.results import MANIFEST
from lambo_agents import guard, registry
from lambo_agents.protocol import Adaptive, unsupported
from lambo_env.cell import seeding
from lambo_env.offloading import drift as suite
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.prompts.objectives import PURE_PROMPTS
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import files, jsons, runs, validate
from lambo_env.utils.gaps import gap_percent, refuse_below
from lambo_env.utils.rows import read_only
from lambo_env.utils.timing import measure

PROMPTS = PURE_PROMPTS  # in turn over a slot's instances
BOUND_GAP, BOUND_LIMIT_S = (
    1e-3,
    2.0,
)  # what bounds are proven to; the streams have tens of thousands of instances
# what all cells of a folder have in common; a command may add drifts, methods and seeds
_OPTIONS = (
    *("scenario", "batch", "num_slots", "stride"),
    *("labels", "labels_per_slot", "expert", "weights"),
)
Row = dict[str, Any]


def read(path: Path, cell_hash: str | None = None) -> Row | None:
    """Return a finished cell's file; None where it is absent, damaged or of other settings."""
    try:
        found = jsons.loads(path.read_text(encoding="utf-8"))
        whole = (
            found["format"] == FORMAT
            and isinstance(found["rows"], list)
            and isinstance(found["hash"], str)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(found) if whole and cell_hash in (None, found["hash"]) else None


def adapt(
    plan: Adaptation,
    folder: Path,
    jobs: int = 0,
    tell: Any = None,
    engine: EngineChoice | None = None,
) -> list[Row]:
    """Play the cells that ``folder`` lacks and return those of the plan that are finished.

    Args:
        plan: what to play.
        folder: where results are kept; a second run continues, also within a stream, and asks no
            expert twice.
        jobs: worker processes of one thread each; 0: as ``start_engine`` chooses.
        tell: called with each cell's file as it is there; of a cell that failed with its drift,
            method, seed and why it ``failed``.
        engine: where the cells run, in place of ``jobs`` processes here; a cluster's nodes share
            the folder.

    Raises:
        ValueError: a bad number of jobs, another run holds the folder or played it otherwise, or
            every cell failed.
    """
    engine = EngineChoice(jobs=jobs) if engine is None else engine
    validate.check(
        "--out",
        str(folder),
        not (folder / MANIFEST).exists(),
        "a folder without a sweep of `lambo bench`",
    )
    options = {name: getattr(plan, name) for name in _OPTIONS}
    with runs.opened(folder, "adapt", options, grow=("num_slots",)):
        return _adapt(plan, folder.absolute(), engine, tell)


def _adapt(plan: Adaptation, folder: Path, choice: EngineChoice, tell: Any) -> list[Row]:
    done: dict[str, Row] = {}
    failed: list[str] = []
    todo = []
    for cell in plan.cells():
        kept = read(files.subfolder(folder, "cells") / f"{cell.name}.json", cell.hash)
        if kept is None:
            todo.append(cell)
        else:
            done[cell.name] = kept
    with choice.start(len(todo)) as engine:
        for cell, row in engine(play, ((cell, (cell, folder)) for cell in todo)):
            if "failed" in row:
                failed.append(row["failed"])
            else:
                done[cell.name] = row
            if tell is not None:
                tell(row)
    if failed and not done:
        raise ValueError(failed[0])
    return [done[cell.name] for cell in plan.cells() if cell.name in done]


def play(cell: StreamCell, folder: Path) -> Row:
    """Play one cell, or what is left of it, write its file and drop its unfinished state.

    Where its agent raises or cannot decide, say so; what is finished is kept.
    """
    try:
        with guard.guarded(f"method {cell.method.name!r} on {cell.drift!r}"):
            return _play(cell, folder.absolute())  # wherever the agent goes
    except Exception as error:  # a method's own bug must not end the others
        whose = {"drift": cell.drift, "method": cell.method.name, "seed": cell.seed}
        return {**whose, "failed": str(error)}


def _play(cell: StreamCell, folder: Path) -> Row:
    work = files.subfolder(folder, "work") / f"{cell.name}-{cell.hash}"
    agent: Any = registry.make_agent(cell.method.agent, **cell.kwargs(work))
    with contextlib.closing(_Rows(work / "rows.jsonl")) as rows:
        _stream(cell, folder, agent, rows)
        found = [rows.found[slot] for slot in cell.plan.played]
    facts = {
        name: int(value)
        for name in ("num_parameters", "num_trainable")
        if (value := getattr(agent, name, None))
    }
    spent = {name: found[-1][name] for name in ("labels", "update_s", "expert_s")}
    spent["evaluations"] = sum(row.get("evaluations", 0) for row in found)
    row = {
        "format": FORMAT,
        "hash": cell.hash,
        "method": cell.method.name,
        **cell.settings,
        **facts,
        **spent,
        "rows": found,
    }
    row["made"] = provenance.describe(1)
    files.write_text(
        folder / "cells" / f"{cell.name}.json", json.dumps(row, separators=(",", ":")) + "\n"
    )
    shutil.rmtree(work, ignore_errors=True)
    return row


def _stream(cell: StreamCell, folder: Path, agent: Any, rows: _Rows) -> None:
    """Play the slots from the agent's own on (an agent that keeps no state: all).

    After each is scored, it may adapt.
    """
    scenario_hash, labels = load_scenario(cell.plan.scenario).hash, 0
    begin = getattr(agent, "slot", 0)
    counted = rows.evaluations(cell.plan.played[:begin])
    for slot, instances, prompts, bound in _slots(cell, folder, begin):
        reason = unsupported(agent, instances, prompts)
        what = f"method {cell.method.name!r} on {cell.drift!r}"
        validate.check(what, reason, reason is None, "an agent that supports the stream")
        rng = seeding.decision_rng(cell.seed, scenario_hash, slot)
        timing = measure(partial(agent.decide, instances, prompts, rng))
        paid = int(agent.labels_used) if cell.method.pays else labels
        seconds = {
            name: round(float(getattr(agent, name, 0.0)), 3) for name in ("update_s", "expert_s")
        }
        before, counted = counted, int(getattr(agent, "evaluations", 0))
        rows.add(
            {
                "slot": slot,
                "labels": paid,
                "evaluations": counted - before,
                **seconds,
                "decide_s": round(float(timing.wall_s[0]), 6),
                **_scores(f"{what}, slot {slot}", instances, timing.result, prompts, bound),
            }
        )
        if isinstance(agent, Adaptive):
            labels += int(agent.adapt(instances, prompts, timing.result, rng))


def _scores(
    what: str, instances: Instances, decision: Decision, prompts: Prompts, bound: np.ndarray
) -> Row:
    """Return the mean gap in percent, over all and per prompt, and the share of late tasks."""
    outcome = physics.evaluate(instances, decision, prompts.objective(instances))
    refuse_below(what, outcome.cost, bound)
    gap = gap_percent(outcome.cost, bound)
    each = {f"gap_{k}": round(float(gap[k :: len(PROMPTS)].mean()), 6) for k in range(len(PROMPTS))}
    return {"gap": round(float(gap.mean()), 6), **each, "late": float(np.mean(outcome.late))}


def _slots(
    cell: StreamCell, folder: Path, begin: int
) -> Iterator[tuple[int, Instances, Prompts, np.ndarray]]:
    """Yield the played slots from the ``begin``-th on, with prompts and certified bounds."""
    plan, todo = cell.plan, cell.plan.played[begin:]
    scenario = load_scenario(plan.scenario)
    prompts = Prompts.of([PROMPTS[k % len(PROMPTS)] for k in range(plan.batch)])
    kept = _Bounds(
        files.subfolder(folder, "bounds")
        / f"{cell.drift}--{cell.seed}-{plan.batch}-{scenario.hash}.npz"
    )
    rng = seeding.evaluation_rng(cell.seed, scenario, 0)
    for slot, instances in suite.stream(cell.drift, plan.batch, rng, scenario, plan.num_slots):
        if slot in todo:
            shared = read_only(instances)
            yield slot, shared, prompts, kept.of(slot, shared, prompts)


class _Bounds:
    """Certified lower bounds of a stream's slots, proven once for all methods."""

    def __init__(self, path: Path) -> None:
        self.path, self.found = path, _arrays(path)
        self.solver = Exact(gap=BOUND_GAP, time_limit_s=BOUND_LIMIT_S)

    def of(self, slot: int, instances: Instances, prompts: Prompts) -> np.ndarray:
        """Return the bounds [B] of a slot; new ones are written at once, for all methods."""
        # bounds of other instances are none
        content = instances.hash("\n".join(prompts.texts))[:16]
        key = f"v{bounds.VERSION}-slot{slot}-{content}"
        if self.found.get(key, np.zeros(0)).shape != (instances.batch_size,):
            solved = np.asarray(self.solver.solve(instances, prompts).lower_bound)
            self.found = {**_arrays(self.path), **self.found, key: solved}
            with files.atomic_writer(self.path) as file:
                slots = sorted(self.found, key=lambda name: (len(name), name))
                np.savez(file, **{name: self.found[name] for name in slots})  # type: ignore[arg-type]
        return self.found[key]


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file, none where it is absent or damaged."""
    # whatever a damaged archive raises: the bounds are proven again
    with contextlib.suppress(Exception), np.load(path, allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files}
    return {}


class _Rows:
    """The rows of an unfinished stream, one per line.

    A slot's last row counts.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.found: dict[int, Row] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            with contextlib.suppress(
                ValueError, KeyError, TypeError
            ):  # a killed run may leave half a line
                row = jsons.loads(line)
                self.found[int(row["slot"])] = row
        self.file = path.open("a", encoding="utf-8")

    def add(self, row: Row) -> None:
        """Add one."""
        self.found[row["slot"]] = row
        self.file.write("\n" + json.dumps(row))
        self.file.flush()

    def evaluations(self, slots: range) -> int:
        """Return how many evaluations the rows of these slots count."""
        return sum(int(self.found.get(slot, {}).get("evaluations", 0)) for slot in slots)

    def close(self) -> None:
        """Close the file."""
        self.file.close()
