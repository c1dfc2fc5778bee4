"""One contract for every folder that a command writes.

One run at a time holds it, the same command continues it, other options are refused unless they
extend it, a signal stops it after a checkpoint, and no worker outlives it.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from lambo_env.utils import files, jsons, validate

LOCK, OPTIONS = ".lock", "run.json"
_LOCKED_BYTE = 1 << 30  # far behind the text: Windows lets nobody read a byte that is locked
_PR_SET_PDEATHSIG = 1
_WATCH_S = 0.5
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
Pause = Callable[[Callable[[], object]], None]


# ---- the folder ----------------------------------------------------------------------------------


@contextlib.contextmanager
def opened(
    folder: Path,
    command: str,
    options: Mapping[str, Any],
    *,
    grow: Collection[str] = (),
    free: Collection[str] = (),
) -> Iterator[None]:
    """Hold ``folder`` for a command whose options are those of the run that it continues.

    Args:
        folder: made if absent; files that a killed run left half written are removed.
        command: what the folder belongs to, such as "train lambo".
        options: JSON values, kept in ``run.json``.
        grow: numbers that may be larger than before: the run is extended.
        free: options that may change.

    Raises:
        ValueError: not a folder, another run holds it, it belongs to another command, or an option
            differs.
    """
    with held(folder):
        check_same(folder / OPTIONS, {"command": command, **options}, grow=grow, free=free)
        yield


def check_no_other_command(folder: Path, command: str) -> None:
    """Refuse a folder that another command keeps its options in; nothing is written.

    Raises:
        ValueError: naming the folder and the command that it belongs to.
    """
    if not (folder / OPTIONS).is_file():
        return
    try:
        owner = f"`lambo {jsons.loads((folder / OPTIONS).read_text(encoding='utf-8'))['command']}`"
    except (ValueError, TypeError, KeyError):
        owner = "another command"
    allowed = f"a folder of `lambo {command}`, or a new one; {owner} wrote this one's {OPTIONS}"
    validate.check("--out", str(folder), False, allowed)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold ``folder`` against other runs, and remove what a killed run left half written.

    Raises:
        ValueError: not a folder, or another run holds it.
    """
    validate.check("--out", str(folder), not folder.exists() or folder.is_dir(), "a folder")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK, folder):
        files.remove_parts(folder)
        yield


@contextlib.contextmanager
def held_file(path: Path) -> Iterator[None]:
    """Hold a file to be, and those of its name beside it, against other runs.

    Raises:
        ValueError: another run holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock"), path):
        files.remove_parts(path.parent, glob.escape(path.stem))
        yield


def check_same(
    path: Path,
    options: Mapping[str, Any],
    *,
    grow: Collection[str] = (),
    free: Collection[str] = (),
) -> None:
    """Compare options with those that ``path`` keeps of an earlier run, and keep them there.

    Raises:
        ValueError: the file is damaged, or the first option that differs.
    """
    wanted = json.loads(json.dumps(options))
    if path.is_file():
        try:
            found = dict(jsons.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            allowed = f"whole JSON of a run's options ({error}); remove it or choose another --out"
            validate.check("options", str(path), False, allowed)
        check_options(str(path.parent), found, wanted, grow=grow, free=free)
        if found == wanted:
            return
    files.write_text(path, json.dumps(wanted, indent=1) + "\n")


def check_options(
    where: str,
    found: Mapping[str, Any],
    wanted: Mapping[str, Any],
    *,
    grow: Collection[str] = (),
    free: Collection[str] = (),
) -> None:
    """Raise ``ValueError`` for the first option that neither is as before nor extends the run."""
    found, wanted = (json.loads(json.dumps(dict(each))) for each in (found, wanted))
    for name, value in wanted.items():
        before = found.get(name)
        least = name in grow and None not in (value, before) and value >= before
        allowed = f"{before!r}{' or more' if name in grow else ''}, as in {where}; or another --out"
        validate.check(name, value, name in free or value == before or least, allowed)


@contextlib.contextmanager
def locked(path: Path, what: Path) -> Iterator[None]:
    """Hold the lock file of ``what``; the system frees it even from a killed process.

    Raises:
        ValueError: another process holds it; its number is named.
    """
    with files.check_target(path).open("a+", encoding="ascii") as handle:
        try:
            _lock(handle.fileno())
        except OSError as error:
            handle.seek(0)
            other = handle.read(20).strip() or "unknown"
            raise ValueError(
                f"--out is {str(what)!r}; allowed: a place that no other run is writing "
                f"(process {other} is)"
            ) from error
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        try:
            yield
        finally:
            handle.truncate(0)


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


# ---- signals -------------------------------------------------------------------------------------


class Stopped(KeyboardInterrupt):
    """A signal has asked to stop; a shell expects the exit code 128 + its number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def stop(number: int, frame: Any = None) -> NoReturn:
    """Stop here and now: the handler of a command without a checkpoint."""
    raise Stopped(number)


@contextlib.contextmanager
def handled(handler: Callable[[int, Any], object] = stop) -> Iterator[None]:
    """Let ``handler`` answer SIGINT, SIGTERM and SIGHUP, but for those that are ignored (nohup)."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        kept = [number for number in SIGNALS if callable(signal.getsignal(number))]
        kept += [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
        before = {number: signal.signal(number, handler) for number in kept}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextlib.contextmanager
def deferred(agreed: Callable[[int], int] = int) -> Iterator[Pause]:
    """Keep signals for safe points: ``pause(save)`` there saves and raises if one has come.

    A second Ctrl-C stops at once. Processes that work together stop together: ``agreed`` makes of
    the number of a signal that came here, or 0, the one for all.
    """
    asked: list[int] = []

    def note(number: int, frame: Any) -> None:
        if asked and number == signal.SIGINT:
            raise Stopped(number)
        asked.append(number)

    def pause(save: Callable[[], object]) -> None:
        if number := agreed(asked[0] if asked else 0):
            save()
            raise Stopped(number)

    with handled(note):
        yield pause
        pause(lambda: None)


# ---- workers -------------------------------------------------------------------------------------


def die_with(parent: int) -> None:
    """Let this worker process end when its parent does, however that ends; Ctrl-C is the parent's.

    To be called in the worker's first lines.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    elif sys.platform != "win32":
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if sys.platform != "win32" and os.getppid() != parent:  # it ended before
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_S)
    os._exit(1)
