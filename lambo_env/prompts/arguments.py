"""What a caller may write where one or several prompts are meant."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, TypeGuard

import numpy as np

from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate

Prompt = str | float | tuple[str, float]
ALLOWED = (
    "a str, a latency weight in [0, 1], (str, latency weight), Prompts, "
    "or a sequence of at least one of them"
)


def as_prompts(field: str, given: Any) -> Prompts:
    """Return the prompts that an argument means.

    Args:
        field: the argument's name, for errors.
        given: a text, which the grammar reads; a latency weight; (any text, latency weight), which
            is believed; Prompts; or a sequence of these.

    Raises:
        ValueError: naming the field: none of these, a text that the grammar refuses, or a weight
            outside [0, 1].

    >>> as_prompts("prompt", ["minimum latency", 0.7, ("Hurry up", 0.9)]).latency_weight
    array([1. , 0.7, 0.9])
    """
    if isinstance(given, Prompts):
        return given
    if isinstance(given, str):
        return Prompts.of(given)
    if _is_number(given):
        return _weighted(field, None, given)
    if isinstance(given, tuple) and len(given) == 2 and _is_number(given[1]):
        validate.check(field, given, isinstance(given[0], str), ALLOWED)
        return _weighted(field, *given)
    if isinstance(given, np.ndarray) and given.ndim == 1:
        given = given.tolist()
    several = isinstance(given, Sequence) and not isinstance(given, bytes | bytearray)
    validate.check(field, given, several and len(given) > 0, ALLOWED)
    if all(isinstance(one, str) for one in given):
        return Prompts.of(given)
    nested = [isinstance(one, list) for one in given]
    validate.check(field, given, not any(nested), ALLOWED)
    return Prompts.concat([as_prompts(f"{field}[{row}]", one) for row, one in enumerate(given)])


def text_of(latency_weight: float) -> str:
    """Return a text that says a latency weight to 1e-4.

    >>> text_of(0.7), text_of(1.0)
    ('70% latency, 30% energy', 'minimum latency')
    """
    if latency_weight in (0, 1):
        return "minimum latency" if latency_weight else "minimum energy consumption"
    percent = round(100 * float(latency_weight), 2)
    return f"{percent:g}% latency, {round(100 - percent, 2):g}% energy"


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _weighted(field: str, text: str | None, weight: float) -> Prompts:
    validate.check(field, weight, validate.number(field, weight, ALLOWED, 0.0) <= 1, ALLOWED)
    return Prompts(text_of(weight) if text is None else text, float(weight))
