"""Tasks in this process for one job, else in joblib's worker processes of one thread each."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from benchmarks.sweep import provenance
from benchmarks.sweep.engines.engine import WorkerDiedError
from lambo_env.utils import runs
from lambo_env.utils.tasks import Engine, KeyedTasks, run_here
from lambo_env.utils.timing import one_thread

# What two workers cost before their first answer. On two cores "quick" took 7.5 s in two workers
# and 4.8 s in this process.
WORKER_START_S = 5.0


def default_jobs() -> int:
    """Return one job per core, or one in all without joblib."""
    return provenance.cores() if importlib.util.find_spec("joblib") else 1


@contextlib.contextmanager
def start_engine(jobs: int, num_tasks: int) -> Iterator[Engine]:
    """Yield an engine of at most ``jobs`` processes, no more than there are tasks.

    Where ``jobs`` is 0 it works in this process for as long as workers take to start, and leaves to
    ``default_jobs`` of them what is then left: a short sweep is done sooner, a long one a little
    later.

    Raises:
        ImportError: joblib is missing and there is work for two processes.
    """
    alone_until = time.monotonic() + (0.0 if jobs else WORKER_START_S)
    jobs = min(jobs or default_jobs(), num_tasks)
    if jobs <= 1:
        with one_thread():
            yield run_here
        return
    try:
        import joblib
    except ImportError as error:
        raise ImportError(
            'parallel cells need joblib: pip install "lambo-mec[report]", or pass --jobs 1'
        ) from error

    answers: list[Generator[Any]] = []

    def run_in_workers(
        function: Callable[..., Any], tasks: KeyedTasks
    ) -> Iterator[tuple[Any, Any]]:
        keys: list[Any] = []  # keys stay here: they may hold whole files
        tasks = iter(tasks)
        with one_thread():
            yield from run_here(function, _started_before(alone_until, tasks))

        def calls() -> Iterator[Any]:
            for key, arguments in tasks:
                keys.append(key)
                yield joblib.delayed(_run_indexed)(function, len(keys) - 1, arguments)

        try:
            answers.append(joblib.Parallel(return_as="generator_unordered")(calls()))
            for index, answer in answers[-1]:
                yield keys[index], answer
        except BrokenProcessPool as error:
            raise WorkerDiedError(
                "a worker process died, perhaps for want of memory; what is finished is kept"
            ) from error

    with (
        joblib.parallel_config(
            "loky",
            n_jobs=jobs,
            inner_max_num_threads=1,
            initializer=runs.die_with,
            initargs=(os.getpid(),),
        ),
        warnings.catch_warnings(),
    ):
        # joblib warns of tasks that an interrupt cancelled
        warnings.filterwarnings("ignore", ".*tasks which.*")
        try:
            yield run_in_workers
        finally:
            for unfinished in answers:  # an interrupt ends its workers here, not at exit
                unfinished.close()


def _run_indexed(
    function: Callable[..., Any], index: int, arguments: tuple[Any, ...]
) -> tuple[int, Any]:
    return index, function(*arguments)


def _started_before(end_s: float, tasks: Iterator[Any]) -> Iterator[Any]:
    while time.monotonic() < end_s and (task := next(tasks, None)) is not None:
        yield task
