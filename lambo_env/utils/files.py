"""Files that are whole or absent: written under a temporary name, flushed to disk, then renamed.

What is replaced is a regular file with the mark of what is written; the rest is not ours to touch.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lambo_env.utils import validate

_LONGEST = 80  # characters of a file's name that comes from a text


@contextlib.contextmanager
def atomic_writer(path: str | os.PathLike[str], *marks: bytes) -> Iterator[IO[bytes]]:
    """Yield a binary file that becomes ``path`` when the block ends well.

    It leaves no trace when the block does not.

    Args:
        path: its folder is made.
        *marks: as ``check_target`` takes them.

    Raises:
        ValueError: what is there is not ours to replace.
        OSError: with the path, such as a full disk.
    """
    target = check_target(path, *marks)
    with named_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name[:_LONGEST]}.", suffix=".part"
        )
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner can read
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise


def write_text(path: str | os.PathLike[str], text: str, *marks: bytes) -> None:
    """Write ``text`` in UTF-8, atomically."""
    with atomic_writer(path, *marks) as file:
        file.write(text.encode("utf-8"))


def remove_parts(folder: Path, stem: str = "*") -> None:
    """Remove the temporary files of ``folder`` and below that killed writers left behind."""
    for path in folder.rglob(f".{stem}.*.part"):
        path.unlink(missing_ok=True)


def check_target(path: str | os.PathLike[str], *marks: bytes) -> Path:
    """Return ``path`` if it may be written: nothing is there, or a file that may be replaced.

    Args:
        path: of a file to be.
        *marks: a file that is not empty may be replaced if it holds one of these; without any,
            its folder is ours.

    Raises:
        ValueError: a link, a device, a pipe, a folder, or a file without the mark.
    """
    target = Path(path)
    regular = not target.is_symlink() and (target.is_file() or not target.exists())
    allowed = "a new file, or a regular one; this is a folder, a link, a device or a pipe"
    validate.check("output", str(target), regular, allowed)
    if marks and target.exists() and target.stat().st_size > 0:
        with target.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as old:
            ours = any(old.find(mark) >= 0 for mark in marks)
        allowed = "a new file, or one that the same command wrote; this one is another's"
        validate.check("output", str(target), ours, allowed)
    return target


def subfolder(folder: Path, name: str) -> Path:
    """Return a folder within ``folder``; a link, which may lead out of it, is refused."""
    path = folder / name
    validate.check("output", str(path), not path.is_symlink(), "a folder, not a link to one")
    return path


def safe_name(text: object) -> str:
    """Return a text as a file's name: letters, digits, _ and -, never empty, never a path.

    A text that had to be changed is told from others by eight digits of its hash.
    """
    whole = str(text)
    name = re.sub(r"[^A-Za-z0-9_]+", "-", whole).strip("-")
    if name == whole and 0 < len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name[: _LONGEST - 9]}-{digest}".strip("-")


@contextlib.contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Give an error of the system within the block the path that it came from."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
