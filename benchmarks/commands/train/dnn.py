"""``lambo train droo|are|are-small``, ``lambo tune neural``: the networks of DROO and ARE.

A killed run goes on with the same command.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from baselines.neural.are import training as are_training
from baselines.neural.are.training import AreTraining
from baselines.neural.checkpoint import FORMAT, agent_name
from baselines.neural.droo import training as droo_training
from baselines.neural.droo.training import DrooTraining
from baselines.neural.options import NetTraining
from benchmarks.commands.groups import TRAINED
from benchmarks.commands.train.telling import Teller, Telling, told
from benchmarks.sweep.engines.choice import EngineChoice, Name
from lambo_agents.registry import make_agent
from lambo_agents.weights_io import SUFFIX, check_target
from lambo_env.utils import files, validate


def droo(
    out: str,
    *,
    measured: int = 256,
    config: Annotated[DrooTraining | None, Parameter(name="*", group=TRAINED)] = None,
    telling: Telling | None = None,
) -> None:
    """Train DROO on a stream of slots: no labels, an evaluator in the loop.

    Args:
        out: Weights to write, ending in .safetensors, or a folder for them; the state of an
            unfinished run lies beside them.
        measured: Fresh instances to measure the gaps on, for the card; 0: none.
        config: what to learn from.
        telling: where its numbers go.
    """
    config = config or DrooTraining()
    path = weights_file(out, "droo", config.size)
    validate.integer("measured", measured, low=0)
    with _told(telling or Telling(), path, config.values) as report:
        card = droo_training.train(config, path, report)
    _ship(path, card, config, measured)


def are(
    out: str,
    *,
    expert: str = "local-search",
    measured: int = 256,
    config: Annotated[AreTraining | None, Parameter(name="*", group=TRAINED)] = None,
    telling: Telling | None = None,
) -> None:
    """Label instances with an expert and train ARE on them.

    Args:
        out: Weights to write, ending in .safetensors, or a folder for them; labels and the state of
            an unfinished run lie beside them.
        expert: Registered agent whose decisions are the labels: local-search, exact, de, ...
        measured: Fresh instances to measure the gaps on, for the card; 0: none.
        config: labels and how to learn from them.
        telling: where its numbers go.
    """
    config = config or AreTraining()
    path = weights_file(out, "are", config.size)
    validate.integer("measured", measured, low=0)
    teacher = make_agent(expert)
    with _told(telling or Telling(), path, config.values) as report:
        card = are_training.train(config, teacher, path, report)
    _ship(path, card, config, measured, "" if expert == "local-search" else f" --expert {expert}")


def are_small(
    data: str,
    out: str,
    *,
    scenarios: int = 440,
    seed: int = 0,
    telling: Telling | None = None,
) -> None:
    """Train ARE's original small network on the labels that its authors ship.

    Args:
        data: ARE's file, are-Data1.mat.
        out: Weights to write, ending in .safetensors.
        scenarios: The first so many are learnt; the last 60 are the test.
        seed: Of the initial weights.
        telling: where its numbers go.
    """
    from baselines.neural.are.original import train
    from lambo_env.datasets.are import load_are

    path = check_target(out, FORMAT)
    validate.integer("scenarios", scenarios)
    validate.integer("seed", seed, low=0)
    instances, labels = load_are(data)
    validate.check(
        "scenarios",
        scenarios,
        0 < scenarios <= len(instances),
        f"1 .. {len(instances)}",
    )
    rows = slice(0, scenarios)
    config = {"data": data, "scenarios": scenarios, "seed": seed}
    with _told(telling or Telling(), path, config) as report:
        card = train(instances.take(rows), labels.take(rows), path, seed=seed, report=report)
    _print_card(card)


def tune(
    family: str,
    *,
    size: str = "pooled",
    scenario: str = "paper",
    instances: int = 512,
    best: int = 4,
    out: str = "runs/tune-neural",
    engine: Name = "joblib",
    address: str | None = None,
    jobs: int = 1,
) -> None:
    """Try one option after the other in short trainings, then the best few settings in full.

    Print the trials, those in full and the best first.

    Args:
        family: are or droo.
        size: pooled or 60fc.
        scenario: Preset or .toml file.
        instances: Fresh instances that a trial is scored on, under each prompt.
        best: Settings that are trained in full, those of the best short trials.
        out: Folder of the trials, a line of JSON each.
        engine: Where trials run: this machine (joblib), or a Ray cluster (ray).
        address: Of the Ray cluster: host:port of its head, ray://host:port, or auto; left out, one
            here.
        jobs: Trials at once; 0: one per core.
    """
    from baselines.neural.tune import BUDGETS, SPACE, search
    from benchmarks.report.console import print_table
    from lambo_env.offloading.scenario import load_scenario

    validate.known(family, BUDGETS, "family")
    validate.known(size, SPACE, "size")
    validate.integer("instances", instances)
    validate.integer("best", best, low=0)
    load_scenario(scenario)  # refused before a folder is made
    names = [*SPACE[size], *BUDGETS[family]]
    most = max(best, *map(len, SPACE[size].values()))
    with EngineChoice(engine, address, jobs).start(most) as run:
        found = search(family, size, Path(out), scenario, instances, best, engine=run)
    gaps = [name for name in found[0] if name not in ("options", "n", "cpu_seconds")]
    rows = [
        (
            *(str(row["options"][name]) for name in names),
            *(f"{row[name]:.2f}" for name in gaps),
            f"{row['cpu_seconds']:.0f}",
        )
        for row in found
    ]
    title = f"{family}, {size}: gaps to local search"
    print_table((*names, *(f"{name}, %" for name in gaps), "CPU s"), rows, title)


def _told(
    telling: Telling, path: Path, config: Mapping[str, Any]
) -> contextlib.AbstractContextManager[Teller]:
    """Return who hears of a training: its log lies beside its weights."""
    folder = path.with_suffix(".runs")
    return told(telling, folder, path.with_suffix(".log"), path.stem, config)


def weights_file(out: str, family: str, size: str) -> Path:
    """Return the file of weights that ``out`` means, itself or the folder that it shall lie in."""
    named = out.endswith(SUFFIX)
    return check_target(out if named else Path(out) / f"{agent_name(family, size)}{SUFFIX}", FORMAT)


def _ship(
    path: Path, card: dict[str, Any], config: NetTraining, measured: int, further: str = ""
) -> None:
    """Add the command and the gaps on fresh instances to a card, write and print it."""
    family = card["agent"].split("-")[0]
    plain = type(config)()
    for name in config.field_names():
        value = getattr(config, name)
        if value != getattr(plain, name):
            texts = value if isinstance(value, tuple) else (value,)
            further += " ".join((f" --{name.replace('_', '-')}", *map(str, texts)))
    card = {"command": f"lambo train {family} OUT{further}", **card}
    if measured:
        from benchmarks.studies.model_card import gaps

        names = {"one pass": f"{card['agent']}-frozen"}
        if family == "droo":
            names["best of 50"] = card["agent"]
        agents = {text: make_agent(name, weights=str(path)) for text, name in names.items()}
        found: dict[str, Any] = {text: {} for text in names}
        for row in gaps(agents, measured, config.scenario):
            values = [row["gap_percent"], *row["interval"]]
            found[row["decoding"]][row["prompt"]] = [round(value, 2) for value in values]
        card |= {"gap_percent_and_interval": found, "measured_instances": measured}
    whole = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    files.write_text(path.with_suffix(".json"), json.dumps({**whole, **card}, indent=2) + "\n")
    _print_card(card)


def _print_card(card: dict[str, Any]) -> None:
    print(json.dumps(card, indent=2))
