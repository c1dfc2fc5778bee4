"""What Ray costs over joblib: the same cells by both engines of this machine, in turn."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.report.console import print_table
from benchmarks.sweep import provenance
from benchmarks.sweep.engines.choice import EngineChoice, Name
from lambo_agents.registry import make_agent
from lambo_env.cell.seeding import training_rng
from lambo_env.offloading.physics import evaluate
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils.tasks import Engine
from lambo_env.utils.timing import measure, one_thread

CELL_S = 1.5  # about what a cell takes alone
CELLS, ROUNDS = 2, 5  # per core and round; rounds of each engine
_AGENT, _INSTANCES = "local-search", 64
_PROMPT = "minimum latency"


@dataclasses.dataclass(frozen=True)
class EngineSpeed:
    """What an engine took for the same cells."""

    name: Name
    start_s: float  # until its first cells are back
    round_s: tuple[float, ...]  # of wall clock


def cell(scenario: str, seed: int, decisions: int) -> float:
    """Decide a batch of instances again and again; return its mean cost."""
    world = load_scenario(scenario)
    rng = training_rng(0, world, seed)
    instances = sample_instances(world, _INSTANCES, rng)
    agent, prompts = make_agent(_AGENT), Prompts.of(_PROMPT, _INSTANCES)
    for _ in range(decisions):
        decision = agent.decide(instances, prompts, rng)
    return float(evaluate(instances, decision, prompts.objective(instances)).cost.mean())


def engine_speeds(scenario: str, cell_s: float = CELL_S, rounds: int = ROUNDS) -> list[EngineSpeed]:
    """Time joblib and Ray, a process per core, round by round in turn.

    Args:
        scenario: preset or TOML file of the cells.
        cell_s: about what a cell takes alone.
        rounds: of each engine.

    Raises:
        ImportError: joblib or Ray is missing.
    """
    cores = provenance.cores()
    with one_thread():
        cell(scenario, 0, 1)
        decisions = round(cell_s / measure(lambda: cell(scenario, 0, 1), 3).cpu_s.min())
    tasks = [(seed, (scenario, seed, max(1, decisions))) for seed in range(CELLS * cores)]
    first = [(seed, (scenario, seed, 1)) for seed in range(cores)]
    choices = [EngineChoice("joblib", jobs=cores), EngineChoice("ray")]
    start_s: list[float] = []
    round_s: list[list[float]] = [[] for _ in choices]
    with contextlib.ExitStack() as stack:
        engines = []
        for choice in choices:
            begun_s = time.perf_counter()
            engines.append(stack.enter_context(choice.start(len(tasks))))
            _wall_s(engines[-1], first)
            start_s.append(time.perf_counter() - begun_s)
        for _ in range(rounds):
            for engine, spent_s in zip(engines, round_s, strict=True):
                spent_s.append(_wall_s(engine, tasks))
    return [
        EngineSpeed(choice.name, started, tuple(spent_s))
        for choice, started, spent_s in zip(choices, start_s, round_s, strict=True)
    ]


def _wall_s(engine: Engine, tasks: Sequence[tuple[int, tuple[str, int, int]]]) -> float:
    """Return the seconds of wall clock in which all cells are back."""
    timing = measure(lambda: dict(engine(cell, tasks)))
    assert len(timing.result) == len(tasks)
    return float(timing.wall_s[0])


def print_engine_throughput(scenario: str) -> None:
    """Print the table: start, a round, and the median of the rounds' ratios to joblib."""
    speeds = engine_speeds(scenario)
    reference = np.array(speeds[0].round_s)
    rows = [
        (
            speed.name,
            f"{speed.start_s:.1f}",
            f"{np.median(speed.round_s):.2f}",
            f"{np.median(np.array(speed.round_s) / reference):.3f}",
        )
        for speed in speeds
    ]
    cores = provenance.cores()
    title = f"{CELLS * cores} cells of about {CELL_S:g} s on {cores} cores, {ROUNDS} rounds in turn"
    print_table(("engine", "start s", "round s", "x joblib"), rows, title)
