"""B running episodes of the WPMEC network: each plays its frames in order, one per step.

Row i is bit for bit the batch of one with its generator: a frame is solved as if it were alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambo_env.utils.rows import Finished
from lambo_env.wpmec import physics
from lambo_env.wpmec.instances import Floats, Frames, generate

GAIN_SCALE = 1e6  # of the observation, as DROO scales its input; a gain of 1 is its upper bound
REWARD_SCALE = 1e-6  # bit/s to Mbit/s
Ints = NDArray[np.int64]


class FrameBatch:
    """The state of B episodes.

    Args:
        given: the frames that every episode plays; None: generated at each reset.
        num_devices: N.
        num_frames: frames per episode.
        num_envs: B.
    """

    def __init__(
        self, given: Frames | None, num_devices: int, num_frames: int, num_envs: int
    ) -> None:
        self.given, self.num_devices, self.num_frames = given, num_devices, num_frames
        self.frames = np.full(num_envs, None, dtype=object)  # Frames of each row's episode
        self.at = np.zeros(num_envs, dtype=np.int64)  # the frame that each row is at
        self._seen = np.zeros((num_envs, num_devices), dtype=np.float32)

    @property
    def instances(self) -> Frames:
        """The frame that each row plays, or has played last [B]."""
        return self._current(np.arange(self.at.size))

    def reset(
        self,
        rows: Ints,
        rngs: Sequence[np.random.Generator],
        frames: NDArray[np.object_] | None = None,
    ) -> None:
        """Start new episodes in ``rows``; ``frames`` [R] replace what they would play."""
        for k, row in enumerate(rows.tolist()):
            if frames is not None:
                self.frames[row] = frames[k]
            elif self.given is not None:
                self.frames[row] = self.given.take(slice(0, self.num_frames))
            else:
                self.frames[row] = generate(self.num_devices, self.num_frames, rngs[row])
        self.at[rows] = 0
        self._show(rows)

    def step(
        self, rows: Ints, mode: NDArray[Any], rngs: Sequence[np.random.Generator]
    ) -> tuple[Floats, Finished]:
        """Play the modes [R, N] of one frame in each of ``rows``; return the rewards [R]."""
        solved = physics.allocate(self._current(rows), mode, alone=True)
        infos = {name: getattr(solved, name) for name in _INFOS}
        self.at[rows] += 1
        over = self.at[rows] == [len(self.frames[row]) for row in rows.tolist()]
        self._show(rows[~over])
        return solved.rate_bps * REWARD_SCALE, Finished(rows, over, infos)

    def observe(self, copy: bool = True) -> NDArray[np.float32]:
        """Return the gains x 1e6 of the rows' frames [B, N]; the last ones after the end."""
        return self._seen.copy() if copy else self._seen

    def picture(self, row: int) -> dict[str, Any]:
        """Return what a picture of one row shows."""
        frames = self.frames[row]
        at = min(int(self.at[row]), len(frames) - 1)
        return {"frame": f"{at + 1} of {len(frames)}", "gain x 1e6": frames.gain[at] * GAIN_SCALE}

    def _current(self, rows: Ints) -> Frames:
        played = [self.frames[row] for row in rows.tolist()]
        last = [min(self.at[row], len(self.frames[row]) - 1) for row in rows.tolist()]
        gain = np.stack([frames.gain[at] for frames, at in zip(played, last, strict=True)])
        return Frames(gain, played[0].weight)

    def _show(self, rows: Ints) -> None:
        if rows.size:
            self._seen[rows] = self._current(rows).gain * GAIN_SCALE


_INFOS = ("rate_bps", "harvest_share", "time_share")
