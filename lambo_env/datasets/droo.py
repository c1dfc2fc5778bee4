"""DROO's frames with their optima (Huang, Bi, Zhang, IEEE TMC 2020.

Data/data_N.mat of github.com/revenol/DROO).
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambo_env.datasets.matlab import check_each, check_numbers, read_mat
from lambo_env.offloading.instances import Decision
from lambo_env.utils import validate
from lambo_env.wpmec.instances import Frames

Floats = NDArray[np.float64]

_NAMES = ("input_h", "output_mode", "output_a", "output_tau", "output_obj")


@dataclasses.dataclass(frozen=True)
class DrooData:
    """The file's arrays: B frames, N devices."""

    gain: Floats  # [B, N] power gains, dimensionless
    mode: NDArray[
        np.bool_
    ]  # [B, N] true where offloaded: the optimum by enumeration up to N = 10, a good one above
    harvest_share: Floats  # [B] a
    time_share: Floats  # [B, N] tau
    rate_bps: Floats  # [B] weighted sum rate of mode

    def __len__(self) -> int:
        """Return B."""
        return self.gain.shape[0]

    def take(self, rows: Any) -> DrooData:
        """Return the frames at ``rows`` (a slice, list, bool or index array)."""
        return DrooData(
            **{field.name: getattr(self, field.name)[rows] for field in dataclasses.fields(self)}
        )


def load_droo(path: str | os.PathLike[str], num_devices: int | None = None) -> DrooData:
    """Return the frames of a data_N.mat; with ``num_devices`` a file of another N is refused.

    Raises:
        ValueError: the file is missing, truncated, foreign, or its arrays do not fit together or
            hold impossible values.
    """
    if num_devices is not None:
        validate.integer("num_devices", num_devices)
    raw = read_mat(path, _NAMES, "DROO's frames")
    for name in _NAMES:
        check_numbers(name, raw[name])
    gain = raw["input_h"].astype(np.float64)
    shape = gain.shape
    validate.check(
        "input_h.shape", shape, gain.ndim == 2 and min(shape) >= 1, "[frames, devices], each >= 1"
    )
    wanted = shape[1] if num_devices is None else num_devices
    validate.check(
        "input_h.shape[1]",
        shape[1],
        shape[1] == wanted,
        f"{wanted}, the number of devices asked for",
    )
    for name in _NAMES[1:]:
        want = shape if name in ("output_mode", "output_tau") else (shape[0], 1)
        validate.check(
            f"{name}.shape",
            raw[name].shape,
            raw[name].shape == want,
            f"{want} to go with input_h {shape}",
        )
    check_each("input_h", gain, (gain >= 0) & (gain <= 1), "a power gain in [0, 1]")
    mode, rate = raw["output_mode"], raw["output_obj"][:, 0].astype(np.float64)
    check_each("output_mode", mode, (mode == 0) | (mode == 1), "0 (local) or 1 (offloaded)")
    check_each("output_obj", rate, np.isfinite(rate) & (rate > 0), "finite and > 0")
    harvest, share = raw["output_a"][:, 0].astype(np.float64), raw["output_tau"].astype(np.float64)
    return DrooData(gain, mode.astype(bool), harvest, share, rate)


def load_frames(path: str | os.PathLike[str]) -> tuple[Frames, Decision]:
    """Return the frames of a data_N.mat and the modes that it ships, as places: 1 is offloaded.

    Raises:
        ValueError: as ``load_droo``.
    """
    data = load_droo(path)
    return Frames(data.gain), Decision(data.mode.astype(np.int64), np.zeros(data.mode.shape))
