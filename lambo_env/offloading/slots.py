"""What persists between time slots, and how a slot becomes Instances (array API, batched).

Randomness enters as blocks of draws whose size depends on the scenario alone: row b of a block
comes from generator b, so a vector environment's row equals the single environment with that
generator, bit for bit.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, cast

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


class Draws(NamedTuple):
    """What a slot is made of: flat blocks of draws, and where further ones come from."""

    uniforms: Array  # [B, size]
    normals: Array  # [B, size]
    rngs: Sequence[np.random.Generator]  # one per row, or one for all


def draw(
    rngs: np.random.Generator | Sequence[np.random.Generator],
    batch: int,
    sizes: tuple[int, int],
    extra: int = 0,
) -> Draws:
    """Draw (uniforms, normals) of the ``sizes`` that a strategy names.

    Args:
        rngs: one generator per row, or one for the whole batch.
        batch: B.
        sizes: how many of each.
        extra: further uniforms at the end of each row, for whoever asks.
    """
    if isinstance(rngs, np.random.Generator):
        return Draws(
            rngs.random((batch, sizes[0] + extra)), rngs.standard_normal((batch, sizes[1])), [rngs]
        )
    uniforms, normals = np.empty((batch, sizes[0] + extra)), np.empty((batch, sizes[1]))
    for rng, uniform, normal in zip(rngs, uniforms, normals, strict=True):
        rng.random(out=uniform)
        rng.standard_normal(out=normal)
    return Draws(uniforms, normals, rngs)


class Slots(Protocol):
    """How one slot follows another.

    What environments and streams play: UEs that move, a drift, a source of one's own.
    """

    @property
    def num_ues(self) -> int:
        """N of every slot."""

    @property
    def num_servers(self) -> int:
        """M of every slot."""

    @property
    def side_m(self) -> float | None:
        """Side of the square that holds UEs and servers; None where nobody stands anywhere."""

    @property
    def first_draws(self) -> tuple[int, int]:
        """How many (uniforms, normals) a first slot takes."""

    @property
    def next_draws(self) -> tuple[int, int]:
        """How many (uniforms, normals) each further slot takes."""

    def first(self, draws: Draws) -> tuple[Any, Instances]:
        """Return what the next slot inherits (a holder of arrays [B, ...], or None), and a slot."""

    def next(self, before: Any, slot: Array, draws: Draws) -> tuple[Any, Instances]:
        """Return the same of the slots number ``slot`` int [B] (from 0), after those ``before``."""


@dataclasses.dataclass(frozen=True)
class MovingSlots:
    """UEs move, shadowing and fading follow; tasks are new in each slot."""

    base: Scenario

    @property
    def num_ues(self) -> int:
        """N of every slot."""
        return self.base.num_ues

    @property
    def num_servers(self) -> int:
        """M of every slot."""
        return self.base.num_servers

    @property
    def side_m(self) -> float:
        """Side of the square."""
        return self.base.side_m

    @property
    def first_draws(self) -> tuple[int, int]:
        """How many (uniforms, normals) a first slot takes."""
        return initial_draws(self.base)

    @property
    def next_draws(self) -> tuple[int, int]:
        """How many (uniforms, normals) each further slot takes."""
        return advance_draws(self.base)

    def first(self, draws: Draws) -> tuple[World, Instances]:
        """Return the world and the instances of first slots."""
        world = initial(self.base, draws.uniforms, draws.normals)
        return world, snapshot(world, self.base, draws.uniforms)

    def next(self, before: World, slot: Array, draws: Draws) -> tuple[World, Instances]:
        """Return the world and the instances of the slots that follow."""
        world = advance(before, self.base, draws.uniforms, draws.normals)
        return world, snapshot(world, self.base, draws.uniforms)


class Source(Protocol):
    """Somebody's own instances: traces, another channel, another draw of tasks."""

    num_ues: int
    num_servers: int

    def sample(self, batch_size: int, rng: np.random.Generator) -> Instances:
        """Return ``batch_size`` slots."""


class SourceSlots:
    """Each slot is sampled anew from a source; a row's from the row's own generator."""

    side_m = None
    first_draws = next_draws = (0, 0)

    def __init__(self, source: Source) -> None:
        """Take the source's size.

        Raises:
            ValueError: no ``sample``, or sizes that are no positive integers.
        """
        sample = getattr(source, "sample", None)
        allowed = "an object with num_ues, num_servers and sample(batch_size, rng) -> Instances"
        validate.check("source", source, callable(sample), allowed)
        self.num_ues = validate.integer("source.num_ues", getattr(source, "num_ues", None))
        self.num_servers = validate.integer(
            "source.num_servers", getattr(source, "num_servers", None)
        )
        self.source = source

    def first(self, draws: Draws) -> tuple[None, Instances]:
        """Return slots that the source samples.

        Raises:
            ValueError: what came is no Instances of the source's own size.
        """
        batch = len(draws.uniforms)
        count = batch // len(draws.rngs)
        return None, Instances.concat([self._sample(count, rng) for rng in draws.rngs])

    def next(self, before: None, slot: Array, draws: Draws) -> tuple[None, Instances]:
        """Return slots that the source samples."""
        return self.first(draws)

    def _sample(self, count: int, rng: np.random.Generator) -> Instances:
        field = "what source.sample returned"
        out = validate.of_kind(field, self.source.sample(count, rng), Instances)
        shape, want = out.uplink_bps.shape, (count, self.num_ues, self.num_servers)
        validate.check(
            f"{field} (batch_size, num_ues, num_servers)", shape, shape == want, f"{want}"
        )
        return out.to("numpy")


def slots_of(source: Scenario | Slots | Source) -> Slots:
    """Return the strategy that plays a Scenario, a source of instances, or a strategy as it is.

    Raises:
        ValueError: anything else.
    """
    if isinstance(source, Scenario):
        return MovingSlots(source)
    return SourceSlots(source) if not hasattr(source, "next_draws") else cast(Slots, source)


def stream(
    slots: Slots, batch: int, rng: np.random.Generator, num_slots: int
) -> Iterator[tuple[int, Instances]]:
    """Yield (slot, Instances) of ``batch`` episodes side by side, all from one generator."""
    now, instances = slots.first(draw(rng, batch, slots.first_draws))
    yield 0, instances
    for slot in range(1, num_slots):
        draws = draw(rng, batch, slots.next_draws)
        now, instances = slots.next(now, np.full(batch, slot), draws)
        yield slot, instances


def sample_instances(scenario: Scenario, num_instances: int, rng: np.random.Generator) -> Instances:
    """Draw ``num_instances`` independent single-slot problems of ``scenario``.

    Raises:
        ValueError: when an argument has the wrong type or ``num_instances`` is below 1.
    """
    validate.check(
        "scenario", scenario, isinstance(scenario, Scenario), "a Scenario (see load_scenario)"
    )
    check_generator(rng)
    count, slots = validate.integer("num_instances", num_instances), MovingSlots(scenario)
    return slots.first(draw(rng, count, slots.first_draws))[1]


def check_generator(rng: object) -> None:
    """Refuse anything but a NumPy Generator: randomness is handed down, never global."""
    validate.check("rng", rng, isinstance(rng, np.random.Generator), "a numpy.random.Generator")
