"""One way to train any SB3 algorithm on the MEC environments: config in.

Weights, learning curve and card out.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import NormalActionNoise

from baselines.queueing.rules import LeastCost
from baselines.sb3 import checkpoint
from baselines.sb3.agent import save_policy
from baselines.sb3.config import SB3Config
from baselines.sb3.vec_env import as_sb3, spawned_seeds
from baselines.search.local_search import LocalSearch
from lambo_agents.adapter import PolicyAgent
from lambo_agents.protocol import Agent
from lambo_agents.testing.validation import EpisodeValidation, Validation
from lambo_env import registration
from lambo_env.cell import seeding
from lambo_env.utils import files, jsons, runs, validate

STATE, TIMES = "state.safetensors", "times.json"
# stream of the training draws; the environments' generators are seeded otherwise
_VALIDATION_STREAM = 2**31 - 2


def validation_of(scenario: str, size: int = 64) -> Validation | EpisodeValidation:
    """Draw what a training is measured on, the same for every training, and its references.

    ``size`` instances that LocalSearch solves, or an eighth as many episodes, where slots go on,
    that the rule LeastCost plays.
    """
    drawn = registration.load_scenario(scenario)
    rng = seeding.training_rng(0, drawn, _VALIDATION_STREAM)
    if "play" in registration.world_of(drawn, "scenario").offers:
        return EpisodeValidation.of(drawn, max(1, size // 8), LeastCost(), rng)
    return Validation.of(drawn, size, LocalSearch(), rng)


def agent_gaps(agent: Agent, validation: Validation | EpisodeValidation) -> dict[str, float]:
    """Return an agent's mean gap in per cent under each prompt, and "mean" of these."""
    gaps = validation.gaps(lambda given, prompts: agent.decide(given, prompts, _fresh()))
    return {**gaps, "mean": float(np.mean(list(gaps.values())))}


def _fresh() -> np.random.Generator:
    return np.random.default_rng(0)


class Curve(BaseCallback):
    """Scores the policy every ``every`` timesteps and at the end, and keeps the best weights.

    ``cpu_s`` of a row is the training's time.
    """

    def __init__(
        self,
        config: SB3Config,
        validation: Validation | EpisodeValidation,
        out: Path | None,
        every: int,
        report: Callable[..., None],
        pause: runs.Pause,
        progress: Callable[[dict[str, Any]], None] = lambda row: None,
    ) -> None:
        super().__init__()
        self.progress, self._told_s = progress, 0.0
        self.pause, self.saved = pause, 0
        self.config, self.validation, self.out = config, validation, out
        self.every, self.report = every, report
        self.rows: list[dict[str, float]] = []
        self._start = self.spent_s = 0.0

    def _on_training_start(self) -> None:
        self._start = time.process_time() - self.spent_s
        if not self.rows:
            self.score()

    def _on_step(self) -> bool:
        if (
            self.num_timesteps < self.config.timesteps
            and self.num_timesteps >= (self.rows[-1]["timesteps"] // self.every + 1) * self.every
        ):
            self.score()
        return True

    def _on_rollout_start(self) -> None:
        """Save after each score and when a signal asks to stop: here nothing is half done.

        Tell of the progress, once per second at most.
        """
        if time.monotonic() >= self._told_s + 1.0:
            self._told_s = time.monotonic()
            learnt = {k: float(v) for k, v in self.logger.name_to_value.items() if _is_number(v)}
            self.progress({**self._place(), **learnt})
        if 1 < len(self.rows) != self.saved:
            self.save()
        self.pause(self.save)

    def _place(self) -> dict[str, Any]:
        spent_s = round(time.process_time() - self._start, 2)
        where = {"step": self.num_timesteps, "of": self.config.timesteps}
        return {"what": "decision", **where, "cpu_s": spent_s}

    def _on_training_end(self) -> None:
        self.score()  # after the last update
        if self.out is not None:
            row = _untimed(self.rows[-1])
            save_policy(
                self.out / "last.safetensors", self.model.policy, self.config, validation=row
            )
            self.save()

    def save(self) -> None:
        """Write what is needed to go on from here; its seconds to a file beside it."""
        if self.out is not None:
            self.saved = len(self.rows)
            times = {"cpu_s": time.process_time() - self._start}
            files.write_text(self.out / TIMES, json.dumps(times) + "\n")
            checkpoint.save(self.out / STATE, self.model, rows=self.saved)

    def score(self) -> None:
        """Add a row to the curve; write it and, where it is the best so far, the weights."""
        now = time.process_time()
        self._add(now - self._start)
        self._start += time.process_time() - now  # neither scoring nor writing is training

    def _add(self, cpu_s: float) -> None:
        player = PolicyAgent(self.model.policy, self.config.env_id, observe=self.config.observe)
        gaps = agent_gaps(player, self.validation)
        row = {"timesteps": self.num_timesteps, "cpu_s": round(cpu_s, 2), **gaps}
        best = all(row["mean"] < other["mean"] for other in self.rows)
        self.rows.append(row)
        if self.out is None:
            return
        files.write_text(
            self.out / "curve.jsonl", "".join(json.dumps(one) + "\n" for one in self.rows)
        )
        if best:
            save_policy(
                self.out / "best.safetensors",
                self.model.policy,
                self.config,
                validation=_untimed(row),
            )
        self.report(row)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)


