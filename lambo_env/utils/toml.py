"""TOML files, with one error for whatever is wrong with one."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any


def load(path: Path, what: str) -> dict[str, Any]:
    """Return what a file says.

    Raises:
        ValueError: it cannot be read, or is no TOML in UTF-8; ``what`` it is and the path are
            named.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        text = f"{what} is {str(path)!r}; allowed: valid TOML in UTF-8 ({error})"
        raise ValueError(text) from error
