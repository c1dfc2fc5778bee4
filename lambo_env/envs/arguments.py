"""Arguments of the environments: checked once and documented once, for single and vector alike.

An arguments class is all that a shell knows of a world: spaces, options of a reset, how an action
reads, and a batch of running episodes.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, cast

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from lambo_env.envs.actions import decode_action
from lambo_env.offloading import drift as drifts
from lambo_env.offloading import observation
from lambo_env.offloading.batch import EpisodeBatch, Reward
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.offloading.padding import PaddedBatch, padded_slots
from lambo_env.offloading.scenario import Scenario, load_scenario
from lambo_env.offloading.slots import Slots, slots_of
from lambo_env.offloading.slots import Source as InstanceSource
from lambo_env.prompts.arguments import Prompt, as_prompts
from lambo_env.prompts.objectives import OBJECTIVES
from lambo_env.prompts.prompts import MAX_CHARS, Prompts, env_prompts
from lambo_env.utils import validate

Observation = Any  # an array, or a dict of arrays
Source = str | os.PathLike[str] | Mapping[str, Any] | Scenario | InstanceSource
OBSERVE = ("prompt", "objective")
MASK = ("info", "observation")
MASK_KEY = "action_mask"
REWARD = ("cost", "relative")
_REWARDS = "'cost', 'relative' or a function (outcome, instances, objective) -> cost [B]"
_SOURCES = (
    "a preset's name, a .toml path, a mapping of fields, a Scenario, or an object with num_ues, "
    "num_servers and sample(batch_size, rng) -> Instances"
)
RENDER_MODES = ["human", "rgb_array", "ansi"]


class Batch(Protocol):
    """B running episodes of a world. ``mask`` and ``picture`` may be missing."""

    def reset(self, rows: NDArray[np.int64], rngs: Sequence[np.random.Generator]) -> None:
        """Start new episodes in ``rows`` [R]; also takes what ``check_options`` returned, [R]."""

    def step(
        self, rows: NDArray[np.int64], *decoded: Any
    ) -> tuple[NDArray[np.float64], Any | None]:
        """Act in ``rows`` [R]; decoded are what ``decode`` returned, and the generators [B].

        Return the rewards [R] and, where the step finished slots, ``rows`` [K] and ``over`` [K] of
        them and ``infos``, arrays [K, ...] by name, or dicts of such.
        """

    def observe(self, copy: bool = True) -> Observation:
        """Return the observation [B, ...]; without ``copy`` it may be overwritten later."""

    @property
    def instances(self) -> Any:
        """What is being played [B]."""


class Arguments(Protocol):
    """What a shell asks of an arguments class, a dataclass whose fields are the arguments."""

    world: ClassVar[str]
    render_modes: ClassVar[Sequence[str]]

    @property
    def render_mode(self) -> str | None:
        """How ``render`` shows it."""

    def observation_space(self) -> spaces.Space[Any]:
        """Return the space of one environment's observation."""

    def action_space(self) -> spaces.Space[Any]:
        """Return the space of one environment's action."""

    def decode(self, actions: NDArray[Any]) -> tuple[Any, ...]:
        """Return actions [R, ...] that are in their space as the batch's ``step`` takes them."""

    def check_options(self, options: Mapping[str, Any], num_envs: int) -> dict[str, Any]:
        """Return what the batch's ``reset`` takes, by name: [num_envs] each, with ``take(rows)``.

        Raises:
            ValueError: an unknown option or a bad value.
        """

    def batch(self, num_envs: int) -> Batch:
        """Return episodes that have not begun."""


