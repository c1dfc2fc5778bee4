"""CPU time and gap of the solvers at the settings that the docs quote.

Exact, LocalSearch, DE's curve; on one thread.

CPU time is this process's own, so that a busy machine does not count. Run with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.report.statistics import Interval, mean_interval
from lambo_env.cell.seeding import evaluation_rng
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.objectives import EVEN_PROMPT, PURE_PROMPTS
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate
from lambo_env.utils.gaps import gap_percent
from lambo_env.utils.timing import Timing, measure

if TYPE_CHECKING:
    from lambo_agents.protocol import Solved

(LATENCY, ENERGY), MIX = PURE_PROMPTS, EVEN_PROMPT
# (scenario, prompts, gaps of Exact, the last of which bounds the others' gaps, share of the
# instances, time limit per instance in s)
PLAN = (
    ("paper", (LATENCY, ENERGY, MIX), (1e-3, 1e-4), 1.0, 60.0),
    ("hetero", (LATENCY, ENERGY), (1e-3,), 1.0, 60.0),
    ("are2020", (LATENCY,), (1e-3,), 0.2, 60.0),
    ("wide", (LATENCY, ENERGY), (1e-3,), 0.02, 20.0),
)
EVOLVED = 0.02  # share of the instances that DE decides
ROUNDS = 3  # of the quick ones, the best counts


@dataclasses.dataclass(frozen=True)
class SolverTime:
    """What a solver took on a scenario's first evaluation block under a prompt."""

    solver: str
    scenario: str
    prompt: str
    instances: int
    cpu_ms: float  # per instance
    gap_percent: Interval  # to the tightest bound at hand
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
                yield from _solver_rows(
                    name, prompt, gaps, max(2, round(share * instances)), limit_s
                )


def _solver_rows(
    name: str, text: str, gaps: tuple[float, ...], count: int, limit_s: float
) -> Iterator[SolverTime]:
    from baselines.search.differential_evolution import BUDGETS, DE
    from baselines.search.exact import Exact
    from baselines.search.local_search import LocalSearch

    scenario = load_scenario(name)
    instances = sample_instances(scenario, count, evaluation_rng(0, scenario, 0))
    prompts = Prompts.of(text, count)
    solves: dict[str, Timing[Solved]] = {}
    for gap in gaps:
        solver = Exact(gap=gap, time_limit_s=limit_s)
        solves[f"exact, {gap:.2%}"] = measure(functools.partial(solver.solve, instances, prompts))
    lower = np.max([timing.result.lower_bound for timing in solves.values()], axis=0)
    objective = prompts.objective(instances)

    def row(
        label: str, decision: Decision, cpu_s: NDArray[np.float64], proven: float = 0.0
    ) -> SolverTime:
        rows = slice(0, len(decision.place))
        cost = physics.evaluate(instances.take(rows), decision, objective.take(rows)).cost
        gap = mean_interval(gap_percent(cost, lower[rows]))
        cpu_ms = 1e3 * float(cpu_s.min()) / rows.stop
        return SolverTime(label, name, text, rows.stop, cpu_ms, gap, proven)

    for label, timing in solves.items():
        solved = timing.result
        yield row(label, solved.decision, timing.cpu_s, float(np.mean(solved.proven)))
    search, rng = LocalSearch(), np.random.default_rng(0)
    timed = measure(lambda: search.decide(instances, prompts, rng), ROUNDS)
    yield row("local-search", timed.result, timed.cpu_s)
    if name == "paper":
        few = slice(0, max(2, round(EVOLVED * count)))
        given = instances.take(few), prompts.take(few)
        for budget_s, setting in BUDGETS.items():
            agent, rng = DE(**setting), np.random.default_rng(0)
            timed = measure(functools.partial(agent.decide, *given, rng))
            yield row(f"de, {budget_s} s", timed.result, timed.cpu_s)


def print_solver_times(instances: int, scenarios: tuple[str, ...] = ()) -> None:
    """Print a row as soon as it is measured."""
    for k, r in enumerate(solver_times(instances, scenarios)):
        if k == 0:  # bad arguments are known by then
            print(
                f"{'solver':14} {'scenario':9} {'prompt':24} {'instances':>9} "
                f"{'CPU ms each':>12} {'gap %':>8}  95 %"
            )
        gap = f"{r.gap_percent.mean:8.4f}  [{r.gap_percent.low:.4f}, {r.gap_percent.high:.4f}]"
        proven = f"  proven {r.proven:.1%}" if r.solver.startswith("exact") else ""
        print(
            f"{r.solver:14} {r.scenario:9} {r.prompt:24} {r.instances:9} "
            f"{r.cpu_ms:12.4f} {gap}{proven}",
            flush=True,
        )
