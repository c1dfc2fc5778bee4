"""What a scenario of one cell holds: frozen, every field with its rule, and a TOML round trip."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import re
from collections.abc import Callable
from numbers import Real
from typing import Any

from lambo_env.cell.mobility import MODELS
from lambo_env.cell.propagation import SPEED_OF_LIGHT_MPS, channel, channel_names
from lambo_env.utils import validate
from lambo_env.utils.rules import Ruled, Within, optional, ruled, such_that, whole

Range = tuple[float, float]
Positions = tuple[tuple[float, float], ...]
MOST_UES, MOST_SERVERS = 100_000, 1000
# The fields of version 0.1, whose values are always told and part of the hash. A later field is so
# where its value is not the default: then old hashes stay, and all that was computed under them.
VERSION_0_1 = (
    *("num_ues", "side_m", "server_cpu_hz", "data_bits", "cycles", "deadline_s", "local_cpu_hz"),
    *("local_power_w", "tx_power_w", "bandwidth_hz", "carrier_hz", "path_loss_exponent"),
    *("min_distance_m", "free_space_reference", "shadowing_db", "decorrelation_m", "rician_k_db"),
    *("noise_dbm_per_hz", "noise_figure_db", "max_spectral_efficiency", "mobility", "speed_mps"),
    *("gauss_markov_memory", "drift_m", "slot_s", "late_penalty"),
)


def listed(field: str, value: Any, one: Within, ok: Callable[[int], bool], allowed: str) -> Any:
    """Return a list's numbers as a tuple, each held against a rule."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        validate.refuse(field, value, allowed)
    values = tuple(value)
    validate.check(field, value, ok(len(values)), allowed)
    return tuple(one(f"{field}[{k}]", number) for k, number in enumerate(values))


@dataclasses.dataclass(frozen=True)
class Span(Within):
    """The rule of a range [low, high] whose ends lie in [low, high]; a number is both ends."""

    def __call__(self, field: str, value: Any) -> Any:
        """Return both ends."""
        one = Within(self.low, self.high)
        if isinstance(value, Real):
            value = (one(field, value),) * 2
        allowed = f"{self.allowed}, or [low, high] of such"
        low, high = listed(field, value, one, lambda count: count == 2, allowed)
        validate.check(field, [low, high], low <= high, f"{allowed} with low <= high")
        return low, high


@dataclasses.dataclass(frozen=True)
class Capacities(Within):
    """The rule of the servers' capacities: one or more numbers in [low, high]."""

    def __call__(self, field: str, value: Any) -> Any:
        """Return the capacities."""
        many = f"a list of 1 .. {MOST_SERVERS} capacities in cycles/s, each {self.allowed}"
        one = Within(self.low, self.high)
        return listed(field, value, one, lambda count: 1 <= count <= MOST_SERVERS, many)


def positions(field: str, value: Any) -> Positions | None:
    """A list of positions [x, y] within the square, or none."""
    if value is None:
        return None
    allowed, one = "a list of positions [x, y] in m", Within(0.0, 1e7)
    validate.check(field, value, isinstance(value, (list, tuple)) and len(value) > 0, allowed)
    return tuple(
        listed(f"{field}[{k}]", xy, one, lambda count: count == 2, "[x, y] in m")
        for k, xy in enumerate(value)
    )


def number_of_ues(field: str, value: Any) -> int:
    """An integer in 1 .. 100000."""
    out = validate.integer(field, value)
    validate.check(field, value, out <= MOST_UES, f"an integer in 1 .. {MOST_UES}")
    return out


def channel_model(field: str, value: Any) -> str:
    """One of CHANNELS, to which rows may be added, or of what other packages offer."""
    if not isinstance(value, str) or channel(value) is None:
        validate.refuse(field, value, f"one of {', '.join(channel_names())}")
    return value


true_or_false = such_that(lambda value: isinstance(value, bool), "true or false")
mobility_model = such_that(
    lambda value: isinstance(value, str) and value in MODELS, f"one of {', '.join(MODELS)}"
)


