"""One agent on one scenario, a table in the terminal, no folder of results.

What ``lambo evaluate`` does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.report import tables
from benchmarks.report.console import print_table
from benchmarks.report.escaping import tell
from benchmarks.sweep import bounds
from benchmarks.sweep.config import Sweep, SweepCell
from benchmarks.sweep.results import CellResult
from benchmarks.sweep.runner import bound_key_of, name_of
from benchmarks.sweep.worker import NoResult, identity, play_cell
from lambo_agents import registry
from lambo_env.offloading.instances import LOCAL
from lambo_env.prompts.grammar import parse_weights
from lambo_env.prompts.objectives import unit_of

ALWAYS_LOCAL = "local"  # the agent whose rule it is
NEAR = 1.01  # of the bound


def print_single(sweep: Sweep, with_bounds: bool) -> int:
    """Play the first agent of a sweep and print a line a prompt; 1 if it has no result."""
    spec = registry.agent_spec(sweep.agents[0].name)
    rows = []
    for cell in sweep.cells({}):
        line, reason = _play(cell, spec, sweep, with_bounds)
        if line is None:
            tell(f"{cell.agent.label} on {cell.source.name}: no result: {reason}")
            return 1
        rows.append((cell.prompt, *tables.cells_of(line)[1 : len(tables.HEADER)]))
    source = sweep.scenarios[0]
    title = f"{sweep.agents[0].label} on {source.name} ({source.hash}), {sweep.instances} instances"
    print_table(("prompt", *tables.HEADER[1:]), rows, title)
    return 0


def _play(
    cell: SweepCell, spec: registry.AgentSpec, sweep: Sweep, with_bounds: bool
) -> tuple[tables.AgentLine | None, str]:
    instances, used = cell.source.load(cell.root, cell.block, cell.instances), set[int]()
    watch: Any = lambda place: used.update(np.unique(place).tolist())  # noqa: E731
    answer = play_cell(identity(cell), spec, instances, None, watch)
    if isinstance(answer, NoResult):
        return None, answer.reason
    if with_bounds:
        key, limits = bound_key_of(cell, sweep.bound_gap), (sweep.bound_gap, sweep.bound_limit_s)
        task = (instances, cell.prompt, key, *limits, bounds.cache_folder())
        try:
            bound = bounds.held(answer.cost, bounds.obtain(*task), name_of(answer), task)
        except ValueError as error:
            return None, str(error)
        answer = answer.bounded(bound.lower, bound.proven)
    if len(used) == 1 and cell.agent.name != ALWAYS_LOCAL and not _near(answer):
        tell(_one_place(cell, used.pop()), error=True)
    return tables.line_of(answer.agent, [answer], unit_of(parse_weights(answer.prompt))), ""


def _one_place(cell: SweepCell, place: int) -> str:
    where = "where it arises (place 0, local)" if place == LOCAL else f"to server {place}"
    kept = "runs every task" if place == LOCAL else "sends every task"
    return (
        f"warning: {cell.agent.label} {kept} {where} under the prompt {cell.prompt!r}: "
        "a policy that has learnt nothing, or sees other observations than in training, does so"
    )


def _near(answer: CellResult) -> bool:
    """Return whether one place for all is as good as can be."""
    pairs = [(c, b) for c, b in zip(answer.cost, answer.bound, strict=True) if c and b]
    return bool(pairs) and all(cost <= NEAR * bound for cost, bound in pairs)
