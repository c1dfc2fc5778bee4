"""What a place looks like to a task whose turn it is: the columns that learned rules score.

Times are in deadlines, loads in what all servers serve within one, so that a rule's weights mean
the same in another cell.

Shapes: B episodes, J turns, M edge servers, P = M + 1 places, K columns.
"""

from __future__ import annotations

import numpy as np

from lambo_env.prompts.objectives import Objective
from lambo_env.queueing.instances import QueueInstances
from lambo_env.queueing.policies.turns import Floats, Turns, whole_slots

_ABOVE = 0.7  # of the deadline: what of an estimate lies above it is at risk
# of every place; then of the local one, then of servers: 0 at the others
COLUMNS = (
    *("finish", "late", "above 0.7", "finish squared", "finish in slots"),
    *("local", "local run", "local wait", "load, local", "local run x load", "later work, local"),
    *("run", "wait", "upload", "uplink wait", "upload x cycles", "wait squared", "run x wait"),
    *("run x load", "upload x load", "coming", "slowness", "run x later work", "ready"),
)
_AT = {name: k for k, name in enumerate(COLUMNS)}


class PlaceColumns:
    """Columns of the places of a slot's turns; what choices do not change is worked out once."""

    def __init__(self, turns: Turns, slot_s: Floats) -> None:
        d = turns.deadline_s
        self.deadline_s, self.slot_s, self.share = d, slot_s, turns.capacity_share
        self.run, self.upload = turns.run_s / d[..., None], turns.upload_s / d[..., None]
        self.local_run = turns.local_run_s / d
        batch, most, servers = self.run.shape
        self.fixed = np.zeros((batch, most, servers + 1, len(COLUMNS)))
        later = turns.later_s / d
        coming = np.broadcast_to(turns.coming_s[:, None], self.run.shape) / d[..., None]
        slowness = np.broadcast_to(1 / (servers * self.share[:, None]), self.run.shape)
        local = {
            "local": np.ones_like(d),
            "local run": self.local_run,
            "local wait": turns.local_wait_s / d,
            "later work, local": later,
        }
        edge = {
            "run": self.run,
            "upload": self.upload,
            "uplink wait": np.broadcast_to((turns.uplink_wait_s / d)[..., None], self.run.shape),
            "upload x cycles": self.upload * self.local_run[..., None],
            "coming": coming,
            "slowness": slowness,
            "run x later work": self.run * later[..., None],
            "ready": turns.ready_s / d[..., None],
        }
        for name, value in local.items():
            self.fixed[:, :, 0, _AT[name]] = value
        for name, value in edge.items():
            self.fixed[:, :, 1:, _AT[name]] = value

    def at(self, j: int, finish_s: Floats, work_s: Floats) -> Floats:
        """Return the columns [B, P, K] at turn j.

        Args:
            j: the turn.
            finish_s: estimates [B, P].
            work_s: work ahead at each server [B, M] in seconds.
        """
        out, d = self.fixed[:, j].copy(), self.deadline_s[:, j, None]
        finish, wait, run = finish_s / d, work_s / d, self.run[:, j]
        load = (wait * self.share).sum(axis=1, keepdims=True)
        slot = self.slot_s[:, None] / d
        every = {
            "finish": finish,
            "late": finish > 1,
            "above 0.7": np.maximum(finish - _ABOVE, 0.0),
            "finish squared": finish * finish,
            "finish in slots": whole_slots(finish, slot),
        }
        edge = {
            "wait": wait,
            "wait squared": wait * wait,
            "run x wait": run * wait,
            "run x load": run * load,
            "upload x load": self.upload[:, j] * load,
        }
        for name, value in every.items():
            out[:, :, _AT[name]] = value
        for name, value in edge.items():
            out[:, 1:, _AT[name]] = value
        out[:, 0, _AT["load, local"]] = load[:, 0]
        out[:, 0, _AT["local run x load"]] = self.local_run[:, j] * load[:, 0]
        return out


def latency_share(instances: QueueInstances, objective: Objective) -> Floats:
    """Return the weight of latency [B] of an objective: 1 latency alone, 0 energy alone."""
    per_cycle = 1 / instances.local_cpu_hz
    time = objective.cost_per_s * per_cycle.mean(axis=1)
    energy = objective.cost_per_j * (instances.local_power_w * per_cycle).mean(axis=1)
    return np.asarray(time / (time + energy))
