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

from baselines.sb3.config import SB3Config
from baselines.sb3.train import Validation, train
from lambo_env.utils import validate

# argument of the algorithm -> (low, high) on a log scale, or choices
_ON_POLICY: dict[str, Any] = {
    "learning_rate": (1e-4, 5e-3),
    "n_steps": [6, 12, 24, 48],
    "gae_lambda": [0.8, 0.9, 0.95, 0.98, 1.0],
    "ent_coef": (1e-4, 3e-2),
}
_CLIPPED = {
    **_ON_POLICY,
    "batch_size": [128, 192, 384],
    "n_epochs": [2, 4, 8],
    "clip_range": [0.1, 0.2, 0.3],
}
_OFF_POLICY: dict[str, Any] = {
    "learning_rate": (1e-4, 5e-3),
    "batch_size": [128, 256, 512],
    "train_freq": [1, 4, 16],
    "gradient_steps": [1, 4, 16],
}
_EXPLORING = {
    **_OFF_POLICY,
    "exploration_fraction": [0.1, 0.3, 0.5],
    "target_update_interval": [500, 2000, 8000],
}
SPACES: dict[str, dict[str, Any]] = {
    "ppo": _CLIPPED,
    "maskable_ppo": _CLIPPED,
    "a2c": _ON_POLICY,
    "sac": _OFF_POLICY,
    "td3": _OFF_POLICY,
    "dqn": _EXPLORING,
    "qrdqn": _EXPLORING,
}


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
    tell: Callable[[str], None] = print,
) -> list[Tuned]:
    """Run trials until the journal holds ``trials`` finished ones.

    Then train the ``best`` settings anew on ``seeds`` fresh seeds.

    Args:
        config: what every trial starts from: its timesteps are a trial's budget.
        journal: file of the study; a second run goes on with it.
        trials: finished trials in all.
        best: settings that are trained anew.
        seeds: fresh seeds of each, from 1000 up.
        tell: called with each line of progress.
    """
    for name, value in {"trials": trials, "best": best, "seeds": seeds}.items():
        validate.integer(name, value)
    Path(journal).parent.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    name = f"{config.algo}-{config.env_id}-{config.scenario}"
    storage = JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
    study.sampler = optuna.samplers.TPESampler(
        seed=config.seed + len(study.trials)
    )  # going on proposes no trial twice
    validation = Validation.of(config.scenario)
    while (done := len(_finished(study))) < trials:
        study.optimize(lambda trial: _score(_proposed(config, trial), validation), n_trials=1)
        tell(
            f"trial {done + 1} of {trials}: {study.trials[-1].value:.2f} %, "
            f"best {study.best_value:.2f} %"
        )
    ranked = sorted(_finished(study), key=lambda trial: float(trial.value or 0.0))
    return [_anew(config, trial, validation, seeds, tell) for trial in ranked[:best]]


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))


def _proposed(config: SB3Config, trial: optuna.Trial) -> SB3Config:
    settings = {
        name: trial.suggest_float(name, *space, log=True)
        if isinstance(space, tuple)
        else trial.suggest_categorical(name, space)
        for name, space in SPACES[config.algo].items()
    }
    return config.replace(algorithm={**config.algorithm, **settings}, seed=trial.number)


def _score(config: SB3Config, validation: Validation) -> float:
    return train(config, validation=validation, scores=1)[1][-1]["mean"]


def _anew(
    config: SB3Config,
    trial: optuna.trial.FrozenTrial,
    validation: Validation,
    seeds: int,
    tell: Callable[[str], None],
) -> Tuned:
    settings = {**config.algorithm, **trial.params}
    found = []
    for seed in range(1000, 1000 + seeds):
        found.append(_score(config.replace(algorithm=settings, seed=seed), validation))
        tell(f"trial {trial.number} anew, seed {seed}: {found[-1]:.2f} %")
    return Tuned(settings, float(trial.value or 0.0), tuple(found))
