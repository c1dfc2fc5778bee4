"""Rates of the WPMEC network, its time allocation solved to optimum.

Nothing else makes a number.

In a frame of unit length the access point first sends power for a share a, then the devices that
offload send their data one after another for shares tau_i; the others compute locally all the
frame. Given modes x in {0, 1}^N the weighted sum computation rate

    sum_i w_i [(1 - x_i) eta1 (h_i / k)^(1/3) a^(1/3) + x_i eps tau_i ln(1 + eta2 h_i^2 a / tau_i)],
    a + sum_i tau_i <= 1

is concave in (a, tau). With z_i = eta2 h_i^2 a / tau_i and nu = lambda / eps, lambda the multiplier
of the time, the KKT conditions are

    w_i (ln(1 + z_i) - z_i / (1 + z_i)) = nu                                   (offloaders)
    A / (3 eps) a^(-2/3) + sum_i w_i c_i / (1 + z_i) = nu,   a = 1 / (1 + sum_i c_i / z_i),   c_i =
    eta2 h_i^2

z_i depends on i through w_i alone. So offloaders of one weight enter as one number, the sum of
their c_i, and a candidate costs the same whatever N is: one unknown nu, whose equation is strictly
decreasing. Shapes: B frames, K candidates, N devices, G weights.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambo_env.utils import validate
from lambo_env.utils.rows import ArrayHolder
from lambo_env.wpmec.instances import Floats, Frames

CYCLES_PER_BIT = 100.0
TRANSMIT_POWER_W = 3.0  # of the access point
HARVEST_EFFICIENCY = 0.7
CHIP_ENERGY = 1e-26  # J s^2 per cycle^3
NOISE_W = 1e-10
BANDWIDTH_HZ = 2e6
OVERHEAD = 1.1  # bits sent per bit of task

LOCAL_BPS = (HARVEST_EFFICIENCY * TRANSMIT_POWER_W / CHIP_ENERGY) ** (
    1 / 3
) / CYCLES_PER_BIT  # times (h a)^(1/3)
SNR = (
    HARVEST_EFFICIENCY * TRANSMIT_POWER_W / NOISE_W
)  # eta2: harvested power over noise, times h^2 a / tau
OFFLOAD_BPS = BANDWIDTH_HZ / (OVERHEAD * np.log(2))  # eps: bit/s per nat

# Newton ends below this step in ln(nu): its square is left as error, and the rate is flat in nu
_STEP = 1e-4
_MOST_STEPS = 60
_TINY, _HUGE = 1e-60, 1e12
_MOST_LOG = 700.0  # caps ln(1 + z) where it no longer matters, before exp overflows


@dataclasses.dataclass(frozen=True, eq=False)
class Allocation(ArrayHolder):
    """The optimal shares of a frame and the rate that they give."""

    rate_bps: Floats  # [...] weighted sum computation rate
    harvest_share: Floats  # a [...]
    time_share: Floats  # tau [..., N], 0 where local


def rate_bps(frames: Frames, mode: Any) -> Floats:
    """Return the optimal weighted sum rate [B] or [B, K] in bit/s of modes [B, N] or [B, K, N].

    Modes are true where offloaded.
    """
    return _rate(*_aggregate(frames, check_mode(frames, mode)), _groups(frames)[0])[0]


def allocate(frames: Frames, mode: Any, *, alone: bool = False) -> Allocation:
    """Return the optimal allocation of modes [B, N] or [B, K, N]; the shares add up to 1.

    Args:
        frames: B frames.
        mode: true where offloaded.
        alone: solve each frame of modes [B, N] as if it were the only one, so that its last bits
            do not hang on the others.
    """
    offload = check_mode(frames, mode)
    values, group = _groups(frames)
    local, power = _aggregate(frames, offload)
    if alone:
        parts = _rate(local[:, None], power[:, None], values, alone=True)
        rate, harvest, ratio = (part[:, 0] for part in parts)
    else:
        rate, harvest, ratio = _rate(local, power, values)
    strength = SNR * frames.gain**2
    strength = strength if offload.ndim == 2 else strength[:, None, :]
    share = np.where(offload, strength * harvest[..., None] / ratio[..., group], 0.0)
    return Allocation(rate, harvest, share)


@dataclasses.dataclass(frozen=True, eq=False)
class FrameOutcome(ArrayHolder):
    """What modes are worth."""

    rate_bps: Floats  # [B] weighted sum computation rate
    cost: Floats  # [B] s per weighted Mbit


def evaluate(frames: Frames, decision: Any, objective: Any = None) -> FrameOutcome:
    """Return the rate of a decision whose ``place`` [B, N] is 1 where offloaded, and its cost.

    There is one objective, the time per computed Mbit, whatever is asked for.
    """
    rate = rate_bps(frames, np.asarray(decision.place))
    return FrameOutcome(rate, 1e6 / rate)


def best_cost(frames: Frames, prompts: Any = None) -> Floats:
    """Return the least cost [B] of any modes, by enumeration; at most 16 devices."""
    return 1e6 / best_modes(frames)[1]


def best_modes(frames: Frames, chunk: int = 2**18) -> tuple[NDArray[np.bool_], Floats]:
    """Return the optimal modes [B, N] and their rates [B], by enumeration of all 2^N.

    Raises:
        ValueError: more than 16 devices.
    """
    count = frames.num_devices
    validate.check(
        "best_modes(frames).num_devices", count, count <= 16, "at most 16: all 2^N modes are tried"
    )
    modes = ((np.arange(2**count)[:, None] >> np.arange(count)) & 1).astype(bool)
    best, rates = [], []
    step = max(1, chunk // len(modes))
    for start in range(0, len(frames), step):
        part = frames.take(slice(start, start + step))
        rate = rate_bps(part, np.broadcast_to(modes, (len(part), *modes.shape)))
        best.append(modes[np.argmax(rate, axis=1)])
        rates.append(np.max(rate, axis=1))
    return np.concatenate(best), np.concatenate(rates)


def check_mode(frames: Frames, mode: Any, field: str = "mode") -> NDArray[np.bool_]:
    """Return ``mode`` as bool [B, N] or [B, K, N].

    Refuse other shapes and values that are not 0 or 1.
    """
    out = np.asarray(mode)
    batch, devices = frames.gain.shape
    fits = out.ndim in (2, 3) and out.shape[0] == batch and out.shape[-1] == devices
    validate.check(
        f"{field}.shape", out.shape, fits, f"[B, N] or [B, K, N] with B = {batch}, N = {devices}"
    )
    if out.dtype != bool:
        binary = out.dtype.kind in "iuf" and bool(np.all((out == 0) | (out == 1)))
        validate.check(field, out, binary, "0 (local) or 1 (offloaded) for each device")
        out = out.astype(bool)
    return out


def _groups(frames: Frames) -> tuple[Floats, NDArray[np.intp]]:
    """Return the different weights [G] and the index of each device's [N]."""
    return np.unique(frames.weight, return_inverse=True)


