"""``lambo train [lambo]``: actor-critic learning of LAMBO's network.

A killed run goes on with the same command.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated

from cyclopts import Parameter

from lambo_agents.acl.config import ACLConfig


@Parameter(name="*")
@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where a training lies."""

    out: str = "runs/lambo"
    """Folder of the training: last.safetensors, best.safetensors, curve.jsonl. One that holds a
    training is gone on with."""


def train(
    config: Annotated[ACLConfig | None, Parameter(name="*")] = None, run: RunOptions | None = None
) -> None:
    """Train a network, or go on with a training that was stopped or killed."""
    from lambo_agents.acl.run import train as run_training

    out = (run or RunOptions()).out
    best = run_training(config or ACLConfig(), out)
    print(f"best network so far: {best}; play it with: lambo evaluate lambo-s --weights {best}")
