"""The card of shipped weights.

What they are, how they were made, and their measured gaps on fresh instances.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import statistics
from benchmarks.sweep import bounds, provenance
from lambo_agents.protocol import Agent
from lambo_agents.registry import make_agent
from lambo_env.cell.seeding import decision_rng, evaluation_rng
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.grammar import catalogue
from lambo_env.prompts.objectives import EVEN_PROMPT, MIX, PAIR, PURE_PROMPTS
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import files, jsons, validate
from lambo_env.utils.gaps import gap_percent
from lambo_env.utils.timing import measure

PROMPTS = (*PURE_PROMPTS, EVEN_PROMPT)
BLOCK = 1000  # of the evaluation instances: no sweep that ships plays it
BOUND_GAP, BOUND_LIMIT_S = 1e-4, 20.0
SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "greedy, share": {"allocation": "share"},
    "best of 16": {"decoding": "sample"},
    "best of 16, polished": {"decoding": "sample", "polish": "local-search"},
}
Row = dict[str, Any]


def write_card(
    weights: Path,
    name: str,
    command: str,
    count: int,
    out: Path,
    note: str = "",
    device: str = "cpu",
) -> dict[str, Any]:
    """Copy ``weights`` to ``out/name.safetensors``, measure them, and write ``out/name.json``.

    Return the card.
    """
    from lambo_agents.network import checkpoint  # torch: only those who make a card pay

    aed, meta = checkpoint.load_network(weights)
    shipped = ship(weights, meta, out / f"{name}.safetensors", checkpoint.FORMAT)
    agents = {
        setting: make_agent("lambo-s", weights=str(shipped), device=device, **options)
        for setting, options in SETTINGS.items()
    }
    curve = weights.parent / "curve.jsonl"
    scenario = load_scenario(meta["recipe"]["scenario"])
    card = {
        "name": name,
        "sha256": hashlib.sha256(shipped.read_bytes()).hexdigest(),
        "parameters": aed.num_parameters,
        "command": command,
        "note": note,
        "recipe": meta["recipe"],
        "clock": {k: meta["row"][k] for k in ("step", "rollouts", "labels")},
        "curve": _thin(jsons.read_lines(curve, dict)),
        "scenario": scenario.hash,
        "measured_by": provenance.describe(1),
        "measured": {
            "instances": count,
            "block": BLOCK,
            "bound": BOUND_GAP,
            "rows": list(gaps(agents, count)),
        },
        "held_out": held_out(shipped, min(count, 50), device),
    }
    files.write_text(out / f"{name}.json", json.dumps(card, indent=1) + "\n", b'"measured_by"')
    return card


def _thin(rows: list[Row], most: int = 40) -> list[Row]:
    keep = sorted({round(k) for k in np.linspace(0, len(rows) - 1, most)}) if rows else []
    return [
        {k: round(v, 4) if isinstance(v, float) else v for k, v in rows[index].items()}
        for index in keep
    ]


def gaps(agents: Mapping[str, Agent], count: int, source: str = "paper") -> Iterator[Row]:
    """Yield one row per prompt and way of deciding, which is what ``agents`` are called by.

    Gap in percent to proven bounds with its interval, late tasks, time.
    """
    scenario = load_scenario(source)
    instances = sample_instances(scenario, count, evaluation_rng(0, scenario, BLOCK))
    for text in PROMPTS:
        prompts = Prompts.of(text, count)
        key = bounds.bound_key(
            scenario.hash, 0, BLOCK, count, float(prompts.latency_weight[0]), BOUND_GAP
        )
        bound = bounds.obtain(instances, text, key, BOUND_GAP, BOUND_LIMIT_S, bounds.cache_folder())
        for setting, agent in agents.items():
            rng = decision_rng(0, scenario.hash, BLOCK)
            timing = measure(functools.partial(agent.decide, instances, prompts, rng))
            outcome = physics.evaluate(instances, timing.result, prompts.objective(instances))
            gap = statistics.mean_interval(gap_percent(outcome.cost, bound.lower))
            yield {
                "prompt": text,
                "decoding": setting,
                "gap_percent": gap.mean,
                "interval": [gap.low, gap.high],
                "late": int(outcome.late.sum()),
                "ms_per_instance": 1e3 * float(timing.wall_s[0]) / count,
                "proven": int(bound.proven.sum()),
            }


def held_out(weights: Path, count: int, device: str = "cpu") -> Row:
    """Return by how many points the gap grows on phrasings that training never saw."""
    scenario = load_scenario("paper")
    instances = sample_instances(scenario, count, evaluation_rng(0, scenario, BLOCK))
    agent = make_agent("lambo-s", weights=str(weights), device=device)
    rows = []
    for kind, text, weight in _phrasings():
        plain = {1.0: PROMPTS[0], 0.0: PROMPTS[1]}.get(
            weight, f"{weight:.0%} {PAIR[0]}, {1 - weight:.0%} {PAIR[1]}"
        )
        costs = (_cost(agent, instances, _same(t, weight, count)) for t in (text, plain))
        rows.append((float(np.mean(gap_percent(*costs))), kind, text))
    worst = max(rows)
    return {
        "phrasings": len(rows),
        "instances": count,
        "points_more": {
            kind: float(np.mean([r[0] for r in rows if r[1] == kind])) for kind in (*PAIR, MIX)
        },
        "worst": {"points_more": worst[0], "text": worst[2]},
        "above_one_point": sorted((round(r[0], 2), r[2]) for r in rows if r[0] > 1)[::-1],
    }


def _same(text: str, weight: float, count: int) -> Prompts:
    return Prompts((text,) * count, np.full(count, weight))


def _phrasings() -> Iterator[tuple[str, str, float]]:
    """Yield (kind, text, weight).

    All held-out pure phrasings, and every held-out way of a mix at one weight of its own.
    """
    pure = [(name, *row) for name in PAIR for row in catalogue("held_out", name)]
    mixes = catalogue("held_out", MIX)
    spread = np.linspace(0, len(mixes) - 1, 40).astype(int)
    for kind, text, weights in (*pure, *((MIX, *mixes[index]) for index in spread)):
        yield kind, text, weights.get(PAIR[0], 0.0)


def _cost(agent: Any, instances: Instances, prompts: Prompts) -> NDArray[np.float64]:
    decision = agent.decide(instances, prompts, np.random.default_rng(0))
    return np.asarray(physics.evaluate(instances, decision, prompts.objective(instances)).cost)


def ship(weights: Path, meta: Mapping[str, Any], shipped: Path, kind: str) -> Path:
    """Copy weights of a format to where they ship, unless they lie there; return that file.

    Raises:
        ValueError: their JSON values say nothing of how they were trained and measured.
    """
    measured = {"recipe", "row"} <= {*meta}
    allowed = "the weights.safetensors of a training, which say how they were trained and measured"
    validate.check("card.weights", str(weights), measured, allowed)
    if weights != shipped:
        with files.atomic_writer(shipped, kind.encode()) as file:
            file.write(weights.read_bytes())
    return shipped