def build(config: SB3Config) -> BaseAlgorithm:
    """Return the untrained model that a config describes, with its environments.

    Raises:
        ValueError: a setting that the algorithm, the policy or the environment refuses.
    """
    arguments = {name: _argument(name, value) for name, value in config.algorithm.items()}
    policy, policy_kwargs = config.policy_class(), config.made_policy_kwargs()
    seed = spawned_seeds(config.seed, 1)[0]
    rest: dict[str, Any] = {"policy_kwargs": policy_kwargs, "seed": seed, "device": "cpu"}
    env = as_sb3(config.env_id, config.num_envs, reward=config.reward, **config.env_arguments())
    try:
        model = config.algorithm_class()(policy, env, **rest, **arguments)
    except (TypeError, AssertionError) as error:  # how SB3 answers a value of another type
        given = {**config.algorithm, **config.policy_kwargs}
        raise ValueError(
            f"SB3Config.algorithm is {given}; allowed: what {config.algo} takes ({error})"
        ) from error

    model.set_logger(Logger(None, []))  # SB3's own makes a folder in the system's temporary one
    return model


def _argument(name: str, value: Any) -> Any:
    """Return an argument of the algorithm.

    "lin_1e-3" is 1e-3 falling to 0 with the training, as RL Baselines3 Zoo writes it; a number for
    action_noise is the standard deviation of normal noise on both parts of a joint action.
    """
    if name == "action_noise" and value is not None:
        real = isinstance(value, int | float) and value > 0
        validate.check(f"SB3Config.algorithm.{name}", value, real, "a number > 0")
        return NormalActionNoise(np.zeros(2), np.full(2, float(value)))
    if name not in ("learning_rate", "clip_range") or not isinstance(value, str):
        return value
    kind, _, start = value.partition("_")
    try:
        first = float(start)
    except ValueError:
        first = 0.0
    validate.check(
        f"SB3Config.algorithm.{name}",
        value,
        kind == "lin" and first > 0,
        'a number, or "lin_" and one',
    )
    # from 1 to a little under 0: whole rollouts overshoot the timesteps
    return lambda left: max(0.0, first * left)


def _resume(model: BaseAlgorithm, curve: Curve, folder: Path) -> None:
    """Put a training back to where it was saved: the model, its curve, its seconds."""
    count = checkpoint.restore(folder / STATE, model)["rows"]
    curve.rows, curve.saved = read_curve(folder)[:count], count
    curve.spent_s = jsons.read(folder / TIMES, {"cpu_s": (int, float)})["cpu_s"]


def read_curve(folder: Path) -> list[dict[str, float]]:
    """Return the rows of a training's curve."""
    return jsons.read_lines(folder / "curve.jsonl", {"timesteps": (int, float)})


def _untimed(row: dict[str, float]) -> dict[str, float]:
    """Return what weights say of their score: the same on every run."""
    return {name: value for name, value in row.items() if name != "cpu_s"}


def train(
    config: SB3Config,
    out: str | Path | None = None,
    *,
    validation: Validation | EpisodeValidation | None = None,
    scores: int = 10,
    report: Callable[..., None] = lambda row: None,
    progress: Callable[[dict[str, Any]], None] = lambda row: None,
) -> tuple[BaseAlgorithm, list[dict[str, float]]]:
    """Train, or go on with a training that was stopped, killed or is to be extended.

    Return the model and its learning curve.

    Args:
        config: of the training.
        out: folder for best.safetensors, last.safetensors, curve.jsonl and state.safetensors (all
            that going on needs); None writes nothing. One that holds a training of the same
            config goes on, from its last checkpoint; more timesteps extend it.
        validation: what the curve is measured on; None: 64 instances of the scenario beside
            LocalSearch.
        scores: rows of the curve after the first.
        report: called with each row.
        progress: called between two rollouts with a row of "step", "of" and numbers.

    Raises:
        ValueError: another run holds the folder, or it has a training of another config.
        Stopped: a signal came; the training is saved as it was after the rollout under way.
    """
    folder = None if out is None else Path(out)
    every = max(1, config.timesteps // validate.integer("scores", scores))
    model = build(config)
    with contextlib.ExitStack() as stack:
        pause: runs.Pause = lambda save: None  # noqa: E731
        if folder is not None:
            foreign = (folder / "curve.jsonl").exists() and not (folder / runs.OPTIONS).exists()
            allowed = "a folder that holds no training of a former release"
            validate.check("out", str(out), not foreign, allowed)
            options = config.to_dict()
            stack.enter_context(runs.opened(folder, "train sb3", options, grow=("timesteps",)))
        measured = validation or validation_of(config.scenario)
        if folder is not None:
            pause = stack.enter_context(runs.deferred())
        curve = Curve(config, measured, folder, every, report, pause, progress)
        resumed = folder is not None and (folder / STATE).exists()
        if folder is not None and resumed:
            _resume(model, curve, folder)
        left = config.timesteps - model.num_timesteps
        if left > 0:
            model.learn(left, callback=curve, reset_num_timesteps=not resumed)
    assert model.env is not None
    model.env.close()
    return model, curve.rows
