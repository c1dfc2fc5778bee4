"""Agents by name: strings until one is made, so that a broken plug-in harms nobody.

A name comes from an entry point of the group ``lambo.agents`` (of this distribution or of
anybody's) or from ``register_agent``. An entry point names one of two things; its bracket names
the extra that the agent needs.

- A class or a factory: ``nearest = package.module:Nearest [extra]``. What the tables say of it is
  read from the class.
- A row, which is an ``AgentSpec`` constant: ``nearest-2 = package.rows:NEAREST_2 [extra]``. So
  several names share one class with other arguments. In a module that imports nothing heavy a row
  also tells the facts of an agent whose extra is missing.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import inspect
import os
import pkgutil
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from lambo_agents import guard
from lambo_agents.protocol import Agent
from lambo_env.utils import validate

GROUP = "lambo.agents"
DISTRIBUTION = "lambo-mec"
IN_CODE = "in code"  # origin of what register_agent added

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_ENTRY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclasses.dataclass(frozen=True)
class AgentSpec:
    """What is known of an agent without making it.

    Raises:
        ValueError: a name or an entry point that is not of the form stated.
    """

    name: str  # letters, digits and _ . + -
    entry_point: str  # "module:Class"; a factory function will do
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    extra: str | None = None  # the extra to install, as in pip install "lambo-mec[torch]"
    # whether decide scores candidates with the simulator before it answers; None: as its class says
    evaluator_in_loop: bool | None = None
    labels_used: int | None = None  # expert decisions its training saw; None: as its class says
    summary: str = ""
    origin: str = IN_CODE  # the distribution that brings it
    error: str | None = None  # why it cannot be loaded

    def __post_init__(self) -> None:
        """Check the two strings that everything hangs on.

        A spec with an ``error`` tells of what could not be read.
        """
        if self.error:
            return
        validate.check(
            "AgentSpec.name",
            self.name,
            isinstance(self.name, str) and _NAME.fullmatch(self.name) is not None,
            "letters, digits and _ . + -, a letter or digit first",
        )
        pointed = (
            isinstance(self.entry_point, str) and _ENTRY.fullmatch(self.entry_point) is not None
        )
        validate.check("AgentSpec.entry_point", self.entry_point, pointed, '"module:Class"')

    def make(self, **overrides: Any) -> Agent:
        """Import the class and build the agent; ``overrides`` win over ``kwargs``.

        Raises:
            ImportError: the class cannot be imported; the text names the cause and the extra to
                install.
            ValueError: an argument that the class does not know.
            TypeError: what was built has no ``decide``.
        """
        factory = _load(self)
        validate_arguments(f"make_agent({self.name!r})", factory, overrides)
        with guard.guarded(f"agent {self.name!r}"):
            agent = factory(**{**self.kwargs, **overrides})
        if not callable(getattr(agent, "decide", None)):
            kind = type(agent).__name__
            raise TypeError(
                f"{self.entry_point} gives a {kind}, which has no decide(instances, prompts, rng)"
            )
        return agent


_in_code: dict[str, AgentSpec] = {}


def register_agent(name: str, entry_point: str, **kwargs: Any) -> None:
    """Make ``make_agent(name)`` build ``"module:Class"`` with ``kwargs``, in this process.

    Nothing is imported yet.

    Registering the same again changes nothing.

    Raises:
        ValueError: a malformed name or entry point, or a name that means something else already.
    """
    spec = AgentSpec(name, entry_point, kwargs)
    taken = _in_code.get(name)
    if taken is None and name in (points := _entry_points()):
        owners = ", ".join(f"{_owner(point)}: {point.value}" for point in points[name])
        raise ValueError(f"agent {name!r} is registered already ({owners}); choose another name")
    if taken not in (None, spec):
        what = f"{taken.entry_point} with {dict(taken.kwargs)}" if taken else ""
        raise ValueError(
            f"agent {name!r} is registered already ({IN_CODE}: {what}); choose another name"
        )
    _in_code[name] = spec


def list_agents() -> list[str]:
    """Return the names of all agents, sorted, broken plug-ins included; imports none of them."""
    points = _entry_points()
    if not _installed(points):
        warnings.warn(_missing_metadata(), stacklevel=2)
    return sorted({*points, *_in_code})


def agent_spec(name: str) -> AgentSpec:
    """Return what is known of one agent.

    Imports it to read its summary, and notes in ``error`` why that failed.

    Raises:
        ValueError: an unknown name; the text gives the closest known one.
    """
    points = _entry_points()
    if name not in points and name not in _in_code and not _installed(points):
        raise ValueError(f"unknown agent {name!r}: {_missing_metadata()}")
    validate.known(name, {*points, *_in_code}, "agent")
    return _described(_in_code[name]) if name in _in_code else _from_points(name, points[name])


def agent_specs() -> list[AgentSpec]:
    """Return what is known of every agent, by name.

    One that cannot be imported has its ``error``.
    """
    return [agent_spec(name) for name in list_agents()]


def make_agent(name: str, **overrides: Any) -> Agent:
    """Return a new agent, for example ``make_agent("de", generations=100)``.

    Raises:
        ValueError: an unknown name or argument; the text gives the closest known one.
        ImportError: the agent's package is broken or an extra is missing.
    """
    return agent_spec(name).make(**overrides)


def validate_arguments(owner: str, factory: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Refuse any key of ``given`` that ``factory`` has no parameter for."""
    try:
        parameters = inspect.signature(factory).parameters
    except ValueError:  # some built-in types have no signature; the call will tell
        return
    if all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
        options = [
            n for n, p in parameters.items() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        validate.known_keys(owner, given, options)


def _entry_points() -> dict[str, list[importlib.metadata.EntryPoint]]:
    """Return the entry points of every name; more than one where packages quarrel.

    They are read again once a folder of the import path has changed.
    """
    return _read(tuple(_state(folder) for folder in sys.path))


def _state(folder: str) -> tuple[str, int]:
    """Return a folder's path and when its list of files changed, in ns; -1 where there is none."""
    try:
        path = os.path.abspath(folder)
        return path, os.stat(path).st_mtime_ns
    except OSError:
        return folder, -1


@functools.lru_cache(maxsize=1)
def _read(
    folders: tuple[tuple[str, int], ...],
) -> dict[str, list[importlib.metadata.EntryPoint]]:
    found: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for point in importlib.metadata.entry_points(group=GROUP):
        others = found.setdefault(point.name, [])
        if all((other.value, _owner(other)) != (point.value, _owner(point)) for other in others):
            others.append(point)
    return found


def _owner(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else "an unnamed package"


def _installed(points: Mapping[str, list[importlib.metadata.EntryPoint]]) -> bool:
    return any(_owner(point) == DISTRIBUTION for group in points.values() for point in group)


def _missing_metadata() -> str:
    return (
        f"{DISTRIBUTION} brings no entry points: its metadata is missing or old; "
        "run `pip install -e .` in its folder"
    )


def _from_points(name: str, points: list[importlib.metadata.EntryPoint]) -> AgentSpec:
    """Return the spec behind the entry points of one name.

    What is wrong with them goes into its ``error``.
    """
    point, origin = points[0], ", ".join(_owner(point) for point in points)
    entry, error = point.value.partition("[")[0].strip(), None
    if len(points) > 1:
        claims = ", ".join(f"{_owner(point)} ({point.value})" for point in points)
        error = f"several packages claim the name: {claims}"
    elif not (_NAME.fullmatch(name) and _ENTRY.fullmatch(entry)):
        allowed = "name = module:Class, no spaces in the name"
        error = f"entry point {name!r} = {point.value!r} of {origin}; allowed: {allowed}"
    if error:
        return AgentSpec(name, entry, origin=origin, error=error)
    return _described(AgentSpec(name, entry, origin=origin, extra=next(iter(point.extras), None)))


def _described(spec: AgentSpec) -> AgentSpec:
    """Return a spec with the facts of its row or, where that says nothing, of its class.

    ``error`` says why the class cannot be imported.
    """
    target: Any = None
    try:
        target = _load(spec)
        if isinstance(target, AgentSpec):
            given: dict[str, Any] = {
                "name": spec.name,
                "origin": spec.origin,
                "extra": target.extra or spec.extra,
            }
            spec = dataclasses.replace(target, kwargs={**target.kwargs, **spec.kwargs}, **given)
            target = _load(spec)
    except ImportError as error:
        spec = dataclasses.replace(spec, error=str(error))
    text = getattr(target, "summary", (inspect.getdoc(target) or "").partition("\n")[0])
    unknown: dict[str, Any] = dict.fromkeys(("evaluator_in_loop", "labels_used", "extra"))
    facts = unknown if spec.error else {**unknown, "evaluator_in_loop": False, "labels_used": 0}
    for name in facts:
        declared = getattr(target, name, None)
        if getattr(spec, name) is not None:
            facts[name] = getattr(spec, name)
        elif not isinstance(declared, property | None):  # a property tells of instances only
            facts[name] = declared
    return dataclasses.replace(spec, summary=spec.summary or ("" if spec.error else text), **facts)


def _load(spec: AgentSpec) -> Any:
    """Import what the entry point names.

    Any failure, even a plug-in that exits, becomes an ImportError.
    """
    if spec.error:
        raise ImportError(spec.error)
    try:
        with guard.guarded():
            target: Any = pkgutil.resolve_name(spec.entry_point)
    except Exception as error:
        package = DISTRIBUTION if spec.origin == IN_CODE else spec.origin
        hint = f'; try: pip install "{package}[{spec.extra}]"' if spec.extra else ""
        cause = validate.told(error)
        raise ImportError(
            f"agent {spec.name!r} ({spec.origin}) cannot be imported: {cause}{hint}"
        ) from error
    if not callable(target) and not isinstance(target, AgentSpec):
        kind = type(target).__name__
        allowed = "a class, a factory or an AgentSpec"
        raise ImportError(f"{spec.entry_point} is a {kind}; allowed: {allowed}")
    return target
