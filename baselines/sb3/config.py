"""What a training of an SB3 agent is made of.

A frozen dataclass, from TOML presets by algorithm or from a file.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

from baselines.sb3.algorithms import ALGORITHMS
from baselines.sb3.extractors import EXTRACTORS
from lambo_env.registration import ENVIRONMENTS
from lambo_env.utils import rules, toml, validate
from lambo_env.utils.rules import Ruled, ruled

# arguments that the trainer, the environment or another field gives
_GIVEN = {
    *("self", "args", "kwargs", "policy", "env", "policy_kwargs", "seed", "device"),
    *("_init_setup_model", "observation_space", "action_space", "lr_schedule"),
    "features_extractor_class",
}
CONFIGS = Path(__file__).parent / "configs"
_table = rules.such_that(lambda value: isinstance(value, Mapping), "a table of arguments")


def _texts(field: str, value: Any) -> tuple[str, ...]:
    several = isinstance(value, list | tuple)
    validate.check(field, value, several, "a list of texts, or None for the frozen prompts")
    return tuple(value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SB3Config(Ruled):
    """A training, in plain JSON values.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    algo: str = ruled(rules.MISSING, rules.name_of(ALGORITHMS, "algo"))  # of ALGORITHMS
    env_id: str = ruled("LAMBO-MEC-Association-v0", rules.name_of(ENVIRONMENTS, "environment"))
    policy: str = "MultiInputPolicy"  # or "module:Class"
    extractor: str | None = ruled(
        None, rules.optional(rules.name_of(EXTRACTORS, "extractor"))
    )  # of EXTRACTORS, for policies of plain layers
    scenario: str = "tiny"  # preset or TOML path
    prompts: tuple[str, ...] | None = ruled(
        None, rules.optional(_texts)
    )  # None: the environments' frozen prompts
    observe: str = "prompt"
    reward: str = "relative"
    num_envs: int = ruled(64, validate.integer)
    timesteps: int = ruled(200_000, validate.integer)
    seed: int = ruled(0, functools.partial(rules.seed, bits=32))
    # arguments of the algorithm
    algorithm: Mapping[str, Any] = dataclasses.field(
        default_factory=dict, metadata={"rule": _table}
    )
    policy_kwargs: Mapping[str, Any] = dataclasses.field(
        default_factory=dict, metadata={"rule": _table}
    )

    def __post_init__(self) -> None:
        """Validate every field that is not handed on."""
        super().__post_init__()
        allowed = _ids(self.algo)
        self.check("env_id", self.env_id in allowed, f"{' or '.join(allowed)} for {self.algo}")
        known = _arguments(self.algorithm_class())
        validate.known_keys("SB3Config.algorithm", self.algorithm, known)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> SB3Config:
        """Build from plain values; unknown fields are refused."""
        validate.check("SB3Config", sorted(fields), "algo" in fields, "fields with algo among them")
        return cls.from_dict(fields)

    def env_arguments(self) -> dict[str, Any]:
        """Return those of scenario, prompt and observe that the environment takes."""
        mine = {
            "scenario": self.scenario,
            "prompt": None if self.prompts is None else list(self.prompts),
            "observe": self.observe,
        }
        known = ENVIRONMENTS[self.env_id].argument_names()
        return {name: value for name, value in mine.items() if name in known}

    def algorithm_class(self) -> type[BaseAlgorithm]:
        """Return SB3's class."""
        return pkgutil.resolve_name(ALGORITHMS[self.algo].target)

    def policy_class(self) -> type[BasePolicy]:
        """Return the policy's class."""
        if ":" in self.policy:
            try:
                found = pkgutil.resolve_name(self.policy)
            except (ImportError, AttributeError, ValueError) as error:
                raise ValueError(
                    f"SB3Config.policy is {self.policy!r}; allowed: module:Class ({error})"
                ) from error
            policy = isinstance(found, type) and issubclass(found, BasePolicy)
            self.check("policy", policy, "module:Class of a policy of SB3")
            return found
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
    want = ALGORITHMS[algo].actions
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
    return SB3Config.of({**toml.load(path, "config file"), **overrides})
