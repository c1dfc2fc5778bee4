"""Trainings side by side.

Does size pay, and which part of the method does? Variants x seeds, each trained alike and measured
alike.

A study is a file: a recipe, and variants that differ from it by the fields that they name and by
nothing else.
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
from benchmarks.sweep.engines.choice import EngineChoice
from lambo_agents.acl.config import Recipe
from lambo_agents.registry import make_agent
from lambo_env.cell.seeding import decision_rng, evaluation_rng
from lambo_env.offloading import physics
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import files, jsons, runs, toml, validate
from lambo_env.utils.gaps import gap_percent
from lambo_env.utils.timing import measure as measure_time

FORMAT = 2  # of a result's file
LEAST = 1e-3  # percent: bounds are no tighter than 0.01 %
COLUMNS = (*((text, "optimal") for text in PROMPTS), (PROMPTS[0], "share"))
FOLDER = Path(__file__).parent / "recipes"
STUDIES = tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Variant:
    """One training of a study: its name, what it is, and its recipe."""

    name: str
    about: str
    recipe: Recipe


def variants(source: str | Path) -> tuple[Variant, ...]:
    """Return the variants of a study, the reference first.

    A study is a recipe with its name, what it is about, and the tables ``[[variants]]``: name,
    about, fields of the recipe in place of its own, and under ``deciding`` fields of all phases but
    reading.

    Args:
        source: of STUDIES, or a TOML file.

    Raises:
        ValueError: an unknown study, or a recipe that is not allowed, by the variant's name.
    """
    path = Path(source)
    if path.suffix != ".toml":
        path = FOLDER / f"{validate.known(str(source), STUDIES, 'study')}.toml"
    reference = toml.load(path, "study")
    told = reference.pop("variants", [])
    name, about = (reference.pop(key, "reference") for key in ("name", "about"))
    found = [Variant(name, about, Recipe.from_dict(reference))]
    for entry in told:
        fields = {k: v for k, v in entry.items() if k not in ("name", "about", "deciding")}
        try:
            phases = [
                {**table, **(entry.get("deciding", {}) if table["phase"] != "reading" else {})}
                for table in fields.pop("phases", reference["phases"])
            ]
            recipe = Recipe.from_dict({**reference, "phases": phases, **fields})
        except ValueError as error:
            raise ValueError(f"variant {entry.get('name')!r} of {path}: {error}") from error
        found.append(Variant(entry["name"], entry["about"], recipe))
    return tuple(found)


def study(
    names: tuple[str, ...],
    folder: Path,
    seeds: int = 3,
    instances: int = 1000,
    *,
    tell: Callable[[str], None] = print,
    engine: EngineChoice | None = None,
) -> dict[str, list[Row]]:
    """Do what ``folder`` lacks of some studies; return the results by variant, one row per seed.

    A killed study goes on where it stopped, also within a training.

    Args:
        names: of STUDIES, or TOML files.
        folder: one sub-folder per training.
        seeds: trainings per variant.
        instances: fresh ones that a network is measured on.
        tell: called with a line as a training is measured.
        engine: where trainings run, one after the other here unless told otherwise; a cluster's
            nodes share the folder.

    Raises:
        ValueError: no study or an unknown one, or a number below 1.
    """
    validate.integer("--seeds", seeds)
    validate.integer("--instances", instances)
    validate.check("names", names, len(names) > 0, f"one or more of {', '.join(STUDIES)}")
    chosen = {variant.name: variant for name in names for variant in variants(name)}
    with runs.opened(folder, "study", {"instances": instances}, grow=("instances",)):
        return _study(
            chosen, folder.absolute(), seeds, instances, tell, engine or EngineChoice(jobs=1)
        )


def _study(
    chosen: Mapping[str, Variant],
    folder: Path,
    seeds: int,
    instances: int,
    tell: Callable[[str], None],
    choice: EngineChoice,
) -> dict[str, list[Row]]:
    # seed by seed: a study that is cut short has fewer of them, of every variant
    tasks: list[tuple[tuple[str, int], tuple[Any, ...]]] = [
        ((name, seed), (variant.recipe.replace(seed=seed), folder / f"{name}-{seed}", instances))
        for seed in range(seeds)
        for name, variant in chosen.items()
    ]
    found: dict[tuple[str, int], Row] = {}
    with choice.start(len(tasks)) as engine:
        for (name, seed), row in engine(_one, tasks):
            found[name, seed] = row
            gaps = ", ".join(f"{row['gap_percent'][k]:.3f}" for k in range(len(COLUMNS)))
            tell(f"{name}, seed {seed}: gaps {gaps} %, {row['cpu_s']:.0f} s of CPU")
    return {name: [found[name, seed] for seed in range(seeds)] for name in chosen}


def _one(recipe: Recipe, folder: Path, instances: int) -> Row:
    path = folder / "result.json"
    settings = {
        "format": FORMAT,
        "instances": instances,
        "recipe": json.loads(json.dumps(recipe.to_dict())),
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

    timing = measure_time(lambda: train(recipe, folder, report=lambda row: None))
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
