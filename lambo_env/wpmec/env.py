"""``LAMBO-WPMEC-v0``.

One frame a step, the modes are the action, the shares are solved to optimum inside.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from lambo_env.datasets.droo import load_droo
from lambo_env.envs.arguments import as_array
from lambo_env.utils import validate
from lambo_env.wpmec import physics
from lambo_env.wpmec.instances import Frames, generate

GAIN_SCALE = 1e6  # of the observation, as DROO scales its input; a gain of 1 is its upper bound
REWARD_SCALE = 1e-6  # bit/s to Mbit/s
GENERATED_DEVICES, GENERATED_FRAMES = 10, 1000  # of an episode without given frames


class WpmecEnv(gym.Env[NDArray[np.float32], Any]):
    """Binary offloading in a wireless powered network.

    Choose each frame which of N devices offload.

    Observation: Box [N], this frame's power gains x 1e6. Action: MultiBinary(N), 1 offloads.
        Reward: the weighted sum rate of the
    modes under their optimal shares, in Mbit/s. The episode terminates after its last frame, whose
    gains are its last observation. info of a step: rate_bps, harvest_share, time_share [N].

    Args:
        frames: Frames, or the path of one of DROO's .mat files; an episode plays them in order.
            None: generated at each reset.
        num_devices: N; needed with generated frames alone (10 if not given), checked against given
            ones.
        num_frames: frames an episode; None: all given ones, or 1,000 generated.
        render_mode: none is offered.

    Raises:
        ValueError: frames of another N, more frames asked for than there are, or a bad value.
    """

    metadata: dict[str, Any] = {"render_modes": [], "render_fps": 4}  # noqa: RUF012 - Gymnasium's own declaration

    def __init__(
        self,
        frames: Frames | str | os.PathLike[str] | None = None,
        num_devices: int | None = None,
        num_frames: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        validate.check(
            "render_mode", render_mode, render_mode is None, "None: this environment draws nothing"
        )
        if num_devices is not None:
            validate.integer("num_devices", num_devices)
        self._given = _loaded(frames)
        if self._given is None:
            self.num_devices = num_devices or GENERATED_DEVICES
        else:
            self.num_devices = num_devices or self._given.num_devices
            self._check_devices("frames", self._given)
        self.num_frames = self._count(num_frames)
        self.observation_space = gym.spaces.Box(0.0, GAIN_SCALE, (self.num_devices,), np.float32)
        self.action_space = gym.spaces.MultiBinary(self.num_devices)
        self.frames: Frames | None = None  # of the episode
        self._row = 0

    def _count(self, num_frames: int | None) -> int:
        most = GENERATED_FRAMES if self._given is None else len(self._given)
        if num_frames is None:
            return most
        validate.integer("num_frames", num_frames)
        enough = self._given is None or num_frames <= most
        validate.check("num_frames", num_frames, enough, f"at most {most}, the frames given")
        return num_frames

    def _check_devices(self, field: str, frames: Frames) -> None:
        fits = frames.num_devices == self.num_devices
        validate.check(f"{field}.num_devices", frames.num_devices, fits, f"{self.num_devices}")

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode.

        Args:
            seed: of the generator; None goes on with the present one.
            options: "frames" plays these Frames, all of them, this once.

        Raises:
            ValueError: a bad seed, an unknown option or a bad value; the episode under way stays as
                it is.
        """
        asked = self._asked(options)
        super().reset(seed=None if seed is None else validate.integer("seed", seed, low=0))
        if asked is not None:
            self.frames = asked
        elif self._given is not None:
            self.frames = self._given.take(slice(0, self.num_frames))
        else:
            self.frames = generate(self.num_devices, self.num_frames, self.np_random)
        self._row = 0
        return self._observe(0), {}

    def _asked(self, options: Mapping[str, Any] | None) -> Frames | None:
        """Return the frames that a reset's options ask for."""
        options = {} if options is None else options
        validate.check("options", options, isinstance(options, Mapping), "a mapping, or None")
        validate.known_keys("options", options, ["frames"])
        frames = options.get("frames")
        if frames is not None:
            kind = type(frames).__name__
            validate.check(
                "options.frames", kind, isinstance(frames, Frames), "lambo_env.wpmec Frames"
            )
            self._check_devices("options.frames", frames)
        return frames

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Play the modes of one frame.

        Raises:
            ValueError: an action outside the space; the state stays as it is.
            ResetNeeded: before ``reset`` or after the end.
        """
        if self.frames is None or self._row == len(self.frames):
            raise gym.error.ResetNeeded("step() needs a running episode; call reset() first")
        mode, frame = as_array(action), self.frames.take([self._row])
        validate.check(
            "action.shape", mode.shape, mode.shape == (self.num_devices,), f"({self.num_devices},)"
        )
        result = physics.allocate(frame, physics.check_mode(frame, mode[None], "action"))
        rate = float(result.rate_bps[0])
        self._row += 1
        over = self._row == len(self.frames)
        info = {
            "rate_bps": rate,
            "harvest_share": float(result.harvest_share[0]),
            "time_share": result.time_share[0],
        }
        return self._observe(self._row - over), rate * REWARD_SCALE, over, False, info

    def _observe(self, row: int) -> NDArray[np.float32]:
        assert self.frames is not None
        return (self.frames.gain[row] * GAIN_SCALE).astype(np.float32)


def _loaded(frames: Frames | str | os.PathLike[str] | None) -> Frames | None:
    """Return given frames as they are, or those of a file."""
    if frames is None or isinstance(frames, Frames):
        return frames
    validate.check(
        "frames",
        frames,
        isinstance(frames, str | os.PathLike),
        "Frames, the path of a .mat file, or None",
    )
    return Frames(load_droo(frames).gain)
