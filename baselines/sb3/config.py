"""What a training of an SB3 agent is made of.

A frozen dataclass, from TOML presets by algorithm or from a file.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

from baselines.sb3.extractors import EXTRACTORS
from lambo_env.registration import ENVIRONMENTS
from lambo_env.utils import toml, validate

ALGORITHMS = {
    "ppo": "stable_baselines3:PPO",
    "a2c": "stable_baselines3:A2C",
    "sac": "stable_baselines3:SAC",
    "td3": "stable_baselines3:TD3",
    "dqn": "stable_baselines3:DQN",
    "maskable_ppo": "sb3_contrib:MaskablePPO",
    "qrdqn": "sb3_contrib:QRDQN",
}
_ACTIONS = {
    **dict.fromkeys(("sac", "td3"), "Box"),
    **dict.fromkeys(("dqn", "maskable_ppo", "qrdqn"), "Discrete"),
}  # the kind of action space that an algorithm is bound to; the others take any
_GIVEN = {
    *(
        "self",
        "args",
        "kwargs",
        "policy",
        "env",
        "policy_kwargs",
        "seed",
        "device",
        "_init_setup_model",
    ),
    *("observation_space", "action_space", "lr_schedule", "features_extractor_class"),
}  # by the trainer, the environment or another field
CONFIGS = Path(__file__).parent / "configs"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SB3Config:
    """A training, in plain JSON values.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    algo: str  # of ALGORITHMS
    env_id: str = "LAMBO-MEC-Association-v0"
    policy: str = "MultiInputPolicy"  # or "module:Class"
    extractor: str | None = None  # of EXTRACTORS, for policies of plain layers
    scenario: str = "tiny"  # preset or TOML path
    prompts: tuple[str, ...] | None = None  # None: the environments' frozen prompts
    observe: str = "prompt"
    reward: str = "relative"
    num_envs: int = 64
    timesteps: int = 200_000
    seed: int = 0
    algorithm: Mapping[str, Any] = dataclasses.field(
        default_factory=dict
    )  # arguments of the algorithm
    policy_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validate every field that is not handed on."""
        validate.known(self.algo, ALGORITHMS, "algo")
        validate.known(self.env_id, ENVIRONMENTS, "environment")
        allowed = _ids(self.algo)
        validate.check(
            "SB3Config.env_id",
            self.env_id,
            self.env_id in allowed,
            f"{' or '.join(allowed)} for {self.algo}",
        )
        if self.extractor is not None:
            validate.known(self.extractor, EXTRACTORS, "extractor")
        for name in ("num_envs", "timesteps"):
            validate.integer(f"SB3Config.{name}", getattr(self, name))
        validate.integer("SB3Config.seed", self.seed, low=0)
        if self.prompts is not None:
            several = isinstance(self.prompts, list | tuple)
            validate.check(
                "SB3Config.prompts",
                self.prompts,
                several,
                "a list of texts, or None for the frozen prompts",
            )
            object.__setattr__(self, "prompts", tuple(self.prompts))
        for name in ("algorithm", "policy_kwargs"):
            value = getattr(self, name)
            validate.check(
                f"SB3Config.{name}", value, isinstance(value, Mapping), "a table of arguments"
            )
        validate.known_keys(
            "SB3Config.algorithm", self.algorithm, _arguments(self.algorithm_class())
        )

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> SB3Config:
        """Build from plain values; unknown fields are refused."""
        validate.check("SB3Config", sorted(fields), "algo" in fields, "fields with algo among them")
        validate.known_keys("SB3Config", fields, [field.name for field in dataclasses.fields(cls)])
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return dataclasses.asdict(self)

    def env_arguments(self) -> dict[str, Any]:
        """Return those of scenario, prompt and observe that the environment takes."""
        mine = {
            "scenario": self.scenario,
            "prompt": None if self.prompts is None else list(self.prompts),
            "observe": self.observe,
        }
        known = ENVIRONMENTS[self.env_id].argument_names()
        return {name: value for name, value in mine.items() if name in known}

    def replace(self, **fields: Any) -> SB3Config:
        """Return a copy with some fields replaced."""
        return self.of({**self.to_dict(), **fields})

    def algorithm_class(self) -> type[BaseAlgorithm]:
        """Return SB3's class."""
        return _load(ALGORITHMS[self.algo])

    def policy_class(self) -> type[BasePolicy]:
        """Return the policy's class."""
        if ":" in self.policy:
            try:
                return _load(self.policy)
            except (ImportError, AttributeError) as error:
                raise ValueError(
                    f"SB3Config.policy is {self.policy!r}; allowed: module:Class ({error})"
                ) from error
        aliases = self.algorithm_class().policy_aliases
        return aliases[validate.known(self.policy, aliases, "policy")]

    def made_policy_kwargs(self) -> dict[str, Any]:
        """Return the policy's arguments with the extractor's class put in."""
        validate.known_keys(
            "SB3Config.policy_kwargs", self.policy_kwargs, _arguments(self.policy_class())
        )
        extra = (
            {}
            if self.extractor is None
            else {"features_extractor_class": EXTRACTORS[self.extractor]}
        )
        return {**self.policy_kwargs, **extra}


def _ids(algo: str) -> list[str]:
    """Return the environments whose actions an algorithm can choose."""
    want = _ACTIONS.get(algo)
    rows = [row for row in ENVIRONMENTS.values() if want is None or row.error is None]
    return [row.id for row in rows if want in (None, type(row.action_space()).__name__)]


def _arguments(made: type) -> set[str]:
    """Return the arguments that a config may give a class of SB3, its bases' included."""
    names: set[str] = set()
    for owner in made.__mro__:
        if "__init__" in vars(owner):
            parameters = inspect.signature(vars(owner)["__init__"]).parameters
            names |= set(parameters)
            if not any(
                parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
            ):
                break
    return names - _GIVEN


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def presets() -> dict[str, Path]:
    """Return the shipped configs by name."""
    return {path.stem: path for path in sorted(CONFIGS.glob("*.toml"))}


def load_config(source: str | os.PathLike[str], **overrides: Any) -> SB3Config:
    """Read a shipped config by name or a TOML file; ``overrides`` win.

    Raises:
        ValueError: an unknown name or field, or not TOML.
    """
    name = os.fspath(source)
    path = (
        Path(name)
        if name.endswith(".toml")
        else presets()[validate.known(name, presets(), "config")]
    )
    validate.check("config", name, path.is_file(), "an existing .toml file")
    fields = toml.load(path, "config file")
    return SB3Config.of({**fields, **overrides})
