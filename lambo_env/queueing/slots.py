"""How one slot of a queueing episode follows another: devices, arrivals, links (batched).

Every slot takes the same number of draws from its row's generator, whatever it turns out to be.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from lambo_env.cell import channel, geometry
from lambo_env.cell.draws import Draws, draw
from lambo_env.cell.geometry import Block, CellState
from lambo_env.cell.seeding import episode_rng
from lambo_env.cell.shifts import into_disc
from lambo_env.queueing.instances import Bools, Floats, Trace
from lambo_env.queueing.scenario import QueueScenario
from lambo_env.utils import validate

_DEVICE = ("local_cpu_hz", "local_power_w", "tx_power_w")


class Devices(NamedTuple):
    """What stays as it is during an episode."""

    local_cpu_hz: Floats  # [B, N]
    local_power_w: Floats  # [B, N]
    tx_power_w: Floats  # [B, N]
    server_cpu_hz: Floats  # [B, M]


class Arrivals(NamedTuple):
    """What a slot brings."""

    has_task: Bools  # [B, N]
    data_bits: Floats  # [B, N] 0 where there is no task
    cycles: Floats  # [B, N] 0 where there is no task
    uplink_bps: Floats  # [B, N, M]


class Inherited(NamedTuple):
    """What the next slot inherits."""

    cell: CellState | None  # None where the uplinks are fixed
    tx_power_w: Floats  # [B, N]
    state: Floats  # [B] 0 or 1, of the chain of bursts


@dataclasses.dataclass(frozen=True)
class QueueSlots:
    """Slots of a scenario: tasks arrive, UEs move, shadowing and fading follow.

    Args:
        scenario: what is played.
        disc_m: radius of the disc that all UEs are drawn into, as far as ``drawn_in`` says (0 to
            1); None: they are where they are.
        drawn_in: how far.
    """

    scenario: QueueScenario
    disc_m: float | None = None
    drawn_in: float = 0.0

    @property
    def first_draws(self) -> tuple[int, int]:
        """How many (uniforms, normals) a first slot takes: tasks, devices, cell."""
        uniforms, normals = self._cell_draws(geometry.initial_draws)
        return self._task_draws + len(_DEVICE) * self.scenario.num_ues + uniforms, normals

    @property
    def next_draws(self) -> tuple[int, int]:
        """How many (uniforms, normals) each further slot takes: tasks, cell."""
        uniforms, normals = self._cell_draws(geometry.advance_draws)
        return self._task_draws + uniforms, normals

    @property
    def _task_draws(self) -> int:
        return 1 + 3 * self.scenario.num_ues  # the state of bursts; arrival, data, cycles

    def _cell_draws(self, sizes: Any) -> tuple[int, int]:
        return (0, 0) if self.scenario.fixed_uplink_bps is not None else sizes(self.scenario)

    def first(self, draws: Draws) -> tuple[Inherited, Devices, Arrivals]:
        """Return what the second slot inherits, the episodes' devices, and their first slots."""
        scenario, tasks = self.scenario, self._task_draws
        batch, ues = draws.uniforms.shape[0], scenario.num_ues
        block = Block(draws.uniforms[:, tasks:], np)
        cpu_hz, power_w, tx_power_w = (
            _within(getattr(scenario, name), block.take(ues)) for name in _DEVICE
        )
        capacity = np.broadcast_to(scenario.server_cpu_hz, (batch, scenario.num_servers)).copy()
        cell = None
        if scenario.fixed_uplink_bps is None:
            places = draws.uniforms[:, tasks + block.used :]
            cell = geometry.initial(scenario, places, draws.normals)
        state = (draws.uniforms[:, 0] < 0.5).astype(np.float64)
        inherited = Inherited(cell, tx_power_w, state)
        devices = Devices(cpu_hz, power_w, tx_power_w, capacity)
        return inherited, devices, self._slot(inherited, draws)

    def next(self, before: Inherited, draws: Draws) -> tuple[Inherited, Arrivals]:
        """Return the same of the slots that follow."""
        scenario, cell, state = self.scenario, before.cell, before.state
        if cell is not None:
            moves = draws.uniforms[:, self._task_draws :]
            cell = geometry.advance(cell, scenario, moves, draws.normals)
        if scenario.bursts is not None:
            switches = draws.uniforms[:, 0] < scenario.bursts.switching_probability
            state = np.where(switches, 1 - state, state)
        inherited = Inherited(cell, before.tx_power_w, state)
        return inherited, self._slot(inherited, draws)

    def _slot(self, now: Inherited, draws: Draws) -> Arrivals:
        scenario, ues = self.scenario, self.scenario.num_ues
        arrival, size, work = (draws.uniforms[:, 1 + k * ues : 1 + (k + 1) * ues] for k in range(3))
        probability: Any = scenario.arrival_probability
        if scenario.bursts is not None:
            probability = probability * np.take(scenario.bursts.factors, now.state.astype(int))
            probability = probability[:, None]
        has_task = arrival < probability
        data_bits = _within(scenario.data_bits, size)
        if scenario.cycles_per_bit is None:
            cycles = _within(scenario.cycles, work)
        else:
            density = np.asarray(scenario.cycles_per_bit)
            cycles = data_bits * density[(work * density.size).astype(int)]
        return Arrivals(has_task, data_bits * has_task, cycles * has_task, self._uplink_bps(now))

    def _uplink_bps(self, now: Inherited) -> Floats:
        scenario, batch = self.scenario, now.state.size
        if now.cell is None:
            shape = (batch, scenario.num_ues, scenario.num_servers)
            return np.full(shape, scenario.fixed_uplink_bps)
        cell = now.cell
        if self.disc_m is not None and self.drawn_in > 0:
            drawn = into_disc(cell.ue_xy, scenario.side_m, self.disc_m, np)
            ue_xy = cell.ue_xy + self.drawn_in * (drawn - cell.ue_xy)
            cell = dataclasses.replace(cell, ue_xy=ue_xy)
        gain = geometry.link_gain(cell, scenario)
        return np.asarray(channel.rate_bps(gain, now.tx_power_w, scenario, np))


