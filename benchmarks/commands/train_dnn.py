"""``lambo train droo|are|are-small``: the fully connected networks.

A killed run goes on with the same command.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from cyclopts import Parameter


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class DrooOptions:
    """What ``lambo train droo`` takes."""

    out: str
    """Weights to write, ending in .safetensors; the state of an unfinished run lies beside it."""
    _: dataclasses.KW_ONLY
    size: str = "droo"
    """droo (60 layers) or droo-small (120, 80)."""
    scenario: str = "paper"
    """Preset or .toml file that the slots come from."""
    slots: int = 20_000
    """Slots to play."""
    learning_rate: float = 0.01
    """Adam's, at first."""
    seed: int = 0
    """Of the weights and of all draws."""


def droo(options: DrooOptions) -> None:
    """Train DROO on a stream of slots: no labels, an evaluator in the loop."""
    from baselines.neural.droo.training import DrooTraining, train

    fields = dataclasses.asdict(options)
    _tell(
        train(
            DrooTraining(
                **{name: value for name, value in fields.items() if name not in ("out", "_")}
            ),
            options.out,
        )
    )


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class AreOptions:
    """What ``lambo train are`` takes."""

    out: str
    """Weights to write, ending in .safetensors; labels and the state of an unfinished run lie
    beside it."""
    _: dataclasses.KW_ONLY
    expert: str = "local-search"
    """Registered agent whose decisions are the labels: local-search, exact, de, ..."""
    size: str = "are"
    """are (60 layers) or are-2 (120, 80)."""
    scenario: str = "paper"
    """Preset or .toml file that the instances come from."""
    labels: int = 20_000
    """Labelled instances."""
    epochs: int = 30
    """Times that each label is learnt."""
    learning_rate: float = 3e-3
    """Adam's, at first."""
    seed: int = 0
    """Of the weights and of all draws."""


def are(options: AreOptions) -> None:
    """Label instances with an expert and train ARE on them."""
    from baselines.neural.are.training import AreTraining, train
    from lambo_agents.registry import make_agent

    fields = dataclasses.asdict(options)
    kept = {name: value for name, value in fields.items() if name not in ("out", "expert", "_")}
    _tell(train(AreTraining(**kept), make_agent(options.expert), options.out))


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class AreSmallOptions:
    """What ``lambo train are-small`` takes."""

    data: str
    """ARE's file, are-Data1.mat."""
    out: str
    """Weights to write, ending in .safetensors."""
    _: dataclasses.KW_ONLY
    scenarios: int = 440
    """The first so many are learnt; the last 60 are the test."""
    seed: int = 0
    """Of the initial weights."""


def are_small(options: AreSmallOptions) -> None:
    """Train ARE's original small network on the labels that its authors ship."""
    from baselines.neural.are.original import train
    from lambo_env.datasets.are import load_are
    from lambo_env.utils.validate import check, integer

    integer("scenarios", options.scenarios)
    integer("seed", options.seed, low=0)
    instances, labels = load_are(options.data)
    check(
        "scenarios",
        options.scenarios,
        0 < options.scenarios <= len(instances),
        f"1 .. {len(instances)}",
    )
    rows = slice(0, options.scenarios)
    _tell(train(instances.take(rows), labels.take(rows), options.out, seed=options.seed))


def _tell(card: dict[str, Any]) -> None:
    print(json.dumps(card, indent=2))
