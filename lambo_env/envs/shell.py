"""What the single and the vector environment of every world have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded

from lambo_env import registration
from lambo_env.envs.arguments import MASK_KEY, Arguments, Observation
from lambo_env.rendering.renderer import FPS, Renderer


class Shell:
    """Around a batch of running episodes of any world.

    Args:
        arguments: of its world; their fields are attributes of the environment too.
        num_envs: B.
    """

    _renderer: Renderer | None = None  # also of one whose construction failed, which closes too

    def __init__(self, arguments: Arguments, num_envs: int) -> None:
        """Lay out the batch; nothing is drawn before ``reset``."""
        vars(self).update(vars(arguments))
        self.arguments = arguments
        modes = list(arguments.render_modes)
        self.metadata: dict[str, Any] = {"render_modes": modes, "render_fps": FPS}
        self._batch: Any = arguments.batch(num_envs)
        self._shows_mask = getattr(arguments, "mask", None) == "observation"
        self._playing: bool | None = None  # None: not reset yet

    @property
    def prompts(self) -> Any:
        """The prompts of the episodes [B]."""
        return self._started().prompts

    @property
    def instances(self) -> Any:
        """What is being played [B]; where N varies B batches of one."""
        return self._started().instances

    def local_cost(self) -> Any:
        """Return what running everything under way locally costs [B]: relative rewards' unit."""
        batch = self._started()
        if hasattr(batch, "local_cost"):  # where N varies
            return batch.local_cost()
        return registration.WORLDS[self.arguments.world].get("local_cost")(
            batch.instances, batch.prompts
        )

    def _observe(self, copy: bool = True) -> Observation:
        """Return what the batch shows [B, ...], the masks with it where they are asked for."""
        seen = self._batch.observe(copy)
        return {**seen, MASK_KEY: self._batch.mask().view(np.int8)} if self._shows_mask else seen

    def close_extras(self, **kwargs: Any) -> None:
        """Close the window, if there is one."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _started(self) -> Any:
        """Return the batch once an episode has begun."""
        if self._playing is None:
            raise ResetNeeded("no episode has begun; call reset() first")
        return self._batch
