"""Trainings side by side.

Does size pay, and which part of the method does? Variants x seeds, each trained alike and measured
alike.

A study is a file: a recipe, and variants that differ from it by the fields that they name and by
nothing else.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.report.statistics import Interval
from benchmarks.studies.ablations import offloading, queueing
from benchmarks.sweep import provenance
from benchmarks.sweep.engines.choice import EngineChoice
from lambo_env.utils import files, jsons, runs, toml, validate
from lambo_env.utils.timing import measure as measure_time

FORMAT = 3  # of a result's file
FOLDER = Path(__file__).parents[1] / "recipes"
STUDIES = tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))
_OF_VARIANTS = ("name", "about", "deciding", "without")
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Variant:
    """One training of a study: its name, what it is, and its recipe."""

    name: str
    about: str
    recipe: Any  # of its world


def world_of(table: Mapping[str, Any]) -> ModuleType:
    """Return how the networks of a recipe's world are trained and measured."""
    return queueing if table.get("world") == "queueing" else offloading


def variants(source: str | Path) -> tuple[Variant, ...]:
    """Return the variants of a study, the reference first.

    A study is a recipe with its name, what it is about, and the tables ``[[variants]]``: name,
    about, fields of the recipe in place of its own, ``without``: those that are left at their
    defaults, and under ``deciding`` fields of all phases but reading.

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
    recipe = world_of(reference).recipe
    found = [Variant(name, about, recipe(reference))]
    for entry in told:
        fields = {k: v for k, v in entry.items() if k not in _OF_VARIANTS}
        kept = {k: v for k, v in reference.items() if k not in entry.get("without", ())}
        try:
            if "phases" in reference:
                fields["phases"] = [
                    {**table, **(entry.get("deciding", {}) if table["phase"] != "reading" else {})}
                    for table in fields.get("phases", reference["phases"])
                ]
            found.append(Variant(entry["name"], entry["about"], recipe({**kept, **fields})))
        except ValueError as error:
            raise ValueError(f"variant {entry.get('name')!r} of {path}: {error}") from error
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
        instances: fresh ones that a network is measured on; episodes, where tasks wait.
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
            percent = ", ".join(f"{value:.3f}" for value in row["percent"])
            tell(f"{name}, seed {seed}: {percent} %, {row['cpu_s']:.0f} s of CPU")
    return {name: [found[name, seed] for seed in range(seeds)] for name in chosen}


def _one(recipe: Any, folder: Path, instances: int) -> Row:
    path, world = folder / "result.json", world_of(recipe.to_dict())
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
    timing = measure_time(lambda: world.train(recipe, folder))
    row = {
        **settings,
        "clock": world.clock(timing.result),
        "cpu_s": float(timing.cpu_s[0]),  # of the last go, where it took several
        "percent": world.measure(timing.result, instances),
        "made": provenance.describe(1),
    }
    files.write_text(path, json.dumps(row, indent=1) + "\n")
    return row


def summary(rows: list[Row]) -> list[Interval]:
    """Return the mean over seeds per title of the world, with its interval."""
    world = world_of(rows[0]["recipe"])
    return [world.summary([row["percent"][k] for row in rows]) for k in range(len(world.TITLES))]