def _within(ends: tuple[float, float], uniform: Floats) -> Floats:
    low, high = ends
    return low + (high - low) * uniform


def episodes_of(
    slots: QueueSlots, episodes: int, rng: np.random.Generator
) -> Iterator[tuple[Devices, Arrivals]]:
    """Yield the T + L - 1 slots of episodes side by side, each drawn by a generator of its own.

    The last L - 1 bring no tasks.
    """
    scenario, rngs = slots.scenario, [episode_rng(rng) for _ in range(episodes)]
    # the further uniform is an environment's, for its prompt
    inherited, devices, slot = slots.first(draw(rngs, len(rngs), slots.first_draws, extra=1))
    yield devices, slot
    for at in range(1, scenario.num_slots + scenario.deadline_slots - 1):
        inherited, slot = slots.next(inherited, draw(rngs, len(rngs), slots.next_draws))
        yield devices, slot if at < scenario.num_slots else without_tasks(slot)


def without_tasks(slot: Arrivals, rows: Any = slice(None)) -> Arrivals:
    """Return the slots with nothing but their links in some rows."""
    has_task = slot.has_task.copy()
    has_task[rows] = False
    return Arrivals(has_task, slot.data_bits * has_task, slot.cycles * has_task, slot.uplink_bps)


def sample_trace(scenario: QueueScenario, episodes: int, rng: np.random.Generator) -> list[Trace]:
    """Draw what ``episodes`` independent episodes bring, one Trace each.

    They are the first ones that an environment with the generator ``rng`` plays; the first ones are
    the same however many are asked for.

    Raises:
        ValueError: no QueueScenario, ``episodes`` below 1, or no Generator.
    """
    validate.of_kind("scenario", scenario, QueueScenario)
    validate.generator(rng)
    return traces_of(QueueSlots(scenario), validate.integer("episodes", episodes), rng)


def traces_of(slots: QueueSlots, episodes: int, rng: np.random.Generator) -> list[Trace]:
    """Return the traces of episodes that play such slots."""
    scenario, played = slots.scenario, list(episodes_of(slots, episodes, rng))
    has_task, data_bits, cycles, uplink_bps = (
        np.stack([getattr(slot, name) for _, slot in played], axis=1) for name in Arrivals._fields
    )
    devices, until = played[0][0], scenario.num_slots
    return [
        Trace(
            has_task=has_task[k, :until],
            data_bits=data_bits[k, :until],
            cycles=cycles[k, :until],
            uplink_bps=uplink_bps[k],
            **{name: value[k] for name, value in devices._asdict().items()},
            slot_s=scenario.slot_s,
            deadline_s=scenario.deadline_s[0],
            late_penalty=scenario.late_penalty,
            discipline=scenario.discipline,
        )
        for k in range(episodes)
    ]
