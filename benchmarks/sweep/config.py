"""A sweep as data: agents x prompts x scenarios x seeds from one small TOML, and its cells."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.sweep.instance_sources import FileSource, Source, scenario_source
from lambo_env.prompts.grammar import parse_weights
from lambo_env.utils import toml, validate
from lambo_env.utils.rules import Ruled, count, ruled

SWEEPS = Path(__file__).parent / "sweeps"
FORMAT = 1  # of a row; part of every cell's id
LABELS = "labels"  # the pseudo-agent of the decisions that a file ships


@dataclasses.dataclass(frozen=True)
class AgentEntry:
    """One agent of a sweep: its registered name, its arguments, and what the tables call it."""

    name: str
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    label: str = ""

    def __post_init__(self) -> None:
        """Name it after itself unless told otherwise."""
        object.__setattr__(self, "label", self.label or self.name)

    @classmethod
    def read(cls, entry: str | Mapping[str, Any]) -> AgentEntry:
        """Return the entry of a name, or of a table with name, kwargs and label."""
        if isinstance(entry, Mapping):
            validate.known_keys(
                "Sweep.agents", entry, [field.name for field in dataclasses.fields(cls)]
            )
            return cls(**{"name": None, **entry}).checked()
        return cls(entry).checked()

    def checked(self) -> AgentEntry:
        """Return self, or refuse wrong types."""
        text = isinstance(self.name, str) and isinstance(self.label, str)
        validate.check(
            "Sweep.agents", self.name, text, "names, or tables with name, kwargs and label"
        )
        validate.check(
            f"Sweep.agents[{self.name!r}].kwargs",
            self.kwargs,
            isinstance(self.kwargs, Mapping),
            "a table",
        )
        return self


@dataclasses.dataclass(frozen=True)
class SweepCell:
    """The smallest unit of a sweep: one agent decides one block of instances under one prompt."""

    agent: AgentEntry
    source: Source
    prompt: str
    block: int
    instances: int
    root: int
    version: str = ""  # of the distribution that brings the agent: a new release plays anew

    @property
    def task(self) -> tuple[str, str, int]:
        """What agents share: (hash, prompt, block)."""
        return self.source.hash, self.prompt, self.block

    @functools.cached_property
    def id(self) -> str:
        """Content hash of everything that the result depends on, 16 hex digits."""
        parts = (
            *(FORMAT, self.version, self.agent.label, self.agent.name, dict(self.agent.kwargs)),
            *(self.source.hash, self.prompt, self.block, self.instances, self.root),
        )
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _counts(field: str, values: Sequence[Any]) -> tuple[int, ...]:
    return tuple(count(field, value) for value in values)


def _labels(field: str, values: Any) -> tuple[str, ...]:
    texts = isinstance(values, (list, tuple)) and all(isinstance(v, str) and v for v in values)
    validate.check(field, values, texts, "a list of names")
    return tuple(values)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep(Ruled):
    """What ``lambo bench`` plays.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    name: str
    agents: tuple[AgentEntry, ...]
    prompts: tuple[str, ...]
    scenarios: tuple[Source, ...]
    seeds: tuple[int, ...] = ruled((0,), _counts)  # one evaluation block of each scenario per seed
    instances: int = ruled(32, validate.integer)  # a block
    root: int = ruled(0, count)  # of all seed sequences
    bound_gap: float = ruled(1e-4, validate.positive)  # relative, to which the bounds are proven
    bound_limit_s: float = ruled(60.0, validate.positive)  # an instance
    not_trained: tuple[str, ...] = ruled((), _labels)  # agents that reports name without results

    def __post_init__(self) -> None:
        """Validate every field."""
        super().__post_init__()
        for prompt in self.prompts:
            parse_weights(prompt)  # raises with what is understood
        names: dict[str, list[Any]] = {
            "agents": [agent.label for agent in self.agents],
            "scenarios": [source.name for source in self.scenarios],
            "prompts": list(self.prompts),
            "seeds": list(self.seeds),
        }
        for field, entries in names.items():
            validate.check(f"Sweep.{field}", entries, len(entries) > 0, "one or more")
            once = len(set(entries)) == len(entries)
            allowed = "each once (give a second one its own label)"
            validate.check(f"Sweep.{field}", entries, once, allowed)

    def with_agents(self, labels: Sequence[str]) -> Sweep:
        """Return the sweep of these agents; a name that the sweep lacks is a registered agent's."""
        own = {agent.label: agent for agent in self.agents}
        chosen = tuple(own.get(label, AgentEntry(label)) for label in labels)
        return self.replace(agents=chosen, not_trained=())

    def cells(self, versions: Mapping[str, str]) -> list[SweepCell]:
        """Return the cells in a fixed order, agents innermost; ``versions`` by agent name."""
        return [
            SweepCell(
                agent,
                source,
                prompt,
                block,
                self.instances,
                self.root,
                versions.get(agent.name, ""),
            )
            for source in self.scenarios
            for block in source.blocks(self.seeds, self.instances)
            for prompt in self.prompts
            for agent in self.agents
            if agent.name != LABELS or isinstance(source, FileSource)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return what the manifest keeps: plain values."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain["agents"] = [dataclasses.asdict(agent) for agent in self.agents]
        plain["scenarios"] = {source.name: source.describe() for source in self.scenarios}
        return plain


def list_sweeps() -> list[str]:
    """Return the names of the sweeps that ship with the package."""
    return sorted(path.stem for path in SWEEPS.glob("*.toml"))


def load_sweep(source: str) -> Sweep:
    """Return the sweep of a shipped name or a TOML path.

    Raises:
        ValueError: an unknown name or key (with the closest known one), a missing or broken file, a
            bad value.
    """
    path = SWEEPS / f"{source}.toml"
    if source not in list_sweeps():
        if not source.endswith(".toml"):
            validate.known(source, list_sweeps(), "sweep")
        path = Path(source)
        validate.check(
            "sweep", source, path.is_file(), "a shipped sweep's name or an existing .toml file"
        )
    return sweep_from(toml.load(path, "sweep file"), path.stem, path.parent)


def sweep_from(fields: Mapping[str, Any], name: str, folder: Path | None = None) -> Sweep:
    """Return the sweep of a mapping, as TOML gives it; unknown keys are errors."""
    validate.known_keys("Sweep", fields, {*Sweep.field_names()} - {"name"})
    for key in ("agents", "prompts", "scenarios"):
        validate.check(f"Sweep.{key}", None, key in fields, "a list (the key is missing)")
    for key in ("agents", "prompts", "scenarios", "seeds"):
        value = fields.get(key, [])
        validate.check(f"Sweep.{key}", value, isinstance(value, (list, tuple)), "a list")
    others: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in fields.items()
        if key not in ("agents", "scenarios", "prompts")
    }
    return Sweep(
        name=name,
        agents=tuple(AgentEntry.read(entry) for entry in fields["agents"]),
        scenarios=tuple(scenario_source(entry, folder) for entry in fields["scenarios"]),
        prompts=tuple(fields["prompts"]),
        **others,
    )
