"""The search that the trainings' settings come from: short trials, the best of them in full.

One option after the other: its values are tried with the best of those before it and the middle
ones of those after it. What a short training likes need not be what a long one likes, so the best
few are trained to the end, and those decide. What was tried is kept, a line of JSON each, and not
tried again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from baselines.neural.are import training as are_training
from baselines.neural.are.agent import Are
from baselines.neural.checkpoint import agent_name
from baselines.neural.droo import training as droo_training
from baselines.neural.droo.agent import Droo
from lambo_agents.protocol import Agent
from lambo_agents.registry import make_agent
from lambo_env.cell.seeding import training_rng
from lambo_env.offloading import physics
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.objectives import KIND_PROMPTS
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import files, jsons, runs
from lambo_env.utils.gaps import gap_percent
from lambo_env.utils.tasks import Engine, run_here

Options = are_training.AreTraining | droo_training.DrooTraining
EXPERT = "local-search"  # labels, and the reference of gaps
HELD_OUT = 2**31  # the stream of training instances that trials are scored on
SPACE: dict[str, dict[str, tuple[float, ...]]] = {
    "pooled": {
        "batch": (32, 64, 128),
        "learning_rate": (2e-3, 4e-3, 8e-3, 1.6e-2),
        "width": (16, 32, 64),
    },
    "60fc": {"batch": (64, 128), "learning_rate": (1e-3, 2e-3, 4e-3), "width": (69, 128, 192)},
}
# of a short trial
BUDGETS: dict[str, dict[str, float]] = {
    "are": {"labels": 4000, "epochs": 4},
    "droo": {"slots": 2000},
}


def search(
    family: str,
    size: str,
    folder: Path,
    scenario: str = "paper",
    instances: int = 512,
    best: int = 4,
    tell: Callable[[dict[str, Any]], None] = print,
    engine: Engine = run_here,
) -> list[dict[str, Any]]:
    """Try settings of ``lambo train are`` or ``droo`` and return all trials, the best first.

    Those of full length come before the short ones.

    Args:
        family: "are" or "droo".
        size: of the network.
        folder: where trials are kept; a second run goes on with them.
        scenario: preset or .toml file.
        instances: fresh ones that a trial is scored on, under three prompts each.
        best: of the short trials, whose settings are trained in full.
        tell: called with each trial.
        engine: where the trials of an option's values run, and those in full.
    """
    with runs.held(folder):
        journal = folder / f"{agent_name(family, size)}.jsonl"
        tried = jsons.read_lines(journal, {"options": dict, "n": int, "mean": (int, float)})
        space, always = SPACE[size], {"size": size, "scenario": scenario}
        chosen = {name: values[len(values) // 2] for name, values in space.items()}
        short = []

        def tried_with(settings: list[dict[str, Any]]) -> list[dict[str, Any]]:
            given = [_options(family, {**always, **one}) for one in settings]
            tasks = [(k, (one, instances)) for k, one in enumerate(given) if not known(one)]
            for _, row in engine(_trial, tasks):
                tried.append(row)
                files.write_text(journal, "".join(json.dumps(one) + "\n" for one in tried))
            rows = [known(one)[0] for one in given]
            for row in rows:
                tell(row)
            return rows

        def known(options: Options) -> list[dict[str, Any]]:
            same = (options.values, instances)
            return [row for row in tried if (row["options"], row["n"]) == same]

        for name, values in space.items():
            rows = tried_with([{**BUDGETS[family], **chosen, name: value} for value in values])
            chosen[name] = _ranked(rows)[0]["options"][name]
            short += [row for row in rows if row not in short]
        short = _ranked(short)
        full = tried_with([{name: row["options"][name] for name in space} for row in short[:best]])
        return _ranked(full) + short


def _ranked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row["mean"])


def _options(family: str, given: dict[str, Any]) -> Options:
    if family == "are":
        return are_training.AreTraining(**given)
    return droo_training.DrooTraining(**given)


def _trial(options: Options, instances: int) -> dict[str, Any]:
    """Return one trial: what was trained, its CPU seconds and mean gaps."""
    agent: Agent
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trial.safetensors")
        if isinstance(options, are_training.AreTraining):
            card = are_training.train(options, make_agent(EXPERT), path)
            agent = Are(str(path), size=options.size, online=False)
        else:
            card = droo_training.train(options, path)
            agent = Droo(str(path), candidates=1, size=options.size, online=False)
        gaps = mean_gaps(agent, options.scenario, instances)
    told = {"options": options.values, "n": instances, "cpu_seconds": card["cpu_seconds"]}
    return told | gaps


def mean_gaps(agent: Agent, scenario: str, count: int) -> dict[str, float]:
    """Return an agent's mean gaps to local search in per cent, by kind of prompt and "mean"."""
    cell, found = load_scenario(scenario), {}
    slots = sample_instances(cell, count, training_rng(0, cell, HELD_OUT))
    for kind, text in KIND_PROMPTS.items():
        prompts = Prompts.of(text, count)
        mine, best = (
            physics.evaluate(
                slots,
                one.decide(slots, prompts, np.random.default_rng(0)),
                prompts.objective(slots),
            ).cost
            for one in (agent, make_agent(EXPERT))
        )
        found[kind] = round(float(np.mean(gap_percent(mine, best))), 3)
    return {**found, "mean": round(float(np.mean(list(found.values()))), 3)}
