"""Hyper-parameters by Optuna.

Trials in a journal file that outlives a killed run, the best ones trained anew on fresh seeds.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from baselines.sb3.algorithms import ALGORITHMS
from baselines.sb3.config import SB3Config
from baselines.sb3.train import train, validation_of
from baselines.sb3.vec_env import spawned_seeds
from lambo_agents.testing.validation import Validation
from lambo_env.utils import runs, validate
from lambo_env.utils.tasks import Engine, run_here

WORK = "work"  # folder of the trainings under way


@dataclasses.dataclass(frozen=True)
class Tuned:
    """One setting: its score while it was chosen, and on seeds that no choice has seen."""

    settings: dict[str, Any]
    chosen_by: float  # mean gap to LocalSearch in per cent at the end of its trial
    fresh: tuple[float, ...]  # the same on fresh seeds, one each

    @property
    def luck(self) -> float:
        """How much better the trial looked than the setting is.

        The winner's luck, in percentage points.
        """
        return float(np.median(self.fresh)) - self.chosen_by


def tune(
    config: SB3Config,
    journal: str | Path,
    *,
    trials: int = 50,
    best: int = 3,
    seeds: int = 5,
    together: int = 1,
    report: Callable[[str], None] = print,
    engine: Engine = run_here,
) -> list[Tuned]:
    """Run trials until the journal holds ``trials`` finished ones.

    Then train the ``best`` settings anew on ``seeds`` fresh seeds.

    Args:
        config: what every trial starts from: its timesteps are a trial's budget.
        journal: file of the study in a folder of its own; a second run goes on with it.
        trials: finished trials in all.
        best: settings that are trained anew.
        seeds: fresh seeds of each, spawned from the config's.
        together: trials of a round: each is proposed by those of the rounds before alone.
        report: called with each line of progress.
        engine: where the trainings of a round run, and those anew; its nodes share the folder.
    """
    for name, value in {
        "trials": trials,
        "best": best,
        "seeds": seeds,
        "together": together,
    }.items():
        validate.integer(name, value)
    journal = Path(journal).absolute()
    told = config.to_dict() | {"together": together if together > 1 else None}
    with runs.opened(journal.parent, "tune", told):
        search = _Search(config, _opened(journal, config), journal.parent / WORK, engine)
        while (done := len(search.study.trials)) < trials:
            begun = done - done % together
            for trial in search.run(begun, range(done, min(begun + together, trials))):
                report(
                    f"trial {trial.number + 1} of {trials}: {trial.value:.2f} %, "
                    f"best {search.study.best_value:.2f} %"
                )
        ranked = sorted(search.study.trials, key=lambda trial: float(trial.value or 0.0))
        return search.anew(ranked[:best], seeds, report)


class _Held:
    """No lock of its own: the folder is held, and a killed run leaves nothing to wait for."""

    def acquire(self) -> bool:
        """Take nothing."""
        return True

    def release(self) -> None:
        """Give nothing back."""


def _opened(journal: Path, config: SB3Config) -> optuna.Study:
    """Return the study of a journal, without a last line that a killed run left half written."""
    if journal.exists():
        os.truncate(journal, journal.read_bytes().rfind(b"\n") + 1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    lock: Any = _Held()
    storage = JournalStorage(JournalFileBackend(str(journal), lock))
    name = f"{config.algo}-{config.env_id}-{config.scenario}"
    return optuna.create_study(study_name=name, storage=storage, load_if_exists=True)


class _Search:
    """Trainings of a study, whose journal holds what is finished and nothing else."""

    def __init__(self, config: SB3Config, study: optuna.Study, work: Path, engine: Engine) -> None:
        self.config, self.study, self.work, self.engine = config, study, work, engine
        self.validation = validation_of(config.scenario)

    def run(self, begun: int, numbers: range) -> list[optuna.trial.FrozenTrial]:
        """Run trials; each one's settings hang on its number and on the trials before ``begun``."""
        trials, studies = {}, {}
        for number in numbers:
            seed = spawned_seeds((self.config.seed, number), 1)[0]
            sampler = optuna.samplers.TPESampler(seed=seed)
            known = studies[number] = optuna.create_study(sampler=sampler)
            known.add_trials(self.study.trials[:begun])
            trials[number] = known.ask()
        scores = self._scores(
            {
                f"trial-{number}": _proposed(self.config, trial, number)
                for number, trial in trials.items()
            }
        )
        for number, trial in trials.items():
            studies[number].tell(trial, scores[f"trial-{number}"])
            self.study.add_trial(studies[number].trials[-1])
        return [self.study.trials[number] for number in numbers]

    def anew(
        self, trials: list[optuna.trial.FrozenTrial], seeds: int, report: Callable[[str], None]
    ) -> list[Tuned]:
        """Train settings on fresh seeds."""
        wanted = {
            f"trial-{trial.number}-seed-{seed}": self.config.replace(
                algorithm={**self.config.algorithm, **trial.params}, seed=seed
            )
            for trial in trials
            for seed in spawned_seeds(self.config.seed, seeds)
        }
        scores = self._scores(wanted)
        for name, score in scores.items():
            report(f"{name.replace('-', ' ')}, anew: {score:.2f} %")
        found = [
            tuple(s for name, s in scores.items() if name.startswith(f"trial-{trial.number}-"))
            for trial in trials
        ]
        return [
            Tuned({**self.config.algorithm, **trial.params}, float(trial.value or 0.0), fresh)
            for trial, fresh in zip(trials, found, strict=True)
        ]

    def _scores(self, wanted: Mapping[str, SB3Config]) -> dict[str, float]:
        """Return the scores of trainings by name; what the journal holds is not run again."""
        tasks = [
            (name, (config, self.work / name, self.validation))
            for name, config in wanted.items()
            if name not in self.study.user_attrs
        ]
        for name, score in self.engine(_score, tasks):
            self.study.set_user_attr(name, score)
            shutil.rmtree(self.work / name)
        return {name: self.study.user_attrs[name] for name in wanted}


def _score(config: SB3Config, folder: Path, validation: Validation) -> float:
    """Train in a folder of its own, which a killed run goes on with."""
    rows = train(config, folder, validation=validation, scores=1)[1]
    return float(rows[-1]["mean"])


def _proposed(config: SB3Config, trial: optuna.Trial, number: int) -> SB3Config:
    settings = {
        name: trial.suggest_float(name, *space, log=True)
        if isinstance(space, tuple)
        else trial.suggest_categorical(name, space)
        for name, space in ALGORITHMS[config.algo].space.items()
    }
    seed = spawned_seeds((config.seed, number), 1)[0]
    return config.replace(algorithm={**config.algorithm, **settings}, seed=seed)