class WorldScenario(Ruled):
    """What a scenario of any world tells of itself, from its ``to_dict``."""

    @functools.cached_property
    def hash(self) -> str:
        """Content hash, 16 hex digits.

        Equal exactly for equal numbers, whatever the name or the file.
        """
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    def to_toml(self) -> str:
        """Return the scenario as commented TOML that ``load_scenario`` reads to an equal one."""
        meaning = {f.name: f.metadata.get("meaning") for f in dataclasses.fields(self)}
        lines = [
            (f"{name} = {toml_value(v)}", meaning.get(name)) for name, v in self.to_dict().items()
        ]
        return "".join(f"{line:<40} # {text}\n" if text else f"{line}\n" for line, text in lines)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellScenario(WorldScenario):
    """A distribution of problems in one cell, in SI units.

    Defaults are the paper's section V-B (preset ``paper``).

    A per-UE quantity is a range [low, high], uniform; one number means equal ends.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    num_ues: int = ruled(50, number_of_ues, "N, the number of UEs")
    side_m: float = ruled(50.0, Within(1e-3, 1e7), "side of the square that holds UEs and servers")
    server_cpu_hz: tuple[float, ...] = ruled(
        (1.5e10, 1.5e10, 3e10, 5e10),
        Capacities(1e-3, 1e18),
        "F, capacity in cycles/s, one per edge server",
    )
    data_bits: Range = ruled((1e8, 3e8), Span(1e-3, 1e18), "D, bits that a task uploads")
    cycles: Range = ruled((0.5e9, 1.5e9), Span(1e-3, 1e18), "C, CPU cycles that a task runs")
    deadline_s: Range = ruled((1.5, 1.5), Span(1e-9, 1e9), "T, deadline of a task")
    local_cpu_hz: Range = ruled((1e9, 1e9), Span(1e-3, 1e18), "f, CPU of a UE in cycles/s")
    local_power_w: Range = ruled(
        (1.0, 1.0), Span(1e-12, 1e9), "P_loc, what a UE draws while it computes"
    )
    tx_power_w: Range = ruled((1.0, 1.0), Span(1e-12, 1e9), "P_tx, what a UE transmits with")
    bandwidth_hz: float = ruled(
        20e6, Within(1e-3, 1e15), "B, of each UE's own orthogonal channel; equation 5"
    )
    carrier_hz: float = ruled(2.4e9, Within(1.0, 1e15), "f_c, carrier; equations 1 and 4")
    path_loss_exponent: float = ruled(
        3.0, Within(0.0, 10.0), 'alpha, for channel "log-distance"; equation 1'
    )
    min_distance_m: float = ruled(
        1.0, Within(1e-6, 1e7), 'nearer counts as this, for channel "log-distance"; equation 1'
    )
    free_space_reference: bool = ruled(
        True, true_or_false, "loss at 1 m is that of free space; false: 0 dB; equation 1"
    )
    shadowing_db: float = ruled(
        4.0, Within(0.0, 50.0), "deviation of the shadowing, with line of sight; equation 2"
    )
    decorrelation_m: float = ruled(
        10.0, Within(1e-6, 1e9), "d_corr, Gudmundson's distance; equation 2"
    )
    rician_k_db: float = ruled(
        3.0, Within(-100.0, 100.0, "no fading"), "K, with line of sight; equation 3"
    )
    noise_dbm_per_hz: float = ruled(-174.0, Within(-300.0, 100.0), "noise density; equation 5")
    noise_figure_db: float = ruled(9.0, Within(0.0, 200.0), "of the server's receiver; equation 5")
    max_spectral_efficiency: float = ruled(
        math.inf, Within(1e-12, 1e6, "no cap"), "cap on rate over bandwidth, bit/s/Hz; equation 5"
    )
    mobility: str = ruled("waypoint", mobility_model, "how UEs move from slot to slot")
    speed_mps: Range = ruled((0.3, 1.2), Span(0.0, 1e8), "speed of a UE between waypoints")
    gauss_markov_memory: float = ruled(
        0.75, Within(0.0, 1.0), 'memory of the velocity, per slot, for mobility "gauss-markov"'
    )
    drift_m: float = ruled(
        1.5, Within(0.0, 1e9), 'largest step per axis and slot, for mobility "drift"'
    )
    slot_s: float = ruled(1.5, Within(1e-9, 1e9), "length of a time slot")
    late_penalty: float = ruled(
        2.0, Within(0.0, 1e12), "a late task costs 1 + this times its deadline; equation 11"
    )
    channel: str = ruled("log-distance", channel_model, "propagation model; equation 1")
    reachable_servers: int | None = ruled(
        None, optional(whole), "a UE reaches that many servers, its best; none: all; equation 5"
    )
    server_xy: Positions | None = ruled(
        None, positions, "site plan in m: where each server stands; none: drawn uniformly"
    )
    ue_xy: Positions | None = ruled(
        None, positions, "site plan in m: where the first UEs stand and stay; none: drawn uniformly"
    )

    def __post_init__(self) -> None:
        """Check every field, then that the site plan fits the cell."""
        super().__post_init__()
        servers, ues, inside = (
            self.num_servers,
            self.num_ues,
            f"positions in 0 .. {self.side_m:g} m",
        )
        for name, most in (("server_xy", servers), ("ue_xy", ues)):
            plan = getattr(self, name) or ()
            self.check(name, max((c for xy in plan for c in xy), default=0) <= self.side_m, inside)
            self.check(name, len(plan) <= most, f"at most {most} positions")
        fits = self.server_xy is None or len(self.server_xy) == servers
        self.check("server_xy", fits, f"{servers} positions, one per entry of server_cpu_hz")

    @property
    def num_servers(self) -> int:
        """M, the number of edge servers."""
        return len(self.server_cpu_hz)

    @property
    def noise_w(self) -> float:
        """Noise power at the receiver over one channel."""
        dbm = self.noise_dbm_per_hz + self.noise_figure_db + 10 * math.log10(self.bandwidth_hz)
        return 10 ** (dbm / 10) * 1e-3

    @property
    def reference_gain(self) -> float:
        """Power gain at 1 m (ratio): free space at the carrier, or 1."""
        wavelength_m = SPEED_OF_LIGHT_MPS / self.carrier_hz
        return (wavelength_m / (4 * math.pi)) ** 2 if self.free_space_reference else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain numbers, strings and lists (JSON- and TOML-able).

        A field that version 0.1 lacks is left out at its default.
        """
        return {
            field.name: _plain(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if field.name in VERSION_0_1 or getattr(self, field.name) != field.default
        }


def toml_value(value: Any) -> str:
    """Return a plain value as TOML, numbers as short as they read back."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {toml_value(one)}' for name, one in value.items())} }}"
    if isinstance(value, float):
        short = re.sub(r"e\+0*", "e", f"{value:g}")
        return short if float(short) == value else repr(value)
    return json.dumps(value)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
