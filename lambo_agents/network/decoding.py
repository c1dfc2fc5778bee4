"""Decisions from the network, step by step with cached keys and values, or all steps in parallel.

Shapes: B instances, O orders or rollouts of an instance, N UEs, M servers, P = M + 1 places. A
rollout keeps the environments' rule: a place is legal while its floor fits into what is left; if
none is, the task stays local and is late.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lambo_agents.network.aed import AED, Encoded, Inputs
from lambo_agents.network.columns import REPAIR_WEIGHTS, missed, slot_columns
from lambo_agents.network.decision_order import confident_order
from lambo_agents.network.server_encoding import DecoderInputs, DecoderState, in_order
from lambo_env.offloading import physics
from lambo_env.offloading.instances import LOCAL, Instances

ALLOCATIONS = ("optimal", "share")
_WINDOW = 128  # steps that a pass of ``fixed_point`` decides at once
FIXED_POINT_ROWS = 12  # rollouts up to which it takes less time than step by step (50 UEs)
LAST_RESORT = (
    -1e9
)  # logit of the local place where it is late: chosen only if nothing else is legal
NEVER = -1e30  # logit of an illegal place


class Slot(NamedTuple):
    """B slots as tensors: what the network sees, and what the rules need."""

    inputs: Inputs
    # float64 [B, N, P] floor / total of the place; 0 where local is in time, inf where infeasible
    need: Tensor

    def take(self, rows: slice) -> Slot:
        """Return some of the slots."""
        return Slot(self.inputs.take(rows), self.need[rows])

    def ordered(self, order: Tensor) -> Slot:
        """Return the slots with their UEs in ``order`` [B, N]."""
        ues, need = (in_order(part, order[:, None])[:, 0] for part in (self.inputs.ues, self.need))
        return Slot(self.inputs._replace(ues=ues), need)


class Rollout(NamedTuple):
    """One decision after the other, in the order of the plan."""

    place: Tensor  # int64 [B, O, N]
    taken: Tensor  # float64 [B, O, N] of the total of its server
    log_prob: Tensor | None = None  # float32 [B, O, N] of each place, where asked for


def distinct_texts(tokens: np.ndarray[Any, Any]) -> tuple[Tensor, Tensor]:
    """Return the distinct rows of uint8 [B, 160], trimmed to the longest, and each row's index."""
    texts, text = np.unique(tokens, axis=0, return_inverse=True)
    length = max(1, int((texts != 0).sum(axis=1).max(initial=1)))
    return torch.from_numpy(texts[:, :length].copy()), torch.from_numpy(
        text.reshape(-1).astype(np.int64)
    )


def slot(
    instances: Instances, tokens: np.ndarray[Any, Any], shares: bool | Tensor, device: str = "cpu"
) -> Slot:
    """Return NumPy instances and their prompts' tokens as what the network and the rules read."""
    seen = slot_columns(instances)
    texts, text = distinct_texts(tokens)
    mode = shares if isinstance(shares, Tensor) else torch.full((instances.batch_size,), shares)
    ues, size = torch.from_numpy(seen.ues), torch.from_numpy(seen.size)
    inputs = Inputs(ues, size, texts, text, mode)
    inputs = Inputs(*(part.to(device) for part in inputs if part is not None))
    return Slot(inputs, torch.from_numpy(seen.need).to(device))


def prepare(aed: AED, slots: Slot) -> tuple[DecoderInputs, Slot, Tensor]:
    """Encode once; return the plan and the slots in the confident order, and that order [B, N]."""
    return _prepared(aed, slots)[1:]


def _prepared(aed: AED, slots: Slot) -> tuple[Encoded, DecoderInputs, Slot, Tensor]:
    encoded = aed.encode(slots.inputs)
    order = confident_order(aed, encoded, slots.need)
    return encoded, aed.plan(encoded, order[:, None]), slots.ordered(order), order


