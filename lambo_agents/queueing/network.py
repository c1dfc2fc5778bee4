"""The network of ``lambo-q``: an encoder over a slot's tasks and servers, a decoder turn by turn.

The decoder scores each place of the task whose turn it is: a linear score of the place's columns,
which starts as the rule's that is imitated, plus what a hidden layer adds to it. The weights of the
score follow the prompt and the cell's load. The columns count the choices of the turns before; what
the encoder knows is fixed in the slot.

Shapes: B slots, J turns, M servers, P = M + 1 places, K columns, F features, D width, H hidden, G
grounds of the weights (KNOTS x LOADS).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lambo_agents.network.aed import EncoderLayer
from lambo_env.queueing.instances import QueueInstances
from lambo_env.queueing.policies.columns import COLUMNS, PlaceColumns
from lambo_env.queueing.policies.turns import Floats, Ints, Turns, decide, turns
from lambo_env.utils import rules, validate
from lambo_env.utils.rules import Ruled, ruled

TASK_FEATURES, PLACE_FEATURES, CELL_FEATURES = 6, 4, 8
# (scores [B, P], columns [B, P, K], hidden layer [B, P, H]) of a turn -> places [B]
Pick = Callable[[Floats, Floats, Floats], Ints]
KNOTS = 3  # latency weights 0, 0.5 and 1 that the linear score has weights for
LOADS = 4  # 1, and what weights are linear in: new tasks, waiting work of UEs and of edge servers
_USUAL_TASKS, _USUAL_CPU, _USUAL_WORK = 0.3, 0.25, 0.4  # about what `queue` has


@dataclasses.dataclass(frozen=True, kw_only=True)
class QueueNetConfig(Ruled):
    """Shape of the network.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    d_model: int = ruled(16, validate.integer)
    num_heads: int = ruled(2, validate.integer)
    encoder_layers: int = ruled(1, rules.count)
    encoder_ff: int = ruled(32, validate.integer)
    hidden: int = ruled(32, validate.integer)  # of the decoder
    # whether a turn knows the choices of those before it in the slot
    in_turn: bool = ruled(True, validate.boolean)

    def __post_init__(self) -> None:
        """Validate every field, and what they say together."""
        super().__post_init__()
        self.check("d_model", self.d_model % self.num_heads == 0, "a multiple of num_heads")


class SlotInputs(NamedTuple):
    """What the encoder sees of B slots."""

    tasks: Tensor  # [B, J, TASK_FEATURES]
    there: Tensor  # bool [B, J] whether the row has that turn
    places: Tensor  # [B, P, PLACE_FEATURES]
    cell: Tensor  # [B, CELL_FEATURES] the prompt's weight and the cell's load

    def take(self, rows: Any) -> SlotInputs:
        """Return the inputs of some slots."""
        return SlotInputs(*(part[rows] for part in self))


class QueueNet(nn.Module):
    """Scores of places, the less the better."""

    rule: Tensor

    def __init__(self, config: QueueNetConfig) -> None:
        super().__init__()
        self.config = c = config
        self.linear = nn.Parameter(torch.zeros(KNOTS * LOADS, len(COLUMNS)))
        self.task = nn.Linear(TASK_FEATURES, c.d_model)
        self.place = nn.Linear(PLACE_FEATURES, c.d_model)
        self.cell = nn.Linear(CELL_FEATURES, c.d_model)
        self.encoder = nn.ModuleList(
            EncoderLayer(c.d_model, c.num_heads, c.encoder_ff) for _ in range(c.encoder_layers)
        )
        self.norm = nn.LayerNorm(c.d_model)
        self.of_task, self.of_place, self.of_cell = (
            nn.Linear(c.d_model, c.hidden, bias=bias) for bias in (True, False, False)
        )
        self.columns = nn.Linear(len(COLUMNS), c.hidden, bias=False)
        self.out = nn.Parameter(torch.zeros(c.hidden))

    @property
    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self.parameters())

    def encode(self, inputs: SlotInputs) -> Tensor:
        """Return what each task's places are to the hidden layer before its turn [B, J, P, H]."""
        cell = self.cell(inputs.cell)
        parts = [cell[:, None], self.place(inputs.places), self.task(inputs.tasks)]
        x, most = torch.cat(parts, dim=1), inputs.tasks.shape[1]
        valid = None
        if len(self.encoder):
            known = torch.ones(x.shape[:2], dtype=torch.bool)
            known[:, x.shape[1] - most :] = inputs.there
            valid = known[:, None, None]
        for layer in self.encoder:
            x = layer(x, valid)
        x = self.norm(x)
        places = self.of_place(x[:, 1:-most]) + self.of_cell(x[:, :1])
        out: Tensor = self.of_task(x[:, -most:])[:, :, None] + places[:, None]
        return out

    def weights(self, cell: Tensor) -> Tensor:
        """Return the weights of the linear score [B, K] in cells [B, CELL_FEATURES]."""
        return grounds(cell) @ self.linear

    def scores(self, hidden: Tensor, weights: Tensor, columns: Tensor) -> Tensor:
        """Return the scores [..., P] of places.

        Args:
            hidden: what ``encode`` says of the turn [..., P, H].
            weights: of the linear score [..., K].
            columns: of the places [..., P, K].
        """
        linear = (columns @ weights[..., None])[..., 0]
        out: Tensor = linear + torch.relu(hidden + self.columns(columns)) @ self.out
        return out


