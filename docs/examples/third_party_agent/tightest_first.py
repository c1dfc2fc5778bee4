"""TightestFirst: the UE that has the fewest places left chooses first.

It weighs what a crowd at each server would cost it.
"""

import numpy as np

from lambo_agents.registry import AgentSpec
from lambo_env.offloading import physics
from lambo_env.offloading.instances import LOCAL, Decision, Instances
from lambo_env.prompts.prompts import Prompts


class TightestFirst:
    """A one-pass rule: in order of slack, to the place cheapest under equal shares of each server.

    Args:
        caution: how many more UEs a server is expected to get than it has.
    """

    evaluator_in_loop = False

    def __init__(self, caution: float = 2.0) -> None:
        self.caution = caution

    def supports(self, instances: Instances) -> str | None:
        """Every instance can be decided."""
        return None

    def decide(self, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> Decision:
        """Return places int [B, N] and server CPU [B, N] in cycles/s."""
        arrays = instances.to("numpy")
        place = self._places(arrays, prompts)
        xp, device, dtype = instances.xp, instances.cycles.device, instances.cycles.dtype
        cpu_hz = xp.asarray(physics.allocate(arrays, place), device=device, dtype=dtype)
        return Decision(xp.asarray(place, device=device), cpu_hz)

    def _places(self, instances: Instances, prompts: Prompts) -> np.ndarray:
        objective = prompts.objective(instances)
        floor = physics.floors_hz(instances)  # [B, N, M]
        upload = physics.upload_s(instances)
        left, crowd = (
            instances.server_cpu_hz.copy(),
            np.full(instances.server_cpu_hz.shape, self.caution),
        )
        order = np.isfinite(floor).sum(-1).argsort(axis=1, kind="stable")
        place, rows = np.full(order.shape, LOCAL), np.arange(len(order))
        local_s, late = physics.local_s(instances), ~physics.on_time(instances)[..., LOCAL]
        weight_s, weight_j = objective.cost_per_s / instances.num_ues, objective.cost_per_j
        home = weight_s[:, None] * local_s + weight_j[:, None] * instances.local_power_w * local_s
        home[late] = np.inf
        for ue in order.T:
            seconds = (
                upload[rows, ue]
                + instances.cycles[rows, ue][:, None] * (crowd + 1) / instances.server_cpu_hz
            )
            joules = instances.tx_power_w[rows, ue][:, None] * upload[rows, ue]
            cost = np.where(
                floor[rows, ue] <= left,
                weight_s[:, None] * seconds + weight_j[:, None] * joules,
                np.inf,
            )
            best = cost.argmin(axis=1)
            goes = cost[rows, best] < home[rows, ue]
            place[rows[goes], ue[goes]] = best[goes] + 1  # server m is place m + 1
            left[rows[goes], best[goes]] -= floor[rows, ue][rows, best][goes]
            crowd[rows[goes], best[goes]] += 1
        return place


CALM = AgentSpec(
    "tightest-first-calm",
    "tightest_first:TightestFirst",
    {"caution": 0.0},
    summary="The same, expecting nobody else",
)
