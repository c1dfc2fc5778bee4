"""Hyper-parameters by Optuna.

Trials in a journal file that outlives a killed run, the best ones trained anew on fresh seeds.
"""

from __future__ import annotations

import dataclasses
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
from lambo_agents.testing.validation import Validation
from lambo_env.utils import validate


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
        journal: file of the study; a second run goes on with it.
        trials: finished trials in all.
        best: settings that are trained anew.
        seeds: fresh seeds of each, spawned from the config's.
        report: called with each line of progress.
    """
    for name, value in {"trials": trials, "best": best, "seeds": seeds}.items():
        validate.integer(name, value)
    Path(journal).parent.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    name = f"{config.algo}-{config.env_id}-{config.scenario}"
    storage = JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
    # going on proposes no trial twice
    seed = spawned_seeds((config.seed, len(study.trials)), 1)[0]
    study.sampler = optuna.samplers.TPESampler(seed=seed)
    validation = validation_of(config.scenario)
    while (done := len(_finished(study))) < trials:
        study.optimize(lambda trial: _score(_proposed(config, trial), validation), n_trials=1)
        report(
            f"trial {done + 1} of {trials}: {study.trials[-1].value:.2f} %, "
            f"best {study.best_value:.2f} %"
        )
    ranked = sorted(_finished(study), key=lambda trial: float(trial.value or 0.0))
    return [_anew(config, trial, validation, seeds, report) for trial in ranked[:best]]


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))


def _proposed(config: SB3Config, trial: optuna.Trial) -> SB3Config:
    settings = {
        name: trial.suggest_float(name, *space, log=True)
        if isinstance(space, tuple)
        else trial.suggest_categorical(name, space)
        for name, space in ALGORITHMS[config.algo].space.items()
    }
    return config.replace(
        algorithm={**config.algorithm, **settings},
        seed=spawned_seeds((config.seed, trial.number), 1)[0],
    )


def _score(config: SB3Config, validation: Validation) -> float:
    return train(config, validation=validation, scores=1)[1][-1]["mean"]


def _anew(
    config: SB3Config,
    trial: optuna.trial.FrozenTrial,
    validation: Validation,
    seeds: int,
    report: Callable[[str], None],
) -> Tuned:
    settings = {**config.algorithm, **trial.params}
    fresh = []
    for seed in spawned_seeds(config.seed, seeds):
        fresh.append(_score(config.replace(algorithm=settings, seed=seed), validation))
        report(f"trial {trial.number} anew, seed {seed}: {fresh[-1]:.2f} %")
    return Tuned(settings, float(trial.value or 0.0), tuple(fresh))
