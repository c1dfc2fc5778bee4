"""``lambo train [lambo]``: a recipe of actor-critic learning, from the first update to the last.

A killed run goes on with the same command.
"""

from __future__ import annotations

from typing import Any


def train(
    *,
    recipe: str = "lambo-s",
    out: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    tensorboard: bool = False,
) -> None:
    """Train LAMBO's network, or go on with a training that was stopped or killed.

    Args:
        recipe: One that ships, by name, or a TOML file.
        out: Folder of the training; one that holds a training is gone on with. Left out: runs/ and
            the recipe's name.
        seed: In place of the recipe's.
        device: Torch device in place of the recipe's.
        threads: Threads of torch in place of the recipe's; 0 keeps torch's choice.
        tensorboard: Also write all numbers for TensorBoard, where it is installed.
    """
    from pathlib import Path

    from lambo_agents.acl.config import Recipe
    from lambo_agents.acl.run import train as run_training

    asked: dict[str, Any] = {"seed": seed, "device": device, "threads": threads}
    told = {name: value for name, value in asked.items() if value is not None}
    folder = out or f"runs/{Path(recipe).stem}"
    weights = run_training(Recipe.load(recipe, **told), folder, tensorboard=tensorboard)
    print(f"trained: {weights}; play it with: lambo evaluate lambo-s --weights {weights}")
