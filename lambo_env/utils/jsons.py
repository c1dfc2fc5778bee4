"""JSON that others may have written: one reader, and one check of what it must hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lambo_env.utils import validate


def loads(text: str | bytes) -> Any:
    """Return what a text says.

    Raises:
        ValueError: no JSON in UTF-8, or nested too deeply to be read.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read(path: Path, shape: Any) -> Any:
    """Return what a file of this package says.

    Raises:
        ValueError: naming the file: no JSON, or not of ``shape``.
    """
    return _checked(path, path.read_bytes(), shape)


def read_lines(path: Path, shape: Any) -> list[Any]:
    """Return what the lines of a file say; nothing where it is not there.

    A last line without an end was being written when its program was killed: it is left out.

    Raises:
        ValueError: naming the file and the line: no JSON, or not of ``shape``.
    """
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    return [_checked(f"{path}:{k}", line, shape) for k, line in enumerate(lines, 1) if line]


def _checked(where: str | Path, text: bytes, shape: Any) -> Any:
    try:
        value = loads(text)
        check("JSON", value, shape)
    except ValueError as error:
        validate.refuse("file", str(where), f"what this package wrote there ({error})")
    return value


def check(field: str, value: Any, shape: Any) -> None:
    """Refuse a value that lacks a part of ``shape`` or has another type there.

    Args:
        field: what errors call the value.
        value: as ``loads`` returns it; keys beyond those of the shape are anybody's.
        shape: a class or a tuple of them; {name: shape} for a dict with those keys; [shape] for a
            list of such.

    Raises:
        ValueError: naming the part, its value and what is allowed.
    """
    if isinstance(shape, dict):
        validate.check(field, value, isinstance(value, dict), "a table")
        for name, part in shape.items():
            validate.check(field, sorted(value), name in value, f"a table with {name!r}")
            check(f"{field}.{name}", value[name], part)
    elif isinstance(shape, list):
        validate.check(field, value, isinstance(value, list), "a list")
        for index, part in enumerate(value):
            check(f"{field}[{index}]", part, shape[0])
    else:
        kinds = shape if isinstance(shape, tuple) else (shape,)
        whole = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
        validate.check(field, value, whole, " or ".join(kind.__name__ for kind in kinds))
