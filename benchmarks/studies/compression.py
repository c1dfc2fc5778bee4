"""What a smaller LAMBO costs: gap, milliseconds, bytes on disk and memory, form by form.

Each form is timed in a process of its own, on one thread, with the libraries that it needs.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.studies.model_card import gaps
from lambo_agents.network import checkpoint
from lambo_agents.protocol import Agent
from lambo_agents.registry import make_agent
from lambo_env.cell.seeding import training_rng
from lambo_env.offloading import physics
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.objectives import EVEN_PROMPT
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import files, runs, validate

TABLE = "compression.json"
_STREAM = 2**31 - 2  # of the training draws, on which layers are chosen
_CHOSEN_ON = 64  # instances
_TIMED = """
import json, resource, sys
import numpy as np
from lambo_agents.registry import make_agent
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils.timing import measure, one_thread
agent = make_agent(sys.argv[1], weights=sys.argv[2])
rng, prompts = np.random.default_rng(0), Prompts.of("minimum latency", 1)
drawn = sample_instances(load_scenario("paper"), 100, rng)
spent_s = []
with one_thread():
    for row in range(100):
        one = drawn.take([row])
        spent_s.append(measure(lambda: agent.decide(one, prompts, rng)).cpu_s[0])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([1e3 * float(np.median(spent_s[20:])), peak / 1024]))
"""


@dataclasses.dataclass(frozen=True)
class Form:
    """A network in one form."""

    name: str
    agent: str  # registered
    weights: Path


@dataclasses.dataclass(frozen=True)
class FormRow:
    """What one form was measured at."""

    name: str
    gap_percent: tuple[float, ...]  # by prompt, as ``model_card.PROMPTS`` has them
    cpu_ms: float  # of a decision at batch 1 on one core
    file_mb: float
    memory_mib: float  # largest of the process that decides


def forms(weights: str, folder: Path, student: str | None = None) -> Iterator[Form]:
    """Write and yield the forms of a network, and of a student of it.

    Raises:
        ImportError: ONNX is missing.
    """
    from lambo_agents.export.compression import compress
    from lambo_agents.export.export import export

    def saved(name: str, source: str, *how: Any) -> Form:
        path = folder / f"{files.safe_name(name)}.safetensors"
        return Form(name, "lambo-s", compress(source, path, *how))

    yield saved("fp32", weights)
    yield saved("bf16 weights", weights, "bf16")
    yield saved("int8 weights", weights, "int8")
    layers = checkpoint.load_network(checkpoint.weights_path(weights))[0].config.encoder_layers
    kept = list(range(layers))
    while len(kept) > 1 and len(kept) > layers - 2:
        kept = _without_one(weights, folder, kept)
        yield saved(f"{len(kept)} encoder layers", weights, "fp32", kept)
    for precision, what in (("fp32", "ONNX"), ("int8", "ONNX, int8 weights and activations")):
        path = folder / f"onnx-{precision}"
        export(weights, "onnx", path, precision)
        yield Form(what, "lambo-onnx", path)
    if student is not None:
        yield saved("student", student)
        yield saved("student, int8 weights", student, "int8")


def _without_one(weights: str, folder: Path, kept: list[int]) -> list[int]:
    """Return the layers without the one that is missed least, on instances of the training's."""
    from lambo_agents.export.compression import compress

    scenario = load_scenario("paper")
    drawn = sample_instances(scenario, _CHOSEN_ON, training_rng(0, scenario, _STREAM))
    prompts, trial = Prompts.of(EVEN_PROMPT, _CHOSEN_ON), folder / "trial.safetensors"
    cost = {}
    for layer in kept:
        rest = [other for other in kept if other != layer]
        agent = make_agent("lambo-s", weights=str(compress(weights, trial, "fp32", rest)))
        decision = agent.decide(drawn, prompts, np.random.default_rng(0))
        objective = prompts.objective(drawn)
        cost[layer] = float(np.mean(physics.evaluate(drawn, decision, objective).cost))
    trial.unlink()
    return [layer for layer in kept if layer != min(cost, key=lambda gone: cost[gone])]


def compression_table(
    weights: str,
    folder: Path,
    student: str | None = None,
    instances: int = 1000,
    tell: Callable[[FormRow], None] = lambda row: None,
) -> list[FormRow]:
    """Make each form, measure it, and write the table into ``folder``.

    Args:
        weights: name of shipped weights, or a checkpoint.
        folder: of the forms and the table.
        student: checkpoint of a smaller network that the first one taught.
        instances: fresh ones of ``paper`` that the gap is measured on.
        tell: called with each row.

    Raises:
        ImportError: ONNX is missing.
        ValueError: no such weights, or a folder of another table.
    """
    count, rows = validate.integer("--instances", instances), []
    for given in (weights, *([] if student is None else [student])):
        checkpoint.load(checkpoint.weights_path(given))
    options = {"weights": str(weights), "student": student, "instances": count}
    with runs.opened(folder, "compress", options):
        made = list(forms(weights, folder, student))  # what cannot be made is told at once
        for form in made:
            row = _row(form, count)
            rows.append(row)
            tell(row)
        table = [dataclasses.asdict(row) for row in rows]
        files.write_text(folder / TABLE, json.dumps(table, indent=1) + "\n")
    return rows


def _row(form: Form, count: int) -> FormRow:
    agent: Agent = make_agent(form.agent, weights=str(form.weights))
    gap = tuple(float(row["gap_percent"]) for row in gaps({form.name: agent}, count))
    command = [sys.executable, "-c", _TIMED, form.agent, str(form.weights)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    cpu_ms, memory_mib = json.loads(done.stdout)
    parts = form.weights.iterdir() if form.weights.is_dir() else [form.weights]
    size = sum(path.stat().st_size for path in parts)
    return FormRow(form.name, gap, cpu_ms, size / 1e6, memory_mib)
