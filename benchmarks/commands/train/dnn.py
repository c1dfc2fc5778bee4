"""``lambo train droo|are|are-small``: the fully connected networks.

A killed run goes on with the same command.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from cyclopts import Parameter

from baselines.neural.are import training as are_training
from baselines.neural.are.training import AreTraining
from baselines.neural.checkpoint import FORMAT
from baselines.neural.droo import training as droo_training
from baselines.neural.droo.training import DrooTraining
from lambo_agents.weights_io import check_target


def droo(out: str, *, config: Annotated[DrooTraining | None, Parameter(name="*")] = None) -> None:
    """Train DROO on a stream of slots: no labels, an evaluator in the loop.

    Args:
        out: Weights to write, ending in .safetensors; the state of an unfinished run lies beside
            it.
        config: what to learn from.
    """
    _print_card(droo_training.train(config or DrooTraining(), check_target(out, FORMAT)))


def are(
    out: str,
    *,
    expert: str = "local-search",
    config: Annotated[AreTraining | None, Parameter(name="*")] = None,
) -> None:
    """Label instances with an expert and train ARE on them.

    Args:
        out: Weights to write, ending in .safetensors; labels and the state of an unfinished run lie
            beside it.
        expert: Registered agent whose decisions are the labels: local-search, exact, de, ...
        config: labels and how to learn from them.
    """
    from lambo_agents.registry import make_agent

    path = check_target(out, FORMAT)
    _print_card(are_training.train(config or AreTraining(), make_agent(expert), path))


def are_small(
    data: str,
    out: str,
    *,
    scenarios: int = 440,
    seed: int = 0,
) -> None:
    """Train ARE's original small network on the labels that its authors ship.

    Args:
        data: ARE's file, are-Data1.mat.
        out: Weights to write, ending in .safetensors.
        scenarios: The first so many are learnt; the last 60 are the test.
        seed: Of the initial weights.
    """
    from baselines.neural.are.original import train
    from lambo_env.datasets.are import load_are
    from lambo_env.utils.validate import check, integer

    path = check_target(out, FORMAT)
    integer("scenarios", scenarios)
    integer("seed", seed, low=0)
    instances, labels = load_are(data)
    check(
        "scenarios",
        scenarios,
        0 < scenarios <= len(instances),
        f"1 .. {len(instances)}",
    )
    rows = slice(0, scenarios)
    _print_card(train(instances.take(rows), labels.take(rows), path, seed=seed))


def _print_card(card: dict[str, Any]) -> None:
    print(json.dumps(card, indent=2))
