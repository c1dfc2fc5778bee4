"""What a scenario of one cell holds: frozen, every field with its rule, and a TOML round trip."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Callable
from numbers import Real
from typing import Any

from lambo_env.cell.mobility import MODELS
from lambo_env.cell.propagation import CHANNELS, SPEED_OF_LIGHT_MPS
from lambo_env.utils import validate
from lambo_env.utils.rules import Ruled, Within, ruled, such_that

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
    """Return a list of positions [x, y], each at least 0; None as it is."""
    if value is None:
        return None
    allowed, one = "a list of positions [x, y] in m", Within(0.0, 1e7)
    validate.check(field, value, isinstance(value, (list, tuple)) and len(value) > 0, allowed)
    return tuple(
        listed(f"{field}[{k}]", xy, one, lambda count: count == 2, "[x, y] in m")
        for k, xy in enumerate(value)
    )


def number_of_ues(field: str, value: Any) -> int:
    """Return N."""
    out = validate.integer(field, value)
    validate.check(field, value, out <= MOST_UES, f"an integer in 1 .. {MOST_UES}")
    return out


def channel_model(field: str, value: Any) -> str:
    """Return the name of a channel; rows may have been added since."""
    known = isinstance(value, str) and value in CHANNELS
    validate.check(field, value, known, f"one of {', '.join(CHANNELS)}")
    return str(value)


true_or_false = such_that(lambda value: isinstance(value, bool), "true or false")
mobility_model = such_that(
    lambda value: isinstance(value, str) and value in MODELS, f"one of {', '.join(MODELS)}"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellScenario(Ruled):
    """A distribution of problems in one cell, in SI units.

    Defaults are the paper's section V-B (preset ``paper``).

    A per-UE quantity is a range [low, high], uniform; one number means equal ends.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    num_ues: int = ruled(50, number_of_ues)
    side_m: float = ruled(50.0, Within(1e-3, 1e7))  # the square that holds UEs and edge servers
    # one capacity per edge server, cycles/s
    server_cpu_hz: tuple[float, ...] = ruled((1.5e10, 1.5e10, 3e10, 5e10), Capacities(1e-3, 1e18))
    data_bits: Range = ruled((1e8, 3e8), Span(1e-3, 1e18))
    cycles: Range = ruled((0.5e9, 1.5e9), Span(1e-3, 1e18))
    deadline_s: Range = ruled((1.5, 1.5), Span(1e-9, 1e9))
    local_cpu_hz: Range = ruled((1e9, 1e9), Span(1e-3, 1e18))
    local_power_w: Range = ruled((1.0, 1.0), Span(1e-12, 1e9))
    tx_power_w: Range = ruled((1.0, 1.0), Span(1e-12, 1e9))
    bandwidth_hz: float = ruled(20e6, Within(1e-3, 1e15))  # of each UE's own orthogonal channel
    carrier_hz: float = ruled(2.4e9, Within(1.0, 1e15))
    path_loss_exponent: float = ruled(3.0, Within(0.0, 10.0))
    min_distance_m: float = ruled(1.0, Within(1e-6, 1e7))  # nearer counts as this
    # loss at 1 m: free space at the carrier; false: 0 dB
    free_space_reference: bool = ruled(True, true_or_false)
    shadowing_db: float = ruled(4.0, Within(0.0, 50.0))
    decorrelation_m: float = ruled(10.0, Within(1e-6, 1e9))  # Gudmundson's distance
    rician_k_db: float = ruled(3.0, Within(-100.0, 100.0, "no fading"))
    noise_dbm_per_hz: float = ruled(-174.0, Within(-300.0, 100.0))
    noise_figure_db: float = ruled(9.0, Within(0.0, 200.0))
    max_spectral_efficiency: float = ruled(math.inf, Within(1e-12, 1e6, "no cap"))  # bit/s/Hz
    mobility: str = ruled("waypoint", mobility_model)  # waypoint | gauss-markov | drift | static
    speed_mps: Range = ruled((0.3, 1.2), Span(0.0, 1e8))
    # of the velocity, per slot (mobility "gauss-markov")
    gauss_markov_memory: float = ruled(0.75, Within(0.0, 1.0))
    # largest step per axis and slot (mobility "drift")
    drift_m: float = ruled(1.5, Within(0.0, 1e9))
    slot_s: float = ruled(1.5, Within(1e-9, 1e9))
    late_penalty: float = ruled(2.0, Within(0.0, 1e12))  # dimensionless
    channel: str = ruled("log-distance", channel_model)  # log-distance | umi | indoor
    # a site plan in place of uniform draws: of every server, and of the first UEs, which stay there
    server_xy: Positions | None = ruled(None, positions)
    ue_xy: Positions | None = ruled(None, positions)

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

    @functools.cached_property
    def hash(self) -> str:
        """Content hash, 16 hex digits.

        Equal exactly for equal numbers, whatever the name or the file.
        """
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain numbers, strings and lists (JSON- and TOML-able).

        A field that version 0.1 lacks is left out at its default.
        """
        return {
            field.name: _plain(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if field.name in VERSION_0_1 or getattr(self, field.name) != field.default
        }

    def to_toml(self) -> str:
        """Return the scenario as TOML that ``load_scenario`` reads back to an equal one."""
        import tomli_w  # 2 ms that only writers pay

        return tomli_w.dumps(self.to_dict())


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
