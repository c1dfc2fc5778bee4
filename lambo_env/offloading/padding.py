"""N that varies: slots as wide as the largest N, of which the first UEs are there.

An episode of n UEs is that of n UEs alone, bit for bit: everything that sums over UEs is worked out
over those n. The others are columns of zeros that nobody decides.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lambo_env.cell.draws import Draws
from lambo_env.offloading import dynamics, physics
from lambo_env.offloading.batch import EpisodeBatch, Opening, outcome_of
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.offloading.observation import Observations
from lambo_env.offloading.scenario import Scenario
from lambo_env.offloading.slots import MovingSlots, Slots, SourceSlots
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils.rows import Finished, Rows, map_arrays

NOWHERE = -1  # the place of a UE that is not there
_TABLES = {"fixed": 0.0, "floor_hz": np.inf, "cycles": 0.0, "root": 0.0, "late_cost": 0.0}
_STATE = {"place": 0, "taken_hz": 0.0}
_OUTCOME = {"latency_s": 0.0, "energy_j": 0.0, "late": False, "place": NOWHERE, "cpu_hz": 0.0}


class Padded(NamedTuple):
    """What a slot of N that varies hands on to the next one."""

    num_ues: dynamics.Ints  # [B] n: how many are there
    inherited: Any  # of the strategy that fills the slots


class VaryingSlots:
    """A strategy's slots of the largest N, of which n UEs have tasks: one n per episode.

    Args:
        slots: strategy of the largest N.
        low: the least n.
    """

    def __init__(self, slots: Slots, low: int) -> None:
        self.slots, self.low = slots, low
        self.num_ues, self.num_servers = slots.num_ues, slots.num_servers
        self.side_m, self.next_draws = slots.side_m, slots.next_draws

    @property
    def first_draws(self) -> tuple[int, int]:
        """The strategy's draws, and a uniform for n."""
        uniforms, normals = self.slots.first_draws
        return uniforms + 1, normals

    def first(self, draws: Draws) -> tuple[Padded, Instances]:
        """Return first slots; n is uniform on low .. N."""
        drawn = draws.uniforms[:, self.first_draws[0] - 1]
        count = self.low + np.floor(drawn * (self.num_ues + 1 - self.low)).astype(np.int64)
        inherited, instances = self.slots.first(draws)
        return Padded(count, inherited), instances

    def next(self, before: Padded, slot: Any, draws: Draws) -> tuple[Padded, Instances]:
        """Return the slots that follow, of the same n."""
        inherited, instances = self.slots.next(before.inherited, slot, draws)
        return Padded(before.num_ues, inherited), instances


class VaryingSourceSlots(SourceSlots):
    """Slots of a source whose N varies from call to call."""

    def __init__(self, source: Any, num_ues: tuple[int, int]) -> None:
        super().__init__(source, num_ues)

    def first(self, draws: Draws) -> tuple[Padded, Instances]:  # type: ignore[override]
        """Return slots that the source samples, padded."""
        rows = len(draws.uniforms) // len(draws.rngs)
        parts = [self._sample(rows, rng) for rng in draws.rngs]
        count = np.repeat([part.num_ues for part in parts], rows)
        return Padded(count, None), Instances.concat([of_size(p, self.num_ues) for p in parts])

    def next(self, before: Any, slot: Any, draws: Draws) -> tuple[Padded, Instances]:  # type: ignore[override]
        """Return slots that the source samples, padded."""
        return self.first(draws)


def of_size(instances: Instances, num_ues: int) -> Instances:
    """Return the first UEs of a batch; where it has fewer, its last UE is repeated."""
    index = np.minimum(np.arange(num_ues), instances.num_ues - 1)
    return instances.order(np.broadcast_to(index, (instances.batch_size, num_ues)))


