"""What the single and the vector environments share besides the batch of episodes.

Arguments, spaces, options and actions, checked.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from lambo_env.offloading import dynamics, observation
from lambo_env.offloading.batch import EpisodeBatch
from lambo_env.offloading.instances import Instances
from lambo_env.offloading.scenario import Scenario, load_scenario
from lambo_env.offloading.slots import Slots, slots_of
from lambo_env.prompts.objectives import OBJECTIVES
from lambo_env.prompts.prompts import MAX_CHARS, Prompts, env_prompts
from lambo_env.utils import validate

Observation = dict[str, NDArray[Any]]
Source = str | os.PathLike[str] | Mapping[str, Any] | Scenario
OBSERVE = ("prompt", "objective")
RENDER_MODES = ["human", "rgb_array", "ansi"]
RENDER_FPS = 10


@dataclasses.dataclass(frozen=True)
class Setup:
    """The arguments that both environments share, checked."""

    scenario: Scenario
    texts: Prompts
    num_slots: int
    render_mode: str | None
    observe: str
    shares: bool  # the action allots the CPU; else the closed form does

    @classmethod
    def of(
        cls,
        scenario: Source,
        prompt: Any,
        num_slots: int,
        render_mode: str | None,
        observe: str,
        *,
        shares: bool,
    ) -> Setup:
        """Check the arguments of an environment.

        Raises:
            ValueError: naming the argument, its value and what is allowed.
        """
        if render_mode is not None:
            validate.known(render_mode, RENDER_MODES, "render_mode")
        return cls(
            scenario=load_scenario(scenario),
            texts=env_prompts() if prompt is None else Prompts.of(_texts("prompt", prompt)),
            num_slots=validate.integer("num_slots", num_slots),
            render_mode=render_mode,
            observe=validate.known(observe, OBSERVE, "observe"),
            shares=shares,
        )

    def batch(self, num_envs: int, slots: Slots | None = None) -> EpisodeBatch:
        """Return ``num_envs`` episodes that have not begun, on the scenario or other ``slots``."""
        objective = self.observe == "objective"
        return EpisodeBatch(
            slots_of(self.scenario) if slots is None else slots,
            self.texts,
            num_envs,
            self.num_slots,
            shares=self.shares,
            objective=objective,
        )

    def observation_space(self) -> spaces.Space[Any]:
        """Return the space of one environment's observation.

        Every entry is in its bounds in every scenario.
        """
        ues, servers = self.scenario.num_ues, self.scenario.num_servers
        width = observation.num_static(servers) + observation.NUM_DYNAMIC
        parts: dict[str, spaces.Space[Any]] = {
            "ues": spaces.Box(0.0, 1.0, (ues, width), np.float32),
            "servers": spaces.Box(0.0, 1.0, (servers, 2), np.float32),
        }
        if self.observe == "objective":
            parts["objective"] = spaces.Box(0.0, 1.0, (len(OBJECTIVES),), np.float32)
        else:
            parts["prompt"] = spaces.Box(0, 127, (MAX_CHARS,), np.uint8)
        return spaces.Dict(parts)

    def action_space(self) -> spaces.Space[Any]:
        """Return the space of one environment's action."""
        if self.shares:
            return spaces.Box(-1.0, 1.0, (2,), np.float32)
        return spaces.Discrete(self.scenario.num_servers + 1)

    def check_options(
        self, options: Mapping[str, Any] | None, num_envs: int, extra: Sequence[str] = ()
    ) -> tuple[Instances | None, Prompts | None]:
        """Return the instances and prompts [num_envs] that a reset's options ask for.

        Unknown options are errors.
        """
        options = {} if options is None else options
        validate.check("options", options, isinstance(options, Mapping), "a mapping, or None")
        validate.known_keys("options", options, ["instances", "prompt", *extra])
        return self._instances(options.get("instances"), num_envs), _prompts(
            options.get("prompt"), num_envs
        )

    def _instances(self, given: Any, num_envs: int) -> Instances | None:
        if given is None:
            return None
        kind = type(given).__name__
        validate.check('options["instances"]', kind, isinstance(given, Instances), "an Instances")
        size = (given.batch_size, given.num_ues, given.num_servers)
        want = (num_envs, self.scenario.num_ues, self.scenario.num_servers)
        validate.check(
            'options["instances"] (batch_size, num_ues, num_servers)', size, size == want, f"{want}"
        )
        validate.check(
            'num_slots with options["instances"]', self.num_slots, self.num_slots == 1, "1"
        )
        return given.to("numpy")


