"""What ``lambo adapt`` plays.

Drifts x methods x seeds, by options or from a small TOML, and the cells that it falls into.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lambo_agents import registry
from lambo_env.offloading import drift as suite
from lambo_env.offloading.scenario import load_scenario
from lambo_env.utils import files, rules, toml, validate
from lambo_env.utils.rules import Ruled, ruled

FORMAT = 1  # of a cell's file
# where agents come from that take a plan's budget, rhythm and folder
ALEF = "lambo_agents.alef.agent:"
# and those that take a plan's budget and rhythm
ASKING = (ALEF, "baselines.neural.are.agent:")
PLANS = Path(__file__).parent / "plans"


@dataclasses.dataclass(frozen=True)
class Method:
    """An agent of the comparison.

    What tables call it, its registered name and its arguments, which win over the plan's.
    """

    name: str
    agent: str
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, entry: str | Mapping[str, Any] | Method) -> Method:
        """Return the method of a known or registered name, or of a table (name, agent, kwargs)."""
        if isinstance(entry, Method):
            return entry
        if not isinstance(entry, Mapping):
            validate.known(entry, [*METHODS, *registry.list_agents()], "method")
            return METHODS.get(entry) or cls(entry, entry)
        validate.known_keys(
            "Adaptation.methods", entry, [field.name for field in dataclasses.fields(cls)]
        )
        agent, kwargs = entry.get("agent"), entry.get("kwargs", {})
        validate.known(agent, registry.list_agents(), "agent")
        name = entry.get("name", agent)
        plain = isinstance(name, str) and name != "" and not set(name) & set("/\\")
        validate.check("Adaptation.methods[...].name", name, plain, "a text without / and \\")
        validate.check(
            f"Adaptation.methods[{name!r}].kwargs", kwargs, isinstance(kwargs, Mapping), "a table"
        )
        return cls(str(name), str(agent), dict(kwargs))

    @property
    def pays(self) -> bool:
        """Whether the agent is an ALEF: it is paid labels, and keeps its state in a folder."""
        return registry.agent_spec(self.agent).entry_point.startswith(ALEF)

    @property
    def asks(self) -> bool:
        """Whether the agent asks the plan's expert for labels."""
        spec = registry.agent_spec(self.agent)
        return spec.entry_point.startswith(ASKING) and bool(spec.kwargs.get("online", True))


_ALL = {
    "update_params": "all",
    "steps": 16,
    "learning_rate": 1e-3,
}  # a step through the encoder costs twice one through the decoder
_ANEW = {"update_params": "all", "steps": 10, "learning_rate": 2e-3}
METHODS = {
    method.name: method
    for method in (
        Method("frozen", "lambo-s"),
        Method("alef-entropy", "lambo-s+alef", {"query": "entropy"}),
        Method("alef-random", "lambo-s+alef", {"query": "random"}),
        Method("alef-margin", "lambo-s+alef", {"query": "margin"}),
        Method("alef-committee", "lambo-s+alef", {"query": "committee"}),
        Method("alef-diverse", "lambo-s+alef", {"query": "entropy", "diversity": 2}),
        # as many candidates scored per instance as DROO's best of 16
        Method("alef-16", "lambo-s+alef", {"query": "entropy", "decoding": "sample"}),
        Method("droo-16", "droo", {"candidates": 16}),
        # the least sure instances whatever their entropy, as ALEF asks
        Method("are", "are", {"entropy_bits": 0.0}),
        Method("are-60fc", "are-60fc", {"entropy_bits": 0.0}),
        Method("alef-alone", "lambo-s+alef", {"query": "entropy", "fallback": False}),
        Method("full", "lambo-s+alef", {"query": "random", "fallback": False, "update": _ALL}),
        Method(
            "scratch",
            "lambo-s+alef",
            {"query": "random", "fallback": False, "fresh": True, "memory": 0, "update": _ANEW},
        ),
    )
}
DEFAULT_METHODS = (
    "frozen",
    "alef-entropy",
    "alef-random",
    "full",
    "scratch",
    "greedy",
    "local-search",
)


_a_list = rules.such_that(lambda value: isinstance(value, list | tuple), "a list")


