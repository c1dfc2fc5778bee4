"""How one slot follows another, and how a slot becomes Instances (array API, batched).

Drawn anew, moving (``MovingSlots``), drifting (``drift.Drift``), or from a source of one's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol, cast

import numpy as np

from lambo_env.cell import channel, geometry
from lambo_env.cell.draws import Draws, draw
from lambo_env.cell.geometry import Block, CellState
from lambo_env.cell.scenario import Range
from lambo_env.offloading.instances import Array, Instances
from lambo_env.offloading.scenario import Scenario
from lambo_env.utils import validate

_TASK = ("data_bits", "cycles", "deadline_s", "local_cpu_hz", "local_power_w", "tx_power_w")


def _random_tasks(scenario: Scenario) -> list[str]:
    """Names of the per-UE quantities that need a draw: those with unequal ends."""
    return [name for name in _TASK if getattr(scenario, name)[0] < getattr(scenario, name)[1]]


def split(scenario: Scenario, uniforms: Array) -> tuple[Array, Array]:
    """Split a slot's uniforms [B, size] into those of the tasks and those of the cell."""
    size = scenario.num_ues * len(_random_tasks(scenario))
    return uniforms[:, :size], uniforms[:, size:]


def snapshot(cell: CellState, scenario: Scenario, uniforms: Array, xp: Any = np) -> Instances:
    """Return the slot as Instances: new tasks from the uniforms of the tasks, CSI from the cell."""
    batch = cell.ue_xy.shape[0]
    random, block = _random_tasks(scenario), Block(uniforms, xp)
    tasks = {
        name: _task(getattr(scenario, name), name in random, block, cell.ue_xy, xp)
        for name in _TASK
    }
    gain = geometry.link_gain(cell, scenario, xp)
    like = {"dtype": gain.dtype, "device": gain.device}
    return Instances.unchecked(
        **tasks,
        uplink_bps=channel.rate_bps(gain, tasks["tx_power_w"], scenario, xp),
        server_cpu_hz=xp.zeros((batch, 1), **like) + xp.asarray(scenario.server_cpu_hz, **like),
        late_penalty=xp.full((batch,), scenario.late_penalty, **like),
    )


def _task(ends: Range, random: bool, block: Block, like: Array, xp: Any) -> Array:
    low, high = ends
    if random:
        return low + (high - low) * block.take(like.shape[1])
    return xp.full(like.shape[:2], low, dtype=like.dtype, device=like.device)


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
        return self._with_tasks(geometry.initial_draws(self.base))

    @property
    def next_draws(self) -> tuple[int, int]:
        """How many (uniforms, normals) each further slot takes."""
        return self._with_tasks(geometry.advance_draws(self.base))

    def _with_tasks(self, sizes: tuple[int, int]) -> tuple[int, int]:
        return self.num_ues * len(_random_tasks(self.base)) + sizes[0], sizes[1]

    def first(self, draws: Draws) -> tuple[CellState, Instances]:
        """Return the cell and the instances of first slots."""
        tasks, places = split(self.base, draws.uniforms)
        cell = geometry.initial(self.base, places, draws.normals)
        return cell, snapshot(cell, self.base, tasks)

    def next(self, before: CellState, slot: Array, draws: Draws) -> tuple[CellState, Instances]:
        """Return the cell and the instances of the slots that follow."""
        tasks, moves = split(self.base, draws.uniforms)
        cell = geometry.advance(before, self.base, moves, draws.normals)
        return cell, snapshot(cell, self.base, tasks)


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

    def __init__(self, source: Source, num_ues: tuple[int, int] | None = None) -> None:
        """Take the source's size; a pair of the least and the largest N allows any between.

        Raises:
            ValueError: no ``sample``, or sizes that are no positive integers.
        """
        sample = getattr(source, "sample", None)
        allowed = "an object with num_ues, num_servers and sample(batch_size, rng) -> Instances"
        validate.check("source", source, callable(sample), allowed)
        if num_ues is None:
            num_ues = (validate.integer("source.num_ues", getattr(source, "num_ues", None)),) * 2
        self._least, self.num_ues = num_ues
        self.num_servers = validate.integer(
            "source.num_servers", getattr(source, "num_servers", None)
        )
        self.source = source

    def first(self, draws: Draws) -> tuple[None, Instances]:
        """Return slots that the source samples.

        Raises:
            ValueError: what came is no Instances of the source's own size.
        """
        count = len(draws.uniforms) // len(draws.rngs)
        return None, Instances.concat([self._sample(count, rng) for rng in draws.rngs])

    def next(self, before: None, slot: Array, draws: Draws) -> tuple[None, Instances]:
        """Return slots that the source samples."""
        return self.first(draws)

    def _sample(self, count: int, rng: np.random.Generator) -> Instances:
        field = "what source.sample returned"
        out = validate.of_kind(field, self.source.sample(count, rng), Instances)
        shape, least = tuple(out.uplink_bps.shape), self._least
        right = shape in {(count, ues, self.num_servers) for ues in range(least, self.num_ues + 1)}
        ues = f"{self.num_ues}" if least == self.num_ues else f"{least} to {self.num_ues}"
        allowed = f"({count}, {ues}, {self.num_servers})"
        validate.check(f"{field} (batch_size, num_ues, num_servers)", shape, right, allowed)
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
        now, instances = slots.next(now, np.full(batch, slot), draw(rng, batch, slots.next_draws))
        yield slot, instances


def sample_instances(scenario: Scenario, num_instances: int, rng: np.random.Generator) -> Instances:
    """Draw ``num_instances`` independent single-slot problems of ``scenario``.

    Raises:
        ValueError: when an argument has the wrong type or ``num_instances`` is below 1.
    """
    validate.check(
        "scenario", scenario, isinstance(scenario, Scenario), "a Scenario (see load_scenario)"
    )
    validate.generator(rng)
    count, slots = validate.integer("num_instances", num_instances), MovingSlots(scenario)
    return slots.first(draw(rng, count, slots.first_draws))[1]