@dataclasses.dataclass(frozen=True)
class EnvArguments:
    """One MEC cell, decided UE by UE.

    An episode is ``num_slots`` x N steps. The reward is minus the rise of the slot's cost, so that
    a slot's rewards sum to minus its cost.

    Args:
        scenario: a preset's name, a TOML path, a Scenario, a mapping of its fields, or any object
            with num_ues, num_servers and sample(batch_size, rng) -> Instances, which is asked anew
            for each slot.
        prompt: None draws one of the frozen prompts at each reset; a text fixes it, as do a latency
            weight and (any text, latency weight); of a list one is drawn.
        num_slots: time slots per episode; UEs move and the links change between them, tasks are
            new in each.
        render_mode: "human", "rgb_array", "ansi" or None.
        observe: "prompt" shows the text's tokens, "objective" (latency_weight, 1 - latency_weight)
            in their place.
        mask: "info" tells the mask in info["action_mask"], "observation" also as the observation's
            key action_mask.
        reward: "cost"; "relative" divides it by the cost of running the same slot all locally, so
            that all prompts have one scale; or a function (outcome, instances, objective) -> cost
            [B], whose negative is paid at a slot's last step.
        num_ues: None plays the scenario's N; (low, high) a number of UEs between them, drawn anew
            at each reset, or as many as a source samples. Observations are padded to ``high``,
            with the column `present`; nobody decides for a UE that is not there.

    Raises:
        ValueError: naming the argument, its value and what is allowed.
    """

    scenario: Source = "paper"
    prompt: Prompt | Prompts | Sequence[Prompt] | None = None
    num_slots: int = 1
    render_mode: str | None = None
    observe: str = "prompt"
    mask: str = "info"
    reward: str | Reward = "cost"
    num_ues: tuple[int, int] | None = None

    world: ClassVar[str] = "offloading"
    render_modes: ClassVar[Sequence[str]] = RENDER_MODES
    num_servers: ClassVar[int]  # M, set once checked
    shares: ClassVar[bool]  # the action allots the CPU; else the closed form does

    def __post_init__(self) -> None:
        """Check every argument."""
        check_shown(self)
        object.__setattr__(self, "scenario", _source(self.scenario))
        texts = env_prompts() if self.prompt is None else as_prompts("prompt", self.prompt)
        object.__setattr__(self, "texts", texts)
        object.__setattr__(self, "num_slots", validate.integer("num_slots", self.num_slots))
        if not callable(self.reward):
            validate.check("reward", self.reward, isinstance(self.reward, str), _REWARDS)
            validate.known(self.reward, REWARD, "reward")
        if self.num_ues is not None:
            object.__setattr__(self, "num_ues", _size_range(self.num_ues))
        object.__setattr__(self, "num_servers", self.slots().num_servers)

    @classmethod
    def fitting(cls, instances: Instances, **arguments: Any) -> EnvArguments:
        """Return arguments of the size of ``instances``; only its sizes count in the scenario."""
        capacities = (1.0,) * instances.num_servers
        return cls(Scenario(num_ues=instances.num_ues, server_cpu_hz=capacities), **arguments)

    @staticmethod
    def decision(infos: Mapping[str, Any]) -> Decision:
        """Return the decision that the infos of a finished slot tell."""
        outcome = infos["outcome"]
        there = outcome["present"][0] if "present" in outcome else slice(None)
        return Decision(outcome["place"][:, there], outcome["cpu_hz"][:, there])

    def slots(self) -> Slots:
        """Return how one slot follows another."""
        played = cast(Scenario | InstanceSource, self._played())
        return slots_of(played) if self.num_ues is None else padded_slots(played, self.num_ues)

    def _played(self) -> Any:
        return self.scenario

    def batch(self, num_envs: int) -> EpisodeBatch:
        """Return ``num_envs`` episodes that have not begun."""
        kind = EpisodeBatch if self.num_ues is None else PaddedBatch
        return kind(
            self.slots(),
            self.texts,  # type: ignore[attr-defined]
            num_envs,
            self.num_slots,
            shares=self.shares,
            objective=self.observe == "objective",
            reward=self.reward,
        )

    def observation_space(self) -> spaces.Space[Any]:
        """Return the space of one observation; entries are in their bounds in every scenario."""
        slots = self.slots()
        padded = self.num_ues is not None
        width = observation.num_static(slots.num_servers) + observation.NUM_DYNAMIC + padded
        return cell_space((slots.num_ues, width), (slots.num_servers, 2), self.observe, self.mask)

    def action_space(self) -> spaces.Space[Any]:
        """Return the space of one environment's action."""
        if self.shares:
            return spaces.Box(-1.0, 1.0, (2,), np.float32)
        return spaces.Discrete(self.slots().num_servers + 1)

    def decode(self, actions: NDArray[Any]) -> tuple[Any, Any]:
        """Return the places and, where the action allots the CPU, the shares [R]."""
        return decode_action(actions, self.num_servers) if self.shares else (actions, None)

    def check_options(self, options: Mapping[str, Any], num_envs: int) -> dict[str, Any]:
        """Return the instances and prompts [num_envs] that a reset's options ask for."""
        validate.known_keys("options", options, ["instances", "prompt"])
        checked = {
            "instances": self._instances(options.get("instances"), num_envs),
            "prompts": prompts_of_rows(options.get("prompt"), num_envs),
        }
        return {name: value for name, value in checked.items() if value is not None}

    def _instances(self, given: Any, num_envs: int) -> Instances | None:
        if given is None:
            return None
        kind = type(given).__name__
        validate.check('options["instances"]', kind, isinstance(given, Instances), "an Instances")
        size = (given.batch_size, given.num_ues, given.num_servers)
        slots = self.slots()
        low, high = self.num_ues or (slots.num_ues,) * 2
        fits = low <= given.num_ues <= high
        right = fits and size[::2] == (num_envs, slots.num_servers)
        ues = f"{high}" if low == high else f"{low} to {high}"
        allowed = f"({num_envs}, {ues}, {slots.num_servers})"
        field = 'options["instances"] (batch_size, num_ues, num_servers)'
        validate.check(field, size, right, allowed)
        validate.check(
            'num_slots with options["instances"]', self.num_slots, self.num_slots == 1, "1"
        )
        return given.to("numpy")


