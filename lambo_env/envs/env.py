"""``LAMBO-MEC-v0`` and ``LAMBO-MEC-Association-v0``, one environment at a time.

The batch of the vector environment with B = 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from numpy.typing import NDArray

from lambo_env.envs.arguments import (
    RENDER_FPS,
    RENDER_MODES,
    Observation,
    Setup,
    Source,
    checked_pair,
    checked_place,
)
from lambo_env.offloading import dynamics
from lambo_env.offloading.instances import Instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.rendering.frame import Frame
from lambo_env.utils import validate


class OffloadingEnv(gym.Env[Observation, Any]):
    """One MEC cell, decided UE by UE.

    The two registered environments differ in who allots the servers' CPU.

    An episode is ``num_slots`` x N steps. The reward is minus the rise of the slot's cost, so that
    a slot's rewards sum to minus its cost.

    Args:
        scenario: a preset's name, a TOML path, a Scenario, or a mapping of its fields.
        prompt: None draws a training phrase at each reset; a str fixes it; a list is drawn from.
        num_slots: time slots an episode; UEs move and the links change between them, tasks are new
            in each.
        render_mode: "human", "rgb_array", "ansi" or None.
        observe: "prompt" shows the text's tokens, "objective" (latency_weight, 1 - latency_weight)
            in their place.

    Raises:
        ValueError: naming the argument, its value and what is allowed.
    """

    metadata = {"render_modes": RENDER_MODES, "render_fps": RENDER_FPS}  # noqa: RUF012
    _shares: bool

    def __init__(
        self,
        scenario: Source = "paper",
        prompt: str | Sequence[str] | None = None,
        num_slots: int = 1,
        render_mode: str | None = None,
        observe: str = "prompt",
    ) -> None:
        """Check the arguments and lay out the spaces; nothing is drawn before ``reset``."""
        self._setup = Setup.of(
            scenario, prompt, num_slots, render_mode, observe, shares=self._shares
        )
        self.render_mode = render_mode
        self.scenario, self.num_slots = self._setup.scenario, self._setup.num_slots
        self.observation_space = self._setup.observation_space()
        self.action_space = self._setup.action_space()
        self._batch = self._setup.batch(1)
        self._row = np.arange(1)
        self._playing: bool | None = None  # None: not reset yet
        self._mask = np.zeros(0, dtype=bool)
        self._renderer: Any = None

    @property
    def prompts(self) -> Prompts:
        """The prompt of this episode, a batch of one."""
        self._check_started()
        return self._batch.prompts

    @property
    def instances(self) -> Instances:
        """The slot being played, a batch of one."""
        self._check_started()
        return self._batch.instances

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: of the generator; None goes on with the present one.
            options: "prompt" (a text or Prompts of one) and "instances" (a batch of one, for
                num_slots 1) for this episode.

        Raises:
            ValueError: a bad seed, an unknown option or a bad value; the episode under way stays as
                it is.
        """
        instances, prompts = self._setup.check_options(options, 1)
        if seed is not None:
            self._np_random, self._np_random_seed = seeding.np_random(
                validate.integer("seed", seed, low=0)
            )
        self._batch.reset(self._row, [self.np_random], instances, prompts)
        self._playing = True
        return self._seen({})

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Decide the current UE.

        Raises:
            ValueError: an action outside the space; the state stays as it is.
            ResetNeeded: before ``reset`` or after the end.
        """
        place, share = self._decoded(action)
        if not self._playing:
            raise ResetNeeded("step() needs a running episode; call reset() first")
        reward, finished = self._batch.step(self._row, place, share, [self.np_random])
        info: dict[str, Any] = {}
        if finished is not None:
            self._playing = not finished.over[0]
            info["outcome"] = {name: array[0] for name, array in finished.outcome.items()}
        seen, info = self._seen(info)
        return seen, float(reward[0]), not self._playing, False, info

    def _decoded(self, action: Any) -> tuple[dynamics.Ints, dynamics.Floats | None]:
        raise NotImplementedError

    def _seen(self, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Return the observation and ``info`` with the mask; show the window in human mode."""
        self._mask = self._batch.mask()[0]
        info["action_mask"] = self._mask.astype(
            np.int8
        )  # Discrete.sample(mask=...) takes no other type
        if self.render_mode == "human":
            self.render()
        return {name: array[0] for name, array in self._batch.observe().items()}, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Return which places can still meet the current UE's deadline, bool [M + 1].

        Local alone where none can.
        """
        self._check_started()
        return self._mask.copy()

    def frame(self) -> Frame:
        """Return everything that a picture of this moment shows."""
        self._check_started()
        return Frame.of(**self._batch.picture(0))

    def render(self) -> Any:
        """Return the picture or text of this moment, or show it, as ``render_mode`` says.

        None without one.
        """
        if self.render_mode is None:
            gym.logger.warn(
                'render() does nothing without a render_mode; for example gym.make(..., render_mode="rgb_array")'
            )
            return None
        self._check_started()
        if self._renderer is None:
            from lambo_env.rendering import (
                renderer as render,  # pictures need the extra "render"; playing does not
            )

            self._renderer = render.Renderer(self.render_mode, self.metadata["render_fps"])
        return self._renderer.render(self.frame())

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _check_started(self) -> None:
        if self._playing is None:
            raise ResetNeeded("no episode has begun; call reset() first")


class JointEnv(OffloadingEnv):
    """``LAMBO-MEC-v0``.

    The action Box(-1, 1, (2,)) names a place and a share of the CPU that its server has left.
    """

    _shares = True

    def _decoded(self, action: Any) -> tuple[dynamics.Ints, dynamics.Floats]:
        return dynamics.decode_action(checked_pair(action)[None], self.scenario.num_servers)


class AssociationEnv(OffloadingEnv):
    """``LAMBO-MEC-Association-v0``: the action Discrete(M + 1) names a place.

    The closed form allots the CPU.
    """

    _shares = False

    def _decoded(self, action: Any) -> tuple[dynamics.Ints, None]:
        return np.asarray([checked_place(action, self.scenario.num_servers + 1)]), None
