"""From one observation of an episode back to what the AED reads.

An observation tells the slot and the whole history of its decisions.

Shapes: R observations (rows), U distinct slots among them, K rows per slot at most, N UEs, M
servers, P = M + 1 places. Rows of one slot share its encoder pass: a minibatch of a trainer holds
many steps of the same episodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from lambo_agents.network import decoding
from lambo_agents.network.aed import AED, Inputs
from lambo_agents.network.server_encoding import DecoderInputs, DecoderState
from lambo_env.offloading import observation, physics

_HASH_SEED = 0


class Seen(NamedTuple):
    """R observations as the network and the mask rule read them."""

    inputs: Inputs  # of the U distinct slots
    slot: Tensor  # int64 [R] which of them a row is of
    lane: Tensor  # int64 [R] which of the slot's rows it is, 0..K - 1
    ue: Tensor  # int64 [R] the UE to be decided; 0 where the slot is done
    place: Tensor  # int64 [R, N] decided places, 0 where local or undecided
    taken: Tensor  # float64 [R, N] of the total of its server
    left: Tensor  # float [R, P] left / total, 0 for the local place
    legal: Tensor  # bool [R, P] the mask rule on the observation's float32 numbers


class Steps(NamedTuple):
    """What the network says at R steps."""

    logits: Tensor  # [R, P] of the places, unmasked
    share: Tensor  # [R, P] logit of the share at each place
    about: Tensor  # [R, 3 D] the current UE, the mean UE and the MEC state, for a critic


def read(observed: Mapping[str, Tensor], shares: bool) -> Seen:
    """Return batched observations (keys ues, servers, prompt) as ``Seen``.

    ``shares`` says whether the actions allot the CPU.
    """
    ues, servers = observed["ues"], observed["servers"]
    rows, num_ues, num_servers = len(ues), ues.shape[1], servers.shape[1]
    static, current, place, taken, _ = observation.read(ues, num_servers, torch)
    size, tokens = servers[..., 1], observed["prompt"].to(torch.uint8)
    first, slot, lane = _groups(static, size, tokens)
    texts, text = decoding.distinct_texts(tokens[first].cpu().numpy())
    mode = torch.full((len(first),), shares, device=ues.device)
    inputs = Inputs(static[first], size[first], texts.to(ues.device), text.to(ues.device), mode)
    ue = current.argmax(1)
    left = torch.nn.functional.pad(servers[..., 0], (1, 0))
    legal = _legal(static[torch.arange(rows), ue], left, size, num_ues)
    return Seen(inputs, slot, lane, ue, place.long(), taken.double(), left, legal)


def _groups(static: Tensor, size: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return a row of each distinct slot [U], each row's slot [R] and its number within it [R].

    Rows are told apart by a random linear hash of their bits to 64: two distinct ones collide with
    a chance of about 2^-60.
    """
    bits = (
        torch.cat([static.flatten(1).float(), size.float()], dim=1)
        .contiguous()
        .view(torch.int32)
        .long()
    )
    words = torch.cat([bits, tokens.long()], dim=1)
    generator = torch.Generator().manual_seed(_HASH_SEED)
    factors = torch.randint(-(2**62), 2**62, (words.shape[1],), generator=generator) * 2 + 1
    key = (words * factors.to(words.device)).sum(1)
    _, slot, counts = key.unique(return_inverse=True, return_counts=True)
    order = slot.argsort(stable=True)
    start = counts.cumsum(0) - counts
    lane = torch.empty_like(slot)
    lane[order] = torch.arange(len(slot), device=slot.device) - start[slot[order]]
    return order[start], slot, lane


def _legal(static: Tensor, left: Tensor, size: Tensor, num_ues: int) -> Tensor:
    """Return which places can still meet the current UE's deadline [R, P].

    Local alone where none can.
    """
    ratio = observation.ratios(static.double(), size.shape[1], torch)
    fair = observation.fair_share(ratio.load, size.double(), num_ues, torch)
    floor = observation.floor_share(ratio.upload, fair, torch)
    served = floor <= left[:, 1:] + physics.FIT_TOLERANCE
    home = (ratio.local <= 1 + physics.LATE_TOLERANCE) | ~served.any(1, keepdim=True)
    return torch.cat([home, served], dim=1)


def decide(aed: AED, seen: Seen) -> Steps:
    """Return what the network says at each row's step; the encoder runs once a distinct slot."""
    plan = aed.plan(aed.encode(seen.inputs))
    lanes = int(seen.lane.max()) + 1
    at = seen.slot, seen.lane
    ue = seen.ue.new_zeros(len(plan.base), lanes).index_put(at, seen.ue)
    now = plan.of_steps(lambda part: _pick(part, ue))  # of the UE that each row decides, T = 1
    if aed.config.self_attention:
        state = _history(plan, seen, lanes)
        logits, share = (part[(*at, seen.ue)] for part in aed.steps(plan, state))
        present = _only(state, ue)
    else:
        present = _present(plan, seen, ue)
        logits, share = (part[at][:, 0] for part in aed.steps(now, present))
    mec, _ = aed.servers.enter(now, present)
    mean = plan.base[seen.slot, 0].mean(1)
    return Steps(logits, share, torch.cat([now.base[at][:, 0], mean, mec[at][:, 0]], dim=-1))


def _history(plan: DecoderInputs, seen: Seen, lanes: int) -> DecoderState:
    """Return the state before every step [U, K, N, ...] of each row's history.

    The steps from its own on are never read.
    """
    shape, at = (len(plan.base), lanes, seen.place.shape[1]), (seen.slot, seen.lane)
    place = seen.place.new_zeros(shape).index_put(at, seen.place)
    taken = seen.taken.new_zeros(shape).index_put(at, seen.taken)
    return decoding.states(plan, place, taken, seen.left.shape[1])[0]


def _only(state: DecoderState, ue: Tensor) -> DecoderState:
    """Return the state of one step [U, K, 1, ...] out of all."""
    return DecoderState(*[part if part.ndim < 3 else _pick(part, ue) for part in state])


def _pick(part: Tensor, ue: Tensor) -> Tensor:
    index = ue.view(*ue.shape, *[1] * (part.ndim - 2)).expand(*ue.shape, 1, *part.shape[3:])
    return part.expand(-1, ue.shape[1], *part.shape[2:]).gather(2, index)


def _present(plan: DecoderInputs, seen: Seen, ue: Tensor) -> DecoderState:
    """Return the state at each row's step [U, K, 1, P, ...].

    What the observation shows as left, and the memories of its history.
    """
    places, at = seen.left.shape[1], (seen.slot, seen.lane)
    left = seen.left.new_zeros(*ue.shape, places).index_put(at, seen.left)[:, :, None]
    if plan.memory_update is None:
        return DecoderState(left)
    before = torch.arange(seen.place.shape[1], device=ue.device) < seen.ue[:, None]
    chosen = (seen.place[..., None] == torch.arange(places, device=ue.device)) & before[..., None]
    memory = chosen.transpose(1, 2).to(plan.memory_update.dtype) @ plan.memory_update[seen.slot, 0]
    return DecoderState(
        left, memory.new_zeros(*ue.shape, *memory.shape[1:]).index_put(at, memory)[:, :, None]
    )
