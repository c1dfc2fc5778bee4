"""How UEs move from one slot to the next (array API, batched).

Random waypoint, Gauss-Markov, drift.

Every model consumes the same number of draws whatever the state, so that a generator's stream never
depends on the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from lambo_env.utils.rows import Array

if TYPE_CHECKING:
    from lambo_env.cell.scenario import CellScenario


def reflect(xy: Array, side_m: float, xp: Any) -> Array:
    """Fold positions back into the square [0, side] as a mirror at each border would."""
    folded = xp.remainder(xy, 2 * side_m)
    return xp.where(folded > side_m, 2 * side_m - folded, folded)


def norm(vector: Array, xp: Any) -> Array:
    """Return the lengths [...] of vectors [..., 2]; a sum over so short an axis is slow."""
    x, y = vector[..., 0], vector[..., 1]
    return xp.sqrt(x * x + y * y)


def _toward(
    xy: Array, target: Array, speed: Array, time_s: Array | float, xp: Any
) -> tuple[Array, Array, Array]:
    """Walk from ``xy`` to ``target`` for at most ``time_s``.

    Return position, time left, unit direction.
    """
    gap = target - xy
    length = norm(gap, xp)
    direction = gap / xp.where(length > 0, length, 1.0)[..., None]
    needed = length / xp.maximum(speed, 1e-30)
    arrives = needed <= time_s
    walked = xp.where(arrives, length, speed * time_s)
    position = xp.where(arrives[..., None], target, xy + walked[..., None] * direction)
    return position, xp.where(arrives, time_s - needed, 0.0), direction


def _waypoint(
    xy: Array, waypoint: Array, velocity: Array, uniform: Array, scenario: CellScenario, xp: Any
) -> tuple[Array, Array, Array]:
    """Random waypoint without pause.

    One that arrives draws a new target and speed and walks on (one new target per slot).
    """
    low, high = scenario.speed_mps
    speed = norm(velocity, xp)
    position, left_s, direction = _toward(xy, waypoint, speed, scenario.slot_s, xp)
    there = position == waypoint
    arrived = there[..., 0] & there[..., 1]
    target = xp.where(arrived[..., None], uniform[..., :2] * scenario.side_m, waypoint)
    speed = xp.where(arrived, low + (high - low) * uniform[..., 2], speed)
    position, _, onward = _toward(position, target, speed, left_s, xp)
    direction = xp.where(arrived[..., None], onward, direction)
    return position, target, speed[..., None] * direction


def initial_velocity(normal: Array, scenario: CellScenario) -> Array:
    """Return stationary Gauss-Markov velocities [B, N, 2] in m/s from normal draws.

    A Rayleigh speed of the scenario's mean.
    """
    return normal * (sum(scenario.speed_mps) / 2 / math.sqrt(math.pi / 2))


def _gauss_markov(
    xy: Array, waypoint: Array, velocity: Array, normal: Array, scenario: CellScenario, xp: Any
) -> tuple[Array, Array, Array]:
    """Velocity v' = a v + sqrt(1 - a^2) sigma n an axis.

    Sigma gives the scenario's mean speed (Rayleigh); mirrored borders.
    """
    memory = scenario.gauss_markov_memory
    velocity = memory * velocity + (1 - memory**2) ** 0.5 * initial_velocity(normal, scenario)
    target = xy + velocity * scenario.slot_s
    folded = xp.remainder(target, 2 * scenario.side_m) > scenario.side_m
    return reflect(target, scenario.side_m, xp), waypoint, xp.where(folded, -velocity, velocity)


def _drift(
    xy: Array, waypoint: Array, velocity: Array, uniform: Array, scenario: CellScenario, xp: Any
) -> tuple[Array, Array, Array]:
    """Step uniformly in a square, mirrored at the borders."""
    step = (2 * uniform - 1) * scenario.drift_m
    return reflect(xy + step, scenario.side_m, xp), waypoint, step / scenario.slot_s


class MobilityModel(NamedTuple):
    """How UEs move: one row is all that there is to a model.

    ``move`` advances positions by one slot. It gets

    - xy: positions [B, N, 2] in m,
    - waypoint: where each UE heads [B, N, 2]; equal to xy for one that has arrived,
    - velocity: [B, N, 2] in m/s,
    - draws: uniforms in [0, 1), or standard normals where the model has some [B, N, number],
    - the scenario and the array namespace,

    and returns the next (xy, waypoint, velocity); velocity is that of the last leg.
    """

    move: Callable[..., tuple[Array, Array, Array]]
    uniforms: int = 0  # draws per UE and slot
    normals: int = 0  # draws per UE and slot, the first one included
    velocity: Callable[[Array, CellScenario], Array] | None = None  # of first slots, from normals


MODELS = {
    "waypoint": MobilityModel(_waypoint, uniforms=3),
    "gauss-markov": MobilityModel(_gauss_markov, normals=2, velocity=initial_velocity),
    "drift": MobilityModel(_drift, uniforms=2),
    "static": MobilityModel(
        lambda xy, waypoint, velocity, draws, scenario, xp: (xy, waypoint, velocity)
    ),
}
