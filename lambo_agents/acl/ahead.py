"""Worker processes that draw and label the updates to come, while the network learns."""

from __future__ import annotations

import contextlib
import functools
import math
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import torch

from lambo_agents.acl import data
from lambo_agents.acl.config import Recipe
from lambo_agents.acl.processes import LostProcessError, Processes
from lambo_agents.protocol import Agent
from lambo_agents.registry import make_agent
from lambo_env.utils import runs

_PER_WORKER = 2  # pieces under way
Draw = Callable[[int, int], Any]
_draw: Draw  # of a worker


def _begin(recipe: Recipe, parent: int) -> None:
    """Set up a worker so that it computes as the process that learns does."""
    global _draw
    runs.die_with(parent)
    if sys.platform != "win32":
        os.setsid()  # what signals a whole group, as `timeout` does, is the parent's to answer
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    _draw = functools.partial(data.draw, recipe, teacher_of(recipe))


def _drawn(step: int, piece: int) -> Any:
    """Return a piece without tensors, whose memory would be shared."""
    batch, rng = _draw(step, piece)
    if isinstance(batch, data.Batch):
        return batch._replace(shares=batch.shares.numpy()), rng  # type: ignore[arg-type]
    return batch, rng


def teacher_of(recipe: Recipe) -> Agent | None:
    """Return who labels, where a phase asks."""
    return make_agent(recipe.teacher) if recipe.needs_teacher else None


@contextlib.contextmanager
def drawing(recipe: Recipe, processes: Processes) -> Iterator[Draw | None]:
    """Yield what draws pieces of updates as ``data.draw`` does; None without workers.

    Each process of a training has its own workers, for its own pieces.
    """
    if not recipe.workers:
        yield None
        return
    pool = ProcessPoolExecutor(
        recipe.workers,
        multiprocessing.get_context("spawn"),
        _begin,
        (recipe, os.getpid()),
    )
    mine = processes.share(recipe.shards)
    ahead = math.ceil(_PER_WORKER * recipe.workers / len(mine))  # updates
    asked: dict[tuple[int, int], Future[Any]] = {}

    def draw(step: int, piece: int) -> Any:
        try:
            for later in range(step, min(step + ahead + 1, recipe.updates)):
                for each in mine:
                    if (later, each) not in asked and (later, each) >= (step, piece):
                        asked[later, each] = pool.submit(_drawn, later, each)
            batch, rng = asked.pop((step, piece)).result()
        except BrokenProcessPool as error:
            text = "a worker process is gone, perhaps for want of memory"
            raise LostProcessError(text) from error
        if isinstance(batch, data.Batch):
            batch = batch._replace(shares=torch.from_numpy(batch.shares))
        return batch, rng

    try:
        yield draw
    finally:
        pool.shutdown(cancel_futures=True)
