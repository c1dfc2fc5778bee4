"""``lambo train sb3`` and ``lambo tune sb3``.

Stable-Baselines3's algorithms, every one on the same path.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from cyclopts import Parameter

from baselines.sb3.algorithms import ALGORITHMS
from benchmarks.commands.groups import RUN, TRAINED, WRITTEN
from benchmarks.commands.train.telling import Telling, told
from benchmarks.report.console import print_table
from benchmarks.sweep.engines.choice import EngineChoice, Name
from lambo_env.prompts.objectives import KIND_PROMPTS


@Parameter(name="*")
@dataclasses.dataclass(frozen=True, kw_only=True)
class SB3Options:
    """What a training and a search share; what is left out stands in the config."""

    algo: Annotated[str, Parameter(help=f"{', '.join(ALGORITHMS)}: its shipped config.")] = "ppo"
    config: str | None = None
    """A .toml file, or the name of another shipped config."""
    scenario: Annotated[str | None, Parameter(group=TRAINED)] = None
    """Preset or .toml file."""
    timesteps: Annotated[int | None, Parameter(group=TRAINED)] = None
    """UE decisions to learn from."""
    num_envs: Annotated[int | None, Parameter(group=TRAINED)] = None
    """Episodes played at once."""
    seed: Annotated[int | None, Parameter(group=TRAINED)] = None
    """Of the weights and of all draws."""
    out: Annotated[str | None, Parameter(group=WRITTEN)] = None
    """Folder for what comes out (default runs/sb3-ALGO-SCENARIO-SEED, or
    runs/tune-ALGO-SCENARIO)."""


@Parameter(name="*")
@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSB3Options(SB3Options):
    """What ``lambo train sb3`` takes: its folder gets weights, curve and what going on needs."""

    scores: Annotated[int, Parameter(group=WRITTEN)] = 10
    """Rows of the learning curve."""
    seeds: Annotated[int, Parameter(group=TRAINED)] = 1
    """Trainings, on seeds spawned from --seed; median and range are printed at the end and written
    beside the folders, as .json. The same command goes on with those that were stopped or
    killed; more --timesteps extend those that are finished."""


def train(options: TrainSB3Options = TrainSB3Options(), telling: Telling | None = None) -> None:
    """Train and print the learning curve as it grows.

    After several seeds, the median of their last rows.
    """
    from baselines.sb3.train import validation_of
    from baselines.sb3.vec_env import spawned_seeds
    from lambo_env.utils import validate

    config = _config(options)
    count = validate.integer("seeds", options.seeds)
    seeds = [config.seed] if count == 1 else spawned_seeds(config.seed, count)
    root = options.out or f"runs/sb3-{config.algo}-{Path(config.scenario).stem}"
    validation = validation_of(config.scenario)
    where = f"{config.algo} on {config.env_id}, {config.scenario}"
    print(f"{where}; gaps are to {validation.reference}, in %")
    ends = {}
    for seed in seeds:
        folder = Path(root if options.out and len(seeds) == 1 else f"{root}-{seed}")
        ends[seed] = _one(
            config.replace(seed=seed), folder, options, telling or Telling(), validation
        )
    if len(seeds) > 1:
        _summarise(config, ends, Path(f"{root}.json"))


def _one(
    config: Any, folder: Path, options: TrainSB3Options, telling: Telling, validation: Any
) -> dict[str, float]:
    from baselines.sb3.train import train as run_training

    scored: list[Any] = []
    with told(telling, folder, folder / "train.log", folder.name, config.to_dict()) as tell:

        def report(row: dict[str, float]) -> None:
            scored.append(row)
            rest = {name: value for name, value in row.items() if name != "timesteps"}
            where = {"step": int(row["timesteps"]), "of": config.timesteps}
            tell({"what": "decision", **where, **rest, "scored": True})

        _, rows = run_training(
            config,
            folder,
            validation=validation,
            scores=options.scores,
            report=report,
            progress=tell,
        )
    best, last = folder / "best.safetensors", folder / "last.safetensors"
    ended = f"best weights: {best}; last: {last}"
    print(ended if scored else f"seed {config.seed} is finished: {folder}")
    return rows[-1]


def _summarise(config: Any, ends: dict[int, dict[str, float]], path: Path) -> None:
    """Print the median and the range of several seeds' last rows, and write them."""
    from lambo_env.utils import files

    summary = {}
    for name in ("mean", *KIND_PROMPTS, "timesteps", "cpu_s"):
        values = sorted(row[name] for row in ends.values())
        middle = statistics.median(values)
        summary[name] = {"median": middle, "least": values[0], "most": values[-1]}
    files.write_text(path, json.dumps({"last_rows": ends, **summary}, indent=1) + "\n")
    steps, cpu_s = (summary.pop(name)["median"] for name in ("timesteps", "cpu_s"))
    gaps = ["{median:.2f} [{least:.2f}, {most:.2f}]".format(**gap) for gap in summary.values()]
    print_table(
        ("decisions", *(f"{name}, %" for name in summary), "CPU s"),
        [(f"{steps:,.0f}", *gaps, f"{cpu_s:.0f}")],
        f"{config.algo} on {config.scenario}: median [least, most] of {len(ends)} seeds, "
        "after the last update",
    )