def grounds(cell: Tensor) -> Tensor:
    """Return what the weights of the linear score are linear in [B, G], in cells.

    The knots of the prompt, linear between them, each times one and the loads; loads are 0 about
    where `queue` is, and bounded.
    """
    at = torch.arange(KNOTS) / (KNOTS - 1)
    knots = (1 - (cell[:, :1] - at).abs() * (KNOTS - 1)).clamp(min=0)
    tasks, cpu, work = (cell[:, k] for k in (3, 4, 5))
    loads = [
        torch.ones_like(tasks),
        2 * (tasks - _USUAL_TASKS),
        2 * (cpu / (cpu + _USUAL_CPU) - 0.5),
        2 * (work / (work + _USUAL_WORK) - 0.5),
    ]
    return (knots[:, :, None] * torch.stack(loads, dim=1)[:, None]).flatten(1)


class QueueSlot:
    """The turns of a slot, and what the network says of them.

    Args:
        net: the network.
        instances: B slots.
        share: weights of latency [B] of their prompts, as ``latency_share`` says.
    """

    def __init__(self, net: QueueNet, instances: QueueInstances, share: Floats) -> None:
        self.net, self.instances, self.turns = net, instances, turns(instances)
        self.inputs = slot_inputs(instances, self.turns, share)
        self._columns = PlaceColumns(self.turns, instances.slot_s)
        with torch.inference_mode():
            self._hidden = net.encode(self.inputs).numpy()
            self._weights = net.weights(self.inputs.cell).numpy()
        self._matrix = net.columns.weight.detach().numpy().T.copy()
        self._out = net.out.detach().numpy()

    def decide(self, choose: Pick | None = None) -> Ints:
        """Return the places [B, N] that ``choose`` takes, by default those of least score."""

        def take(j: int, finish_s: Floats, work_s: Floats) -> Ints:
            columns: Any = self._columns.at(j, finish_s, work_s).astype(np.float32)
            hidden = np.maximum(self._hidden[:, j] + columns @ self._matrix, 0)
            scores = (columns @ self._weights[:, :, None])[..., 0] + hidden @ self._out
            return np.argmin(scores, axis=1) if choose is None else choose(scores, columns, hidden)

        return decide(self.instances, self.turns, take, count=self.net.config.in_turn)


def slot_inputs(instances: QueueInstances, now: Turns, share: Floats) -> SlotInputs:
    """Return what the encoder sees; times in deadlines, loads in what servers serve in one."""
    d = now.deadline_s[:, :1]
    there = np.take_along_axis(instances.has_task, now.ue, axis=1)
    upload = now.upload_s / d[..., None]
    task = np.stack(
        [
            *(now.local_run_s / d, now.local_wait_s / d, now.uplink_wait_s / d, now.later_s / d),
            *(upload.min(axis=-1), upload.mean(axis=-1)),
        ],
        axis=-1,
    )
    wait, coming = now.work_s / d, now.coming_s / d
    here = np.ones_like(wait)
    edge = np.stack([here, wait, coming, now.capacity_share], axis=-1)
    place = np.concatenate([np.zeros_like(edge[:, :1]), edge], axis=1)
    cpu = (instances.cpu_wait_cycles / instances.local_cpu_hz).mean(axis=1) / d[:, 0]
    cell = [
        *(share, share == 0, share == 1, there.sum(axis=1) / instances.num_ues, cpu),
        (wait * now.capacity_share).sum(axis=1),
        (coming * now.capacity_share).sum(axis=1),
        (instances.uplink_wait_s / d).mean(axis=1),
    ]
    arrays = (task, place, np.stack(cell, axis=-1))
    tasks, places, cells = (torch.as_tensor(part, dtype=torch.float32) for part in arrays)
    return SlotInputs(tasks, torch.as_tensor(there), places, cells)
