"""The registry of worlds and of environment ids: two tables, walked by everything that walks ids.

Rows are strings until something is asked of them. So listing imports nothing, and a row whose
module is broken is listed with its error and harms no other.
"""

from __future__ import annotations

import dataclasses
import os
import pkgutil
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym

from lambo_env.utils import toml, validate
from lambo_env.utils.rules import MISSING, Rule, Ruled, instance_of, ruled, such_that

DEFAULT_WORLD = "offloading"
SCENARIOS = Path(__file__).parent / "scenarios"
OFFERS = {
    "scenario": "class of its scenarios",
    "load_scenario": "(a preset's name, a TOML path, a mapping or a scenario) -> scenario",
    "instances": "class of its instances",
    "sample_instances": "(scenario, num_instances, rng) -> instances [B]",
    "evaluate": "(instances, decision, objective) -> outcome, which has cost [B]",
    "allocate": "(instances, modes or places ...) -> the optimal shares of what is decided",
    "upload_s": "(instances) -> upload times in s",
    "local_cost": "(instances, prompts) -> cost [B] of running all locally: one relative reward",
    "play": "(scenario, agent, prompts, episodes, rng) -> what became of each task of episodes",
    "load_file": "(path) -> instances, and the decision that the file ships or None",
    "bound": "(instances, prompts) -> certified lower bounds of the cost [B]; else agent `exact`'s",
    "checks": "dict of name -> check(harness) of its environments beyond those of every world",
    "frame": "(**what the batch's picture returns) -> frame: an object with draw(surface), text()",
}


def _matches(pattern: str, allowed: str) -> Rule:
    """Return the rule of a text of some form."""
    return such_that(
        lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None, allowed
    )


_target = _matches("[^:]+:[^:]+", '"module:attribute"')
_mapping = such_that(lambda value: isinstance(value, Mapping), "a mapping")


@dataclasses.dataclass(frozen=True)
class World(Ruled):
    """One physics, and where each thing that it offers is to be found.

    Args:
        name: of the world.
        summary: one line.
        offers: of OFFERS, each as "module:attribute"; none is mandatory.

    Raises:
        ValueError: an offer that nobody asks for, or not of the form "module:attribute".
    """

    name: str = ruled(MISSING, _matches(r"[A-Za-z][\w-]*", "letters, digits, _ and -"))
    summary: str = ruled(MISSING, instance_of(str))
    offers: Mapping[str, str] = ruled(MISSING, _mapping)

    def __post_init__(self) -> None:
        """Check every string."""
        super().__post_init__()
        validate.known_keys(f"World({self.name!r}).offers", self.offers, OFFERS)
        for offer, target in self.offers.items():
            _target(f"World({self.name!r}).{offer}", target)

    def get(self, offer: str) -> Any:
        """Import and return what the world offers.

        Raises:
            ValueError: it offers no such thing.
            ImportError: its module cannot be imported; the text names the cause.
        """
        validate.known(offer, self.offers, f"offer of world {self.name!r}")
        return load(self.offers[offer])

    @property
    def error(self) -> str | None:
        """Why something that it offers cannot be imported, or None."""
        return _error(*self.offers.values())


@dataclasses.dataclass(frozen=True)
class Environment(Ruled):
    """One environment id.

    Args:
        id: with its version, such as "LAMBO-MEC-v0".
        world: whose physics it plays.
        arguments: "module:Class" of its arguments, of the kind of ``envs.arguments.Arguments``.
        summary: one line, what is decided.
        kwargs: arguments that the id fixes anew; ``gym.make`` overrides them.

    Raises:
        ValueError: an unknown world, or a field that is not of its form.
    """

    id: str = ruled(MISSING, _matches(r"[A-Za-z][\w.-]*-v\d+", 'such as "LAMBO-MEC-v0"'))
    world: str = ruled(MISSING, lambda _, value: validate.known(value, WORLDS, "world"))
    arguments: str = ruled(MISSING, _target)
    summary: str = ruled(MISSING, instance_of(str))
    kwargs: Mapping[str, Any] = dataclasses.field(
        default_factory=dict,
        metadata={"rule": _mapping},
    )

    @property
    def error(self) -> str | None:
        """Why it cannot be played, or None."""
        return WORLDS[self.world].error or _error(self.arguments)

    def arguments_class(self) -> Any:
        """Import the class of its arguments.

        Raises:
            ImportError: it cannot be imported; the text names the cause.
        """
        return load(self.arguments)

    def argument_names(self) -> list[str]:
        """Return the names of its arguments."""
        return [field.name for field in dataclasses.fields(self.arguments_class())]

    def action_space(self) -> Any:
        """Return the action space under its default arguments."""
        return self.arguments_class()(**self.kwargs).action_space()


WORLDS: dict[str, World] = {}
ENVIRONMENTS: dict[str, Environment] = {}


