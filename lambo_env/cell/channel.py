"""The uplink: correlated shadowing, Rician fading, Shannon rate (array API, batched).

Shapes: B instances, N UEs, M edge servers. Formulas: docs/physics.md, section "Channel".
"""

from __future__ import annotations

import math
from typing import Any

import array_api_compat

from lambo_env.cell.propagation import SPEED_OF_LIGHT_MPS
from lambo_env.cell.scenario import CellScenario
from lambo_env.utils.rows import Array

_WEAK_SNR = 1e-3
UNREACHED_BPS = 1e-6  # to a server out of reach: no task gets there in time


def distance_m(ue_xy: Array, server_xy: Array, xp: Any) -> Array:
    """Return UE to server distances [B, N, M] from positions [B, N, 2] and [B, M, 2] in m."""
    # in the complex plane: two passes over all links in place of six
    ue, server = (xy[..., 0] + 1j * xy[..., 1] for xy in (ue_xy, server_xy))
    return xp.abs(ue[:, :, None] - server[:, None, :])


def shadowing_step(
    shadowing_db: Array, moved_m: Array, normal: Array, scenario: CellScenario, xp: Any
) -> Array:
    """Return next slot's shadowing [B, N, M] in dB after moves [B, N] (Gudmundson.

    Correlation exp(-dx / d_corr)).
    """
    keep = xp.exp(-moved_m / scenario.decorrelation_m)[..., None]
    return keep * shadowing_db + scenario.shadowing_db * xp.sqrt(1 - keep * keep) * normal


def doppler_correlation(speed_mps: Array, scenario: CellScenario, xp: Any) -> Array:
    """Return the correlation of the scattered part over one slot (Clarke); it may be negative.

    rho = J0(2 pi f_D slot_s), f_D = v f_c / c.
    """
    argument = 2 * math.pi * scenario.carrier_hz / SPEED_OF_LIGHT_MPS * scenario.slot_s * speed_mps
    if array_api_compat.is_torch_array(argument):
        return xp.special.bessel_j0(argument)
    from scipy.special import j0  # 30 ms that a single-slot user never pays

    return j0(argument)


def scatter_step(
    scatter: Array, speed_mps: Array, normal: Array, scenario: CellScenario, xp: Any
) -> Array:
    """Return next slot's scattered field [B, N, M, 2] (real, imaginary).

    S' = rho s + sqrt(1 - rho^2) e, e ~ CN(0, 1).
    """
    rho = doppler_correlation(speed_mps, scenario, xp)[..., None, None]
    return rho * scatter + xp.sqrt(1 - rho * rho) * (normal * math.sqrt(0.5))


def fading_gain(
    scatter: Array | None, scenario: CellScenario, los: Array | None = None, xp: Any = None
) -> Array | float:
    """Return ``|h|^2`` of h = sqrt(K / (K + 1)) + sqrt(1 / (K + 1)) s.

    1 where the Rician K is infinite; K is 0 where ``los`` bool [B, N, M] denies line of sight.
    """
    if scatter is None:
        return 1.0
    k = 10 ** (scenario.rician_k_db / 10)
    mean, spread = math.sqrt(k / (k + 1)), math.sqrt(1 / (k + 1))
    if los is not None:
        mean, spread = xp.where(los, mean, 0.0), xp.where(los, spread, 1.0)
    real, imaginary = mean + spread * scatter[..., 0], spread * scatter[..., 1]
    return real * real + imaginary * imaginary


def rate_bps(gain: Array, tx_power_w: Array, scenario: CellScenario, xp: Any) -> Array:
    """Return the uplink rate [B, N, M].

    B log2(1 + P g / N0 B), capped at ``max_spectral_efficiency``; by log1p where the SNR is low
    and 1 + SNR would lose its digits. Where a UE reaches few servers alone, the rates to the others
    are next to 0.
    """
    snr = (tx_power_w / scenario.noise_w)[..., None] * gain
    efficiency, weak = xp.log2(1 + snr), snr < _WEAK_SNR
    if bool(xp.any(weak)):
        efficiency = xp.where(weak, xp.log1p(snr) / math.log(2), efficiency)
    if math.isfinite(scenario.max_spectral_efficiency):
        efficiency = xp.where(
            efficiency > scenario.max_spectral_efficiency,
            scenario.max_spectral_efficiency,
            efficiency,
        )
    rate, reached = scenario.bandwidth_hz * efficiency, scenario.reachable_servers
    if reached is None or reached >= rate.shape[-1]:
        return rate
    least = xp.sort(rate, axis=-1)[..., -reached][..., None]
    return xp.where(rate < least, UNREACHED_BPS, rate)
