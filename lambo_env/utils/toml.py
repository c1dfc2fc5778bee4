"""TOML files, with one error for whatever is wrong with one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

_LONG_KEY = re.compile(r"""(?<![\w"'.-])(?:[\w"'-]++[ \t]*+\.[ \t]*+){99}""")


def load(path: Path, what: str) -> dict[str, Any]:
    """Return what a file says.

    Raises:
        ValueError: it cannot be read, or is no TOML in UTF-8; ``what`` it is and the path are
            named.
    """
    try:
        content = path.read_text(
            encoding="utf-8-sig"
        )  # editors on Windows write a mark at the start
        if _LONG_KEY.search(content):  # its time grows with the square of the parts
            raise ValueError("a dotted key of 100 parts or more")
        return tomllib.loads(content)
    except RecursionError as error:
        raise ValueError(f"{what} is {str(path)!r}; allowed: TOML nested less deeply") from error
    except (ValueError, OSError) as error:
        text = f"{what} is {str(path)!r}; allowed: valid TOML in UTF-8 ({error})"
        raise ValueError(text) from error
