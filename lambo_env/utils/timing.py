"""How long a call takes, and how to keep it to one thread."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Timing(Generic[Result]):
    """What some calls of a function took."""

    result: Result  # of the last call
    wall_s: NDArray[np.float64]  # [rounds]
    cpu_s: NDArray[np.float64]  # [rounds], of this process, all its threads


def measure(work: Callable[[], Result], rounds: int = 1) -> Timing[Result]:
    """Call ``work`` a number of times and return its last result with the seconds of each call."""
    spent_s = np.empty((2, rounds))
    for k in range(rounds):
        start_s = time.perf_counter(), time.process_time()
        result = work()
        spent_s[:, k] = time.perf_counter() - start_s[0], time.process_time() - start_s[1]
    return Timing(result, *spent_s)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep numerical libraries to one thread.

    Torch where it is loaded, the others where threadpoolctl is installed.
    """
    torch: Any = sys.modules.get("torch")  # never imported here
    with contextlib.ExitStack() as stack:
        if torch is not None:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(1)
        with contextlib.suppress(ImportError):
            import threadpoolctl

            stack.enter_context(threadpoolctl.threadpool_limits(1))
        yield
