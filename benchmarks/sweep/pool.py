"""Mapping over keyed tasks.

In this process for one job, else in worker processes of one thread each.
"""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from benchmarks.sweep import provenance
from lambo_env.utils.timing import one_thread

Keyed = Iterable[tuple[Any, tuple[Any, ...]]]
RunAll = Callable[[Callable[..., Any], Keyed], Iterator[tuple[Any, Any]]]


class WorkerDiedError(RuntimeError):
    """A worker process is gone, not the task's own exception."""


def _indexed(
    function: Callable[..., Any], index: int, arguments: tuple[Any, ...]
) -> tuple[int, Any]:
    return index, function(*arguments)


def _here(function: Callable[..., Any], items: Keyed) -> Iterator[tuple[Any, Any]]:
    for key, arguments in items:
        yield key, function(*arguments)


def default_jobs() -> int:
    """Return one job a core, or one in all without joblib."""
    return provenance.cores() if importlib.util.find_spec("joblib") else 1


@contextlib.contextmanager
def pool(jobs: int, tasks: int) -> Iterator[RunAll]:
    """Yield a function that maps over (key, arguments) pairs and yields (key, answer) as they are done."""
    jobs = min(jobs, tasks)
    if jobs <= 1:
        with one_thread():
            yield _here
        return
    try:
        import joblib
    except ImportError as error:
        raise ImportError(
            'parallel cells need joblib: pip install "lambo-mec[report]", or pass --jobs 1'
        ) from error

    def run_all(function: Callable[..., Any], items: Keyed) -> Iterator[tuple[Any, Any]]:
        keys: list[Any] = []  # keys stay here: they may hold whole files

        def calls() -> Iterator[Any]:
            for key, arguments in items:
                keys.append(key)
                yield joblib.delayed(_indexed)(function, len(keys) - 1, arguments)

        try:
            for index, answer in joblib.Parallel(return_as="generator_unordered")(calls()):
                yield keys[index], answer
        except BrokenProcessPool as error:
            raise WorkerDiedError(
                "a worker process died, perhaps for want of memory; what is finished is kept"
            ) from error

    with (
        joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings(
            "ignore", ".*tasks which.*"
        )  # joblib on tasks cancelled by an interrupt
        yield run_all
