"""The one shape of error: ``"Scenario.deadline_s is -1; allowed: > 0"``.

Unknown names get the closest known one.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, NoReturn, TypeVar

import numpy as np

_T = TypeVar("_T")


def refuse(field: str, value: Any, allowed: str) -> NoReturn:
    """Raise ``ValueError`` that names the field, the value and what is allowed."""
    text = repr(value)
    raise ValueError(
        f"{field} is {text if len(text) <= 120 else text[:117] + '...'}; allowed: {allowed}"
    )


def check(field: str, value: Any, ok: bool, allowed: str) -> None:
    """Refuse ``value`` unless ``ok``."""
    if not ok:
        refuse(field, value, allowed)


def each(field: str, values: Any, ok: Any, allowed: str) -> None:
    """Refuse the first of ``values`` (an array) where ``ok`` (of its shape) is False, by index."""
    if not bool(ok.all()):
        index = tuple(int(k) for k in np.argwhere(~np.asarray(ok))[0])
        refuse(f"{field}{list(index)}", values[index].item(), allowed)


def number(
    field: str, value: Any, allowed: str, low: float = -math.inf, *, strict: bool = False
) -> float:
    """Return ``value`` as a float at or above ``low`` (above it when ``strict``).

    NaN and non-numbers are refused.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        refuse(field, value, allowed)
    try:
        out = float(value)
    except OverflowError:  # an integer beyond every float
        refuse(field, value, allowed)
    check(field, value, not math.isnan(out) and (out > low if strict else out >= low), allowed)
    return out


def positive(field: str, value: Any) -> float:
    """Return ``value`` as a finite float above 0."""
    out = number(field, value, "a finite number > 0", 0.0, strict=True)
    check(field, value, math.isfinite(out), "a finite number > 0")
    return out


def non_negative(field: str, value: Any) -> float:
    """Return ``value`` as a finite float at or above 0."""
    out = number(field, value, "a finite number >= 0", 0.0)
    check(field, value, math.isfinite(out), "a finite number >= 0")
    return out


def integer(field: str, value: Any, low: int = 1) -> int:
    """Return ``value`` as an int at or above ``low``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < low:
        refuse(field, value, f"an integer >= {low}")
    return int(value)


def boolean(field: str, value: Any) -> bool:
    """Return ``value`` if it is True or False; nothing else stands for them."""
    check(field, value, isinstance(value, bool), "True or False")
    return bool(value)


def of_kind(field: str, value: Any, kind: type[_T]) -> _T:
    """Return ``value`` if it is of a class."""
    if not isinstance(value, kind):
        refuse(field, value, f"{kind.__name__}(...)")
    return value


def seeded(rng: np.random.Generator | int) -> np.random.Generator:
    """Return a generator as it is, or that of a seed."""
    if isinstance(rng, np.random.Generator):
        return rng
    return np.random.default_rng(integer("seed", rng, low=0))


def closest(name: object, options: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known name, or an empty string."""
    found = difflib.get_close_matches(str(name), list(options), n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else ""


def known(name: Any, options: Iterable[str], what: str) -> str:
    """Return ``name`` if it is one of ``options``.

    Otherwise raise with the closest one and the whole list.
    """
    options = sorted(options)
    if isinstance(name, str) and name in options:
        return name
    raise ValueError(
        f"unknown {what} {name!r}{closest(name, options) or ';'} known: {', '.join(options)}"
    )


def known_keys(owner: str, given: Mapping[str, Any], options: Iterable[str]) -> None:
    """Refuse any key of ``given`` that ``options`` lacks.

    Unknown keys are errors, never warnings.
    """
    options = sorted(options)
    for key in given:
        if key not in options:
            raise ValueError(
                f"{owner}.{key}: unknown field{closest(key, options) or ';'} "
                f"known: {', '.join(options)}"
            )


def generator(rng: object) -> None:
    """Refuse anything but a NumPy Generator: randomness is handed down, never global."""
    check("rng", rng, isinstance(rng, np.random.Generator), "a numpy.random.Generator")


def told(error: BaseException) -> str:
    """Return the class of an error and its text in one line, whatever its text does."""
    try:
        text = " ".join(str(error).split())
    except Exception as other:
        text = f"its text raises {type(other).__name__}"
    return f"{type(error).__name__}: {text}"
