"""Trainings side by side.

Does size pay, and which part of the method does? Variants x seeds, each trained alike and measured
alike.

A variant differs from the reference by the fields that it names, and by nothing else: all do the
same number of updates on the same draws of instances.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report.statistics import Interval, seeds_interval
from benchmarks.studies.model_card import BLOCK, BOUND_GAP, BOUND_LIMIT_S, PROMPTS
from benchmarks.sweep import bounds, provenance
from lambo_agents.acl.config import ACLConfig
from lambo_agents.registry import make_agent
from lambo_env.cell.seeding import decision_rng, evaluation_rng
from lambo_env.offloading import physics
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import files, jsons, runs, validate
from lambo_env.utils.gaps import gap_percent
from lambo_env.utils.timing import measure as measure_time

FORMAT = 1  # of a result's file
LEAST = 1e-3  # percent: bounds are no tighter than 0.01 %
COLUMNS = (*((text, "optimal") for text in PROMPTS), (PROMPTS[0], "share"))
READING, IMITATION, GRADIENT = 300, 500, 200  # updates of each phase
REFERENCE = ACLConfig(
    steps=READING + IMITATION + GRADIENT,
    pretraining_steps=READING,
    pretraining_texts=96,
    imitation_steps=IMITATION,
    imitation_instances=40,
    imitation_orders=2,
    instances=32,
    rollouts=8,
    learning_rate=2e-3,
    gradient_rate=1.0,
    warmup_steps=60,
    ema=0.99,
    varied=0.2,
    servers=(2, 12),
    cycles_scale=(0.6, 1.8),
    threads=1,
    checkpoint_every=100,
    validate_every=READING + IMITATION + GRADIENT,
)
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Variant:
    """What a training differs in from the reference."""

    name: str
    about: str
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def config(self, seed: int, reference: ACLConfig = REFERENCE) -> ACLConfig:
        """Return the whole setting of one training."""
        return dataclasses.replace(reference, **self.fields, seed=seed)


_REFERENCE = Variant("lambo_s", "the reference")
STUDIES = {
    "ladder": (
        Variant("lambo_xs", "0.1 M parameters", {"preset": "lambo_xs"}),
        _REFERENCE,
        Variant("lambo_b", "2 M parameters", {"preset": "lambo_b"}),
    ),
    "ablations": (
        _REFERENCE,
        Variant(
            "critic", "the paper's critic in place of the rollouts' mean", {"baseline": "critic"}
        ),
        Variant(
            "cold", "no warm start: policy gradient in place of imitation", {"imitation_steps": 0}
        ),
        Variant("layers-3-3", "3 + 3 layers in place of 5 + 1", {"layers": (3, 3)}),
        Variant("latency-only", "one network per prompt: latency", {"kinds": ("latency",)}),
        Variant("energy-only", "one network per prompt: energy", {"kinds": ("energy",)}),
        Variant("one-order", "no shuffled orders of the UEs", {"shuffled": False}),
    ),
}


def study(
    names: tuple[str, ...],
    folder: Path,
    seeds: int = 3,
    instances: int = 1000,
    *,
    reference: ACLConfig = REFERENCE,
    tell: Callable[[str], None] = print,
) -> dict[str, list[Row]]:
    """Do what ``folder`` lacks of some studies; return the results by variant, one row per seed.

    A killed study goes on where it stopped, also within a training.

    Args:
        names: of STUDIES.
        folder: one sub-folder per training.
        seeds: trainings per variant.
        instances: fresh ones that a network is measured on.
        reference: what variants differ from.
        tell: called with a line as a training is measured.

    Raises:
        ValueError: no study or an unknown one, or a number below 1.
    """
    validate.integer("--seeds", seeds)
    validate.integer("--instances", instances)
    validate.check("names", names, len(names) > 0, f"one or more of {', '.join(STUDIES)}")
    for name in names:
        validate.known(name, STUDIES, "study")
    with runs.opened(folder, "study", {"instances": instances}, grow=("instances",)):
        return _study(names, folder, seeds, instances, reference, tell)


def _study(
    names: tuple[str, ...],
    folder: Path,
    seeds: int,
    instances: int,
    reference: ACLConfig,
    tell: Callable[[str], None],
) -> dict[str, list[Row]]:
    variants = {variant.name: variant for name in names for variant in STUDIES[name]}
    found: dict[str, list[Row]] = {name: [] for name in variants}
    for seed in range(
        seeds
    ):  # seed by seed: a study that is cut short has fewer of them, of every variant
        for name, variant in variants.items():
            row = _one(variant.config(seed, reference), folder / f"{name}-{seed}", instances)
            found[name].append(row)
            gaps = ", ".join(f"{row['gap_percent'][k]:.3f}" for k in range(len(COLUMNS)))
            tell(f"{name}, seed {seed}: gaps {gaps} %, {row['cpu_s']:.0f} s of CPU")
    return found


def _one(config: ACLConfig, folder: Path, instances: int) -> Row:
    path = folder / "result.json"
    settings = {
        "format": FORMAT,
        "instances": instances,
        "config": json.loads(json.dumps(config.to_dict())),
    }
    try:
        kept = jsons.loads(path.read_text(encoding="utf-8"))
        if all(kept[name] == value for name, value in settings.items()):
            return dict(kept)
    except (OSError, ValueError, KeyError, TypeError):
        # none yet, damaged, or of other settings: train (which refuses a folder of another
        # training)
        pass
    from lambo_agents.acl.run import train
    from lambo_agents.network import checkpoint

    timing = measure_time(lambda: train(config, folder, report=lambda row: None))
    weights = timing.result
    aed, meta = checkpoint.load_network(weights)
    row = {
        **settings,
        "parameters": aed.num_parameters,
        "clock": {name: meta["row"][name] for name in ("step", "rollouts", "labels")},
        "cpu_s": float(timing.cpu_s[0]),  # of the last go, where it took several
        "gap_percent": measure(weights, instances),
        "made": provenance.describe(1),
    }
    files.write_text(path, json.dumps(row, indent=1) + "\n")
    return row


def measure(weights: Path, count: int) -> list[float]:
    """Return the mean gap in percent to bounds proven to 0.01 %, greedy, for each of COLUMNS."""
    scenario = load_scenario("paper")
    instances = sample_instances(scenario, count, evaluation_rng(0, scenario, BLOCK))
    found = []
    for text, allocation in COLUMNS:
        prompts = Prompts.of(text, count)
        key = bounds.bound_key(
            scenario.hash, 0, BLOCK, count, float(prompts.latency_weight[0]), BOUND_GAP
        )
        bound = bounds.obtain(instances, text, key, BOUND_GAP, BOUND_LIMIT_S, bounds.cache_folder())
        agent = make_agent("lambo-s", weights=str(weights), allocation=allocation)
        decision = agent.decide(instances, prompts, decision_rng(0, scenario.hash, BLOCK))
        cost = physics.evaluate(instances, decision, prompts.objective(instances)).cost
        found.append(float(np.mean(gap_percent(cost, bound.lower))))
    return found


def summary(rows: list[Row]) -> list[Interval]:
    """Return the geometric mean gap over seeds per column, with the interval of its logarithm."""
    logs = [
        seeds_interval(np.log([max(row["gap_percent"][k], LEAST) for row in rows]))
        for k in range(len(COLUMNS))
    ]
    return [Interval(*(math.exp(end) for end in (log.mean, log.low, log.high))) for log in logs]
