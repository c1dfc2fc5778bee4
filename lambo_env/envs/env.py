"""The single environment of every world: a batch of one running episode.

``gym.make`` finds the id ``LAMBO-MEC-v0`` as ``lambo_env.envs.env:LAMBO-MEC-v0``: the attributes of
this module are the registered ids.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from numpy.typing import NDArray

from lambo_env import registration
from lambo_env.envs.actions import ActionCheck
from lambo_env.envs.arguments import Arguments, Observation
from lambo_env.envs.shell import Shell
from lambo_env.rendering.renderer import Renderer
from lambo_env.utils import validate


def __getattr__(name: str) -> Any:
    """Return what makes the environment of an id: ``gym.make`` asks for it by this name."""
    return functools.partial(make, registration.row_of(__name__, name))


def make(row: registration.Environment, **arguments: Any) -> WorldEnv:
    """Return the environment of a row of the registry."""
    return WorldEnv(row.arguments_class()(**{**row.kwargs, **arguments}))


class WorldEnv(Shell, gym.Env[Observation, Any]):
    """One environment of any world.

    Args:
        arguments: of its world; their fields are attributes of the environment too.
    """

    def __init__(self, arguments: Arguments) -> None:
        """Lay out the spaces; nothing is drawn before ``reset``."""
        super().__init__(arguments, 1)
        self.observation_space = arguments.observation_space()
        self.action_space = arguments.action_space()
        self._actions = ActionCheck(self.action_space)
        self._row = np.arange(1)
        self._mask: NDArray[np.bool_] | None = None

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: of the generator; None goes on with the present one.
            options: what this episode plays, such as "prompt" (a text or Prompts of one) and
                "instances" (a batch of one, for num_slots 1).

        Raises:
            ValueError: a bad seed, an unknown option or a bad value; the episode under way stays as
                it is.
        """
        given = self.arguments.check_options(checked_options(options), 1)
        before = self._np_random, self._np_random_seed
        if seed is not None:
            self._np_random, self._np_random_seed = seeding.np_random(
                validate.integer("seed", seed, low=0)
            )
        try:
            self._batch.reset(self._row, [self.np_random], **given)
        except Exception:
            self._np_random, self._np_random_seed = before
            raise
        self._playing = True
        return self._seen({})

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Play one action.

        Raises:
            ValueError: an action outside the space; the state stays as it is.
            ResetNeeded: before ``reset`` or after the end.
        """
        decoded = self._decoded(action)
        if not self._playing:
            raise ResetNeeded("step() needs a running episode; call reset() first")
        reward, finished = self._batch.step(self._row, *decoded, [self.np_random])
        info: dict[str, Any] = {}
        if finished is not None:
            self._playing = not finished.over[0]
            info = first_row(finished.infos)
        observation, info = self._seen(info)
        return observation, float(reward[0]), not self._playing, False, info

    def _decoded(self, action: Any) -> tuple[Any, ...]:
        return self.arguments.decode(self._actions.one(action))

    def _seen(self, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Return the observation and ``info`` with the mask; show the window in human mode."""
        if hasattr(self._batch, "mask"):
            self._mask = self._batch.mask()[0]
            info["action_mask"] = self._mask.astype(np.int8)  # what Discrete.sample(mask=) takes
        if self.render_mode == "human":
            self.render()
        return first_row(self._observe()), info

    @property
    def instances(self) -> Any:
        """What is being played, a batch of one."""
        played = super().instances
        return played[0] if isinstance(played, tuple) else played

    def action_masks(self) -> NDArray[np.bool_] | None:
        """Return which actions can still do their task in time, or None where nothing is masked.

        In a cell: the places that can still meet the current UE's deadline, bool [M + 1]; local
        alone where none can.
        """
        self._started()
        return None if self._mask is None else self._mask.copy()

    def frame(self) -> Any:
        """Return everything that a picture of this moment shows."""
        return registration.frame_of(self.arguments.world, self._started(), 0)

    def render(self) -> Any:
        """Return the picture or text of this moment, or show it, as ``render_mode`` says.

        None without one.
        """
        if self.render_mode is None:
            gym.logger.warn("render() does nothing without a render_mode, such as 'rgb_array'")
            return None
        frame = self.frame()
        if self._renderer is None:
            self._renderer = Renderer(self.render_mode, self.metadata["render_fps"])
        return self._renderer.render(frame)

    def close(self) -> None:
        """Close the window, if there is one."""
        self.close_extras()


def checked_options(options: Any) -> Mapping[str, Any]:
    """Return the options of a reset, none where None."""
    options = {} if options is None else options
    validate.check("options", options, isinstance(options, Mapping), "a mapping, or None")
    return options


def first_row(values: Any) -> Any:
    """Return the first entry of an array [B, ...] or of each in a dict of them."""
    if isinstance(values, dict):
        return {name: first_row(value) for name, value in values.items()}
    return values[0]
