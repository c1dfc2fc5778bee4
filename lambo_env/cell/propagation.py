"""Large-scale propagation: one row per channel model (array API, batched).

Log-distance with one exponent, and two street-level scenarios of the standard: 3GPP TR 38.901
V17.0.0, Table 7.4.1-1 (path loss and shadowing) and Table 7.4.2-1 (probability of line of sight).
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from lambo_env.utils import validate
from lambo_env.utils.rows import Array

if TYPE_CHECKING:
    from lambo_env.cell.scenario import CellScenario

GROUP = "lambo.channels"  # of entry points
SPEED_OF_LIGHT_MPS = 299_792_458.0
UMI_STATION_M, UMI_UE_M = 10.0, 1.5  # antenna heights of the standard's street canyon
INDOOR_STATION_M, INDOOR_UE_M = 3.0, 1.0  # and of its office
UMI_NLOS_SHADOWING = 7.82 / 4.0  # times the deviation with line of sight
INDOOR_NLOS_SHADOWING = 8.03 / 3.0


class Propagation(NamedTuple):
    """A channel model: one row is all that there is to it.

    ``gain`` gets

    - distance: of UE and server in the plane [B, N, M] in m,
    - shadowing_db: [B, N, M] of the deviation ``scenario.shadowing_db``, or None,
    - los: bool [B, N, M] whether a link has line of sight; None where the model knows none,
    - the scenario and the array namespace,

    and returns the power gain (ratio) [B, N, M] but for fading. ``los_probability`` gets distances
    and the namespace; links without line of sight fade as Rayleigh does.
    """

    summary: str
    gain: Callable[[Array, Array | None, Array | None, CellScenario, Any], Array]
    los_probability: Callable[[Array, Any], Array] | None = None


def log_distance_gain(
    distance: Array, shadowing_db: Array | None, los: None, scenario: CellScenario, xp: Any
) -> Array:
    """Return reference gain at 1 m times d^-exponent, d at least the minimum, with shadowing.

    Shadowing multiplies by 10^(dB / 10) in the same exponential: powers are the dearest lines of a
    reset.
    """
    log_gain = -scenario.path_loss_exponent * xp.log(xp.maximum(distance, scenario.min_distance_m))
    if shadowing_db is not None:
        log_gain = log_gain + (math.log(10) / 10) * shadowing_db
    return scenario.reference_gain * xp.exp(log_gain)


def umi_loss_db(distance: Array, los: Array, carrier_hz: float, xp: Any) -> Array:
    """Return the path loss in dB of UMi street canyon (TR 38.901, Table 7.4.1-1).

    Args:
        distance: in the plane, in m; below 10 m counts as 10 m, where the table begins.
        los: bool of the same shape.
        carrier_hz: 0.5 to 100 GHz in the standard.
        xp: array namespace.
    """
    flat, high = xp.maximum(distance, 10.0), UMI_STATION_M - UMI_UE_M
    length, carrier_ghz = xp.sqrt(flat * flat + high * high), carrier_hz / 1e9
    # antenna heights less the effective environment height of 1 m (note 1 of the table)
    breakpoint_m = 4 * (UMI_STATION_M - 1) * (UMI_UE_M - 1) * carrier_hz / SPEED_OF_LIGHT_MPS
    carrier_db = 20 * math.log10(carrier_ghz)
    near = 32.4 + 21 * xp.log10(length) + carrier_db
    beyond_db = 9.5 * math.log10(breakpoint_m**2 + high**2)
    far = 32.4 + 40 * xp.log10(length) + carrier_db - beyond_db
    seen = xp.where(flat <= breakpoint_m, near, far)
    hidden = 35.3 * xp.log10(length) + 22.4 + 21.3 * math.log10(carrier_ghz)
    return xp.where(los, seen, xp.maximum(seen, hidden))


def indoor_loss_db(distance: Array, los: Array, carrier_hz: float, xp: Any) -> Array:
    """Return the path loss in dB of an indoor office (TR 38.901, Table 7.4.1-1).

    Args:
        distance: in the plane, in m.
        los: bool of the same shape.
        carrier_hz: 0.5 to 100 GHz in the standard.
        xp: array namespace.
    """
    high, carrier_ghz = INDOOR_STATION_M - INDOOR_UE_M, carrier_hz / 1e9
    length = xp.sqrt(distance * distance + high * high)
    seen = 32.4 + 17.3 * xp.log10(length) + 20 * math.log10(carrier_ghz)
    hidden = 38.3 * xp.log10(length) + 17.30 + 24.9 * math.log10(carrier_ghz)
    return xp.where(los, seen, xp.maximum(seen, hidden))


def umi_los_probability(distance: Array, xp: Any) -> Array:
    """Return the probability of line of sight in a street canyon (TR 38.901, Table 7.4.2-1)."""
    near = 18.0 / xp.maximum(distance, 18.0)
    return near + xp.exp(-distance / 36) * (1 - near)


def indoor_los_probability(distance: Array, xp: Any) -> Array:
    """Return the probability of line of sight in an open office (TR 38.901, Table 7.4.2-1)."""
    middle = xp.exp(-(xp.maximum(distance, 5.0) - 5) / 70.8)
    far = 0.54 * xp.exp(-(distance - 49) / 211.7)
    return xp.where(distance <= 49, middle, far)


def _by_table(loss_db: Callable[..., Array], nlos_shadowing: float) -> Callable[..., Array]:
    """Return the gain of a path loss whose shadowing is wider without line of sight."""

    def gain(
        distance: Array, shadowing_db: Array | None, los: Array, scenario: CellScenario, xp: Any
    ) -> Array:
        loss = loss_db(distance, los, scenario.carrier_hz, xp)
        if shadowing_db is not None:
            loss = loss - shadowing_db * xp.where(los, 1.0, nlos_shadowing)
        return xp.exp((-math.log(10) / 10) * loss)

    return gain


CHANNELS = {
    "log-distance": Propagation("one exponent, loss at 1 m of free space", log_distance_gain),
    "umi": Propagation(
        "3GPP TR 38.901, UMi street canyon",
        _by_table(umi_loss_db, UMI_NLOS_SHADOWING),
        umi_los_probability,
    ),
    "indoor": Propagation(
        "3GPP TR 38.901, indoor open office",
        _by_table(indoor_loss_db, INDOOR_NLOS_SHADOWING),
        indoor_los_probability,
    ),
}


def channel(name: str) -> Propagation | None:
    """Return the row of a name, None where there is none.

    Rows of other packages are entry points of the group ``lambo.channels``, "module:ROW"; each
    joins the table when it is first asked for, in any process.

    Raises:
        ValueError: the entry point cannot be loaded, or is no ``Propagation``.
    """
    if name not in CHANNELS:
        for point in importlib.metadata.entry_points(group=GROUP, name=name):
            CHANNELS[name] = _loaded(point)
            break
    return CHANNELS.get(name)


def channel_names() -> list[str]:
    """Return the names of the table and of the entry points, of which none is imported."""
    offered = importlib.metadata.entry_points(group=GROUP).names
    return [*CHANNELS, *sorted(set(offered) - set(CHANNELS))]


def _loaded(point: importlib.metadata.EntryPoint) -> Propagation:
    where = f"entry point {point.name!r} of {GROUP}"
    try:
        row = point.load()
    except Exception as error:  # a stranger's module may raise anything
        allowed = f"what can be imported ({type(error).__name__}: {error})"
        validate.refuse(where, point.value, allowed)
    validate.check(where, point.value, isinstance(row, Propagation), "a Propagation")
    return cast(Propagation, row)
