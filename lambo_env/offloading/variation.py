"""Relatives of a scenario: other numbers of UEs and servers, capacities, data, bandwidth, cycles.

What a training draws its batches from that shall hold away from one scenario.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np

from lambo_env.offloading.scenario import Scenario, load_scenario
from lambo_env.utils import rules, validate
from lambo_env.utils.rules import Ruled, ruled


def _rising(kinds: tuple[type, ...], allowed: str) -> rules.Rule:
    def rule(field: str, ends: Any) -> Any:
        pair = isinstance(ends, tuple | list) and len(ends) == 2
        numbers = pair and all(type(end) in kinds and math.isfinite(end) for end in ends)
        validate.check(field, ends, numbers and 0 < ends[0] <= ends[1], allowed)
        return tuple(ends)

    return rule


factors = _rising((int, float), "(low, high) with 0 < low <= high")
counts = _rising((int,), "(low, high), integers with 1 <= low <= high")


def known_scenario(field: str, value: str) -> str:
    """Return the name of a scenario that can be loaded; load_scenario says what is known."""
    load_scenario(value)
    return value


def _known(field: str, names: Any) -> tuple[str, ...]:
    texts = isinstance(names, tuple | list) and all(isinstance(name, str) for name in names)
    validate.check(field, names, texts, "names of scenarios or .toml files")
    for name in names:
        try:
            load_scenario(name)
        except (OSError, ValueError) as error:
            raise ValueError(f"{field}: {error}") from error
    return tuple(names)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variation(Ruled):
    """Which relatives of a scenario a training draws, and how often.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    scenario: str = "paper"
    """Preset or TOML file that most batches are drawn from."""

    varied: float = ruled(0.5, rules.share)
    """Share of batches drawn from a variation of a scenario instead, by the ranges below."""

    others: tuple[str, ...] = ruled(("hetero", "are2020"), _known)
    """Scenarios that a varied batch may start from beside ``scenario``."""

    num_ues: tuple[int, int] = ruled((6, 200), counts)
    """Range of N in varied batches, even on a logarithmic scale."""

    capacity_scale: tuple[float, float] = ruled((0.4, 2.5), factors)
    """Range of the factor on every server's capacity in varied batches."""

    data_scale: tuple[float, float] = ruled((0.6, 1.7), factors)
    """Range of the factor on the bits to upload in varied batches."""

    bandwidth_scale: tuple[float, float] = ruled((0.5, 1.3), factors)
    """Range of the factor on the bandwidth in varied batches."""

    cycles_scale: tuple[float, float] = ruled((1.0, 1.0), factors)
    """Range of the factor on the cycles to run in varied batches."""

    servers: tuple[int, int] | None = ruled(None, rules.optional(counts))
    """Range of M in varied batches, servers drawn from the scenario's; None keeps its M."""

    @property
    def base(self) -> Scenario:
        """The scenario that is varied."""
        return _loaded(self.scenario)

    def draw(self, size: int, rng: np.random.Generator) -> tuple[Scenario, int]:
        """Return the scenario of a batch and how many instances to draw of it.

        ``size`` of the base; of a relative as many as hold about as many decisions as ``size``
        instances of 50 UEs.
        """
        if rng.random() >= self.varied:
            return self.base, size
        scenario = self.relative(_loaded(str(rng.choice((self.scenario, *self.others)))), rng)
        return scenario, max(8, int(size * min(2.0, 50 / scenario.num_ues)))

    def relative(self, scenario: Scenario, rng: np.random.Generator) -> Scenario:
        """Draw a relative of ``scenario``.

        Number of UEs, capacities, servers, data, bandwidth and cycles.
        """
        capacity = np.asarray(scenario.server_cpu_hz)
        if self.servers is not None:
            count = int(rng.integers(self.servers[0], self.servers[1] + 1))
            capacity = rng.choice(capacity, count, replace=count > len(capacity)) * (
                len(capacity) / count
            )
        low, high = self.num_ues
        num_ues = int(np.clip(round(_log_uniform((low - 0.5, high + 0.5), rng)), low, high))
        per_ue = (
            num_ues / scenario.num_ues
        ) ** rng.random()  # between the same servers and the same load
        scale = _log_uniform(self.capacity_scale, rng) * per_ue
        data, (least, most) = _log_uniform(self.data_scale, rng), self.cycles_scale
        # without a range no draw: seeds give what they gave before cycles could vary
        cycles = least if least == most else _log_uniform((least, most), rng)
        return scenario.replace(
            num_ues=num_ues,
            server_cpu_hz=tuple(float(f) for f in capacity * scale),
            data_bits=tuple(float(d) for d in np.asarray(scenario.data_bits) * data),
            cycles=tuple(float(c) for c in np.asarray(scenario.cycles) * cycles),
            bandwidth_hz=scenario.bandwidth_hz * _log_uniform(self.bandwidth_scale, rng),
        )


@functools.cache
def _loaded(name: str) -> Scenario:
    return load_scenario(name)


def _log_uniform(ends: tuple[float, float], rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(ends))))
