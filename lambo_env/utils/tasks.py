"""What runs a function over tasks: here, or wherever an engine of the benchmark lets them run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

KeyedTasks = Iterable[tuple[Any, tuple[Any, ...]]]  # (key, arguments of the function)


class Engine(Protocol):
    """Maps over tasks and yields (key, answer) in the order in which they are done."""

    def __call__(
        self, function: Callable[..., Any], tasks: KeyedTasks
    ) -> Iterator[tuple[Any, Any]]:
        """Yield (key, ``function(*arguments)``) for each task."""


def run_here(function: Callable[..., Any], tasks: KeyedTasks) -> Iterator[tuple[Any, Any]]:
    """Run tasks one after the other in this process; an ``Engine``."""
    for key, arguments in tasks:
        yield key, function(*arguments)
