"""``lambo train [lambo]``: a recipe of actor-critic learning, from the first update to the last.

A killed run goes on with the same command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.commands.train.telling import Telling, writers


def train(
    *,
    recipe: str = "lambo-s",
    out: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    telling: Telling | None = None,
) -> None:
    """Train LAMBO's network, or go on with a training that was stopped or killed.

    Args:
        recipe: One that ships, by name, or a TOML file.
        out: Folder of the training; one that holds a training is gone on with. Left out: runs/ and
            the recipe's name.
        seed: In place of the recipe's.
        device: Torch device in place of the recipe's.
        threads: Threads of torch in place of the recipe's; 0 keeps torch's choice.
        telling: Where its numbers go.
    """
    from lambo_agents.acl.config import Recipe
    from lambo_agents.acl.run import train as run_training
    from lambo_agents.queueing import recipe as queueing

    folder = out or f"runs/{Path(recipe).stem}"
    if queueing.is_queueing(recipe):
        _train_queueing(recipe, folder, seed, device, threads, telling or Telling())
        return
    asked: dict[str, Any] = {"seed": seed, "device": device, "threads": threads}
    told = {name: value for name, value in asked.items() if value is not None}
    chosen = Recipe.load(recipe, **told)
    with writers(
        telling or Telling(), Path(folder), Path(folder).name, chosen.to_dict()
    ) as tellers:
        weights = run_training(chosen, folder, tellers=tellers)
    print(f"trained: {weights}; play it with: lambo evaluate lambo-s --weights {weights}")


def _train_queueing(
    recipe: str,
    folder: str,
    seed: int | None,
    device: str | None,
    threads: int | None,
    telling: Telling,
) -> None:
    """Train the network of the world where tasks wait, whose play is NumPy on one core."""
    from lambo_agents.queueing.recipe import QueueRecipe
    from lambo_agents.queueing.run import train as run_training
    from lambo_env.utils import validate

    for name, value in {"device": device, "threads": threads}.items():
        validate.check(name, value, value in (None, "cpu", 1), "left out for this recipe")
    told = {} if seed is None else {"seed": seed}
    chosen, path = QueueRecipe.load(recipe, **told), Path(folder)
    with writers(telling, path, path.name, chosen.to_dict()) as tellers:
        weights = run_training(chosen, folder, tellers=tellers)
    print(f"trained: {weights}; play it with: lambo evaluate lambo-q --weights {weights}")
