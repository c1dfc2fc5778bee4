"""TightestFirst: the UE that has the fewest places left chooses first.

It weighs what a crowd at each server would cost it.
"""

import numpy as np

from lambo_agents import AgentSpec
from lambo_env import LOCAL, Decision, Instances, Prompts, allocate, upload_s


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
        cpu_hz = xp.asarray(allocate(arrays, place), device=device, dtype=dtype)
        return Decision(xp.asarray(place, device=device), cpu_hz)

    def _places(self, instances: Instances, prompts: Prompts) -> np.ndarray:
        objective = prompts.objective(instances)
        upload = upload_s(instances)  # [B, N, M]
        slack_s = instances.deadline_s[..., None] - upload
        needed_hz = instances.cycles[..., None] / np.where(slack_s > 0, slack_s, 1.0)
        floor = np.where(slack_s > 0, needed_hz, np.inf)  # the least CPU that meets the deadline
        left = instances.server_cpu_hz.copy()
        crowd = np.full(left.shape, self.caution)
        order = np.isfinite(floor).sum(-1).argsort(axis=1, kind="stable")
        place, rows = np.full(order.shape, LOCAL), np.arange(len(order))
        local_s = instances.cycles / instances.local_cpu_hz
        weight_s, weight_j = objective.cost_per_s / instances.num_ues, objective.cost_per_j
        home = weight_s[:, None] * local_s + weight_j[:, None] * instances.local_power_w * local_s
        home[local_s > instances.deadline_s * (1 + 1e-6)] = np.inf  # late
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
