"""Rollouts per second of a training in one process and in two, one thread each.

Both compute the same updates, in two pieces; run by itself, this module is one of the processes.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.report.console import print_table
from lambo_agents.acl.config import Recipe, World
from lambo_agents.acl.processes import joined, launch
from lambo_agents.acl.stages import GradientStage
from lambo_agents.acl.trainer import Trainer, flushed
from lambo_env.utils import files
from lambo_env.utils.timing import measure

COUNTS = (1, 2)
INSTANCES, ROLLOUTS, UPDATES = 64, 8, 12  # of an update; those that are timed


def rates(scenario: str) -> dict[int, float]:
    """Return the rollouts per second of wall clock by the number of processes, best update."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in COUNTS:
            path = Path(folder, f"{count}.json")
            launch("benchmarks.speed.processes", [scenario, str(path)], count)
            found[count] = float(json.loads(path.read_text(encoding="utf-8")))
    return found


def print_processes_throughput(scenario: str) -> None:
    """Print the rates, and how many times that of one process each is."""
    found = rates(scenario)
    rows = [(str(n), f"{rate:,.0f}", f"{rate / found[1]:.2f}") for n, rate in found.items()]
    title = f"lambo_s on {scenario}, {INSTANCES} instances x {ROLLOUTS} rollouts per update"
    print_table(("processes", "rollouts/s", "x one"), rows, title)


def _main(scenario: str, out: str) -> None:
    torch.set_num_threads(1)
    stage = GradientStage(updates=1, instances=INSTANCES, rollouts=ROLLOUTS)
    recipe = Recipe(phases=(stage,), worlds=(World(scenario=scenario),), shards=max(COUNTS))
    with flushed(), joined("cpu") as processes:
        trainer = Trainer(recipe, processes=processes)
        trainer.update()
        before = trainer.rollouts
        best_s = float(measure(trainer.update, UPDATES).wall_s.min())
        if processes.first:
            each = (trainer.rollouts - before) / UPDATES
            files.write_text(Path(out), json.dumps(each / best_s))


if __name__ == "__main__":
    _main(*sys.argv[1:])
