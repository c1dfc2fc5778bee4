"""The card of shipped weights of the world where tasks wait, and the table that it holds."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report.statistics import mean_interval
from benchmarks.studies.model_card import ship
from benchmarks.sweep import provenance
from lambo_agents.registry import make_agent
from lambo_env.cell.seeding import decision_rng, evaluation_rng
from lambo_env.prompts.objectives import EVEN_PROMPT, PURE_PROMPTS
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.policies.simulation import Simulation
from lambo_env.queueing.scenario import load_scenario
from lambo_env.queueing.slots import sample_trace
from lambo_env.utils import files, jsons

RULE = "linear-rule"
SCENARIOS = ("queue", "queue-light", "queue-bursts")
PROMPTS = (*PURE_PROMPTS, EVEN_PROMPT)
BLOCK = 1000  # of the evaluation episodes: no sweep that ships plays it
Row = dict[str, Any]


def write_card(
    weights: Path, name: str, command: str, episodes: int, out: Path, note: str = ""
) -> dict[str, Any]:
    """Copy ``weights`` to ``out/name.safetensors``, measure them, and write ``out/name.json``.

    Return the card.
    """
    from lambo_agents import weights_io  # torch: only those who make a card pay
    from lambo_agents.queueing import checkpoint
    from lambo_agents.queueing.agent import QueueLambo

    meta = weights_io.load(weights, checkpoint.FORMAT).meta
    shipped = ship(weights, meta, out / f"{name}.safetensors", checkpoint.FORMAT)
    agent = QueueLambo(shipped)
    card = {
        "name": name,
        "sha256": hashlib.sha256(shipped.read_bytes()).hexdigest(),
        "parameters": agent.num_parameters,
        "command": command,
        "note": note,
        "recipe": meta["recipe"],
        "clock": {k: meta["row"][k] for k in ("step", "cpu_s")},
        "curve": jsons.read_lines(weights.parent / "curve.jsonl", dict),
        "measured_by": provenance.describe(1),
        "measured": {"episodes": episodes, "block": BLOCK, "rows": list(rows(agent, episodes))},
    }
    files.write_text(out / f"{name}.json", json.dumps(card, indent=1) + "\n", b'"measured_by"')
    return card


def rows(agent: Any, episodes: int, texts: Sequence[str] = PROMPTS) -> Iterator[Row]:
    """Yield one row per scenario and prompt: cost per task beside the rule's, paired by episode."""
    for name in SCENARIOS:
        scenario = load_scenario(name)
        traces = sample_trace(scenario, episodes, evaluation_rng(0, scenario, BLOCK))
        for text in texts:
            prompts, outcomes, spent_s = Prompts.of(text, episodes), [], 0.0
            players: tuple[Any, ...] = (make_agent(RULE), agent)
            for player in players:
                rng, begun = decision_rng(0, scenario.hash, BLOCK), time.process_time()
                simulation = Simulation(scenario, traces, prompts.latency_weight)
                outcomes.append(
                    simulation.play(lambda shown: player.decide(shown, prompts, rng).place)  # noqa: B023
                )
                spent_s = time.process_time() - begun
            rule, own = outcomes
            above = mean_interval(100 * (own.episode_cost / rule.episode_cost - 1))
            tasks = max(1, int(np.count_nonzero(~np.isnan(own.cost))))
            yield {
                "scenario": name,
                "prompt": text,
                "cost": float(own.episode_cost.mean()),
                RULE: float(rule.episode_cost.mean()),
                "above_percent": above.mean,
                "interval": [above.low, above.high],
                "late_percent": 100 * float(own.late.sum()) / tasks,
                "cpu_ms_per_slot": 1e3 * spent_s / (episodes * scenario.num_slots),
            }
