"""``lambo train [lambo]``: actor-critic learning of LAMBO's network.

A killed run goes on with the same command.
"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from lambo_agents.acl.config import ACLConfig


def train(
    config: Annotated[ACLConfig | None, Parameter(name="*")] = None, *, out: str = "runs/lambo"
) -> None:
    """Train a network, or go on with a training that was stopped or killed.

    Args:
        config: what to train and how.
        out: Folder of the training: last.safetensors, best.safetensors, curve.jsonl. One that holds
            a training is gone on with.
    """
    from lambo_agents.acl.run import train as run_training

    best = run_training(config or ACLConfig(), out)
    print(f"best network so far: {best}; play it with: lambo evaluate lambo-s --weights {best}")
