"""Who stands where, and over which links: what persists between the slots of a cell.

Array API, batched. Randomness enters as blocks of draws whose size depends on the scenario alone:
row b of a block comes from generator b, so a vector environment's row equals the single environment
with that generator, bit for bit.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from lambo_env.cell import channel, propagation
from lambo_env.cell.mobility import MODELS, norm
from lambo_env.cell.scenario import CellScenario, Positions
from lambo_env.utils.rows import Array


@dataclasses.dataclass(frozen=True)
class CellState:
    """Positions, shadowing and fading of a batch: what the next slot inherits."""

    ue_xy: Array  # [B, N, 2] m
    server_xy: Array  # [B, M, 2] m
    waypoint: Array  # [B, N, 2] m
    velocity: Array  # [B, N, 2] m/s
    shadowing_db: Array | None  # [B, N, M]; None where the scenario has none
    scatter: Array | None  # [B, N, M, 2] real and imaginary, CN(0, 1); None without fading
    # [B, N, M] in [0, 1): line of sight where it is below the probability; None where none is known
    los_draw: Array | None = None


def _has_fading(scenario: CellScenario) -> bool:
    return scenario.rician_k_db != float("inf")


def _link_normals(scenario: CellScenario) -> int:
    links = scenario.num_ues * scenario.num_servers
    return links * ((scenario.shadowing_db > 0) + 2 * _has_fading(scenario))


def _row(scenario: CellScenario) -> propagation.Propagation:
    """Return the scenario's channel; a worker process may meet its name before its row."""
    row = propagation.channel(scenario.channel)
    assert row is not None  # the scenario checked it
    return row


def initial_draws(scenario: CellScenario) -> tuple[int, int]:
    """Return how many (uniforms, normals) one cell's first slot takes: positions, links."""
    ues, model = scenario.num_ues, MODELS[scenario.mobility]
    uniforms = 2 * ues + 2 * scenario.num_servers
    if _row(scenario).los_probability is not None:
        uniforms += ues * scenario.num_servers
    return uniforms, _link_normals(scenario) + ues * model.normals


def advance_draws(scenario: CellScenario) -> tuple[int, int]:
    """Return how many (uniforms, normals) each further slot takes: moves, links."""
    ues, model = scenario.num_ues, MODELS[scenario.mobility]
    return ues * model.uniforms, _link_normals(scenario) + ues * model.normals


class Block:
    """Hands out consecutive slices of a block of draws [B, size], as arrays [B, ...]."""

    def __init__(self, draws: Array, xp: Any) -> None:
        self.draws, self.xp, self.used = draws, xp, 0

    def take(self, *shape: int) -> Array:
        """Return the next slice as [B, ...] of the given shape."""
        start = self.used
        self.used += math.prod(shape)
        return self.xp.reshape(self.draws[:, start : self.used], (self.draws.shape[0], *shape))


def _link_draws(scenario: CellScenario, normals: Block) -> tuple[Array | None, Array | None]:
    shape = (scenario.num_ues, scenario.num_servers)
    shadowing = normals.take(*shape) if scenario.shadowing_db > 0 else None
    return shadowing, normals.take(*shape, 2) if _has_fading(scenario) else None


def initial(scenario: CellScenario, uniforms: Array, normals: Array, xp: Any = np) -> CellState:
    """Return the first slot's cell from draws [B, size] of the sizes of ``initial_draws``."""
    ues, side = scenario.num_ues, scenario.side_m
    places, links = Block(uniforms, xp), Block(normals, xp)
    ue_xy, server_xy = places.take(ues, 2) * side, places.take(scenario.num_servers, 2) * side
    sees = _row(scenario).los_probability is not None
    los_draw = places.take(ues, scenario.num_servers) if sees else None
    ue_xy, server_xy = (
        _placed(ue_xy, scenario.ue_xy, xp),
        _placed(server_xy, scenario.server_xy, xp),
    )
    shadowing, scatter = _link_draws(scenario, links)
    model, velocity = MODELS[scenario.mobility], xp.zeros_like(ue_xy)
    if model.velocity is not None:
        velocity = model.velocity(links.take(ues, model.normals), scenario)
    return CellState(
        ue_xy=ue_xy,
        server_xy=server_xy,
        waypoint=ue_xy,  # "arrived": the first move draws a target and a speed
        velocity=velocity,
        shadowing_db=None if shadowing is None else scenario.shadowing_db * shadowing,
        scatter=None if scatter is None else scatter * 0.5**0.5,
        los_draw=los_draw,
    )


def _placed(drawn: Array, plan: Positions | None, xp: Any) -> Array:
    """Return positions [B, K, 2], the first of them as a site plan says."""
    if plan is None:
        return drawn
    written = xp.asarray(plan, dtype=drawn.dtype, device=drawn.device)
    first = xp.broadcast_to(written, (drawn.shape[0], *written.shape))
    return xp.concat([first, drawn[:, len(plan) :]], axis=1)


def advance(
    cell: CellState, scenario: CellScenario, uniforms: Array, normals: Array, xp: Any = np
) -> CellState:
    """Return the cell one slot later.

    UEs move, shadowing decorrelates with distance, fading with Doppler.
    """
    ues = scenario.num_ues
    moves, links = Block(uniforms, xp), Block(normals, xp)
    shadowing, scatter = _link_draws(scenario, links)
    model = MODELS[scenario.mobility]
    draws = links.take(ues, model.normals) if model.normals else moves.take(ues, model.uniforms)
    ue_xy, waypoint, velocity = model.move(
        cell.ue_xy, cell.waypoint, cell.velocity, draws, scenario, xp
    )
    ue_xy = _placed(ue_xy, scenario.ue_xy, xp)
    if scenario.ue_xy is not None:
        velocity = _placed(velocity, ((0.0, 0.0),) * len(scenario.ue_xy), xp)
    moved_m = norm(ue_xy - cell.ue_xy, xp)
    if shadowing is not None:
        shadowing = channel.shadowing_step(cell.shadowing_db, moved_m, shadowing, scenario, xp)
    if scatter is not None:
        speed = norm(velocity, xp)
        scatter = channel.scatter_step(cell.scatter, speed, scatter, scenario, xp)
    return CellState(ue_xy, cell.server_xy, waypoint, velocity, shadowing, scatter, cell.los_draw)


def link_gain(cell: CellState, scenario: CellScenario, xp: Any = np) -> Array:
    """Return the power gain (ratio) of every link [B, N, M]: propagation, shadowing, fading."""
    row = _row(scenario)
    distance = channel.distance_m(cell.ue_xy, cell.server_xy, xp)
    los = None
    if row.los_probability is not None:
        los = cell.los_draw < row.los_probability(distance, xp)
    gain = row.gain(distance, cell.shadowing_db, los, scenario, xp)
    return gain * channel.fading_gain(cell.scatter, scenario, los, xp)
