"""Which instances are worth an expert's label.

Scores of a slot's instances from the network alone, and a choice among them.

Shapes: B instances, N UEs, P places, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lambo_agents.agent import LamboAgent
from lambo_agents.network import decoding
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.prompts.prompts import Prompts

Floats = NDArray[np.float64]
MEMBERS = 4  # of a committee


class Pool(NamedTuple):
    """A slot that was decided: what may be asked about."""

    agent: LamboAgent
    instances: Instances  # [B], NumPy
    prompts: Prompts
    decision: Decision  # NumPy, of the agent itself
    rng: np.random.Generator


def taken_by(
    slots: decoding.Slot, instances: Instances, decision: Decision
) -> tuple[Tensor, Tensor]:
    """Return places [B, N], and what each takes of its server's total [B, N].

    The CPU on rows of shares, elsewhere its floor.
    """
    place = np.asarray(decision.place, dtype=np.int64)
    index = torch.from_numpy(place).to(slots.need.device)
    floor = slots.need.gather(-1, index[..., None])[..., 0]
    floor = torch.where(floor.isfinite(), floor, 0.0)
    shares = np.asarray(Decision(place, np.asarray(decision.cpu_hz)).shares(instances))
    cpu = torch.from_numpy(shares).to(floor)
    return index, torch.where(slots.inputs.shares[:, None], cpu, floor)


class Trace(NamedTuple):
    """Decisions as the network sees them that made them, UEs in the order in which it decides."""

    order: Tensor  # int64 [B, N] the UEs
    place: Tensor  # int64 [B, N]
    taken: Tensor  # float64 [B, N] of the total of its server
    log_probs: Tensor  # [B, N, P] of all places
    share: Tensor  # [B, N] logits at the places


@torch.no_grad()
def trace(pool: Pool) -> Trace:
    """Return the network's distributions along the decisions made, all steps in one pass."""
    agent = pool.agent
    given = agent.slots(pool.instances, pool.prompts)
    plan, slots, order = decoding.prepare(agent.aed, given)
    place, taken = (
        part.gather(1, order) for part in taken_by(given, pool.instances, pool.decision)
    )
    log_probs, share = decoding.teacher_forced(
        agent.aed, plan, slots.need[:, None], place[:, None], taken[:, None]
    )
    return Trace(order, place, taken, log_probs[:, 0], share[:, 0])


def entropy(pool: Pool) -> Floats:
    """Return the decision entropy [B] in nats, averaged over the steps: (1 / N) sum_i H(pi(.

    | y_<i, x)), pi over legal places.

    y is the decision made (greedy), so this is one teacher-forced pass, not the expectation over
    all y.
    """
    log_probs = trace(pool).log_probs
    return _numpy(-(log_probs.exp() * log_probs.clamp(min=-100)).sum(-1).mean(-1))


def margin(pool: Pool) -> Floats:
    """Return 1 - (p_first - p_second) of the two likeliest places, averaged over the steps [B]."""
    top = trace(pool).log_probs.exp().topk(2, dim=-1).values
    return _numpy(1 - (top[..., 0] - top[..., 1]).mean(-1))


@torch.no_grad()
def committee(pool: Pool) -> Floats:
    """Return the vote entropy [B] in nats, averaged over UEs, of a committee.

    The network made to decide the UEs in shuffled orders.

    The optimum does not depend on the order in which UEs are asked, so where orders disagree the
    network is wrong somewhere.
    """
    aed = pool.agent.aed
    slots = pool.agent.slots(pool.instances, pool.prompts)
    encoded, plain = (
        aed.encode(slots.inputs),
        np.broadcast_to(np.arange(slots.need.shape[1]), slots.need.shape[:2]),
    )
    votes = torch.zeros(slots.need.shape)
    for _ in range(MEMBERS):
        order = torch.from_numpy(pool.rng.permuted(plain, axis=1)).to(slots.need.device)
        rolled = decoding.decide(aed, aed.plan(encoded, order[:, None]), slots.ordered(order))
        place = decoding.given_order(rolled.place, order)[:, 0].cpu()
        votes += functional.one_hot(place, votes.shape[-1])
    return _numpy(torch.special.entr(votes / MEMBERS).sum(-1).mean(-1))


def random(pool: Pool) -> Floats:
    """Return uniform draws [B]: the comparison that any other score has to beat."""
    return pool.rng.random(pool.instances.batch_size)


QUERIES: dict[str, Callable[[Pool], Floats]] = {
    "entropy": entropy,
    "margin": margin,
    "committee": committee,
    "random": random,
}


def choose(pool: Pool, query: str, count: int, diversity: int = 1) -> NDArray[np.intp]:
    """Return the rows of at most ``count`` instances of highest score, the best first.

    Scores are ranked among instances of one kind of objective (latency, energy, mix): between kinds
    they mean nothing, and a round that asks about one kind alone would unlearn the others.

    Args:
        pool: the slot.
        query: a name of QUERIES.
        count: how many at most.
        diversity: the ``diversity`` x ``count`` best are thinned out: the best one, then always the
            one farthest from those chosen, by the mean of the encoder's tokens. 1: the best,
            however alike.
    """
    weight = pool.prompts.latency_weight
    worth = _within(QUERIES[query](pool), (weight == 1) + 2 * (weight == 0))
    ranked = np.argsort(-worth, kind="stable")[: count * diversity]
    return ranked if diversity == 1 or len(ranked) <= count else _spread(pool, ranked, count)


def _within(scores: Floats, kind: NDArray[Any]) -> Floats:
    """Return each score's rank among those of its kind, over how many there are.

    The best of every kind is 1.
    """
    out = np.empty(len(scores))
    for one in np.unique(kind):
        rows = np.flatnonzero(kind == one)
        out[rows[np.argsort(scores[rows], kind="stable")]] = np.arange(1, len(rows) + 1) / len(rows)
    return out


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
    slots = agent.slots(instances, prompts)
    return _numpy(agent.aed.encode(slots.inputs).tokens[:, -instances.num_ues :].mean(1))


def _numpy(values: Tensor) -> Floats:
    return values.double().cpu().numpy()
