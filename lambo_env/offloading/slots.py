"""What persists between time slots, and how a slot becomes Instances (array API, batched).

Randomness enters as blocks of draws whose size depends on the scenario alone: row b of a block
comes from generator b, so a vector environment's row equals the single environment with that
generator, bit for bit.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from lambo_env.cell import channel, mobility
from lambo_env.offloading.instances import Array, Instances
from lambo_env.offloading.scenario import Range, Scenario
from lambo_env.utils import validate

_TASK = ("data_bits", "cycles", "deadline_s", "local_cpu_hz", "local_power_w", "tx_power_w")


@dataclasses.dataclass(frozen=True)
class World:
    """Positions, shadowing and fading of a batch: what the next slot inherits."""

    ue_xy: Array  # [B, N, 2] m
    server_xy: Array  # [B, M, 2] m
    waypoint: Array  # [B, N, 2] m
    velocity: Array  # [B, N, 2] m/s
    shadowing_db: Array | None  # [B, N, M]; None where the scenario has none
    scatter: (
        Array | None
    )  # [B, N, M, 2] real and imaginary, CN(0, 1); None where there is no fading


def _has_fading(scenario: Scenario) -> bool:
    return scenario.rician_k_db != float("inf")


def _random_tasks(scenario: Scenario) -> list[str]:
    """Names of the per-UE quantities that need a draw: those with unequal ends."""
    return [name for name in _TASK if getattr(scenario, name)[0] < getattr(scenario, name)[1]]


def _link_normals(scenario: Scenario) -> int:
    links = scenario.num_ues * scenario.num_servers
    return links * ((scenario.shadowing_db > 0) + 2 * _has_fading(scenario))


def initial_draws(scenario: Scenario) -> tuple[int, int]:
    """Return how many (uniforms, normals) one instance's first slot takes.

    Tasks, positions, links.
    """
    ues = scenario.num_ues
    uniforms = ues * len(_random_tasks(scenario)) + 2 * ues + 2 * scenario.num_servers
    return uniforms, _link_normals(scenario) + ues * mobility.num_normals(scenario)


def advance_draws(scenario: Scenario) -> tuple[int, int]:
    """Return how many (uniforms, normals) each further slot takes: tasks, moves, links."""
    ues = scenario.num_ues
    uniforms = ues * (len(_random_tasks(scenario)) + mobility.num_uniforms(scenario))
    return uniforms, _link_normals(scenario) + ues * mobility.num_normals(scenario)


class _Block:
    """Hands out consecutive slices of a block of draws [B, size], shaped [B, *shape]."""

    def __init__(self, draws: Array, xp: Any) -> None:
        self.draws, self.xp, self.used = draws, xp, 0

    def take(self, *shape: int) -> Array:
        start = self.used
        self.used += math.prod(shape)
        return self.xp.reshape(self.draws[:, start : self.used], (self.draws.shape[0], *shape))


def _split(scenario: Scenario, uniforms: Array, xp: Any) -> tuple[Array, Array]:
    """Split a block of uniforms into that of the tasks and the rest."""
    size = scenario.num_ues * len(_random_tasks(scenario))
    return uniforms[:, :size], uniforms[:, size:]


def _link_draws(scenario: Scenario, normals: _Block) -> tuple[Array | None, Array | None]:
    shape = (scenario.num_ues, scenario.num_servers)
    shadowing = normals.take(*shape) if scenario.shadowing_db > 0 else None
    return shadowing, normals.take(*shape, 2) if _has_fading(scenario) else None


def initial(scenario: Scenario, uniforms: Array, normals: Array, xp: Any = np) -> World:
    """Return the first slot's world from draws of the sizes that ``initial_draws`` names, [B, size] each."""
    ues, side = scenario.num_ues, scenario.side_m
    places, links = _Block(_split(scenario, uniforms, xp)[1], xp), _Block(normals, xp)
    ue_xy, server_xy = places.take(ues, 2) * side, places.take(scenario.num_servers, 2) * side
    shadowing, scatter = _link_draws(scenario, links)
    velocity = xp.zeros_like(ue_xy)
    if mobility.num_normals(scenario):
        velocity = mobility.initial_velocity(links.take(ues, 2), scenario)
    return World(
        ue_xy=ue_xy,
        server_xy=server_xy,
        waypoint=ue_xy,  # "arrived": the first move draws a target and a speed
        velocity=velocity,
        shadowing_db=None if shadowing is None else scenario.shadowing_db * shadowing,
        scatter=None if scatter is None else scatter * 0.5**0.5,
    )