def _each_once(field: str, values: Sequence[Any]) -> tuple[Any, ...]:
    entries = [getattr(entry, "name", entry) for entry in _a_list(field, values)]
    once = len(entries) > 0 and len({str(entry) for entry in entries}) == len(entries)
    validate.check(field, entries, once, "one or more, each once")
    return tuple(values)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adaptation(Ruled):
    """What is played: drifts x methods x seeds, on equal streams with equal label budgets.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    drifts: tuple[str, ...] = ruled(tuple(suite.list_drifts()), _each_once)
    methods: tuple[Any, ...] = ruled(
        DEFAULT_METHODS,
        lambda field, given: _each_once(field, [Method.read(m) for m in _a_list(field, given)]),
    )  # names, or tables; Methods once read
    seeds: int = ruled(5, validate.integer)
    scenario: str = ruled("paper", rules.instance_of(str))
    batch: int = ruled(
        20, validate.integer
    )  # worlds side by side: the instances of a slot, from which labels are chosen
    num_slots: int = ruled(suite.NUM_SLOTS, validate.integer)
    # of so many slots one is played: decided, scored and learned from; the world moves on between
    # them
    stride: int = ruled(5, validate.integer)
    labels: int = ruled(64, validate.integer)  # budget per stream
    labels_per_slot: int = ruled(16, validate.integer)
    expert: str = ruled(
        "local-search", lambda field, name: validate.known(name, registry.list_agents(), "agent")
    )
    weights: str = ruled("lambo-s", rules.instance_of(str))

    def __post_init__(self) -> None:
        """Validate every field, and that the drifts fit the scenario."""
        super().__post_init__()
        for name in self.drifts:
            suite.load_drift(name, self.scenario)

    def cells(self) -> list[StreamCell]:
        """Return all cells: a drift's and seed's together, so that its bounds are proven once."""
        return [
            StreamCell(self, name, m, s)
            for name in self.drifts
            for s in range(self.seeds)
            for m in self.methods
        ]

    def rhythm(self, drift: str) -> dict[str, int]:
        """Return when labels are paid for, in slots played.

        From a drift's beginning on; spread over a gradual one up to its end.
        """
        start = suite.PERIOD // 2 if drift.endswith("cyclic") else suite.START
        rounds = -(-self.labels // self.labels_per_slot)
        every = max(1, suite.RAMP // self.stride // rounds) if drift.endswith("gradual") else 1
        first = -(-start // self.stride)
        return {"start_slot": first + every if drift.endswith("gradual") else first, "every": every}

    @property
    def played(self) -> range:
        """The slots that are played."""
        return range(0, self.num_slots, self.stride)


@dataclasses.dataclass(frozen=True)
class StreamCell:
    """One method on one stream."""

    plan: Adaptation
    drift: str
    method: Method
    seed: int

    @property
    def name(self) -> str:
        """What its file is called."""
        return f"{self.drift}--{files.safe_name(self.method.name)}--{self.seed}"

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """Return everything that its numbers depend on."""
        plan, kwargs = self.plan, self.kwargs(None)
        same = {name: getattr(plan, name) for name in ("batch", "num_slots", "stride")}
        own = {
            "agent": self.method.agent,
            "kwargs": kwargs,
            "scenario": load_scenario(plan.scenario).hash,
        }
        weights = {"weights_sha256": _sha256(str(kwargs["weights"]))} if "weights" in kwargs else {}
        return {"format": FORMAT, "drift": self.drift, "seed": self.seed, **same, **own, **weights}

    @property
    def hash(self) -> str:
        """Content hash of the settings: a cell of other settings is played anew."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:16]

    def kwargs(self, folder: Path | None) -> dict[str, Any]:
        """Return the arguments of its agent.

        ``folder`` is where an agent that learns keeps its state.
        """
        plan, pays = self.plan, self.method.pays
        kwargs: dict[str, Any] = (
            {"weights": plan.weights} if pays or self.method.agent == "lambo-s" else {}
        )
        if self.method.asks:
            kwargs |= {
                "expert": plan.expert,
                "budget": plan.labels,
                "labels_per_slot": plan.labels_per_slot,
            }
            kwargs |= plan.rhythm(self.drift)
        kwargs |= self.method.kwargs
        return kwargs | ({"folder": str(folder)} if pays and folder is not None else {})


@functools.cache
def _sha256(weights: str) -> str:
    """Return the content hash of weights, shipped or of a file."""
    from lambo_agents.network.checkpoint import weights_path

    path = weights_path(weights)
    validate.check("weights", weights, path.is_file(), "shipped weights or an existing file")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def list_plans() -> list[str]:
    """Return the names of the plans that are shipped."""
    return sorted(path.stem for path in PLANS.glob("*.toml"))


def load_plan(path: str | Path, **given: Any) -> Adaptation:
    """Return the plan of a name or of a TOML file with Adaptation's keys; ``given`` wins.

    Raises:
        ValueError: no such file, no TOML, an unknown key (with the closest known one), or a bad
            value.
    """
    source = PLANS / f"{path}.toml" if str(path) in list_plans() else Path(path)
    validate.check(
        "plan",
        str(path),
        source.is_file(),
        f"an existing .toml file, or one of: {', '.join(list_plans())}",
    )
    fields = toml.load(source, "plan file")
    validate.known_keys("Adaptation", fields, Adaptation.field_names())
    for key in ("drifts", "methods"):
        validate.check(
            f"Adaptation.{key}", fields.get(key), isinstance(fields.get(key, []), list), "a list"
        )
    return Adaptation(**{**fields, **given})


def chosen(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the names of comma-separated lists."""
    return tuple(part.strip() for text in texts for part in text.split(",") if part.strip())
