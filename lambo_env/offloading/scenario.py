"""Scenario: the distribution that instances are drawn from, frozen and validated, with a TOML round trip."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lambo_env.utils import validate

Range = tuple[float, float]
PRESETS = Path(__file__).parents[1] / "scenarios"
MOBILITY = ("waypoint", "gauss-markov", "drift", "static")
SPEED_OF_LIGHT_MPS = 299_792_458.0
_RANGES = ("data_bits", "cycles", "deadline_s", "local_cpu_hz", "local_power_w", "tx_power_w")
_POSITIVE = (
    "side_m",
    "bandwidth_hz",
    "carrier_hz",
    "path_loss_exponent",
    "min_distance_m",
    "decorrelation_m",
    "slot_s",
)
_NON_NEGATIVE = ("shadowing_db", "noise_figure_db", "late_penalty", "drift_m")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenario:
    """A distribution of offloading problems in SI units.

    Defaults are the paper's section V-B (preset ``paper``).

    A per-UE quantity is a range [low, high], uniform; one number means equal ends.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    num_ues: int = 50
    side_m: float = 50.0  # the square that holds UEs and edge servers
    server_cpu_hz: tuple[float, ...] = (
        1.5e10,
        1.5e10,
        3e10,
        5e10,
    )  # one capacity an edge server, cycles/s
    data_bits: Range = (1e8, 3e8)
    cycles: Range = (0.5e9, 1.5e9)
    deadline_s: Range = (1.5, 1.5)
    local_cpu_hz: Range = (1e9, 1e9)
    local_power_w: Range = (1.0, 1.0)
    tx_power_w: Range = (1.0, 1.0)
    bandwidth_hz: float = 20e6  # of each UE's own orthogonal channel
    carrier_hz: float = 2.4e9
    path_loss_exponent: float = 3.0
    min_distance_m: float = 1.0  # nearer counts as this
    free_space_reference: bool = True  # loss at 1 m: free space at the carrier; false: 0 dB
    shadowing_db: float = 4.0
    decorrelation_m: float = 10.0  # Gudmundson's distance
    rician_k_db: float = 3.0  # inf: no fading
    noise_dbm_per_hz: float = -174.0
    noise_figure_db: float = 9.0
    max_spectral_efficiency: float = math.inf  # bit/s/Hz
    mobility: str = "waypoint"  # waypoint | gauss-markov | drift | static
    speed_mps: Range = (0.3, 1.2)
    gauss_markov_memory: float = 0.75  # of the velocity, a slot (mobility "gauss-markov")
    drift_m: float = 1.5  # largest step an axis a slot (mobility "drift")
    slot_s: float = 1.5
    late_penalty: float = 2.0  # dimensionless

    def __post_init__(self) -> None:
        """Validate every field, so that no bad scenario can exist."""
        put = functools.partial(object.__setattr__, self)
        put("num_ues", validate.integer("Scenario.num_ues", self.num_ues))
        put("server_cpu_hz", _capacities(self.server_cpu_hz))
        for name in _RANGES:
            put(name, _range(f"Scenario.{name}", getattr(self, name), strict=True))
        put("speed_mps", _range("Scenario.speed_mps", self.speed_mps, strict=False))
        for name in _POSITIVE:
            put(name, validate.positive(f"Scenario.{name}", getattr(self, name)))
        for name in _NON_NEGATIVE:
            put(name, validate.non_negative(f"Scenario.{name}", getattr(self, name)))
        self._check_rest(put)

    def _check_rest(self, put: Any) -> None:
        inf_ok = "a number, or inf for no fading"
        put("rician_k_db", validate.number("Scenario.rician_k_db", self.rician_k_db, inf_ok))
        validate.check(
            "Scenario.rician_k_db", self.rician_k_db, self.rician_k_db > -math.inf, inf_ok
        )
        noise = validate.number(
            "Scenario.noise_dbm_per_hz", self.noise_dbm_per_hz, "a finite number"
        )
        validate.check("Scenario.noise_dbm_per_hz", noise, math.isfinite(noise), "a finite number")
        put("noise_dbm_per_hz", noise)
        cap = validate.number(
            "Scenario.max_spectral_efficiency",
            self.max_spectral_efficiency,
            "> 0, inf for no cap",
            0.0,
            strict=True,
        )
        put("max_spectral_efficiency", cap)
        memory = validate.number(
            "Scenario.gauss_markov_memory", self.gauss_markov_memory, "0 <= memory <= 1", 0.0
        )
        validate.check("Scenario.gauss_markov_memory", memory, memory <= 1, "0 <= memory <= 1")
        put("gauss_markov_memory", memory)
        free = self.free_space_reference
        validate.check(
            "Scenario.free_space_reference", free, isinstance(free, bool), "true or false"
        )
        validate.check(
            "Scenario.mobility",
            self.mobility,
            self.mobility in MOBILITY,
            f"one of {', '.join(MOBILITY)}",
        )

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
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    def replace(self, **fields: Any) -> Scenario:
        """Return a copy with some fields replaced, validated like a new one."""
        validate.known_keys("Scenario", fields, field_names())
        return dataclasses.replace(self, **fields)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain numbers, strings and lists (JSON- and TOML-able)."""
        fields = dataclasses.asdict(self)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in fields.items()
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Scenario:
        """Build from a mapping of fields.

        Unknown keys are errors that name the closest known one.
        """
        validate.known_keys("Scenario", fields, field_names())
        return cls(**fields)

    def to_toml(self) -> str:
        """Return the scenario as TOML that ``load_scenario`` reads back to an equal one."""
        import tomli_w  # 2 ms that only writers pay

        return tomli_w.dumps(self.to_dict())


def field_names() -> list[str]:
    """Names of the fields of a Scenario."""
    return [field.name for field in dataclasses.fields(Scenario)]


def list_scenarios() -> list[str]:
    """Names of the presets that ship with the package."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_scenario(source: str | os.PathLike[str] | Mapping[str, Any] | Scenario) -> Scenario:
    """Return the Scenario of a preset's name, a TOML file, a mapping of fields, or a Scenario as it is.

    Raises:
        ValueError: an unknown name (with the closest known one), a missing or broken file, a bad
            field.
    """
    if isinstance(source, Scenario):
        return source
    if isinstance(source, Mapping):
        return Scenario.from_dict(source)
    allowed = "a preset's name, a .toml path, a mapping of fields or a Scenario"
    validate.check("scenario", source, isinstance(source, (str, os.PathLike)), allowed)
    name = os.fspath(source)
    if name in list_scenarios():
        return _read(PRESETS / f"{name}.toml")
    if name.endswith(".toml") or os.sep in name:
        validate.check("scenario", name, Path(name).is_file(), "an existing .toml file")
        return _read(Path(name))
    validate.known(name, list_scenarios(), "scenario")
    raise AssertionError("unreachable")


def _read(path: Path) -> Scenario:
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ValueError(
            f"scenario file is {str(path)!r}; allowed: valid TOML in UTF-8 ({error})"
        ) from error
    return Scenario.from_dict(fields)


def _capacities(value: Any) -> tuple[float, ...]:
    allowed = (
        "a list of one or more capacities in cycles/s, each finite and > 0 (one an edge server)"
    )
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        validate.refuse("Scenario.server_cpu_hz", value, allowed)
    out = tuple(
        validate.positive(f"Scenario.server_cpu_hz[{m}]", capacity)
        for m, capacity in enumerate(value)
    )
    validate.check("Scenario.server_cpu_hz", value, len(out) >= 1, allowed)
    return out


def _range(field: str, value: Any, *, strict: bool) -> Range:
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
