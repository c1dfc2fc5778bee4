"""B running episodes.

What the single environment (B = 1) and the vector environment share, line by line.

Generators come from the caller, one a row. At each reset and at each further slot a row makes two
flat draws into rows of one array (the prompt's uniform is the last of a reset's); everything after
the draws is batched. The engine owns its arrays: what it hands out is fresh unless said otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lambo_env.offloading import dynamics, observation, physics, slots
from lambo_env.offloading.instances import LOCAL, Instances, Objective, set_at
from lambo_env.offloading.scenario import Scenario
from lambo_env.prompts.prompts import Prompts, PromptSet
from lambo_env.rendering.frame import Frame
from lambo_env.rendering.optimum import Optima

Generators = Sequence[np.random.Generator]
IS_CURRENT, PLACE, TAKEN = range(observation.NUM_DYNAMIC)
_PASSED_ON = np.array(
    [0.0, 1.0], dtype=np.float32
)  # 'is current' of the UE decided and of the next


class Finished(NamedTuple):
    """The slots that one step finished; R rows of the engine."""

    rows: dynamics.Ints
    over: dynamics.Bools  # [R] whether it was the episode's last slot
    outcome: dict[str, NDArray[Any]]  # latency_s, energy_j, late, place, cpu_hz [R, N]; cost [R]


class Engine:
    """The state of B episodes and the two things that happen to it: ``reset`` and ``step``."""

    instances: Instances
    prompts: Prompts
    goal: Objective
    plan: dynamics.Plan
    state: dynamics.State

    def __init__(
        self,
        scenario: Scenario,
        texts: PromptSet,
        num_envs: int,
        num_slots: int,
        *,
        shares: bool,
        objective: bool,
    ) -> None:
        """Lay out the buffers; the first ``reset`` must name every row."""
        self.scenario, self.texts, self.num_slots, self.shares = scenario, texts, num_slots, shares
        self.num_envs, self.num_ues, self.num_places = (
            num_envs,
            scenario.num_ues,
            scenario.num_servers + 1,
        )
        self.all_rows = np.arange(num_envs)
        self.slot = np.zeros(num_envs, dtype=np.int64)
        self.given = np.zeros(
            num_envs, dtype=bool
        )  # rows that play instances handed in: no positions known
        self.world: slots.World | None = None
        self.optima = Optima(num_envs)
        self._objective = objective
        self._initial_draws, self._advance_draws = (
            slots.initial_draws(scenario),
            slots.advance_draws(scenario),
        )
        self._together: int | None = None  # the UE that every row is at; None where they differ
        self._static = observation.num_static(scenario.num_servers)
        width = self._static + observation.NUM_DYNAMIC
        self._ues = np.zeros((num_envs, self.num_ues, width), dtype=np.float32)
        self._servers = np.zeros(
            (num_envs, self.num_places, 2), dtype=np.float32
        )  # the local place's is never shown

    # ---- reset -----------------------------------------------------------------------------------

    def reset(
        self,
        rows: dynamics.Ints,
        rngs: Generators,
        instances: Instances | None = None,
        prompts: Prompts | None = None,
    ) -> None:
        """Start new episodes in ``rows``.

        ``instances`` and ``prompts`` [R] replace what is drawn all the same.
        """
        uniforms, normals = self._draw(rows, rngs, self._initial_draws, extra=1)
        started = slots.initial(self.scenario, uniforms, normals)
        drawn = slots.snapshot(started, self.scenario, uniforms) if instances is None else instances
        asked = self.texts.prompts(self.texts.pick(uniforms[:, -1])) if prompts is None else prompts
        self.prompts = asked if rows.size == self.num_envs else _merged(self.prompts, asked, rows)
        self.world = self._put(self.world, started, rows)
        self.slot[rows] = 0
        self.given[rows] = instances is not None
        self._begin(rows, drawn, asked)

    def _advance(self, rows: dynamics.Ints, rngs: Generators) -> None:
        """Bring the next slot to ``rows``."""
        assert self.world is not None
        uniforms, normals = self._draw(rows, rngs, self._advance_draws)
        everyone = rows.size == self.num_envs
        before = self.world if everyone else _map(self.world, lambda array: array.take(rows, 0))
        after, drawn = self._following(rows, before, uniforms, normals)
        self.world = self._put(self.world, after, rows)
        self.slot[rows] += 1
        self._begin(rows, drawn, self.prompts if everyone else self.prompts.take(rows))

    def _following(
        self,
        rows: dynamics.Ints,
        before: slots.World,
        uniforms: dynamics.Floats,
        normals: dynamics.Floats,
    ) -> tuple[slots.World, Instances]:
        """Return the next slot's world and instances of ``rows``."""
        after = slots.advance(before, self.scenario, uniforms, normals)
        return after, slots.snapshot(after, self.scenario, uniforms)

    def _draw(
        self, rows: dynamics.Ints, rngs: Generators, sizes: tuple[int, int], extra: int = 0
    ) -> tuple[dynamics.Floats, dynamics.Floats]:
        uniforms, normals = np.empty((rows.size, sizes[0] + extra)), np.empty((rows.size, sizes[1]))
        for row, uniform, normal in zip(rows.tolist(), uniforms, normals, strict=True):
            rng = rngs[row]
            rng.random(out=uniform)
            rng.standard_normal(out=normal)
        return uniforms, normals

    def _begin(self, rows: dynamics.Ints, drawn: Instances, prompts: Prompts) -> None:
        """Put a new slot's instances, tables and first observation into ``rows``."""
        self.optima.forget(rows)
        goal, upload = prompts.objective(drawn), physics.upload_s(drawn)
        plan, state = dynamics.start(drawn, goal, upload)
        if rows.size == self.num_envs:
            self.instances, self.goal, self.plan, self.state = drawn, goal, plan, state
            self._together = 0
        else:
            self._together = None
            self.instances = self._put(self.instances, drawn, rows)
            self.goal = self._put(self.goal, goal, rows)
            index = {
                name: getattr(self.plan, name) for name in ("rows", "first_task", "first_server")
            }
            local = self.plan.always_local and plan.always_local
            self.plan = dataclasses.replace(
                self._put(self.plan, plan, rows), always_local=local, **index
            )
            self.state = dynamics.State(
                *map(lambda old, new: self._rows(old, new, rows), self.state, state)
            )
        at: Any = slice(None) if rows.size == self.num_envs else rows  # a slice indexes faster
        start = 0
        for part in observation.static_parts(drawn, upload):
            self._ues[at, :, start : start + part.shape[-1]] = part
            start += part.shape[-1]
        self._ues[at, :, start:] = 0.0
        self._ues[at, 0, start + IS_CURRENT] = 1.0
        self._servers[at, 1:] = observation.server_columns(
            drawn.server_cpu_hz, drawn.server_cpu_hz, np
        )

    def _put(self, old: Any, new: Any, rows: dynamics.Ints) -> Any:
        """Return dataclass ``old`` with the arrays of ``new`` in ``rows``."""
        if rows.size == self.num_envs:
            return new
        fields = [field.name for field in dataclasses.fields(old)]
        pairs = {name: (getattr(old, name), getattr(new, name)) for name in fields}
        merged = object.__new__(type(old))
        for name, (before, after) in pairs.items():
            value = self._rows(before, after, rows) if isinstance(before, np.ndarray) else before
            object.__setattr__(merged, name, value)
        return merged

    def _rows(self, old: NDArray[Any], new: NDArray[Any], rows: dynamics.Ints) -> NDArray[Any]:
        """Return ``old`` with ``new`` in ``rows``, whether the first axis is [B] or flat [B * ...]."""
        shape = (self.num_envs, -1) if old.size else old.shape
        out = set_at(old.reshape(shape), rows, new.reshape(rows.size, -1))
        return out.reshape(old.shape)

    # ---- step ------------------------------------------------------------------------------------

    def step(
        self,
        rows: dynamics.Ints,
        place: dynamics.Ints,
        share: dynamics.Floats | None,
        rngs: Generators,
    ) -> tuple[dynamics.Floats, Finished | None]:
        """Decide one UE in each of ``rows``; return the rewards [R] and what was finished.

        Further slots have begun already.
        """
        everyone = rows.size == self.num_envs
        rows = self.plan.rows if everyone else rows
        together = self._together if everyone else None
        move, self.state = dynamics.step(
            self.plan, self.state, rows, place, share, donate=True, together=together
        )
        if everyone and self._together is not None:
            self._show(move, place, slice(None), self._together)
            self._together += 1
            ended = rows if self._together == self.num_ues else rows[:0]
        else:
            self._together = None
            ue = self.state.ue.take(rows)
            self._show(move, place, rows, ue - 1)
            ended = rows[ue == self.num_ues]
        return move.reward, self._finish(ended, rngs) if ended.size else None

    def _show(self, move: dynamics.Move, place: dynamics.Ints, rows: Any, ue: Any) -> None:
        """Write the decision into the observation.

        The numbers that ``observation.encode`` of the state would give.

        ``rows`` and ``ue`` are index arrays [R]; or a slice and an int where all rows are at the
        same UE, which indexes faster.
        """
        capacity, first, ues = move.capacity_hz, self._static, self._ues
        ues[rows, ue, first + PLACE] = place / (self.num_places - 1)
        ues[rows, ue, first + TAKEN] = move.taken_hz / capacity
        self._servers.reshape(-1)[2 * move.server] = np.maximum(move.left_hz, 0.0) / capacity
        if isinstance(ue, int):
            ues[:, ue : ue + 2, first + IS_CURRENT] = _PASSED_ON[: self.num_ues - ue]
        else:
            ues[rows, ue, first + IS_CURRENT] = 0.0
            onward = ue + 1 < self.num_ues
            ues[rows[onward], ue[onward] + 1, first + IS_CURRENT] = 1.0

    def _finish(self, rows: dynamics.Ints, rngs: Generators) -> Finished:
        """Score the slots of ``rows`` and begin the next one where there is one."""
        finished = Finished(rows, self.slot[rows] + 1 == self.num_slots, self._outcome(rows))
        onward = rows[~finished.over]
        if onward.size:
            self._advance(onward, rngs)
        return finished

    def _outcome(self, rows: dynamics.Ints) -> dict[str, NDArray[Any]]:
        everyone = rows.size == self.num_envs
        instances = self.instances if everyone else self.instances.take(rows)
        goal = self.goal if everyone else self.goal.take(rows)
        decided = dynamics.decision(self.plan, self.state, rows, shares=self.shares)
        outcome = physics.evaluate(instances, decided, goal, check=False)
        return {
            "latency_s": outcome.latency_s,
            "energy_j": outcome.energy_j,
            "late": outcome.late,
            "place": decided.place,
            "cpu_hz": decided.cpu_hz,
            "cost": outcome.cost,
        }

    # ---- what is seen ----------------------------------------------------------------------------

    def mask(self) -> dynamics.Bools:
        """Return the places that can still meet the current UEs' deadlines, bool [B, P]."""
        running = self._together is not None and self._together < self.num_ues
        return dynamics.mask(self.plan, self.state, running=running)

    def observe(self, copy: bool = True) -> dict[str, NDArray[Any]]:
        """Return the observation [B, ...].

        Without ``copy`` the buffers themselves, overwritten by the next step.
        """
        out: dict[str, NDArray[Any]] = {"ues": self._ues, "servers": self._servers[:, 1:]}
        if self._objective:
            weight = self.prompts.latency_weight
            out["objective"] = np.stack((weight, 1 - weight), axis=-1).astype(np.float32)
        else:
            out["prompt"] = self.prompts.tokens
        return {key: array.copy() for key, array in out.items()} if copy else out

    def frame(self, row: int) -> Frame:
        """Return what a picture of one row shows."""
        at = np.asarray([row])
        ue, decided = (
            int(self.state.ue[row]),
            dynamics.decision(self.plan, self.state, at, shares=self.shares),
        )
        seen = None if self.given[row] else self.world
        left = self.state.left_hz.reshape(self.num_envs, -1)[row, LOCAL + 1 :]
        instances = self.instances.take(at)
        return Frame.of(
            instances, self.goal.take(at), decided.place[0], decided.cpu_hz[0], np.arange(self.num_ues) < ue,
            left_hz=np.maximum(left, 0.0), current=ue if ue < self.num_ues else None, prompt=self.prompts.texts[row],
            cost=float(self.state.cost[row]), slot=int(self.slot[row]), num_slots=self.num_slots,
            side_m=None if seen is None else self.scenario.side_m,
            ue_xy=None if seen is None else seen.ue_xy[row].copy(),
            server_xy=None if seen is None else seen.server_xy[row].copy(),
            optimum=self.optima.of(row, instances, self.prompts.take(at)),
        )  # fmt: skip


def _map(holder: Any, function: Any) -> Any:
    fields = {field.name: getattr(holder, field.name) for field in dataclasses.fields(holder)}
    return type(holder)(
        **{name: None if value is None else function(value) for name, value in fields.items()}
    )


def _merged(old: Prompts, new: Prompts, rows: dynamics.Ints) -> Prompts:
    """Return ``old`` with the prompts ``new`` in ``rows``."""
    index = np.arange(len(old))
    index[rows] = len(old) + np.arange(rows.size)
    return Prompts.concat([old, new]).take(index)
