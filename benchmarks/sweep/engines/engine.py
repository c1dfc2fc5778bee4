"""What an engine is: it maps a function over keyed tasks, wherever they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

KeyedTasks = Iterable[tuple[Any, tuple[Any, ...]]]  # (key, arguments of the function)


class Engine(Protocol):
    """Maps over tasks and yields (key, answer) in the order in which they are done."""

    def __call__(
        self, function: Callable[..., Any], tasks: KeyedTasks
    ) -> Iterator[tuple[Any, Any]]:
        """Yield (key, ``function(*arguments)``) for each task.

        Raises:
            WorkerDiedError: a worker process is gone.
        """


class WorkerDiedError(RuntimeError):
    """A worker process is gone, not the task's own exception."""
