"""Episodes that a learning network plays: several copies of each bring the same tasks and rates.

What a copy costs more than the mean of its copies is due to its own draws, however heavy the load.

Shapes: E episodes, C copies, B = C x E rows (copy by copy), T slots, N UEs, J turns, P places,
K columns, S slots that are kept, V features of the critic.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lambo_agents.queueing.network import QueueNet, QueueSlot, SlotInputs
from lambo_env.queueing.instances import Trace, local_scales
from lambo_env.queueing.policies.simulation import Simulation
from lambo_env.queueing.policies.turns import Floats, Ints
from lambo_env.queueing.scenario import QueueScenario


@dataclasses.dataclass(frozen=True, eq=False)
class Kept:
    """The decisions of one slot in all rows."""

    at: int
    inputs: SlotInputs  # [B]
    ue: Ints  # [B, J]
    columns: Floats  # [B, J, P, K]
    place: Ints  # [B, J]
    chance: Floats  # [B, J] logarithm of the chance that the place was drawn with


@dataclasses.dataclass(frozen=True, eq=False)
class Played:
    """What B rows played."""

    cost: Floats  # [B, T, N] of tasks, 0 where none, in mean tasks that mean UEs run themselves
    state: Tensor  # [B, T, V] that the critic sees at the start of each slot
    share: Floats  # [B]
    kept: list[Kept]


def play(
    net: QueueNet,
    scenario: QueueScenario,
    traces: Sequence[Trace],
    share: Floats,
    rng: np.random.Generator,
    *,
    copies: int,
    kept: float,
) -> Played:
    """Play episodes, places drawn by the softmax of minus the scores.

    Args:
        net: decides.
        scenario: whose deadlines, discipline and mean task the traces have.
        traces: E of them.
        share: their prompts' weights of latency [E].
        rng: of all draws.
        copies: C.
        kept: share of the slots whose decisions are kept.
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
        if rng.random() < kept:
            slots.append(_draw_and_keep(slot, at, rng))
            simulation.serve(slots[-1][1])
        else:
            simulation.serve(slot.decide(lambda j, scores, columns: _drawn(scores, rng)[0]))
    cost = np.nan_to_num(simulation.outcomes().cost) / unit[:, None, None]
    return Played(cost, torch.stack(states, dim=1), share, [one for one, _ in slots])


def _drawn(scores: Floats, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """Return places [B] drawn by the softmax of minus the scores, and log-softmaxes [B, P]."""
    logits = scores.min(axis=1, keepdims=True) - scores
    noise = -np.log(rng.standard_exponential(logits.shape))
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return np.argmax(logits + noise, axis=1), logs


def _draw_and_keep(slot: QueueSlot, at: int, rng: np.random.Generator) -> tuple[Kept, Ints]:
    seen, places, chances, rows = [], [], [], np.arange(len(slot.turns.ue))

    def choose(j: int, scores: Floats, columns: Floats) -> Ints:
        place, logs = _drawn(scores, rng)
        seen.append(columns)
        places.append(place)
        chances.append(logs[rows, place])
        return place

    place = slot.decide(choose)
    arrays: list[Any] = [np.stack(part, axis=1) for part in (seen, places, chances)]
    return Kept(at, slot.inputs, slot.turns.ue, *arrays), place


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
