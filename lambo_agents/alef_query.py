"""Which instances are worth an expert's label: scores of a slot's instances from the network alone, and a choice among them.

Shapes: B instances, N UEs, P places, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lambo_agents import decode
from lambo_agents.agent import LamboAgent
from lambo_env import physics
from lambo_env.instances import Decision, Instances
from lambo_env.prompt import Prompts

Floats = NDArray[np.float64]
MEMBERS = 4  # of a committee
_NEVER = -1e30


class Pool(NamedTuple):
    """A slot that was decided: what may be asked about."""

    agent: LamboAgent
    instances: Instances  # [B], NumPy
    prompts: Prompts
    decision: Decision  # NumPy, of the agent itself
    rng: np.random.Generator


def taken_share(instances: Instances, place: NDArray[Any], cpu_hz: Floats) -> Floats:
    """Return CPU [B, N] as shares of the totals of its servers; 0 where local."""
    capacity = np.concatenate([np.ones((len(place), 1)), instances.server_cpu_hz], axis=1)
    return np.asarray(cpu_hz / np.take_along_axis(capacity, place, axis=1))


@torch.inference_mode()
def step_log_probs(pool: Pool) -> Tensor:
    """Return log pi(p | y_<i, x) [B, N, P] over the legal places, along the decisions y that were made, all steps in one pass."""
    agent, shares = pool.agent, pool.agent.allocation == "share"
    slots = decode.slot(pool.instances, pool.prompts.tokens, shares, agent.device)
    place = np.asarray(pool.decision.place, dtype=np.int64)
    cpu = np.asarray(pool.decision.cpu_hz)
    index = torch.from_numpy(place)[:, None].to(slots.need.device)
    floors = slots.need.gather(-1, index[:, 0, :, None])[..., 0]
    floors = torch.where(floors.isfinite(), floors, 0.0)
    taken = torch.from_numpy(taken_share(pool.instances, place, cpu)).to(floors) if shares else floors
    plan = agent.aed.plan(agent.aed.encode(slots.inputs))
    state, left = decode.states(plan, index, taken[:, None], slots.need.shape[-1])
    logits, _ = agent.aed.steps(plan, state)
    chosen = index[..., None] == torch.arange(slots.need.shape[-1], device=index.device)
    legal = (slots.need[:, None] - physics.FIT_TOLERANCE <= left) | chosen
    return torch.where(legal, logits, _NEVER).log_softmax(-1)[:, 0]


def entropy(pool: Pool) -> Floats:
    """Return the decision entropy [B] in nats, averaged over the steps: (1 / N) sum_i H(pi(. | y_<i, x)), pi over legal places.

    y is the decision made (greedy), so this is one teacher-forced pass, not the expectation over all y.
    """
    log_probs = step_log_probs(pool)
    return _numpy(-(log_probs.exp() * log_probs.clamp(min=-100)).sum(-1).mean(-1))


def margin(pool: Pool) -> Floats:
    """Return 1 - (p_first - p_second) of the two likeliest places, averaged over the steps [B]."""
    top = step_log_probs(pool).exp().topk(2, dim=-1).values
    return _numpy(1 - (top[..., 0] - top[..., 1]).mean(-1))


def committee(pool: Pool) -> Floats:
    """Return the vote entropy [B] in nats, averaged over UEs, of a committee: the network deciding the UEs in different orders.

    The optimum does not depend on the order in which UEs are asked, so where orders disagree the network is wrong somewhere.
    """
    instances, places = pool.instances, pool.instances.num_servers + 1
    votes = np.zeros((*instances.cycles.shape, places))
    plain = np.broadcast_to(np.arange(instances.num_ues), instances.cycles.shape)
    for _ in range(MEMBERS):
        order = pool.rng.permuted(plain, axis=1)
        place = pool.agent.decide(instances.order(order), pool.prompts, pool.rng).place
        mine = np.empty_like(place)
        np.put_along_axis(mine, order, place, axis=1)
        votes += mine[..., None] == np.arange(places)
    share = votes / MEMBERS
    return np.asarray(-(share * np.log(np.where(share > 0, share, 1.0))).sum(-1).mean(-1))


def random(pool: Pool) -> Floats:
    """Return uniform draws [B]: the comparison that any other score has to beat."""
    return pool.rng.random(pool.instances.batch_size)


QUERIES: dict[str, Callable[[Pool], Floats]] = {
    "entropy": entropy,
    "margin": margin,
    "committee": committee,
    "random": random,
}


def choose(pool: Pool, query: str, count: int, diversity: int = 1, threshold: float = 0.0) -> NDArray[np.intp]:
    """Return the rows of at most ``count`` instances of highest score, the best first.

    Args:
        pool: the slot.
        query: a name of QUERIES.
        count: how many at most.
        diversity: the ``diversity`` x ``count`` best are thinned out: the best one, then always the one farthest from those chosen, by
            the mean of the encoder's tokens. 1: the best, however alike.
        threshold: a score below it is not worth a label.
    """
    scores = QUERIES[query](pool)
    ranked = np.argsort(-scores, kind="stable")
    ranked = ranked[scores[ranked] >= threshold][: count * diversity]
    return ranked if diversity == 1 or len(ranked) <= count else _spread(pool, ranked, count)


def _spread(pool: Pool, ranked: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Return ``count`` of the ranked rows, farthest first (Gonzalez 1985)."""
    points = embeddings(pool.agent, pool.instances.take(ranked), pool.prompts.take(ranked))
    picked, gap = [0], np.full(len(ranked), np.inf)
    while len(picked) < count:
        gap = np.minimum(gap, np.linalg.norm(points - points[picked[-1]], axis=1))
        picked.append(int(gap.argmax()))
    return ranked[picked]


@torch.inference_mode()
def embeddings(agent: LamboAgent, instances: Instances, prompts: Prompts) -> Floats:
    """Return the mean of the encoder's UE tokens of each instance [B, D]."""
    slots = decode.slot(instances, prompts.tokens, agent.allocation == "share", agent.device)
    tokens = agent.aed.encode(slots.inputs).tokens
    return _numpy(tokens[:, -instances.num_ues :].mean(1))


def _numpy(values: Tensor) -> Floats:
    return values.double().cpu().numpy()