class PaddedBatch(EpisodeBatch):
    """B running episodes of N that varies.

    Observations have the column `present` at the end. An outcome has it too: absent UEs have place
    -1 and zeros.
    """

    together = False

    def __init__(self, slots: Slots, *args: Any, **kwargs: Any) -> None:
        super().__init__(slots, *args, **kwargs)
        sizes = (self.num_envs, slots.num_ues, slots.num_servers)
        self._seen = Observations(*sizes, present=True)
        self._local_cost = np.ones(self.num_envs)

    @property
    def instances(self) -> Any:
        """The slots being played: B batches of one, each of its own N."""
        slot = self.slot
        pairs = zip(self.all_rows, slot.inherited.num_ues.tolist(), strict=True)
        return tuple(of_size(slot.instances.take([row]), count) for row, count in pairs)

    def local_cost(self) -> NDArray[np.float64]:
        """Return what running each slot under way all locally costs [B]."""
        return self._local_cost.copy()

    def _handed(self, inherited: Padded, instances: Instances) -> tuple[Padded, Instances]:
        count = np.full_like(inherited.num_ues, instances.num_ues)
        return Padded(count, inherited.inherited), of_size(instances, self.slots.num_ues)

    def _opened(
        self, rows: Rows, inherited: Padded, instances: Instances, prompts: Prompts
    ) -> Opening:
        """Work out the slots of each n together."""

        def opened(at: dynamics.Ints, count: int) -> Opening:
            mine, wanted = of_size(instances.take(at), count), prompts.take(at)
            index = rows.index[at]
            cost = physics.all_local_cost(mine, wanted)
            self._local_cost = self._some(index).put(self._local_cost, cost)
            part = super(PaddedBatch, self)._opened(self._some(index), None, mine, wanted)
            tables, state = self._wide(part.tables, _TABLES), self._wide(part.state, _STATE)
            return part._replace(tables=tables, state=state)

        opening: Opening = _by_count(inherited.num_ues, opened)
        return opening

    def _wide(self, values: Any, fills: dict[str, Any]) -> Any:
        """Return a tuple of arrays whose named ones [R, n, ...] are padded to [R, N, ...]."""
        wide = {name: self._padded(getattr(values, name), fill) for name, fill in fills.items()}
        return values._replace(**wide)

    def _padded(self, array: NDArray[Any], fill: Any) -> NDArray[Any]:
        missing = self.slots.num_ues - array.shape[1]
        widths = [(0, 0), (0, missing), *[(0, 0)] * (array.ndim - 2)]
        return np.pad(array, widths, constant_values=fill)

    def _ending(self, rows: Rows, ue: dynamics.Ints, at: int | None) -> dynamics.Bools | None:
        slot = self.slot
        last = self._is_last(rows, ue)
        if not last.any():
            return None
        after = np.where(last, self.slots.num_ues, rows.take(slot.state.ue))
        slot.state = slot.state._replace(ue=rows.put(slot.state.ue, after))  # past the absent
        return last

    def _is_last(self, rows: Rows, ue: dynamics.Ints) -> dynamics.Bools:
        last: dynamics.Bools = ue + 1 == rows.take(self.slot.inherited.num_ues)
        return last

    def _outcome(self, rows: Rows) -> dict[str, NDArray[Any]]:
        slot = rows.take(self.slot)
        decided = dynamics.decision(slot.tables, slot.state, shares=self.shares)

        def outcome(at: dynamics.Ints, count: int) -> dict[str, NDArray[Any]]:
            mine = Decision(decided.place[at, :count], decided.cpu_hz[at, :count])
            instances = of_size(slot.instances.take(at), count)
            objective = Rows(at, len(slot.number)).take(slot.objective)
            found = outcome_of(instances, mine, objective)
            wide = {name: self._padded(found[name], fill) for name, fill in _OUTCOME.items()}
            present = np.broadcast_to(np.arange(self.slots.num_ues) < count, wide["late"].shape)
            return {**found, **wide, "present": present.copy()}

        found: dict[str, NDArray[Any]] = _by_count(slot.inherited.num_ues, outcome)
        return found

    def _own_reward(self, finished: Finished) -> dynamics.Floats:
        slot = self._some(finished.rows).take(self.slot)

        def reward(at: dynamics.Ints, count: int) -> dynamics.Floats:
            found = Rows(at, finished.rows.size).take(finished.infos["outcome"])
            told = {
                name: found[name][:, :count] if name in _OUTCOME else found[name] for name in found
            }
            objective = Rows(at, finished.rows.size).take(slot.objective)
            return self._asked(told, of_size(slot.instances.take(at), count), objective)

        cost: dynamics.Floats = _by_count(slot.inherited.num_ues, reward)
        return cost

    def _cell(self, inherited: Padded) -> Any:
        return inherited.inherited

    def picture(self, row: int) -> dict[str, Any]:
        """Return what a picture of one row shows: the UEs that are there."""
        shown, count = super().picture(row), int(self.slot.inherited.num_ues[row])
        per_ue = ("place", "cpu_hz", "decided", "ue_xy")
        fewer = {name: shown[name][:count] for name in per_ue if shown[name] is not None}
        return {**shown, **fewer, "instances": of_size(shown["instances"], count)}


def padded_slots(source: Any, num_ues: tuple[int, int]) -> Slots:
    """Return the strategy that plays a Scenario, a drift or a source with n of ``num_ues`` UEs."""
    low, high = num_ues
    if isinstance(source, Scenario):
        return VaryingSlots(MovingSlots(source.replace(num_ues=high)), low)
    if isinstance(source, MovingSlots):  # a drift
        larger = dataclasses.replace(source, base=source.base.replace(num_ues=high))
        return VaryingSlots(larger, low)
    return VaryingSourceSlots(source, num_ues)


def _by_count(count: dynamics.Ints, work: Any) -> Any:
    """Return what ``work(rows, n)`` makes of the rows [K] of each n, joined in their order."""
    sizes = np.unique(count)
    groups = [np.flatnonzero(count == size) for size in sizes]
    parts = [work(at, int(size)) for at, size in zip(groups, sizes, strict=True)]
    if len(parts) == 1:
        return parts[0]
    order = np.argsort(np.concatenate(groups))
    return map_arrays(lambda *arrays: np.concatenate(arrays)[order], *parts)