def register_world(name: str, summary: str = "", **offers: str) -> None:
    """Add a world, in this process; nothing is imported yet. The same again changes nothing.

    Args:
        name: of the world.
        summary: one line.
        **offers: of OFFERS, each as "module:attribute".

    Raises:
        ValueError: a name that means another world already, or a bad offer.
    """
    _add(WORLDS, "world", name, World(name, summary, offers))


def register_env(
    id: str,  # noqa: A002
    world: str,
    arguments: str,
    summary: str = "",
    kwargs: Mapping[str, Any] | None = None,
) -> None:
    """Add an environment id, here and at Gymnasium, in this process; nothing is imported yet.

    The same again changes nothing. The arguments are those of ``Environment``. The shells of
    ``envs`` play it, so a world brings a batch of running episodes and no environment class.

    Raises:
        ValueError: an unknown world, an id that means something else already, here or at
            Gymnasium, or a field that is not of its form.
    """
    row = Environment(id, world, arguments, summary, {} if kwargs is None else kwargs)
    taken, entry_point = gym.registry.get(id), f"lambo_env.envs.env:{id}"
    if taken is not None and taken.entry_point != entry_point:
        text = f"environment {id!r} is registered already ({taken.entry_point}); choose another"
        raise ValueError(text)
    _add(ENVIRONMENTS, "environment", id, row)
    if taken is None:
        # Gymnasium's passive checker stumbles at the first step where the first reset was refused;
        # `lambo check env` checks more.
        gym.register(
            id,
            entry_point=entry_point,
            vector_entry_point=f"lambo_env.envs.vector_env:{id}",
            disable_env_checker=True,
        )


def list_envs() -> list[str]:
    """Return the ids of all environments, broken ones included; imports none of them."""
    return list(ENVIRONMENTS)


def row_of(module: str, name: str) -> Environment:
    """Return the row of the id that a module is asked for as its attribute.

    Raises:
        AttributeError: no such id.
    """
    if name not in ENVIRONMENTS:
        raise AttributeError(f"module {module!r} has no attribute {name!r}, and no id is named so")
    return ENVIRONMENTS[name]


def frame_of(world: str, batch: Any, row: int) -> Any:
    """Return what a picture of one running episode shows, as its world's renderer takes it."""
    shown = batch.picture(row)
    return WORLDS[world].get("frame")(**shown) if "frame" in WORLDS[world].offers else shown


def world_of(thing: Any, offer: str) -> World:
    """Return the world whose ``offer`` ("instances", "scenario") is a class of ``thing``.

    The default world, whose functions tell what is wrong, where there is none.
    """
    names = {f"{kind.__module__}:{kind.__qualname__}" for kind in type(thing).__mro__}
    owners = [world for world in WORLDS.values() if world.offers.get(offer) in names]
    return owners[0] if owners else WORLDS[DEFAULT_WORLD]


# ---- one name for every world --------------------------------------------------------------------


def evaluate(instances: Any, decision: Any, objective: Any, **options: Any) -> Any:
    """Return the outcome of a decision [B]: ``physics.evaluate`` of the instances' world."""
    return world_of(instances, "instances").get("evaluate")(
        instances, decision, objective, **options
    )


def allocate(instances: Any, *decided: Any, **options: Any) -> Any:
    """Return the optimal shares of what is decided: ``allocate`` of the instances' world."""
    return world_of(instances, "instances").get("allocate")(instances, *decided, **options)


def upload_s(instances: Any) -> Any:
    """Return the upload times in s: ``physics.upload_s`` of the instances' world."""
    return world_of(instances, "instances").get("upload_s")(instances)


def sample_instances(scenario: Any, num_instances: int, rng: Any) -> Any:
    """Return instances drawn from a scenario: ``sample_instances`` of its world."""
    return world_of(scenario, "scenario").get("sample_instances")(scenario, num_instances, rng)


def play(scenario: Any, agent: Any, prompts: Any, episodes: int, rng: Any) -> Any:
    """Return what becomes of episodes that an agent decides slot by slot: its world's ``play``.

    Raises:
        ValueError: a world whose slots leave nothing to the next, or a bad argument.
    """
    scenario = load_scenario(scenario)
    world = world_of(scenario, "scenario")
    return world.get("play")(scenario, agent, prompts, episodes, rng)


def list_scenarios(world: str | None = None) -> list[str]:
    """Return the names of the presets that ship with the package: all, or those of a world."""
    if world is not None:
        validate.known(world, WORLDS, "world")
    names = sorted(path.stem for path in SCENARIOS.glob("*.toml"))
    return [n for n in names if world in (None, _fields(n).get("world", DEFAULT_WORLD))]


