"""``LAMBO-WPMEC-v0``: one frame a step, the modes are the action, the shares are solved to optimum inside."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from lambo_env import validate
from lambo_env.data.droo import load_droo
from lambo_env.setup import as_array
from lambo_env.wpmec import physics
from lambo_env.wpmec.frames import Frames, generate

GAIN_SCALE = 1e6  # of the observation, as DROO scales its input; a gain of 1 is its upper bound
REWARD_SCALE = 1e-6  # bit/s to Mbit/s
GENERATED_FRAMES = 1000  # of an episode without given frames


class WpmecEnv(gym.Env[NDArray[np.float32], Any]):
    """Binary offloading in a wireless powered network: choose each frame which of N devices offload.

    Observation: Box [N], this frame's power gains x 1e6. Action: MultiBinary(N), 1 offloads. Reward: the weighted sum rate of the
    modes under their optimal shares, in Mbit/s. The episode terminates after its last frame, whose gains are its last observation.
    info of a step: rate_bps, harvest_share, time_share [N].

    Args:
        frames: Frames, or the path of one of DROO's .mat files; an episode plays them in order. None: generated at each reset.
        num_devices: N; needed with generated frames alone (10 if not given), checked against given ones.
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
        validate.check("render_mode", render_mode, render_mode is None, "None: this environment draws nothing")
        if num_devices is not None:
            validate.integer("num_devices", num_devices)
        if frames is not None and not isinstance(frames, Frames):
            named = isinstance(frames, str | os.PathLike)
            validate.check("frames", frames, named, "Frames, the path of a .mat file, or None")
            frames = Frames(load_droo(frames).gain)
        self._given = frames
        self.num_devices = frames.num_devices if frames is not None else num_devices or 10
        if frames is not None:
            self._check_devices("frames", frames, num_devices or self.num_devices)
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

    @staticmethod
    def _check_devices(field: str, frames: Frames, num_devices: int) -> None:
        validate.check(f"{field}.num_devices", frames.num_devices, frames.num_devices == num_devices, f"{num_devices}")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode; ``options={"frames": Frames}`` plays these, all of them, this once; what is refused changes nothing."""
        options = {} if options is None else options
        validate.check("options", options, isinstance(options, Mapping), "a mapping, or None")
        validate.known_keys("options", options, ["frames"])
        seed = None if seed is None else validate.integer("seed", seed, low=0)
        frames = options.get("frames")
        if frames is not None:
            validate.check(
                "options.frames", type(frames).__name__, isinstance(frames, Frames), "lambo_env.wpmec Frames"
            )
            self._check_devices("options.frames", frames, self.num_devices)
        super().reset(seed=seed)
        if frames is None and self._given is not None:
            frames = self._given.take(slice(0, self.num_frames))
        elif frames is None:
            frames = generate(self.num_devices, self.num_frames, self.np_random)
        self.frames, self._row = frames, 0
        return self._observe(0), {}

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Play the modes of one frame; a bad action is refused and changes nothing."""
        if self.frames is None or self._row >= len(self.frames):
            raise gym.error.ResetNeeded("step() needs an episode in progress: call reset() first")
        mode = as_array(action)
        fits = mode.shape == (self.num_devices,)
        validate.check("action.shape", mode.shape, fits, f"({self.num_devices},)")
        frame = self.frames.take([self._row])
        result = physics.allocate(frame, physics.check_mode(frame, mode[None], "action"))
        rate = float(result.rate_bps[0])
        self._row += 1
        info = {
            "rate_bps": rate,
            "harvest_share": float(result.harvest_share[0]),
            "time_share": result.time_share[0],
        }
        last = len(self.frames) - 1
        return self._observe(min(self._row, last)), rate * REWARD_SCALE, self._row > last, False, info

    def _observe(self, row: int) -> NDArray[np.float32]:
        assert self.frames is not None
        return (self.frames.gain[row] * GAIN_SCALE).astype(np.float32)
