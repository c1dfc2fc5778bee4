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
    from lambo_agents.queueing import recipe as queueing

    folder = out or f"runs/{Path(recipe).stem}"
    if queueing.is_queueing(recipe):
        _train_queueing(recipe, folder, seed, device, threads, tensorboard)
        return
    asked: dict[str, Any] = {"seed": seed, "device": device, "threads": threads}
    told = {name: value for name, value in asked.items() if value is not None}
    weights = run_training(Recipe.load(recipe, **told), folder, tensorboard=tensorboard)
    print(f"trained: {weights}; play it with: lambo evaluate lambo-s --weights {weights}")


def _train_queueing(
    recipe: str,
    folder: str,
    seed: int | None,
    device: str | None,
    threads: int | None,
    tensorboard: bool,
) -> None:
    """Train the network of the world where tasks wait, whose play is NumPy on one core."""
    from lambo_agents.queueing.recipe import QueueRecipe
    from lambo_agents.queueing.run import train as run_training
    from lambo_env.utils import validate

    for name, value in {"device": device, "threads": threads, "tensorboard": tensorboard}.items():
        validate.check(name, value, value in (None, False, "cpu", 1), "left out for this recipe")
    told = {} if seed is None else {"seed": seed}
    weights = run_training(QueueRecipe.load(recipe, **told), folder)
    print(f"trained: {weights}; play it with: lambo evaluate lambo-q --weights {weights}")