def given_order(values: Tensor, order: Tensor) -> Tensor:
    """Return values [B, O, N] of the UEs in ``order`` [B, N] as the UEs were given."""
    return torch.empty_like(values).scatter(2, order[:, None].expand_as(values), values)


def gumbel(shape: tuple[int, ...], generator: torch.Generator, temperature: float = 1.0) -> Tensor:
    """Return noise by which an argmax of logits draws from the softmax of logits / temperature."""
    return torch.empty(shape).exponential_(generator=generator).log_().mul_(-temperature)


def states(
    plan: DecoderInputs,
    place: Tensor,
    taken: Tensor,
    places: int,
    left: Tensor | float = 1.0,
    memory: Tensor | float = 0.0,
) -> tuple[DecoderState, Tensor]:
    """Return the state before each step, and what is left in float64 [B, O, N, P].

    Args:
        plan: its updates fill the memories.
        place: int64 [B, O, N].
        taken: float64 [B, O, N] of the total of its server; 0 where local.
        places: P.
        left: before the first step, float64 [B, O, 1, P]; 1: everything.
        memory: before the first step, [B, O, 1, P, R]; 0: nothing.
    """
    used, updates = effects(plan, place, taken, places)
    left = left - (used.cumsum(2) - used)
    left = torch.cat([torch.zeros_like(left[..., :1]), left[..., 1:]], dim=-1)
    if updates is None:
        return DecoderState(left.to(plan.base.dtype)), left
    return DecoderState(left.to(plan.base.dtype), memory + (updates.cumsum(2) - updates)), left


def effects(
    plan: DecoderInputs, place: Tensor, taken: Tensor, places: int
) -> tuple[Tensor, Tensor | None]:
    """Return what each step takes [B, O, N, P] and adds to the memories [B, O, N, P, R]."""
    chosen = place[..., None] == torch.arange(places, device=place.device)
    gift = plan.memory_update
    return taken[..., None] * chosen, None if gift is None else chosen[..., None] * gift[
        ..., None, :
    ]


def teacher_forced(
    aed: AED, plan: DecoderInputs, need: Tensor, place: Tensor, taken: Tensor
) -> tuple[Tensor, Tensor]:
    """Return log pi(p | y_<i, x) [B, O, N, P] over legal places and share logits [B, O, N].

    Along decisions y, all steps at once.

    Args:
        aed: the network.
        plan: of B instances in O orders (or one).
        need: float64 [B, O or 1, N, P] floors in the plan's order.
        place: int64 [B, O, N].
        taken: float64 [B, O, N].
    """
    state, left = states(plan, place, taken, need.shape[-1])
    logits, rest = aed.steps(plan, state)
    chosen = place[..., None] == torch.arange(need.shape[-1], device=place.device)
    legal = (need - physics.FIT_TOLERANCE <= left) | chosen  # what was chosen was legal
    shares = rest.gather(-1, place[..., None])[..., 0]
    return torch.where(legal, logits, NEVER).log_softmax(-1), shares


