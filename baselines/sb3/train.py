"""One way to train any SB3 algorithm on the MEC environments: config in.

Weights, learning curve and card out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from baselines.sb3.agent import load_policy, save_policy
from baselines.sb3.config import SB3Config
from baselines.sb3.vec_env import NativeVecEnv, as_sb3, spawned_seeds
from baselines.search.local_search import LocalSearch
from lambo_agents.adapter import PolicyAgent
from lambo_agents.protocol import Agent
from lambo_agents.testing.validation import Validation
from lambo_env.cell import seeding
from lambo_env.offloading.scenario import load_scenario
from lambo_env.utils import files, validate

# stream of the training draws; the environments' generators are seeded otherwise
_VALIDATION_STREAM = 2**31 - 2


def validation_of(scenario: str, size: int = 64) -> Validation:
    """Draw ``size`` instances and let LocalSearch solve them; the same for every training."""
    drawn = load_scenario(scenario)
    rng = seeding.training_rng(0, drawn, _VALIDATION_STREAM)
    return Validation.of(drawn, size, LocalSearch(), rng)


def agent_gaps(agent: Agent, validation: Validation) -> dict[str, float]:
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
        validation: Validation,
        out: Path | None,
        every: int,
        report: Callable[..., None],
    ) -> None:
        super().__init__()
        self.config, self.validation, self.out = config, validation, out
        self.every, self.report = every, report
        self.rows: list[dict[str, float]] = []
        self._start = 0.0

    def _on_training_start(self) -> None:
        self._start = time.process_time() - (self.rows[-1]["cpu_s"] if self.rows else 0.0)
        if not self.rows:
            self.score()

    def _on_step(self) -> bool:
        if (
            self.num_timesteps < self.config.timesteps
            and self.num_timesteps >= len(self.rows) * self.every
        ):
            self.score()
        return True

    def _on_training_end(self) -> None:
        self.score()  # after the last update

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
                self.out / "best.safetensors", self.model.policy, self.config, validation=row
            )
        self.model.save(self.out / "model.zip")
        self.report(row)


def build(config: SB3Config) -> BaseAlgorithm:
    """Return the untrained model that a config describes, with its environments.

    Raises:
        ValueError: a setting that the algorithm, the policy or the environment refuses.
    """
    arguments = {name: _argument(name, value) for name, value in config.algorithm.items()}
    policy, policy_kwargs = config.policy_class(), config.made_policy_kwargs()
    seed = spawned_seeds(config.seed, 1)[0]
    rest: dict[str, Any] = {"policy_kwargs": policy_kwargs, "seed": seed, "device": "cpu"}
    env = _environments(config)
    try:
        return config.algorithm_class()(policy, env, **rest, **arguments)
    except (TypeError, AssertionError) as error:  # how SB3 answers a value of another type
        given = {**config.algorithm, **config.policy_kwargs}
        raise ValueError(
            f"SB3Config.algorithm is {given}; allowed: what {config.algo} takes ({error})"
        ) from error


def _environments(config: SB3Config) -> NativeVecEnv:
    return as_sb3(
        config.env_id,
        config.num_envs,
        reward=config.reward,
        **config.env_arguments(),
    )


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


def _stopped(config: SB3Config, folder: Path) -> tuple[BaseAlgorithm, list[dict[str, float]]]:
    """Return a training as it stopped: the model with its optimizer, and its curve.

    Its episodes are drawn anew.
    """
    buffered = issubclass(config.algorithm_class(), OffPolicyAlgorithm)
    validate.check(
        "resume", True, not buffered, f"False for {config.algo}, whose replay buffer is not saved"
    )
    rows = _curve(folder)
    _, before, _ = load_policy(folder / "best.safetensors")
    same = before.replace(timesteps=config.timesteps) == config
    validate.check(
        "resume",
        str(folder),
        same,
        "the folder of a training with the same settings (timesteps may differ)",
    )
    model = config.algorithm_class().load(
        folder / "model.zip", env=_environments(config), device="cpu"
    )
    model.set_random_seed(spawned_seeds((config.seed, model.num_timesteps), 1)[0])
    return model, rows


def finished(config: SB3Config, folder: Path) -> list[dict[str, float]] | None:
    """Return the curve of a training of these very settings that ended in ``folder``, or None."""
    last = folder / "last.safetensors"
    return _curve(folder) if last.is_file() and load_policy(last)[1] == config else None


def _curve(folder: Path) -> list[dict[str, float]]:
    return [
        json.loads(line)
        for line in (folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def train(
    config: SB3Config,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    validation: Validation | None = None,
    scores: int = 10,
    report: Callable[..., None] = lambda row: None,
) -> tuple[BaseAlgorithm, list[dict[str, float]]]:
    """Train, and return the model and its learning curve.

    Args:
        config: of the training.
        out: folder for best.safetensors, last.safetensors, curve.jsonl and model.zip (SB3's own, to
            go on with); None writes nothing.
        resume: go on with the training that ``out`` holds, from its last row, up to
            ``config.timesteps`` in all.
        validation: what the curve is measured on; None: 64 instances of the scenario beside
            LocalSearch.
        scores: rows of the curve after the first.
        report: called with each row.
    """
    folder = None if out is None else Path(out)
    if folder is not None:
        validate.check(
            "out", str(out), folder.is_dir() or not folder.exists(), "a folder, or nothing yet"
        )
    if folder is not None and not resume:
        validate.check(
            "out",
            str(out),
            not (folder / "curve.jsonl").exists(),
            "a folder that holds no training yet",
        )
    every = max(1, config.timesteps // validate.integer("scores", scores))
    curve = Curve(config, validation or validation_of(config.scenario), folder, every, report)
    if folder is not None and resume and (folder / "curve.jsonl").exists():
        model, curve.rows = _stopped(config, folder)
    else:
        model = build(config)
    left = config.timesteps - model.num_timesteps
    model.learn(max(0, left), callback=curve, reset_num_timesteps=model.num_timesteps == 0)
    if folder is not None:
        save_policy(folder / "last.safetensors", model.policy, config, validation=curve.rows[-1])
    assert model.env is not None
    model.env.close()
    return model, curve.rows
