"""Frozen dataclasses whose fields state the rule that their values keep.

A rule takes the field's name and its value; it returns the value to keep, or raises ValueError.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from lambo_env.utils import validate

Rule = Callable[[str, Any], Any]
MISSING: Any = dataclasses.MISSING  # the default of a field that must be given


def ruled(default: Any, rule: Rule, meaning: str = "") -> Any:
    """Return a dataclass field with its default, its rule and what it means."""
    return dataclasses.field(default=default, metadata={"rule": rule, "meaning": meaning})


@dataclasses.dataclass(frozen=True)
class Ruled:
    """A configuration: every field is held against its rule when it is made.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    def __post_init__(self) -> None:
        """Hold every field that has a rule against it, so that none with a bad value can exist."""
        for field in dataclasses.fields(self):
            rule: Rule = field.metadata.get("rule", lambda field, value: value)
            value = rule(f"{type(self).__name__}.{field.name}", getattr(self, field.name))
            object.__setattr__(self, field.name, value)

    def check(self, name: str, ok: bool, allowed: str) -> None:
        """Refuse the value of a field unless ``ok``: for what a field alone cannot tell."""
        validate.check(f"{type(self).__name__}.{name}", getattr(self, name), ok, allowed)

    def replace(self, **fields: Any) -> Self:
        """Return a copy with some fields replaced, validated like a new one."""
        validate.known_keys(type(self).__name__, fields, self.field_names())
        return dataclasses.replace(self, **fields)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Build from a mapping of fields.

        Unknown keys are errors that name the closest known one.
        """
        validate.known_keys(cls.__name__, fields, cls.field_names())
        for field in dataclasses.fields(cls):
            has = field.name in fields or field.default_factory is not MISSING
            has = has or field.default is not MISSING
            validate.check(f"{cls.__name__}.{field.name}", None, has, "a value: it has no default")
        return cls(**fields)

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields: what is computed from them is neither copied nor pickled."""
        return {name: getattr(self, name) for name in self.field_names()}

    @classmethod
    def field_names(cls) -> list[str]:
        """Names of the fields."""
        return [field.name for field in dataclasses.fields(cls)]


# ---- rules ---------------------------------------------------------------------------------------

count = functools.partial(validate.integer, low=0)  # an integer >= 0


def seed(field: str, value: Any, bits: int = 64) -> int:
    """Return a seed that torch takes, too; other libraries want fewer bits."""
    number = validate.integer(field, value, low=0)
    validate.check(field, value, number < 2**bits, f"an integer from 0 to 2**{bits} - 1")
    return number


def whole(field: str, value: Any) -> int:
    """An integer >= 1."""
    return validate.integer(field, value)


@dataclasses.dataclass(frozen=True)
class Within:
    """The rule of a number in [low, high]; inf too, where ``or_inf`` says what that stands for."""

    low: float
    high: float
    or_inf: str = ""

    @property
    def allowed(self) -> str:
        """What is allowed, in words."""
        also = f", or inf for {self.or_inf}" if self.or_inf else ""
        return f"a number in {self.low:g} .. {self.high:g}{also}"

    def __call__(self, field: str, value: Any) -> float:
        """Return the number."""
        out = validate.number(field, value, self.allowed, self.low)
        endless = bool(self.or_inf) and out == math.inf
        validate.check(field, value, out <= self.high or endless, self.allowed)
        return out


def share(field: str, value: Any) -> float:
    """A number in [0, 1]."""
    out = validate.number(field, value, "a number in [0, 1]", 0.0)
    validate.check(field, out, out <= 1, "a number in [0, 1]")
    return out


def one_of(*options: str) -> Rule:
    """Return the rule of a choice between few."""
    return such_that(lambda value: value in options, " or ".join(options))


def such_that(fits: Callable[[Any], bool], allowed: str) -> Rule:
    """Return the rule of a value that ``fits``; it is kept as it is."""

    def rule(field: str, value: Any) -> Any:
        validate.check(field, value, fits(value), allowed)
        return value

    rule.__doc__ = allowed
    return rule


def allowed_by(rule: Rule) -> str:
    """Return what a rule allows, in words: its ``allowed``, else the text of its function."""
    doc = str(getattr(rule, "allowed", None) or rule.__doc__ or "").partition("\n")[0]
    return doc[:1].lower() + doc[1:].rstrip(".")


def name_of(options: Iterable[str], what: str = "") -> Rule:
    """Return the rule of a name among many; an unknown one is told the closest."""
    return lambda field, value: validate.known(value, options, what or field)


def instance_of(kind: type) -> Rule:
    """Return the rule of an instance of a class."""
    return lambda field, value: validate.of_kind(field, value, kind)


def optional(rule: Rule) -> Rule:
    """Return the rule of a value that may be None."""

    def or_none(field: str, value: Any) -> Any:
        return None if value is None else rule(field, value)

    or_none.__doc__ = allowed_by(rule)
    return or_none