def _prompts(given: Any, num_envs: int) -> Prompts | None:
    """Return Prompts [num_envs] of a text for all, a text a row, or Prompts as they are."""
    if given is None:
        return None
    if isinstance(given, Prompts):
        validate.check(
            'options["prompt"] (number of prompts)',
            len(given),
            len(given) == num_envs,
            f"{num_envs}",
        )
        return given
    texts = _texts('options["prompt"]', given)
    if not isinstance(texts, str):
        allowed = "1" if num_envs == 1 else f"1, or {num_envs}, one a row"
        validate.check(
            'options["prompt"] (number of texts)', len(texts), len(texts) in (1, num_envs), allowed
        )
    return Prompts.of(texts, num_envs)


def _texts(field: str, given: Any) -> str | Sequence[str]:
    """Return one text or several; what they mean is not looked at yet."""
    if isinstance(given, np.ndarray) and given.ndim == 1:
        given = given.tolist()
    several = (
        isinstance(given, Sequence) and not isinstance(given, bytes | bytearray) and len(given) > 0
    )
    validate.check(
        field, given, isinstance(given, str) or several, "a str or a sequence of at least one str"
    )
    return given


def as_array(value: Any) -> NDArray[Any]:
    """Return ``value`` as an array.

    One of objects, which no space holds, where it cannot be one.
    """
    try:
        return np.asarray(value)
    except (TypeError, ValueError):  # lists of unequal lengths
        return np.asarray(None)


def checked_place(action: Any, num_places: int) -> int:
    """Return a Discrete action as an int.

    Raises:
        ValueError: anything but an integer in 0..M.
    """
    array = as_array(action)
    ok = array.dtype.kind in "iu" and array.shape == () and 0 <= array < num_places
    validate.check("action", action, bool(ok), f"an integer in 0..{num_places - 1}")
    return int(array)


def checked_pair(action: Any) -> dynamics.Floats:
    """Return a joint action as float64 [2].

    Raises:
        ValueError: anything but two numbers in [-1, 1]; NaN is refused.
    """
    array = as_array(action)
    ok = array.shape == (2,) and array.dtype.kind in "fiu"
    if ok:
        first, second = array.tolist()
        ok = -1 <= first <= 1 and -1 <= second <= 1
    validate.check("action", action, ok, "two numbers in [-1, 1]")
    return array.astype(np.float64)


def checked_places(
    actions: Any, rows: dynamics.Ints, num_envs: int, num_places: int
) -> dynamics.Ints:
    """Return the Discrete actions of the acting ``rows``, int64 [R].

    What the other rows hold is ignored.

    Raises:
        ValueError: anything but integers in 0..M, one a row.
    """
    array = as_array(actions)
    ok = array.shape == (num_envs,) and array.dtype.kind in "iu"
    if ok:
        array = array if rows.size == num_envs else array[rows]
        array = array.astype(np.int64)
        ok = (
            np.count_nonzero(array.view(np.uint64) >= num_places) == 0
        )  # as unsigned, what is negative is huge
    validate.check(
        "actions", actions, ok, f"integers in 0..{num_places - 1} of shape ({num_envs},)"
    )
    return array


def checked_pairs(actions: Any, rows: dynamics.Ints, num_envs: int) -> NDArray[Any]:
    """Return the joint actions of the acting ``rows`` [R, 2]; what the other rows hold is ignored.

    Raises:
        ValueError: anything but numbers in [-1, 1], two a row; NaN is refused.
    """
    array = as_array(actions)
    ok = array.shape == (num_envs, 2) and array.dtype.kind in "fiu"
    if ok:
        array = array if rows.size == num_envs else array[rows]
        ok = rows.size == 0 or bool(array.min() >= -1 and array.max() <= 1)  # NaN fails
    validate.check("actions", actions, ok, f"numbers in [-1, 1] of shape ({num_envs}, 2)")
    return array
