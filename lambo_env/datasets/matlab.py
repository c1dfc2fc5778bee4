"""Reading MATLAB files.

One place for the errors that a wrong, foreign or truncated file deserves.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambo_env.datasets.tables import existing
from lambo_env.utils import validate


def read_mat(path: str | os.PathLike[str], names: Sequence[str], what: str) -> dict[str, Any]:
    """Return the variables ``names`` of a .mat file.

    Raises:
        ValueError: the file is missing, is no MATLAB 5 file, is truncated, or lacks a variable.
    """
    from scipy.io import loadmat  # 100 ms that only readers of .mat files pay

    existing(path, what, ".mat file")
    try:
        found = loadmat(io.BytesIO(Path(path).read_bytes()))
    except Exception as error:  # loadmat raises whatever the damaged byte leads it to
        raise ValueError(
            f"path is {str(path)!r}; allowed: a whole MATLAB 5 file of {what} ({error})"
        ) from error
    validate.check(
        f"variables of {path}",
        sorted(k for k in found if k[:2] != "__"),
        all(name in found for name in names),
        f"{what}: {', '.join(names)}",
    )
    return {name: found[name] for name in names}


def check_numbers(name: str, values: Any) -> None:
    """Refuse a variable that does not hold real numbers."""
    validate.check(f"{name}.dtype", str(values.dtype), values.dtype.kind in "fiub", "numbers")


def check_each(name: str, values: NDArray[Any], ok: NDArray[np.bool_], allowed: str) -> None:
    """Refuse a variable for its first value that is not ``ok``, named by its indices."""
    if not ok.all():
        index = tuple(int(k) for k in np.argwhere(~ok)[0])
        validate.refuse(f"{name}{list(index)}", values[index].item(), allowed)
