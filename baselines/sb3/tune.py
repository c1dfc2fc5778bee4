"""Hyper-parameters by Optuna.

Trials in a journal file that outlives a killed run, the best ones trained anew on fresh seeds.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
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
from lambo_env.utils import runs, validate

WORK = "work"  # folder of the training under way


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
    report: Callable[[str], None] = print,
) -> list[Tuned]:
    """Run trials until the journal holds ``trials`` finished ones.

    Then train the ``best`` settings anew on ``seeds`` fresh seeds.

    Args:
        config: what every trial starts from: its timesteps are a trial's budget.
        journal: file of the study in a folder of its own; a second run goes on with it.
        trials: finished trials in all.
        best: settings that are trained anew.
        seeds: fresh seeds of each, spawned from the config's.
        report: called with each line of progress.
    """
    for name, value in {"trials": trials, "best": best, "seeds": seeds}.items():
        validate.integer(name, value)
    journal = Path(journal)
    with runs.opened(journal.parent, "tune", config.to_dict()):
        search = _Search(config, _opened(journal, config), journal.parent / WORK)
        while (done := len(search.study.trials)) < trials:
            trial = search.run(done)
            report(
                f"trial {done + 1} of {trials}: {trial.value:.2f} %, "
                f"best {search.study.best_value:.2f} %"
            )
        ranked = sorted(search.study.trials, key=lambda trial: float(trial.value or 0.0))
        return [search.anew(trial, seeds, report) for trial in ranked[:best]]


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

    def __init__(self, config: SB3Config, study: optuna.Study, work: Path) -> None:
        self.config, self.study, self.work = config, study, work
        self.validation = validation_of(config.scenario)

    def run(self, number: int) -> optuna.trial.FrozenTrial:
        """Run a trial, whose settings depend on its number and on the trials before alone."""
        sampler = optuna.samplers.TPESampler(seed=spawned_seeds((self.config.seed, number), 1)[0])
        known = optuna.create_study(sampler=sampler)
        known.add_trials(self.study.trials)
        trial = known.ask()
        known.tell(trial, self._score(f"trial-{number}", _proposed(self.config, trial)))
        self.study.add_trial(known.trials[-1])
        return known.trials[-1]

    def anew(
        self, trial: optuna.trial.FrozenTrial, seeds: int, report: Callable[[str], None]
    ) -> Tuned:
        """Train a trial's settings on fresh seeds; what the journal holds is not run again."""
        settings, found = {**self.config.algorithm, **trial.params}, []
        for seed in spawned_seeds(self.config.seed, seeds):
            name = f"trial-{trial.number}-seed-{seed}"
            if name not in self.study.user_attrs:
                config = self.config.replace(algorithm=settings, seed=seed)
                self.study.set_user_attr(name, self._score(name, config))
            found.append(self.study.user_attrs[name])
            report(f"trial {trial.number} anew, seed {seed}: {found[-1]:.2f} %")
        return Tuned(settings, float(trial.value or 0.0), tuple(found))

    def _score(self, name: str, config: SB3Config) -> float:
        """Train in a folder of its own, which a killed run goes on with, and drop it."""
        rows = train(config, self.work / name, validation=self.validation, scores=1)[1]
        shutil.rmtree(self.work)
        return rows[-1]["mean"]


def _proposed(config: SB3Config, trial: optuna.Trial) -> SB3Config:
    settings = {
        name: trial.suggest_float(name, *space, log=True)
        if isinstance(space, tuple)
        else trial.suggest_categorical(name, space)
        for name, space in ALGORITHMS[config.algo].space.items()
    }
    seed = spawned_seeds((config.seed, trial.number), 1)[0]
    return config.replace(algorithm={**config.algorithm, **settings}, seed=seed)
