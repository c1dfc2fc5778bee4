"""Tasks as those of a Ray cluster, one core each; a task whose node is gone runs elsewhere."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.sweep.engines.engine import NodeLacksError, WorkerDiedError
from lambo_env.utils.tasks import Engine, KeyedTasks
from lambo_env.utils.timing import one_thread

REACHED_S = 20.0  # in which a cluster has to take the connection
_SILENT_S = 60.0  # in which it then has to answer
_RETRIES = 3  # of a task whose worker or node is gone
_AHEAD = 2  # tasks per core that wait for theirs
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_CLIENT, _HERE = "ray://", "local"  # the latter starts a cluster, whatever runs already
_AUTHENTICATION = "RAY_AUTH_MODE"  # which Ray does not find out for an address
_PRIORITY = {"worker_niceness": 0}  # joblib's; Ray's 15 waits for all else on a busy machine


@contextlib.contextmanager
def start_engine(address: str | None, jobs: int, modules: Iterable[str] = ()) -> Iterator[Engine]:
    """Yield an engine on the cluster at an address, or on one of this machine's cores.

    Args:
        address: host:port of the head node, ray://host:port, or auto for the one that this machine
            is part of; None starts one here.
        jobs: most tasks that run at once; 0: one per core of the cluster.
        modules: top-level modules of other packages' agents, which travel with the tasks.

    Raises:
        ImportError: Ray is missing.
        OSError: the cluster cannot be reached.
        NodeLacksError: a node lacks this package.
        WorkerDiedError: a task was lost again and again.
    """
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            '--engine ray needs ray; pip install "lambo-mec[ray]"', name="ray"
        ) from error
    _reach(address)
    environment: dict[str, Any] = {"env_vars": dict.fromkeys(_THREADS, "1")}
    if sent := [path for name in modules if (path := _source(name))]:
        environment["py_modules"] = sent
    own: dict[str, Any] = {}
    if address in (None, _HERE):
        own = {"num_cpus": jobs or None, "include_dashboard": False, "_system_config": _PRIORITY}
    with _in_time(address):
        ray.init(
            address or _HERE,
            runtime_env=environment,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **own,
        )
    try:
        yield _Engine(ray, jobs)
    finally:
        ray.shutdown()  # whose tasks end with it


def _reach(address: str | None) -> None:
    """Refuse an address where nothing listens."""
    if address in (None, "auto", _HERE):
        return
    host, _, port = str(address).removeprefix(_CLIENT).rpartition(":")
    if not host or not port.isdecimal():
        allowed = "host:port, ray://host:port or auto"
        raise ValueError(f"--address is {address!r}; allowed: {allowed}")
    try:
        socket.create_connection((host, int(port)), REACHED_S).close()
    except (OSError, OverflowError) as error:
        raise OSError(_unreached(address, error)) from error


def _unreached(address: str | None, error: object) -> str:
    if address is None:
        return f"no Ray cluster could be started on this machine ({error})"
    told = _AUTHENTICATION in os.environ
    token = "" if told else f"; {_AUTHENTICATION}=token if it asks for one"
    return f"no Ray cluster answers at {address!r} ({error}){token}"


@contextlib.contextmanager
def _in_time(address: str | None) -> Iterator[None]:
    """Give up on a cluster that takes the connection and then says nothing."""
    silent = threading.Event()

    def give_up() -> None:
        silent.set()
        os.kill(os.getpid(), signal.SIGINT)

    gone = threading.Timer(_SILENT_S, give_up)
    gone.daemon = True
    gone.start()
    try:
        yield
    except KeyboardInterrupt as error:
        if not silent.is_set():
            raise
        raise OSError(_unreached(address, f"silent for {_SILENT_S:g} s")) from error
    except Exception as error:  # Ray raises what it likes, plain exceptions too
        raise OSError(_unreached(address, " ".join(str(error).split()))) from error
    finally:
        gone.cancel()


def _source(module: str) -> str | None:
    """Return the folder or file of a module that may be sent, or None."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        return None
    path = Path(found.origin)
    return str(path.parent if path.name == "__init__.py" else path)


def _alone(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    with one_thread():
        return function(*arguments)


class _Engine:
    """Keeps the cluster's cores busy, and no more tasks than that on their way."""

    def __init__(self, ray: Any, jobs: int) -> None:
        self.ray, self.jobs = ray, jobs
        self.remote = ray.remote(num_cpus=1, max_retries=_RETRIES)(_alone)

    def __call__(
        self, function: Callable[..., Any], tasks: KeyedTasks
    ) -> Iterator[tuple[Any, Any]]:
        """Yield (key, answer) as tasks are done."""
        tasks, keys, more = iter(tasks), dict[Any, Any](), True
        try:
            while more or keys:
                cores = int(self.ray.cluster_resources().get("CPU", 1))
                while more and len(keys) < (self.jobs or _AHEAD * cores):
                    task = next(tasks, None)
                    more = task is not None
                    if task is not None:
                        keys[self.remote.remote(function, task[1])] = task[0]
                for done in self.ray.wait([*keys], timeout=1.0)[0] if keys else ():
                    yield keys.pop(done), self._answer(done)
        finally:
            for unfinished in keys:
                self.ray.cancel(unfinished, force=True)

    def _answer(self, reference: Any) -> Any:
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            missing = isinstance(error.cause, ImportError) or "ModuleNotFoundError" in str(error)
            if missing:
                text = str(error).strip().splitlines()[-1]
                raise NodeLacksError(f"a node lacks what this one has: {text}") from error
            raise
        except self.ray.exceptions.RayError as error:
            kind, kept = type(error).__name__, "what is finished is kept"
            raise WorkerDiedError(f"the cluster lost a task ({kind}); {kept}") from error
