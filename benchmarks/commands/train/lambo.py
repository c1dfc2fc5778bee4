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
    processes: int = 1,
    shards: int | None = None,
    workers: int | None = None,
    fully_shard: bool | None = None,
    telling: Telling | None = None,
) -> int:
    """Train LAMBO's network, or go on with a training that was stopped or killed.

    Args:
        recipe: One that ships, by name, or a TOML file.
        out: Folder of the training; one that holds a training is gone on with. Left out: runs/ and
            the recipe's name.
        seed: In place of the recipe's.
        device: Torch device in place of the recipe's.
        threads: Threads of torch in place of the recipe's; 0 keeps torch's choice.
        processes: That share each update's shards, on this machine; for several machines:
            torchrun -m lambo_agents.acl. A training may go on with another number of them.
        shards: Equal pieces of each update in place of the recipe's; a multiple of the processes.
        workers: Processes that draw and label the updates to come, in place of the recipe's; for
            each of the processes.
        fully_shard: Spread the encoder over the processes, in place of the recipe's.
        telling: Where its numbers go.
    """
    from benchmarks.report.escaping import tell
    from lambo_agents.acl.config import Recipe
    from lambo_agents.acl.processes import LostProcessError, Processes, launch
    from lambo_agents.acl.run import WEIGHTS
    from lambo_agents.acl.run import train as run_training
    from lambo_agents.queueing import recipe as queueing
    from lambo_env.utils import validate

    folder = out or f"runs/{Path(recipe).stem}"
    validate.integer("--processes", processes)
    if queueing.is_queueing(recipe):
        only_here = {"processes": processes, "shards": shards, "workers": workers}
        only_here["fully_shard"] = fully_shard or None
        unread = {"device": device, "threads": threads, **only_here}
        _train_queueing(recipe, folder, seed, unread, telling or Telling())
        return 0
    asked: dict[str, Any] = {"seed": seed, "device": device, "threads": threads}
    asked |= {"shards": shards, "workers": workers, "fully_shard": fully_shard or None}
    told = {name: value for name, value in asked.items() if value is not None}
    chosen, told_to = Recipe.load(recipe, **told), telling or Telling()
    Processes(count=processes).share(chosen.shards)
    try:
        if processes > 1:
            further = "left out with several processes: their numbers are in curve.jsonl"
            validate.check("telling", told_to, told_to == Telling(), further)
            options = {"recipe": recipe, "out": folder, **told}
            words = [text for name, value in options.items() for text in _words(name, value)]
            launch("lambo_agents.acl", words, processes)
        else:
            with writers(told_to, Path(folder), Path(folder).name, chosen.to_dict()) as tellers:
                run_training(chosen, folder, tellers=tellers)
    except LostProcessError as error:
        tell(f"lambo: {error}; the same command goes on", error=True)
        return 1
    weights = Path(folder) / WEIGHTS
    print(f"trained: {weights}; play it with: lambo evaluate lambo-s --weights {weights}")
    return 0


def _words(name: str, value: Any) -> tuple[str, ...]:
    option = f"--{name.replace('_', '-')}"
    return (option,) if value is True else (option, str(value))


def _train_queueing(
    recipe: str, folder: str, seed: int | None, unread: dict[str, Any], telling: Telling
) -> None:
    """Train the network of the world where tasks wait, whose play is NumPy on one core."""
    from lambo_agents.queueing.recipe import QueueRecipe
    from lambo_agents.queueing.run import train as run_training
    from lambo_env.utils import validate

    for name, value in unread.items():
        usual = value is not True and value in (None, "cpu", 1)
        validate.check(name, value, usual, "left out for this recipe")
    told = {} if seed is None else {"seed": seed}
    chosen, path = QueueRecipe.load(recipe, **told), Path(folder)
    with writers(telling, path, path.name, chosen.to_dict()) as tellers:
        weights = run_training(chosen, folder, tellers=tellers)
    print(f"trained: {weights}; play it with: lambo evaluate lambo-q --weights {weights}")
