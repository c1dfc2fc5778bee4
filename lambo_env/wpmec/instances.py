"""Frames: the channel gains that one time frame of the WPMEC network brings.

Shapes: B frames, N devices.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambo_env.utils import validate
from lambo_env.utils.rows import ArrayHolder

Floats = NDArray[np.float64]

ANTENNA_GAIN = 3.0  # fits the means of DROO's own frames within 0.7 %; its paper prints 4.11
CARRIER_HZ = 915e6
PATH_LOSS_EXPONENT = 2.8
LIGHT_MPS = 3e8
NEAREST_M, SPACING_M = 2.5, 0.3  # device i stands at 2.5 + 0.3 i metres from the access point


def alternating_weights(num_devices: int) -> Floats:
    """Return DROO's weights [N]: 1 for devices 0, 2, ..., 1.5 for 1, 3, ..."""
    return np.where(np.arange(num_devices) % 2 == 0, 1.0, 1.5)


def mean_gains(num_devices: int) -> Floats:
    """Return the free-space power gains [N] of DROO's devices, A (c / (4 pi f d))^2.8."""
    distance_m = NEAREST_M + SPACING_M * np.arange(validate.integer("num_devices", num_devices))
    loss = LIGHT_MPS / (4 * np.pi * CARRIER_HZ * distance_m)
    return np.asarray(ANTENNA_GAIN * loss**PATH_LOSS_EXPONENT, dtype=np.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class Frames(ArrayHolder):
    """B frames of a network of N devices.

    Args:
        gain: power gains of the links to the access point [B, N], dimensionless, the same up and
            down.
        weight: weight of each device's rate [N]; None: DROO's 1, 1.5, 1, 1.5, ...

    Raises:
        ValueError: a wrong shape, a gain outside [0, 1] or NaN, a weight that is not positive.
    """

    gain: Floats
    weight: Floats = None  # type: ignore[assignment]  # an array once built

    def __post_init__(self) -> None:
        """Turn into float64 and check."""
        gain = _floats("Frames.gain", self.gain)
        shape = gain.shape
        validate.check(
            "Frames.gain.shape", shape, len(shape) == 2 and min(shape) >= 1, "[B, N], each >= 1"
        )
        validate.each("Frames.gain", gain, (gain >= 0) & (gain <= 1), "a power gain in [0, 1]")
        weight = (
            alternating_weights(shape[1])
            if self.weight is None
            else _floats("Frames.weight", self.weight)
        )
        validate.check(
            "Frames.weight.shape", weight.shape, weight.shape == shape[1:], f"[N] = {shape[1:]}"
        )
        validate.each("Frames.weight", weight, np.isfinite(weight) & (weight > 0), "finite and > 0")
        object.__setattr__(self, "gain", gain)
        object.__setattr__(self, "weight", weight)

    @property
    def num_devices(self) -> int:
        """N."""
        return self.gain.shape[1]

    @property
    def batch_size(self) -> int:
        """B."""
        return self.gain.shape[0]

    def __len__(self) -> int:
        """Return B."""
        return self.gain.shape[0]

    def take(self, rows: Any) -> Frames:
        """Return the frames at ``rows`` (an index, a slice, list, bool or index array)."""
        rows = [rows] if isinstance(rows, int | np.integer) else rows
        return Frames(self.gain[rows], self.weight)


def generate(num_devices: int, batch: int, rng: np.random.Generator) -> Frames:
    """Return ``batch`` frames.

    Free-space means, Rayleigh fading (exponential power), independent in frame and device.
    """
    validate.integer("batch", batch)
    validate.generator(rng)
    return Frames(mean_gains(num_devices) * rng.standard_exponential((batch, num_devices)))


def _floats(field: str, value: Any) -> Floats:
    out = np.asarray(value)
    validate.check(field, value, out.dtype.kind in "fiu", "an array of numbers")
    return out.astype(np.float64, copy=False)
