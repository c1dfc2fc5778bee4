"""A world in a page: one job per instance, run here or there, whichever costs less."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from gymnasium import spaces

from lambo_env import Decision
from lambo_env.utils import validate


@dataclasses.dataclass(frozen=True)
class Coins:
    """B jobs: what each costs here and there [B, 2]."""

    price: np.ndarray

    @property
    def batch_size(self) -> int:
        return len(self.price)

    def take(self, rows) -> "Coins":
        return Coins(np.atleast_2d(self.price[rows]))


class Outcome(NamedTuple):
    cost: np.ndarray


@dataclasses.dataclass(frozen=True)
class Mint:
    """A scenario: prices up to ``most``."""

    most: float = 1.0

    @property
    def hash(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    def to_dict(self) -> dict:
        return {"world": "toy", **dataclasses.asdict(self)}


def load(source) -> Mint:
    return source if isinstance(source, Mint) else Mint(**source)


def sample(scenario: Mint, num_instances: int, rng) -> Coins:
    return Coins(scenario.most * (0.1 + rng.random((num_instances, 2))))


def evaluate(coins: Coins, decision: Decision, objective=None) -> Outcome:
    return Outcome(np.take_along_axis(coins.price, np.asarray(decision.place), axis=1)[:, 0])


def bound(coins: Coins, prompts) -> np.ndarray:
    return coins.price.min(axis=1)


def local_cost(coins: Coins, prompts) -> np.ndarray:
    return coins.price[:, 0]


class Finished(NamedTuple):
    rows: np.ndarray
    over: np.ndarray
    infos: dict


class Batch:
    """B running episodes of one job each."""

    def __init__(self, scenario: Mint, num_envs: int) -> None:
        self.scenario, self.price = scenario, np.zeros((num_envs, 2))
        self.prompts = None

    @property
    def instances(self) -> Coins:
        return Coins(self.price.copy())

    def reset(self, rows, rngs, instances=None) -> None:
        drawn = np.concatenate([sample(self.scenario, 1, rngs[row]).price for row in rows])
        self.price[rows] = drawn if instances is None else instances.price

    def step(self, rows, place, rngs):
        decision = Decision(place[:, None], np.zeros((len(rows), 1)))
        cost = evaluate(Coins(self.price[rows]), decision).cost
        return -cost, Finished(rows, np.ones(len(rows), bool), {"place": place, "cost": cost})

    def observe(self, copy=True) -> np.ndarray:
        return self.price.astype(np.float32)

    def picture(self, row) -> dict:
        return {"price": self.price[row].copy()}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """A job that is run here or there.

    Args:
        most: the highest price.
        render_mode: "human", "rgb_array", "ansi" or None.
    """

    most: float = 1.0
    render_mode: str | None = None

    world: ClassVar[str] = "toy"
    render_modes: ClassVar[list[str]] = ["human", "rgb_array", "ansi"]

    @classmethod
    def fitting(cls, instances: Coins, **arguments: Any) -> "Arguments":
        return cls(**arguments)

    @staticmethod
    def decision(infos: Mapping[str, Any]) -> Decision:
        return Decision(infos["place"][:, None], np.zeros((len(infos["place"]), 1)))

    def observation_space(self):
        return spaces.Box(0.0, np.float32(1.1 * self.most), (2,), np.float32)

    def action_space(self):
        return spaces.Discrete(2)

    def decode(self, actions):
        return (actions,)

    def check_options(self, options, num_envs):
        validate.known_keys("options", options, ["instances"])
        return dict(options)

    def batch(self, num_envs) -> Batch:
        return Batch(Mint(self.most), num_envs)


class Here:
    """Runs every job here."""

    world = "toy"

    def decide(self, instances, prompts, rng) -> Decision:
        return Decision(
            np.zeros((instances.batch_size, 1), int), np.zeros((instances.batch_size, 1))
        )
