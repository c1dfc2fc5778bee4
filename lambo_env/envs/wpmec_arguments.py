"""Arguments of ``LAMBO-WPMEC-v0``."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from lambo_env.datasets.droo import load_droo
from lambo_env.offloading.instances import Decision
from lambo_env.utils import validate
from lambo_env.wpmec.batch import GAIN_SCALE, FrameBatch
from lambo_env.wpmec.instances import Frames

GENERATED_DEVICES, GENERATED_FRAMES = 10, 1000  # of an episode without given frames


@dataclasses.dataclass(frozen=True)
class WpmecArguments:
    """Binary offloading in a wireless powered network: which of N devices offload in each frame.

    Observation: Box [N], this frame's power gains x 1e6. Action: MultiBinary(N), 1 offloads.
    Reward: the weighted sum rate of the modes under their optimal shares, in Mbit/s. The episode
    terminates after its last frame, whose gains are its last observation. info of a step: rate_bps,
    harvest_share, time_share [N].

    Args:
        frames: Frames, or the path of one of DROO's .mat files; an episode plays them in order.
            None: generated at each reset.
        num_devices: N; needed with generated frames alone (10 if not given), checked against given
            ones.
        num_frames: frames per episode; None: all given ones, or 1,000 generated.
        render_mode: none is offered.

    Raises:
        ValueError: frames of another N, more frames asked for than there are, or a bad value.
    """

    frames: Frames | str | os.PathLike[str] | None = None
    num_devices: int | None = None
    num_frames: int | None = None
    render_mode: str | None = None

    world: ClassVar[str] = "wpmec"
    render_modes: ClassVar[Sequence[str]] = ()

    def __post_init__(self) -> None:
        """Check every argument, and read the file."""
        allowed = "None: this environment draws nothing"
        validate.check("render_mode", self.render_mode, self.render_mode is None, allowed)
        if self.num_devices is not None:
            validate.integer("num_devices", self.num_devices)
        frames = _loaded(self.frames)
        known = GENERATED_DEVICES if frames is None else frames.num_devices
        most = GENERATED_FRAMES if frames is None else len(frames)
        object.__setattr__(self, "frames", frames)
        object.__setattr__(self, "num_devices", self.num_devices or known)
        if frames is not None:
            self._check_devices("frames", frames)
        count = most if self.num_frames is None else validate.integer("num_frames", self.num_frames)
        enough = frames is None or count <= most
        validate.check("num_frames", count, enough, f"at most {most}, the frames given")
        object.__setattr__(self, "num_frames", count)

    @classmethod
    def fitting(cls, instances: Frames, **arguments: Any) -> WpmecArguments:
        """Return arguments of the size of ``instances``, one frame per episode."""
        return cls(num_devices=instances.num_devices, num_frames=1, **arguments)

    @staticmethod
    def decision(infos: Mapping[str, Any]) -> Decision:
        """Return the modes that the infos of a finished frame tell, as places: 1 is offloaded."""
        place = (infos["time_share"] > 0).astype(np.int64)
        return Decision(place, np.zeros(place.shape))

    def observation_space(self) -> spaces.Space[Any]:
        """Return the space of one environment's observation."""
        return spaces.Box(0.0, GAIN_SCALE, (self.num_devices or 0,), np.float32)

    def action_space(self) -> spaces.Space[Any]:
        """Return the space of one environment's action."""
        return spaces.MultiBinary(self.num_devices or 0)

    def decode(self, actions: NDArray[Any]) -> tuple[Any]:
        """Return the modes [R, N]."""
        return (actions.astype(bool),)

    def batch(self, num_envs: int) -> FrameBatch:
        """Return ``num_envs`` episodes that have not begun."""
        given: Any = self.frames
        return FrameBatch(given, self.num_devices or 0, self.num_frames or 0, num_envs)

    def check_options(self, options: Mapping[str, Any], num_envs: int) -> dict[str, Any]:
        """Return the frames of each row that a reset's options ask for.

        "frames": all of them in every row; "instances": one in each row.
        """
        validate.known_keys("options", options, ["frames", "instances"])
        out: dict[str, Any] = {}
        for name, frames in options.items():
            kind, is_frames = type(frames).__name__, isinstance(frames, Frames)
            validate.check(f"options.{name}", kind, is_frames, "lambo_env.wpmec Frames")
            self._check_devices(f"options.{name}", frames)
            out["frames"] = np.full(num_envs, frames, dtype=object)
            if name == "instances":
                size = len(frames)
                validate.check("options.instances (frames)", size, size == num_envs, f"{num_envs}")
                for row in range(num_envs):
                    out["frames"][row] = frames.take([row])
        return out

    def _check_devices(self, field: str, frames: Frames) -> None:
        fits = frames.num_devices == self.num_devices
        validate.check(f"{field}.num_devices", frames.num_devices, fits, f"{self.num_devices}")


def _loaded(frames: Any) -> Frames | None:
    """Return given frames as they are, or those of a file."""
    if frames is None or isinstance(frames, Frames):
        return frames
    allowed = "Frames, the path of a .mat file, or None"
    validate.check("frames", frames, isinstance(frames, str | os.PathLike), allowed)
    return Frames(load_droo(frames).gain)
