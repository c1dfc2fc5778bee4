"""CPU time and gap of the solvers at the settings that the docs quote.

Exact, LocalSearch, DE's curve; on one thread.

CPU time is this process's own, so that a busy machine does not count. Run with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report.statistics import Interval, mean_interval
from lambo_env.cell.seeding import evaluation_rng
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate

if TYPE_CHECKING:
    from lambo_agents.protocol import Solved

LATENCY, ENERGY, MIX = "minimum latency", "minimum energy", "50% latency, 50% energy"
# (scenario, prompts, gaps of Exact, the last of which bounds the others' gaps, share of the
# instances, limit of an instance in s)
PLAN = (
    ("paper", (LATENCY, ENERGY, MIX), (1e-3, 1e-4), 1.0, 60.0),
    ("hetero", (LATENCY, ENERGY), (1e-3,), 1.0, 60.0),
    ("are2020", (LATENCY,), (1e-3,), 0.2, 60.0),
    ("wide", (LATENCY, ENERGY), (1e-3,), 0.02, 20.0),
)
EVOLVED = 0.02  # share of the instances that DE decides
ROUNDS = 3  # of the quick ones, the best counts

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class SolverTime:
    """What a solver took on a scenario's first evaluation block under a prompt."""

    solver: str
    scenario: str
    prompt: str
    instances: int
    cpu_ms: float  # an instance
    gap: Interval  # relative, to the tightest bound at hand
    proven: float  # share of instances whose bound reached Exact's gap


def solver_times(instances: int, scenarios: tuple[str, ...] = ()) -> Iterator[SolverTime]:
    """Yield the rows as they are measured.

    Args:
        instances: of `paper` and `hetero`, in one batch; the slower worlds and solvers get a share
            of them.
        scenarios: only these of the plan; none: all.

    Raises:
        ValueError: a bad number, or a scenario that the plan lacks.
    """
    validate.integer("--instances", instances)
    for name in scenarios:
        validate.known(name, [row[0] for row in PLAN], "scenario of the plan")
    for name, prompts, gaps, share, limit_s in PLAN:
        if not scenarios or name in scenarios:
            for prompt in prompts:
                yield from _world(name, prompt, gaps, max(2, round(share * instances)), limit_s)


def _world(
    name: str, prompt: str, gaps: tuple[float, ...], count: int, limit_s: float
) -> Iterator[SolverTime]:
    from baselines.search.differential_evolution import BUDGETS, DE
    from baselines.search.exact import Exact
    from baselines.search.local_search import LocalSearch

    scenario = load_scenario(name)
    instances, asked = (
        sample_instances(scenario, count, evaluation_rng(0, scenario, 0)),
        Prompts.of(prompt, count),
    )
    runs: list[tuple[str, Solved, float]] = []
    for gap in gaps:
        solver = Exact(gap=gap, time_limit_s=limit_s)
        solved, seconds = _timed(lambda solver=solver: solver.solve(instances, asked), 1)  # type: ignore[misc]
        runs.append((f"exact, {gap:.2%}", solved, seconds))
    lower = np.max([solved.lower_bound for _, solved, _ in runs], axis=0)

    def row(
        solver: str, decision: Decision, seconds: float, rows: int, proven: float
    ) -> SolverTime:
        cost = _cost(instances.take(slice(0, rows)), decision, asked.take(slice(0, rows)))
        gap = mean_interval(cost / lower[:rows] - 1)
        return SolverTime(solver, name, prompt, rows, 1e3 * seconds / rows, gap, proven)

    for label, solved, seconds in runs:
        yield row(label, solved.decision, seconds, count, float(np.mean(solved.proven)))
    search, rng = LocalSearch(), np.random.default_rng(0)
    decision, seconds = _timed(lambda: search.decide(instances, asked, rng), ROUNDS)
    yield row("local-search", decision, seconds, count, 0.0)
    if name == "paper":
        few = max(2, round(EVOLVED * count))
        part, wishes = instances.take(slice(0, few)), asked.take(slice(0, few))
        for budget_s, setting in BUDGETS.items():
            agent = DE(**setting)
            decision, seconds = _timed(
                functools.partial(agent.decide, part, wishes, np.random.default_rng(0)), 1
            )
            yield row(f"de, {budget_s} s", decision, seconds, few, 0.0)


def _timed(work: Callable[[], Any], rounds: int) -> tuple[Any, float]:
    """Return what ``work`` gives and its least CPU time of some rounds in s."""
    spent = []
    for _ in range(rounds):
        start = time.process_time()
        found = work()
        spent.append(time.process_time() - start)
    return found, min(spent)


def _cost(instances: Instances, decision: Decision, asked: Prompts) -> Floats:
    return np.asarray(physics.evaluate(instances, decision, asked.objective(instances)).cost)


def print_solver_times(instances: int, scenarios: tuple[str, ...] = ()) -> None:
    """Print a row as soon as it is measured."""
    for k, r in enumerate(solver_times(instances, scenarios)):
        if k == 0:  # bad arguments are known by then
            print(
                f"{'solver':14} {'scenario':9} {'prompt':24} {'instances':>9} {'CPU ms each':>12} {'gap %':>8}  95 %"
            )
        gap = f"{100 * r.gap.mean:8.4f}  [{100 * r.gap.low:.4f}, {100 * r.gap.high:.4f}]"
        proven = f"  proven {r.proven:.1%}" if r.solver.startswith("exact") else ""
        print(
            f"{r.solver:14} {r.scenario:9} {r.prompt:24} {r.instances:9} {r.cpu_ms:12.4f} {gap}{proven}",
            flush=True,
        )