@torch.no_grad()
def fixed_point(
    aed: AED,
    plan: DecoderInputs,
    slots: Slot,
    count: int = 1,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
) -> tuple[Rollout, int]:
    """Decide like ``rollout`` but all steps at once, again and again until nothing changes.

    A pass over a window of steps decides each by the states that the last pass' places leave. All
    steps up to the first whose place changed are right then, and the window moves behind it: a step
    takes a few passes in practice, since most decisions do not hinge on the last ones before. For
    few rows a pass costs little more than a step. Steps that attend to each other are one window.
    Only for floors as what is taken (the closed form's allocation).

    Returns:
        The rollouts, in the plan's order, and the number of passes.
    """
    batch, steps, places = slots.need.shape
    need, take, fallback = rules(slots.need)
    noise = torch.zeros(1, 1, steps, 1, device=need.device)
    if generator is not None:
        drawn = gumbel((steps, batch, count, places), generator, temperature)
        noise = drawn.permute(1, 2, 0, 3).to(need.device)
    place = torch.zeros(batch, count, steps, dtype=torch.int64, device=need.device)
    if plan.place_prior is not None:
        guess = torch.where(need <= 1, plan.place_prior, fallback) + noise
        place = guess.argmax(-1).expand(-1, count, -1).clone()
    took = take.expand(-1, count, -1, -1).gather(-1, place[..., None])[..., 0]
    left: Tensor | float = 1.0
    memory: Tensor | float = 0.0
    attends = aed.config.self_attention
    first, passes, window = 0, 0, steps if attends else _WINDOW
    while first < steps:
        pick = itemgetter((slice(None), slice(None), slice(first, first + window)))
        some, before = plan.of_steps(pick), pick(place)
        state, rest = states(some, before, pick(took), places, left, memory)
        logits = torch.where(pick(need) <= rest, aed.steps(some, state)[0], fallback)
        now = (logits + pick(noise)).argmax(-1)
        changed = torch.nonzero((now != before).flatten(0, 1).any(0))
        settled = now.shape[-1] if not len(changed) else 0 if attends else int(changed[0]) + 1
        pick(place).copy_(now)
        pick(took).copy_(pick(take).expand(-1, count, -1, -1).gather(-1, now[..., None])[..., 0])
        done = itemgetter((slice(None), slice(None), slice(first, first + settled)))
        used, updates = effects(plan.of_steps(done), done(place), done(took), places)
        left = left - used.sum(2, keepdim=True)
        memory = 0.0 if updates is None else memory + updates.sum(2, keepdim=True)
        first, passes = first + settled, passes + 1
    return Rollout(place, took), passes


def decide(
    aed: AED,
    plan: DecoderInputs,
    slots: Slot,
    count: int = 1,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
) -> Rollout:
    """Decide all UEs: few rollouts of the closed form by ``fixed_point``, others by ``rollout``."""
    if slots.need.shape[0] * count <= FIXED_POINT_ROWS and not bool(slots.inputs.shares.any()):
        return fixed_point(aed, plan, slots, count, generator, temperature)[0]
    return rollout(aed, plan, slots, count, generator, temperature)


