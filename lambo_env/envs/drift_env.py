"""``LAMBO-MEC-Drift-v0``: ``LAMBO-MEC-v0`` in a world that changes under way.

Slots as in ``drift.stream``.
"""

from __future__ import annotations

from collections.abc import Sequence

from gymnasium.vector import AutoresetMode

from lambo_env.envs.arguments import Source
from lambo_env.envs.env import JointEnv
from lambo_env.envs.vector_env import JointVectorEnv
from lambo_env.offloading import drift as drifts

DEFAULT = "capacity-abrupt"


class DriftEnv(JointEnv):
    """One cell that drifts; an episode is ``num_slots`` x N steps.

    Args:
        drift: a name of ``list_drifts()``.
        scenario: what drifts; this and the rest as in LAMBO-MEC-v0.
        prompt: drawn, fixed, or drawn from a list.
        num_slots: time slots an episode.
        render_mode: "human", "rgb_array", "ansi" or None.
        observe: "prompt" or "objective".

    Raises:
        ValueError: naming the argument, its value and what is allowed.
    """

    def __init__(
        self,
        drift: str = DEFAULT,
        scenario: Source = "paper",
        prompt: str | Sequence[str] | None = None,
        num_slots: int = drifts.NUM_SLOTS,
        render_mode: str | None = None,
        observe: str = "prompt",
    ) -> None:
        """Check the arguments and lay out the spaces; nothing is drawn before ``reset``."""
        super().__init__(scenario, prompt, num_slots, render_mode, observe)
        self.drift = drifts.load_drift(drift, self.scenario)
        self._batch = self._setup.batch(1, self.drift)


class DriftVectorEnv(JointVectorEnv):
    """``num_envs`` cells that drift, each on its own draws.

    Args:
        num_envs: B.
        drift: a name of ``list_drifts()``; the rest as in LAMBO-MEC-v0.
        scenario: what drifts.
        prompt: drawn for each row on its own.
        num_slots: time slots an episode.
        render_mode: as in the single environment, like ``observe``.
        observe: "prompt" or "objective".
        autoreset_mode: "NextStep", "SameStep" or "Disabled".
        copy: False hands out the observation buffers.

    Raises:
        ValueError: naming the argument, its value and what is allowed.
    """

    def __init__(
        self,
        num_envs: int = 1,
        drift: str = DEFAULT,
        scenario: Source = "paper",
        prompt: str | Sequence[str] | None = None,
        num_slots: int = drifts.NUM_SLOTS,
        render_mode: str | None = None,
        observe: str = "prompt",
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        copy: bool = True,
    ) -> None:
        """Check the arguments and lay out the spaces; nothing is drawn before ``reset``."""
        super().__init__(
            num_envs, scenario, prompt, num_slots, render_mode, observe, autoreset_mode, copy
        )
        self.drift = drifts.load_drift(drift, self.scenario)
        self._batch = self._setup.batch(self.num_envs, self.drift)