class JointArguments(EnvArguments):
    """``LAMBO-MEC-v0``: the action names a place and a share of what its server has left."""

    shares = True


class AssociationArguments(EnvArguments):
    """``LAMBO-MEC-Association-v0``: the action names a place; the closed form allots the CPU."""

    shares = False


@dataclasses.dataclass(frozen=True)
class DriftArguments(JointArguments):
    """``LAMBO-MEC-Drift-v0``: the joint decision in a cell that changes from slot to slot.

    Args:
        drift: a name of ``list_drifts()``; one's own as a mapping: "schedule" ("abrupt", "gradual",
            "cyclic", or a function slot -> weight in [0, 1]) with "scale" (factors by field),
            "fields" (values by field), "fails" or "disc_m"; or a ``Drift``, which brings its
            scenario; the rest as in ``EnvArguments``.
    """

    num_slots: int = drifts.NUM_SLOTS
    drift: str | Mapping[str, Any] | drifts.Drift = "capacity-abrupt"

    def __post_init__(self) -> None:
        """Check every argument."""
        if isinstance(self.drift, drifts.Drift):
            own = self.scenario in ("paper", self.drift.base)
            allowed = "that of the Drift, or left out: a Drift brings its own"
            validate.check("scenario", self.scenario, own, allowed)
            object.__setattr__(self, "scenario", self.drift.base)
        named = isinstance(self.drift, str | Mapping | drifts.Drift)
        allowed = "a name of list_drifts(), a mapping, or a Drift"
        validate.check("drift", self.drift, named, allowed)
        scenario = load_scenario(cast(Scenario, self.scenario))
        object.__setattr__(self, "drift", drifts.load_drift(self.drift, scenario))
        super().__post_init__()

    def _played(self) -> Any:
        return self.drift


def check_shown(arguments: Any) -> None:
    """Refuse an unknown way to show episodes: render_mode, observe or mask."""
    if arguments.render_mode is not None:
        validate.known(arguments.render_mode, RENDER_MODES, "render_mode")
    validate.known(arguments.observe, OBSERVE, "observe")
    validate.known(arguments.mask, MASK, "mask")


def cell_space(
    ues: tuple[int, int], servers: tuple[int, int], observe: str, mask: str
) -> spaces.Dict:
    """Return the space of observations of a cell, from the shapes of its two tables."""
    parts: dict[str, spaces.Space[Any]] = {
        "ues": spaces.Box(0.0, 1.0, ues, np.float32),
        "servers": spaces.Box(0.0, 1.0, servers, np.float32),
    }
    if observe == "objective":
        parts["objective"] = spaces.Box(0.0, 1.0, (len(OBJECTIVES),), np.float32)
    else:
        parts["prompt"] = spaces.Box(0, 127, (MAX_CHARS,), np.uint8)
    if mask == "observation":
        parts[MASK_KEY] = spaces.MultiBinary(servers[0] + 1)
    return spaces.Dict(parts)


def _source(given: Source) -> Scenario | InstanceSource:
    """Return a scenario, or the object that samples instances as it is."""
    if callable(getattr(given, "sample", None)):
        return given  # type: ignore[return-value]
    told = isinstance(given, str | os.PathLike | Mapping | Scenario)
    validate.check("scenario", given, told, _SOURCES)
    return load_scenario(given)  # type: ignore[arg-type]


def _size_range(given: Any) -> tuple[int, int]:
    """Return (low, high) numbers of UEs."""
    allowed = "None, or (low, high), integers with 1 <= low <= high"
    pair = isinstance(given, tuple | list) and len(given) == 2
    validate.check("num_ues", given, pair, allowed)
    low, high = (validate.integer("num_ues", size) for size in given)
    validate.check("num_ues", given, low <= high, allowed)
    return low, high


def prompts_of_rows(given: Any, num_envs: int) -> Prompts | None:
    """Return Prompts [num_envs] of one for all, one per row, or Prompts as they are."""
    if given is None:
        return None
    field, ready = 'options["prompt"]', isinstance(given, Prompts)
    prompts, exact = as_prompts(field, given), ready or num_envs == 1
    field = f"{field} (number of {'prompts' if ready else 'texts'})"
    allowed = f"{num_envs}" if exact else f"1, or {num_envs}, one per row"
    fits = len(prompts) == num_envs or (len(prompts) == 1 and not exact)
    validate.check(field, len(prompts), fits, allowed)
    return prompts if len(prompts) == num_envs else prompts.repeat(num_envs)