def _config(options: Any) -> Any:
    from baselines.sb3.config import load_config
    from lambo_env.utils import validate

    validate.known(options.algo, ALGORITHMS, "algo")
    asked = {name: getattr(options, name) for name in ("scenario", "timesteps", "num_envs", "seed")}
    return load_config(
        options.config or options.algo, **{name: v for name, v in asked.items() if v is not None}
    )


@Parameter(name="*")
@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneOptions(SB3Options):
    """What ``lambo tune sb3`` takes beside a training's options."""

    trials: int = 50
    """Finished trials in all; a journal that holds some already is gone on with."""
    best: int = 3
    """Settings that are trained anew on fresh seeds."""
    seeds: int = 5
    """Fresh seeds of each."""
    together: int = 1
    """Trials of a round, which run at once: their settings hang on the rounds before alone."""
    engine: Annotated[Name, Parameter(group=RUN)] = "joblib"
    """Where trainings run: this machine (joblib), or a Ray cluster (ray); its nodes share --out."""
    address: Annotated[str | None, Parameter(group=RUN)] = None
    """Of the Ray cluster: host:port of its head, ray://host:port, or auto; left out, one here."""
    jobs: Annotated[int, Parameter(group=RUN)] = 1
    """Trainings at once; 0: one per core."""


def tune(options: TuneOptions = TuneOptions()) -> None:
    """Search, train the best settings anew, print them, write the best as TOML."""
    from baselines.sb3.tune import tune as run_study
    from lambo_env.utils import files

    config = _config(options)
    out = Path(options.out or f"runs/tune-{config.algo}-{Path(config.scenario).stem}")
    choice = EngineChoice(options.engine, options.address, options.jobs)
    with choice.start(max(options.together, options.best * options.seeds)) as engine:
        tuned = run_study(
            config,
            out / "journal.log",
            trials=options.trials,
            best=options.best,
            seeds=options.seeds,
            together=options.together,
            engine=engine,
        )
    tuned.sort(key=lambda row: statistics.median(row.fresh))
    print_table(
        ("settings", "gap in its trial, %", "on fresh seeds, %", "95 %"),
        [_row(row) for row in tuned],
        f"{config.algo} on {config.scenario}, gaps to LocalSearch",
    )
    print(
        f"winner's luck: the first looked {tuned[0].luck:.2f} percentage points better "
        "in its trial than on fresh seeds"
    )
    fields = config.replace(algorithm=tuned[0].settings).to_dict()
    best = {name: value for name, value in fields.items() if value is not None}
    files.write_text(out / "best.toml", tomli_w.dumps(best), b"algo = ")
    print(f"train it: lambo train sb3 --algo {config.algo} --config {out / 'best.toml'}")


def _row(tuned: Any) -> tuple[str, ...]:
    from benchmarks.report.statistics import mean_interval

    settings = ", ".join(f"{name} {value}" for name, value in tuned.settings.items())
    fresh = mean_interval(tuned.fresh)
    return (
        settings,
        f"{tuned.chosen_by:.2f}",
        f"{fresh.mean:.2f}",
        f"{fresh.low:.2f} .. {fresh.high:.2f}",
    )
