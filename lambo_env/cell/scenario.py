"""What a scenario of one cell holds: frozen, every field with its rule, and a TOML round trip."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from typing import Any

from lambo_env.cell.mobility import MODELS
from lambo_env.utils import validate
from lambo_env.utils.rules import Ruled, number_in, ruled, such_that

Range = tuple[float, float]
SPEED_OF_LIGHT_MPS = 299_792_458.0
# The fields of version 0.1, whose values are always part of the hash. A later field is part of it
# where its value is not the default: so old hashes stay, and all that was computed under them.
VERSION_0_1 = (
    *("num_ues", "side_m", "server_cpu_hz", "data_bits", "cycles", "deadline_s", "local_cpu_hz"),
    *("local_power_w", "tx_power_w", "bandwidth_hz", "carrier_hz", "path_loss_exponent"),
    *("min_distance_m", "free_space_reference", "shadowing_db", "decorrelation_m", "rician_k_db"),
    *("noise_dbm_per_hz", "noise_figure_db", "max_spectral_efficiency", "mobility", "speed_mps"),
    *("gauss_markov_memory", "drift_m", "slot_s", "late_penalty"),
)


def capacities(field: str, value: Any) -> tuple[float, ...]:
    """Return the servers' capacities as floats."""
    allowed = (
        "a list of one or more capacities in cycles/s, each finite and > 0 (one per edge server)"
    )
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        validate.refuse(field, value, allowed)
    out = tuple(validate.positive(f"{field}[{m}]", capacity) for m, capacity in enumerate(value))
    validate.check(field, value, len(out) >= 1, allowed)
    return out


def span(field: str, value: Any, *, strict: bool = True) -> Range:
    """Return [low, high]; a single number becomes equal ends."""
    bound = "> 0" if strict else ">= 0"
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        value = (value, value)
    ends = tuple(value)
    validate.check(field, ends, len(ends) == 2, f"one number {bound}, or [low, high]")
    one = validate.positive if strict else validate.non_negative
    low, high = one(f"{field}[0]", ends[0]), one(f"{field}[1]", ends[1])
    validate.check(
        field, [low, high], low <= high, f"[low, high] with {bound[:1]} 0 and low <= high"
    )
    return low, high


true_or_false = such_that(lambda value: isinstance(value, bool), "true or false")
mobility_model = such_that(
    lambda value: isinstance(value, str) and value in MODELS, f"one of {', '.join(MODELS)}"
)
_LARGEST = math.nextafter(math.inf, 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellScenario(Ruled):
    """A distribution of problems in one cell, in SI units.

    Defaults are the paper's section V-B (preset ``paper``).

    A per-UE quantity is a range [low, high], uniform; one number means equal ends.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    num_ues: int = ruled(50, validate.integer)
    side_m: float = ruled(50.0, validate.positive)  # the square that holds UEs and edge servers
    # one capacity per edge server, cycles/s
    server_cpu_hz: tuple[float, ...] = ruled((1.5e10, 1.5e10, 3e10, 5e10), capacities)
    data_bits: Range = ruled((1e8, 3e8), span)
    cycles: Range = ruled((0.5e9, 1.5e9), span)
    deadline_s: Range = ruled((1.5, 1.5), span)
    local_cpu_hz: Range = ruled((1e9, 1e9), span)
    local_power_w: Range = ruled((1.0, 1.0), span)
    tx_power_w: Range = ruled((1.0, 1.0), span)
    bandwidth_hz: float = ruled(20e6, validate.positive)  # of each UE's own orthogonal channel
    carrier_hz: float = ruled(2.4e9, validate.positive)
    path_loss_exponent: float = ruled(3.0, validate.positive)
    min_distance_m: float = ruled(1.0, validate.positive)  # nearer counts as this
    # loss at 1 m: free space at the carrier; false: 0 dB
    free_space_reference: bool = ruled(True, true_or_false)
    shadowing_db: float = ruled(4.0, validate.non_negative)
    decorrelation_m: float = ruled(10.0, validate.positive)  # Gudmundson's distance
    rician_k_db: float = ruled(
        3.0, number_in("a number, or inf for no fading", -_LARGEST, math.inf)
    )
    noise_dbm_per_hz: float = ruled(-174.0, number_in("a finite number", -_LARGEST, _LARGEST))
    noise_figure_db: float = ruled(9.0, validate.non_negative)
    max_spectral_efficiency: float = ruled(
        math.inf, number_in("> 0, inf for no cap", 0.0, math.inf, open_low=True)
    )  # bit/s/Hz
    mobility: str = ruled("waypoint", mobility_model)  # waypoint | gauss-markov | drift | static
    speed_mps: Range = ruled((0.3, 1.2), lambda field, value: span(field, value, strict=False))
    # of the velocity, per slot (mobility "gauss-markov")
    gauss_markov_memory: float = ruled(0.75, number_in("0 <= memory <= 1", 0.0, 1.0))
    # largest step per axis and slot (mobility "drift")
    drift_m: float = ruled(1.5, validate.non_negative)
    slot_s: float = ruled(1.5, validate.positive)
    late_penalty: float = ruled(2.0, validate.non_negative)  # dimensionless

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

    @property
    def hash(self) -> str:
        """Content hash, 16 hex digits.

        Equal exactly for equal numbers, whatever the name or the file.
        """
        default = {f.name: f.default for f in dataclasses.fields(self)}
        counts = [n for n in default if n in VERSION_0_1 or getattr(self, n) != default[n]]
        fields = {name: value for name, value in self.to_dict().items() if name in counts}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain numbers, strings and lists (JSON- and TOML-able)."""
        fields = dataclasses.asdict(self)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in fields.items()
        }

    def to_toml(self) -> str:
        """Return the scenario as TOML that ``load_scenario`` reads back to an equal one."""
        import tomli_w  # 2 ms that only writers pay

        return tomli_w.dumps(self.to_dict())