def advance(
    world: World, scenario: Scenario, uniforms: Array, normals: Array, xp: Any = np
) -> World:
    """Return the world one slot later.

    UEs move, shadowing decorrelates with distance, fading with Doppler.
    """
    ues = scenario.num_ues
    moves, links = _Block(_split(scenario, uniforms, xp)[1], xp), _Block(normals, xp)
    shadowing, scatter = _link_draws(scenario, links)
    uniform, normal = (
        moves.take(ues, mobility.num_uniforms(scenario)),
        links.take(ues, mobility.num_normals(scenario)),
    )
    ue_xy, waypoint, velocity = mobility.move(
        world.ue_xy, world.waypoint, world.velocity, uniform, normal, scenario, xp
    )
    gap = ue_xy - world.ue_xy
    moved_m = xp.sqrt(xp.sum(gap * gap, axis=-1))
    if shadowing is not None:
        shadowing = channel.shadowing_step(world.shadowing_db, moved_m, shadowing, scenario, xp)
    if scatter is not None:
        speed = xp.sqrt(xp.sum(velocity * velocity, axis=-1))
        scatter = channel.scatter_step(world.scatter, speed, scatter, scenario, xp)
    return World(ue_xy, world.server_xy, waypoint, velocity, shadowing, scatter)


def snapshot(world: World, scenario: Scenario, uniforms: Array, xp: Any = np) -> Instances:
    """Return the slot as Instances: new tasks from the slot's uniforms, CSI from the world."""
    batch = world.ue_xy.shape[0]
    random, block = _random_tasks(scenario), _Block(_split(scenario, uniforms, xp)[0], xp)
    tasks = {
        name: _task(getattr(scenario, name), name in random, block, world.ue_xy, xp)
        for name in _TASK
    }
    distance = channel.distance_m(world.ue_xy, world.server_xy, xp)
    gain = channel.path_gain(distance, scenario, xp, world.shadowing_db) * channel.fading_gain(
        world.scatter, scenario
    )
    like = {"dtype": gain.dtype, "device": gain.device}
    capacity = xp.asarray(scenario.server_cpu_hz, **like)
    return Instances.unchecked(
        **tasks,
        uplink_bps=channel.rate_bps(gain, tasks["tx_power_w"], scenario, xp),
        server_cpu_hz=xp.zeros((batch, 1), **like) + capacity,
        late_penalty=xp.full((batch,), scenario.late_penalty, **like),
    )


def _task(ends: Range, random: bool, block: _Block, like: Array, xp: Any) -> Array:
    low, high = ends
    if random:
        return low + (high - low) * block.take(like.shape[1])
    return xp.full(like.shape[:2], low, dtype=like.dtype, device=like.device)


def sample_world(
    scenario: Scenario, num_instances: int, rng: np.random.Generator
) -> tuple[World, Instances]:
    """Draw first slots with one generator: the World (positions, links) and its Instances."""
    check_generator(rng)
    count = validate.integer("num_instances", num_instances)
    num_uniforms, num_normals = initial_draws(scenario)
    uniforms, normals = rng.random((count, num_uniforms)), rng.standard_normal((count, num_normals))
    world = initial(scenario, uniforms, normals)
    return world, snapshot(world, scenario, uniforms)


def next_slot(
    world: World, scenario: Scenario, rng: np.random.Generator
) -> tuple[World, Instances]:
    """Advance a batch by one slot with one generator."""
    count = world.ue_xy.shape[0]
    num_uniforms, num_normals = advance_draws(scenario)
    uniforms, normals = rng.random((count, num_uniforms)), rng.standard_normal((count, num_normals))
    world = advance(world, scenario, uniforms, normals)
    return world, snapshot(world, scenario, uniforms)


def sample_instances(scenario: Scenario, num_instances: int, rng: np.random.Generator) -> Instances:
    """Draw ``num_instances`` independent single-slot problems of ``scenario``.

    Raises:
        ValueError: when an argument has the wrong type or ``num_instances`` is below 1.
    """
    validate.check(
        "scenario", scenario, isinstance(scenario, Scenario), "a Scenario (see load_scenario)"
    )
    return sample_world(scenario, num_instances, rng)[1]


def check_generator(rng: object) -> None:
    """Refuse anything but a NumPy Generator: randomness is handed down, never global."""
    validate.check("rng", rng, isinstance(rng, np.random.Generator), "a numpy.random.Generator")
