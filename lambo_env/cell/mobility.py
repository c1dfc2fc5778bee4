"""How UEs move from one slot to the next (array API, batched).

Random waypoint, Gauss-Markov, drift.

Every model consumes the same number of draws whatever the state, so that a generator's stream never
depends on the data.
"""

from __future__ import annotations

import math
from typing import Any

from lambo_env.offloading.instances import Array
from lambo_env.offloading.scenario import Scenario


def num_uniforms(scenario: Scenario) -> int:
    """Uniform draws a UE and slot."""
    return {"waypoint": 3, "drift": 2}.get(scenario.mobility, 0)


def num_normals(scenario: Scenario) -> int:
    """Standard normal draws a UE and slot."""
    return 2 if scenario.mobility == "gauss-markov" else 0


def reflect(xy: Array, side_m: float, xp: Any) -> Array:
    """Fold positions back into the square [0, side] as a mirror at each border would."""
    folded = xp.remainder(xy, 2 * side_m)
    return xp.where(folded > side_m, 2 * side_m - folded, folded)


def move(
    xy: Array,
    waypoint: Array,
    velocity: Array,
    uniform: Array,
    normal: Array,
    scenario: Scenario,
    xp: Any,
) -> tuple[Array, Array, Array]:
    """Advance positions one slot.

    Args:
        xy: positions [B, N, 2] in m.
        waypoint: where each UE heads [B, N, 2]; equal to ``xy`` for one that has arrived.
        velocity: [B, N, 2] in m/s.
        uniform: draws in [0, 1) [B, N, num_uniforms].
        normal: standard normal draws [B, N, num_normals].
        scenario: speeds, border, slot.
        xp: array namespace.

    Returns:
        The next (xy, waypoint, velocity); velocity is that of the last leg.
    """
    if scenario.mobility == "waypoint":
        return _waypoint(xy, waypoint, velocity, uniform, scenario, xp)
    if scenario.mobility == "drift":
        step = (2 * uniform - 1) * scenario.drift_m
        return reflect(xy + step, scenario.side_m, xp), waypoint, step / scenario.slot_s
    if scenario.mobility == "gauss-markov":
        return _gauss_markov(xy, waypoint, velocity, normal, scenario, xp)
    return xy, waypoint, velocity


def _toward(
    xy: Array, target: Array, speed: Array, time_s: Array | float, xp: Any
) -> tuple[Array, Array, Array]:
    """Walk from ``xy`` to ``target`` for at most ``time_s``.

    Return position, time left, unit direction.
    """
    gap = target - xy
    length = xp.sqrt(xp.sum(gap * gap, axis=-1))
    direction = gap / xp.where(length > 0, length, 1.0)[..., None]
    needed = length / xp.where(speed > 0, speed, 1e-30)
    arrives = needed <= time_s
    walked = xp.where(arrives, length, speed * time_s)
    position = xp.where(arrives[..., None], target, xy + walked[..., None] * direction)
    return position, xp.where(arrives, time_s - needed, 0.0), direction


def _waypoint(
    xy: Array, waypoint: Array, velocity: Array, uniform: Array, scenario: Scenario, xp: Any
) -> tuple[Array, Array, Array]:
    """Random waypoint without pause.

    One that arrives draws a new target and speed and walks on (one new target a slot).
    """
    low, high = scenario.speed_mps
    speed = xp.sqrt(xp.sum(velocity * velocity, axis=-1))
    position, left_s, direction = _toward(xy, waypoint, speed, scenario.slot_s, xp)
    arrived = xp.all(position == waypoint, axis=-1)
    target = xp.where(arrived[..., None], uniform[..., :2] * scenario.side_m, waypoint)
    speed = xp.where(arrived, low + (high - low) * uniform[..., 2], speed)
    position, _, onward = _toward(position, target, speed, left_s, xp)
    direction = xp.where(arrived[..., None], onward, direction)
    return position, target, speed[..., None] * direction


def initial_velocity(normal: Array, scenario: Scenario) -> Array:
    """Return stationary Gauss-Markov velocities [B, N, 2] in m/s from normal draws.

    A Rayleigh speed of the scenario's mean.
    """
    return normal * (sum(scenario.speed_mps) / 2 / math.sqrt(math.pi / 2))


def _gauss_markov(
    xy: Array, waypoint: Array, velocity: Array, normal: Array, scenario: Scenario, xp: Any
) -> tuple[Array, Array, Array]:
    """Velocity v' = a v + sqrt(1 - a^2) sigma n an axis.

    Sigma gives the scenario's mean speed (Rayleigh); mirrored borders.
    """
    memory = scenario.gauss_markov_memory
    velocity = memory * velocity + (1 - memory**2) ** 0.5 * initial_velocity(normal, scenario)
    target = xy + velocity * scenario.slot_s
    folded = xp.remainder(target, 2 * scenario.side_m) > scenario.side_m
    return reflect(target, scenario.side_m, xp), waypoint, xp.where(folded, -velocity, velocity)
