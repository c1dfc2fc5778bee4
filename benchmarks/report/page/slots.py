"""What the page's player shows: one slot of each table, and what agents decided in it.

Shapes: N UEs, M edge servers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report.tables import Results
from benchmarks.sweep.results import CellResult
from lambo_env import registration
from lambo_env.cell.draws import draw
from lambo_env.cell.seeding import evaluation_rng
from lambo_env.offloading import physics
from lambo_env.offloading.instances import LOCAL, Decision, Instances, server_of
from lambo_env.offloading.scenario import Scenario
from lambo_env.offloading.slots import MovingSlots
from lambo_env.prompts.prompts import Prompts

VALUES_AT_MOST = 200_000  # numbers of all slots of a page, about 6 bytes each


def slots_of(results: Results) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a slot per table that its file can show, and why others are left out."""
    shown: list[dict[str, Any]] = []
    notes, room = [], VALUES_AT_MOST
    for scenario, prompt in results.tables():
        rows = [r for r in results.rows if (r.scenario, r.prompt) == (scenario, prompt)]
        where = f"“{prompt}” on {scenario}"
        try:
            slot = _slot(results, rows)
        except ValueError as error:
            notes.append(f"{where}: no slot to play: {error}")
            continue
        room -= sum(5 * len(agent["place"]) for agent in slot["agents"])
        if room < 0:
            notes.append(f"{where}: no slot to play: the page would grow too large")
        else:
            shown.append({"scenario": scenario, "prompt": prompt, **slot})
    return shown, notes


def _slot(results: Results, rows: Sequence[CellResult]) -> dict[str, Any]:
    """Return the first instance of the first block, and the decisions of those who have one.

    Raises:
        ValueError: it cannot be drawn again, nobody's decision was written down, or one is none.
    """
    block = min(row.block for row in rows)
    decided = {row.agent: row for row in rows if row.block == block and row.first is not None}
    if not decided:
        raise ValueError("its rows hold no decision")
    first = next(iter(decided.values()))
    scenario = _scenario(results, first)
    slots = MovingSlots(scenario)
    rng = evaluation_rng(first.root, scenario, block)
    cell, instances = slots.first(draw(rng, first.instances, slots.first_draws))
    one = instances.take(0)
    bounds = [row.bound[0] for row in decided.values() if row.bound[0] is not None]
    return {
        "side_m": scenario.side_m,
        "ue_xy": _rounded(cell.ue_xy[0]),
        "server_xy": _rounded(cell.server_xy[0]),
        "bound": max(bounds, default=None),
        "agents": list(_players(one, decided)),
    }


def _scenario(results: Results, row: CellResult) -> Scenario:
    entry = results.manifest["sweep"]["scenarios"].get(row.scenario, {})
    if not isinstance(entry.get("fields"), dict):
        raise ValueError("its instances come from a file")
    scenario = registration.load_scenario(entry["fields"])
    if not isinstance(scenario, Scenario) or scenario.hash != row.scenario_hash:
        raise ValueError("the manifest holds another scenario")
    return scenario


def _players(one: Instances, rows: dict[str, CellResult]) -> Iterator[dict[str, Any]]:
    for agent, row in rows.items():
        assert row.first is not None
        place, cpu = np.array(row.first["place"]), np.array(row.first["cpu_hz"], dtype=float)
        objective = Prompts.of(row.prompt, 1).objective(one)
        outcome = physics.evaluate(one, Decision(place[None], cpu[None]), objective)
        ratio = outcome.latency_s[0] / one.deadline_s[0]
        yield {
            "agent": agent,
            "place": place.tolist(),
            "cpu_share": _rounded(cpu / one.server_cpu_hz[0][server_of(np.maximum(place, 1))]),
            "ratio": [value if np.isfinite(value) else None for value in _rounded(ratio)],
            "late": outcome.late[0].tolist(),
            "cost": _costs(one, place, cpu, row.prompt),
        }


def _costs(one: Instances, place: NDArray[Any], cpu: NDArray[Any], prompt: str) -> list[float]:
    """Return the cost [N + 1] after so many decisions, the other UEs at home."""
    count = len(place)
    done = np.tri(count + 1, count, -1, dtype=bool)
    many = one.repeat(count + 1)
    objective = Prompts.of(prompt, count + 1).objective(many)
    decision = Decision(np.where(done, place, LOCAL), np.where(done, cpu, 0.0))
    return _rounded(physics.evaluate(many, decision, objective).cost, 6)


def _rounded(values: NDArray[Any], significant: int = 4) -> Any:
    """Return nested lists of numbers with so many digits."""
    if values.ndim > 1:
        return [_rounded(row, significant) for row in values]
    return [float(f"{value:.{significant}g}") for value in values]
