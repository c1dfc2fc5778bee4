"""Episodes that a learning network plays: several copies of each bring the same tasks and rates.

What a copy costs more than the mean of its copies is due to its own draws, however heavy the load.

Shapes: E episodes, C copies, B = C x E rows (copy by copy), T slots, N UEs, J turns, P places,
K columns, H hidden, G grounds of the weights, V features of the critic.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lambo_agents.queueing.network import QueueNet, QueueSlot, SlotInputs, grounds
from lambo_env.queueing.instances import Trace, local_scales
from lambo_env.queueing.policies.simulation import Simulation
from lambo_env.queueing.policies.turns import Floats, Ints
from lambo_env.queueing.scenario import QueueScenario


class Grounds(NamedTuple):
    """What a slot's decisions were made from, for the layers below the last."""

    inputs: SlotInputs  # [B]
    columns: Floats  # [B, J, P, K]
    place: Ints  # [B, J]
    chance: Floats  # [B, J] logarithm of the chance that the place was drawn with


class Decided(NamedTuple):
    """The decisions of one slot in all rows."""

    at: int
    ue: Ints  # [B, J]
    there: NDArray[np.bool_]  # [B, J] whether the row has that turn
    grounds: Floats  # [B, G] of the weights
    slope: Floats  # [B, J, K + H] of the logarithm of the chance, by weights and by the last layer
    seen: Grounds | None  # of some slots


@dataclasses.dataclass(frozen=True, eq=False)
class Played:
    """What B rows played."""

    cost: Floats  # [B, T, N] of tasks, 0 where none, in mean tasks that mean UEs run themselves
    state: Tensor  # [B, T, V] that the critic sees at the start of each slot
    share: Floats  # [B]
    episodes: int  # E
    slots: list[Decided]


def play(
    net: QueueNet,
    scenario: QueueScenario,
    traces: Sequence[Trace],
    share: Floats,
    rng: np.random.Generator,
    *,
    copies: int,
    seen: float,
) -> Played:
    """Play episodes, places drawn by the softmax of minus the scores.

    Args:
        net: decides.
        scenario: whose deadlines, discipline and mean task the traces have.
        traces: E of them.
        share: their prompts' weights of latency [E].
        rng: of all draws.
        copies: C.
        seen: share of the slots that keep what their decisions were made from.
    """
    share = np.tile(share, copies)
    simulation = Simulation(scenario, traces, share, copies)
    unit, states, slots = np.ones(share.size), [], []
    for at in range(simulation.uplink_bps.shape[1]):
        if at >= scenario.num_slots:
            simulation.serve()
            continue
        shown = simulation.enter()
        if at == 0:
            t0_s, e0_j = local_scales(
                shown.mean_cycles, shown.local_cpu_hz, shown.local_power_w, np
            )
            asked = shown.objective(share)
            unit = asked.cost_per_s * t0_s + asked.cost_per_j * e0_j
        slot = QueueSlot(net, shown, share)
        states.append(critic_features(slot.inputs))
        place, decided = _drawn(slot, at, rng, rng.random() < seen)
        slots.append(decided)
        simulation.serve(place)
    cost = np.nan_to_num(simulation.outcomes().cost) / unit[:, None, None]
    return Played(cost, torch.stack(states, dim=1), share, len(traces), slots)


def _drawn(slot: QueueSlot, at: int, rng: np.random.Generator, keeps: bool) -> tuple[Ints, Decided]:
    """Draw the places [B, N] of a slot."""
    turns: list[tuple[Any, ...]] = []
    rows = np.arange(len(slot.turns.ue))

    def choose(scores: Floats, columns: Floats, hidden: Floats) -> Ints:
        logits = scores.min(axis=1, keepdims=True) - scores
        chances = np.exp(logits)
        chances /= chances.sum(axis=1, keepdims=True)
        place = np.argmax(logits - np.log(rng.standard_exponential(logits.shape)), axis=1)
        slopes = [
            (chances[:, None] @ values)[:, 0] - values[rows, place] for values in (columns, hidden)
        ]
        drawn = np.log(chances[rows, place]) if keeps else place
        turns.append((np.concatenate(slopes, axis=1), *((columns, place, drawn) if keeps else ())))
        return place

    places = slot.decide(choose)
    slope, *parts = (np.stack(part, axis=1) for part in zip(*turns, strict=True))
    seen = Grounds(slot.inputs, *parts) if keeps else None
    told = grounds(slot.inputs.cell).double().numpy()
    return places, Decided(at, slot.turns.ue, slot.inputs.there.numpy(), told, slope, seen)


def critic_features(inputs: SlotInputs) -> Tensor:
    """Return what the critic sees [B, V]: the cell, and the servers' work whatever their order."""
    work = inputs.places[:, 1:, 1]
    summary = [work.mean(1), (work * work).mean(1), work.amax(1), work.amin(1)]
    return torch.cat([inputs.cell, torch.stack(summary, dim=1)], dim=1)


def joined(kept: Sequence[SlotInputs]) -> SlotInputs:
    """Return the inputs of several slots, one after another, with as many turns as the longest."""
    most = max(one.tasks.shape[1] for one in kept)
    parts = [
        one._replace(
            tasks=functional.pad(one.tasks, (0, 0, 0, most - one.tasks.shape[1])),
            there=functional.pad(one.there, (0, most - one.there.shape[1])),
        )
        for one in kept
    ]
    return SlotInputs(*(torch.cat(part) for part in zip(*parts, strict=True)))