@torch.no_grad()
def decide_all(
    aed: AED,
    slots: Slot,
    count: int = 1,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Return places and what they take [B, O, N], UEs as given.

    The greedy rollout, repaired where tasks are late, then drawn ones.
    """
    encoded, plan, ordered, order = _prepared(aed, slots)
    first = decide(aed, plan, ordered)
    places, takes = [given_order(first.place, order)], [given_order(first.taken, order)]
    _repair_late(aed, encoded, slots, order, places[0], takes[0])
    if count > 1:
        drawn = decide(aed, plan, ordered, count - 1, generator, temperature)
        places.append(given_order(drawn.place, order))
        takes.append(given_order(drawn.taken, order))
    return torch.cat(places, dim=1), torch.cat(takes, dim=1)


def _repair_late(
    aed: AED, encoded: Encoded, slots: Slot, order: Tensor, place: Tensor, taken: Tensor
) -> None:
    """Decide again, in place [B, 1, N], where a task is late that an empty server could serve.

    What leaves the fewest late is kept.

    Those who cannot stay local choose by rising least floor, so that one large task does not crowd
    out several small ones, and a floor counts against its place, more in every round. No cost is
    asked for. A network without a place prior is left as it is.
    """
    lost = missed(slots.need, place[:, 0])
    least = slots.need[..., 1:].amin(-1).where(slots.need[..., 0] > 1, torch.inf)
    for weight in REPAIR_WEIGHTS:
        rows = torch.nonzero(lost).flatten()
        if not len(rows):
            return
        others = order[rows]
        again = others.gather(1, least[rows].gather(1, others).argsort(dim=1, stable=True))
        some = Slot(slots.inputs.take(rows), slots.need[rows])
        plan, there = aed.plan(encoded.take(rows), again[:, None]), some.ordered(again)
        if plan.place_prior is None:
            return
        guess = plan.place_prior - weight * there.need[:, None].clamp(max=1).to(plan.place_prior)
        rolled = rollout(aed, plan._replace(place_prior=guess), there)
        new = given_order(rolled.place, again)
        late = missed(some.need, new[:, 0])
        better = late < lost[rows]
        at = rows[better]
        place[at], taken[at], lost[at] = (
            new[better],
            given_order(rolled.taken, again)[better],
            late[better],
        )


def rules(need: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what a place needs and takes, both [B, 1, N, P], and illegal places' logits [P].

    ``need``: float64 [B, N, P], floors as parts of the servers' totals.
    """
    need = need[:, None]
    fallback = torch.full(need.shape[-1:], NEVER, device=need.device)
    fallback[0] = LAST_RESORT
    return need - physics.FIT_TOLERANCE, need.where(need.isfinite(), 0.0), fallback


@torch.no_grad()
def rollout(
    aed: AED,
    plan: DecoderInputs,
    slots: Slot,
    count: int = 1,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
    *,
    log_probs: bool = False,
) -> Rollout:
    """Decide UE by UE, ``count`` times per instance with shared encoder.

    Greedily, or drawn with a generator.

    Args:
        aed: the network.
        plan: of the slots, in one order each.
        slots: B slots.
        count: O, rollouts per instance.
        generator: of the draws; None is greedy.
        temperature: of the draws; above 1 they differ more.
        log_probs: also return the log-probability of each place, at temperature 1.

    Returns:
        The rollouts, in the plan's order.
    """
    batch, steps, places = slots.need.shape
    device, shares = slots.need.device, slots.inputs.shares
    any_share = bool(shares.any())
    left = torch.ones(batch, count, places, dtype=torch.float64, device=device)
    left[..., 0] = 0
    width = 0 if plan.memory_update is None else plan.memory_update.shape[-1]
    memory = torch.zeros(batch, count, places, width, device=device)
    cache = aed.new_cache(batch * count, steps)
    need, take, fallback = rules(slots.need)
    noise = (
        None
        if generator is None
        else gumbel((steps, batch, count, places), generator, temperature).to(device)
    )
    numbers = torch.arange(places, device=device)
    out_place = torch.empty(batch, count, steps, dtype=torch.int64, device=device)
    out_taken = torch.zeros(batch, count, steps, dtype=torch.float64, device=device)
    out_log_prob = torch.zeros(batch, count, steps, device=device) if log_probs else None
    for i in range(steps):
        now = plan.at(i)
        state = DecoderState(left.float()[:, :, None], memory[:, :, None])
        logits, rest = aed.steps(now, state, cache, i)
        logits = torch.where(need[:, :, i] <= left, logits[:, :, 0], fallback)
        place = (logits if noise is None else logits + noise[i]).argmax(-1, keepdim=True)
        chosen = numbers == place
        if out_log_prob is not None:
            out_log_prob[:, :, i] = logits.log_softmax(-1).gather(-1, place)[..., 0]
        out_place[:, :, i] = place[..., 0]
        used = take[:, :, i] * chosen
        if any_share:
            share = rest[:, :, 0].sigmoid()
            used = torch.where(shares[:, None, None], used + share * chosen * (left - used), used)
        out_taken[:, :, i] = used.sum(-1)
        left = left - used
        if now.memory_update is not None:
            memory = memory + chosen[..., None] * now.memory_update[:, :, 0, None, :]
    return Rollout(out_place, out_taken, out_log_prob)


def cpu_hz(
    instances: Instances, place: np.ndarray[Any, Any], taken: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Return the CPU [B, N] in cycles/s of what decisions took of their servers' totals [B, N]."""
    return np.where(place == LOCAL, 0.0, taken * instances.capacity_hz(place))