def load_scenario(source: Any) -> Any:
    """Return the scenario of a preset's name, a TOML path, a mapping of fields, or as it is.

    The key ``world`` of a file or mapping names its world; "offloading" where it has none.

    Raises:
        ValueError: an unknown name or world, a missing or broken file, a bad field.
    """
    fields = source if isinstance(source, Mapping) else _fields(source)
    if "world" not in fields:
        return world_of(source, "scenario").get("load_scenario")(fields or source)
    world = WORLDS[validate.known(fields["world"], WORLDS, "world")]
    return world.get("load_scenario")({k: v for k, v in fields.items() if k != "world"})


def _fields(source: Any) -> Mapping[str, Any]:
    """Return what a scenario's file says, nothing where it cannot be read: its world tells why."""
    try:
        path = SCENARIOS / f"{name}.toml" if (name := os.fspath(source)) else Path()
        return toml.load(path if path.is_file() else Path(name), "scenario file")
    except (TypeError, ValueError, OSError):
        return {}


# ---- rows ----------------------------------------------------------------------------------------


def load(target: str) -> Any:
    """Import what "module:attribute" names.

    Raises:
        ImportError: it fails, in whatever way; the text names the cause.
    """
    try:
        return pkgutil.resolve_name(target)
    except (Exception, SystemExit) as error:
        cause = f"{type(error).__name__}: {error}"
        raise ImportError(f"{target} cannot be imported: {cause}") from error


def _error(*targets: str) -> str | None:
    for target in targets:
        try:
            load(target)
        except ImportError as error:
            return str(error)
    return None


def _add(table: dict[str, Any], what: str, name: str, row: Any) -> None:
    if table.setdefault(name, row) != row:
        raise ValueError(f"{what} {name!r} is registered already ({table[name]}); choose another")


register_world(
    "offloading",
    "The paper's cell: UEs offload tasks to edge servers.",
    scenario="lambo_env.offloading.scenario:Scenario",
    load_scenario="lambo_env.offloading.scenario:load_scenario",
    instances="lambo_env.offloading.instances:Instances",
    sample_instances="lambo_env.offloading.slots:sample_instances",
    evaluate="lambo_env.offloading.physics:evaluate",
    allocate="lambo_env.offloading.physics:allocate",
    upload_s="lambo_env.offloading.physics:upload_s",
    local_cost="lambo_env.offloading.physics:all_local_cost",
    frame="lambo_env.rendering.frame:Frame.from_decision",
    checks="lambo_env.testing.offloading_checks:CHECKS",
)
register_world(
    "wpmec",
    "DROO's problem: devices powered by radio compute locally or offload, frame by frame.",
    scenario="lambo_env.wpmec.scenario:WpmecScenario",
    load_scenario="lambo_env.wpmec.scenario:load_scenario",
    sample_instances="lambo_env.wpmec.scenario:sample_instances",
    instances="lambo_env.wpmec.instances:Frames",
    evaluate="lambo_env.wpmec.physics:evaluate",
    allocate="lambo_env.wpmec.physics:allocate",
    bound="lambo_env.wpmec.physics:best_cost",
    load_file="lambo_env.datasets.droo:load_frames",
)
register_world(
    "queueing",
    "Tasks that wait: queues at UEs, uplinks and servers, so that decisions have a tomorrow.",
    scenario="lambo_env.queueing.scenario:QueueScenario",
    load_scenario="lambo_env.queueing.scenario:load_scenario",
    instances="lambo_env.queueing.instances:QueueInstances",
    evaluate="lambo_env.queueing.physics:evaluate",
    play="lambo_env.queueing.play:play",
    local_cost="lambo_env.queueing.physics:local_cost",
    frame="lambo_env.rendering.queues:QueueFrame",
)
register_env(
    "LAMBO-MEC-v0",
    "offloading",
    "lambo_env.envs.arguments:JointArguments",
    "Place and CPU share of each task, UE by UE: the paper's joint decision.",
)
register_env(
    "LAMBO-MEC-Association-v0",
    "offloading",
    "lambo_env.envs.arguments:AssociationArguments",
    "The place of each task, UE by UE; the closed form allots the servers' CPU.",
)
register_env(
    "LAMBO-MEC-Drift-v0",
    "offloading",
    "lambo_env.envs.arguments:DriftArguments",
    "LAMBO-MEC-v0 in a world that changes under way: capacities, tasks, channel or where the UEs"
    " are.",
)
register_env(
    "LAMBO-WPMEC-v0",
    "wpmec",
    "lambo_env.envs.wpmec_arguments:WpmecArguments",
    "DROO's problem: which devices offload in each frame; the shares are solved to optimum inside.",
)
register_env(
    "LAMBO-MEC-Queue-v0",
    "queueing",
    "lambo_env.envs.queueing_arguments:QueueArguments",
    "The place of each task that arrives, UE by UE and slot by slot: tasks wait in queues.",
)