def _aggregate(frames: Frames, offload: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return A / eps [...], the local devices, and the sums of c_i by weight [..., G]."""
    values, group = _groups(frames)
    local = frames.weight * (LOCAL_BPS / OFFLOAD_BPS) * np.cbrt(frames.gain)
    power = (SNR * frames.gain**2)[..., None] * (group[:, None] == np.arange(len(values)))
    sent = offload.astype(np.float64)
    if offload.ndim == 2:
        return np.sum((1 - sent) * local, axis=-1), np.sum(sent[..., None] * power, axis=-2)
    return ((1 - sent) @ local[..., None])[..., 0], sent @ power


def _log_ratio(level: Floats) -> Floats:
    """Return L = ln(1 + z) with L - 1 + exp(-L) = ``level``, by Halley's rule.

    That is -1 - level - W(-exp(-1 - level)).

    The start is the series at 0 in s = sqrt(2 level) below 1 and the asymptote above.
    """
    root = np.sqrt(2 * level)
    series = root * (1 + root * (1 / 6 + root * (1 / 72)))
    out = np.where(level < 1.5, series, 1 + level - np.exp(-1 - level))
    for _ in range(2):
        decay = -np.expm1(-out)  # 1 - exp(-L)
        error = out - decay - level
        out = out - error * decay / (decay * decay - 0.5 * error * (1 - decay))
    return np.minimum(out, _MOST_LOG)


def _first_level(local: Floats, total: Floats) -> Floats:
    """Return a start within 30 % of the root: least squares over DROO's frames, N 5 to 30."""
    return 0.64 * np.log1p(0.68 * total + 1.22 * np.sqrt(total)) + 0.33 * local


def _rate(
    local: Floats, power: Floats, weight: Floats, alone: bool = False
) -> tuple[Floats, Floats, Floats]:
    """Solve for nu by Newton's rule in ln(nu), kept inside a bracket.

    Where rows count as ``alone`` each stops at its own last step.

    Return the rate [...], a [...] and z [..., G].
    """
    level = np.maximum(_first_level(local, power @ weight), _TINY)
    low, high = np.full_like(level, _TINY), np.full_like(level, _HUGE)
    done = np.zeros(level.shape, dtype=bool)
    each = np.ones_like(weight)  # sums over so few weights are quickest as products
    for _ in range(_MOST_STEPS):
        ratio = np.expm1(_log_ratio(level[..., None] / weight))
        part = power / ratio
        spread = part @ each
        steep = (part * ((1 + ratio) / ratio) ** 2) @ (1 / weight)  # - d spread / d nu
        harvest = 1 / (1 + spread)
        first = local / 3 * np.cbrt(1 + spread) ** 2
        price = np.maximum(first + (power / (1 + ratio)) @ weight, _TINY)
        slope = (2 / 3) * first * harvest * steep + spread
        rising = price > level
        low, high = np.where(rising, level, low), np.where(rising, high, level)
        step = np.log(price / level) / (1 + level * slope / price)
        moved = level * np.exp(step)
        moved = np.where((moved >= low) & (moved <= high), moved, np.sqrt(low * high))
        level = np.where(done, level, moved)
        close = np.abs(step) < _STEP
        done = done | close if alone else done
        if np.all(done if alone else close):
            break
    log_ratio = _log_ratio(level[..., None] / weight)
    ratio = np.expm1(log_ratio)
    harvest = 1 / (1 + (power / ratio) @ each)
    sent = (power * (log_ratio / ratio)) @ weight
    return OFFLOAD_BPS * (local * np.cbrt(harvest) + harvest * sent), harvest, ratio
