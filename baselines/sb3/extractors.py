"""What a policy should look at: the UE to be decided, the servers, who is still to come.

Widths do not grow with N. The one class is for plain layers, the other for ``policies``.
"""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from lambo_env.cell.squash import unsquash
from lambo_env.offloading import observation
from lambo_env.queueing.observation import SERVER, UE, read
from lambo_env.utils import validate

_LARGEST = 10.0  # ratios are squashed again beyond this
_LEAST = 1e-6  # what ratios are divided by
# of EachPlace
OWN, SHARED = 17, 19  # features of one place, and of all together
OWN_QUEUE, SHARED_QUEUE = 11, 11  # likewise, of EachQueue
_LARGEST_COST = 4.0  # features end here
_SMALL = 1e-3  # least of what is divided by
_ROUNDS, _STEP, _SHARPNESS = 2, 0.6, 0.15  # of how UEs to come choose


def check_observation(name: str, space: spaces.Dict) -> None:
    """Check that an observation shows UEs, servers and the objective's coefficients."""
    seen = sorted(space.spaces)
    allowed = "objective, servers and ues (an environment with observe='objective')"
    right = seen == ["objective", "servers", "ues"]
    validate.check(f"{name}.observation_space", seen, right, allowed)


class CurrentUE(BaseFeaturesExtractor):
    """Features of one observation, none learned.

    For policies of plain layers, with observe="objective".

    In order: the current UE's static columns (M + 4), its floor over each server's total (M), what
    each server has left and its size (2 M), the load and the number of the UEs that each place got
    (2 P), the mean static columns of the UEs to come (M + 4) and their share of all UEs, the
    objective (2).
    """

    def __init__(self, observation_space: spaces.Dict) -> None:
        check_observation("CurrentUE", observation_space)
        servers = observation_space["servers"].shape[0]  # type: ignore[index]
        width = 2 * observation.num_static(servers) + 3 * servers + 2 * (servers + 1) + 3
        super().__init__(observation_space, width)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Return features [B, F]."""
        ues, servers = observations["ues"], observations["servers"]
        num_servers, seen = servers.shape[1], observation.read(ues, servers.shape[1], torch)
        static, place, current = seen.static, seen.place, seen.current[..., None]
        num_ues = _num_ues(ues, seen)
        decided = current.flip(1).cumsum(1).flip(1) - current  # 1 before the current UE
        coming = seen.present[..., None] - decided - current
        mine = (static * current).sum(1)
        root = observation.ratios(static, num_servers, torch, least=1e-3).load.sqrt()
        on = (place[..., None] == torch.arange(num_servers + 1, device=ues.device)) * decided
        parts = [
            mine,
            _floor(mine, servers[..., 1], num_ues),
            servers.flatten(1),
            (on * root).sum(1) * num_servers / num_ues,
            on.sum(1) / num_ues * num_servers,
            (static * coming).sum(1) / coming.sum(1).clamp(min=1),
            coming.sum(1) / num_ues,
            observations["objective"],
        ]
        return torch.cat(parts, dim=1)


def _num_ues(ues: Tensor, seen: observation.Columns) -> Any:
    """Return N, or how many UEs are there [B, 1] where N varies."""
    varies = ues.shape[2] > seen.static.shape[2] + observation.NUM_DYNAMIC
    return seen.present.sum(1, keepdim=True) if varies else ues.shape[1]


def _floor(mine: Tensor, size: Tensor, num_ues: Any) -> Tensor:
    """Return the current UE's floor over each server's total [B, M], squashed; 1 where hopeless."""
    ratio = observation.ratios(mine, size.shape[1], torch, least=_LEAST)
    fair = observation.fair_share(ratio.load, size, num_ues, torch)
    floor = observation.floor_share(ratio.upload, fair, torch, _LEAST).clamp(max=_LARGEST)
    return floor / (1 + floor)


class EachPlace(BaseFeaturesExtractor):
    """Features [B, P (OWN + SHARED)] of what the current UE meets at each place; none learned.

    Costs are over the mean cost of running a UE locally, latencies and energies alike, as rewards
    are with ``reward="relative"``. A UE's saving at a server is what it costs less there than
    locally, by the closed form's allocation. Loads are sums of sqrt(cycles) over the server's size.
    ``_ROUNDS`` times, the UEs to come choose places by a softmax of their savings, and the load
    expected moves most of the way to what they choose.

    Of a place, in order: is it local; upload time, run time, saving at the present load and at the
    one expected; floor, over the total and over what is left; what is left; size; number and load
    of the UEs that it holds, load expected; number, load and floors of the UEs that choose it last,
    floors of those among them that save more per CPU than the current one; their mean saving. Of
    all places: what the UEs not yet decided would cost where they choose; the current UE's local
    cost and root; the objective; the share of the UEs to come; the mean root; the current UE's four
    other columns, and their mean and deviation over the UEs to come.
    """

    per_place = True

    def __init__(self, observation_space: spaces.Dict) -> None:
        check_observation("EachPlace", observation_space)
        places = observation_space["servers"].shape[0] + 1  # type: ignore[index]
        super().__init__(observation_space, places * (OWN + SHARED))

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Return the features, one place after the other."""
        ues, servers, weights = (observations[name] for name in ("ues", "servers", "objective"))
        num_servers, seen = servers.shape[1], observation.read(ues, servers.shape[1], torch)
        latency, energy = weights[:, :1, None], weights[:, 1:2, None]
        static, current, place = seen.static, seen.current, seen.place
        num_ues = _num_ues(ues, seen)
        count = num_ues if isinstance(num_ues, int) else num_ues[..., None]
        ratio = observation.ratios(static, num_servers, torch, least=_SMALL)
        # [B, 1 or M, 1 or N] from here on: UEs last, as the fastest axis
        upload, own, load, deadline, power = (part.mT.contiguous() for part in ratio)
        left, size = servers[..., :1], servers[..., 1:]
        scale = count * size / size.sum(1, keepdim=True)
        every = torch.arange(1, num_servers + 1, device=ues.device)[:, None]
        held = (place[:, None] == every).float()
        order, first = torch.arange(ues.shape[1], device=ues.device), current.argmax(1)
        coming = ((order > first[:, None]).float() * seen.present)[:, None]
        floor = load / scale / (1 - upload).clamp(min=_SMALL)  # of the server's total
        root = (load * deadline).sqrt()  # of cycles, in units of sqrt(F Tmean / N)
        own, sent = own * deadline, upload * deadline
        unit = own.sum(2, keepdim=True) / count
        own, sent, root_s = own / unit, sent / unit, root / unit
        held_load = (held * root).sum(2, keepdim=True) / scale
        alone = own - (sent + root_s * root / scale) * latency - sent * power * energy
        shared_s, fits = 2 * latency * root_s, (floor <= left).float()
        present = expected = held_load
        saved = (alone - shared_s * present) * fits
        for _ in range(_ROUNDS):
            most = (alone - shared_s * expected) * fits
            taste = (most / _SHARPNESS).exp() * fits
            choice = taste / (1 + taste.sum(1, keepdim=True)) * coming
            chosen = (choice * root).sum(2, keepdim=True) / scale
            expected = expected + _STEP * (present + chosen - expected)
        later = (alone - shared_s * expected) * fits
        floors = choice * floor
        at = (torch.arange(len(ues), device=ues.device), slice(None), first)  # the current UE
        worth = later / floor.clamp(min=_SMALL)
        better = floors * (worth > worth[at][..., None])
        number, free = choice.sum(2), left[..., 0].clamp(min=_SMALL)
        columns = [
            *(part[at] for part in (sent, root_s * (root / scale + 2 * present), saved, later)),
            floor[at],
            floor[at] / free,
            *(part[..., 0] for part in (left, size)),
            held.sum(2) / scale[..., 0],
            *(part[..., 0] for part in (present, expected)),
            number / scale[..., 0],
            chosen[..., 0],
            floors.sum(2) / free,
            better.sum(2) / free,
            (choice * later).sum(2) / number.clamp(min=1),
        ]
        places = nn.functional.pad(torch.stack(columns, -1), (1, 0, 1, 0))
        places[:, 0, 0] = 1.0
        ends, left_over = static[..., num_servers:].mT, coming.sum(2)
        mean, square = ((part * coming).sum(2) / left_over.clamp(min=1) for part in (ends, ends**2))
        spread = (square - mean**2).clamp(min=_SMALL**2).sqrt()
        rest = own - later.amax(1, keepdim=True).clamp(min=0)
        rest = ((coming + current[:, None]) * rest).sum(2) / num_ues
        share, mean_root = left_over / num_ues, root.sum(2) / num_ues
        wishes = [rest, own[at], root[at], weights[:, :2], share, mean_root]
        slot = torch.cat([*wishes, ends[at], mean, spread], 1)[:, None]
        slot = slot.expand(-1, num_servers + 1, -1)
        return torch.cat([places, slot], -1).clamp(-_LARGEST_COST, _LARGEST_COST).flatten(1)


class EachQueue(BaseFeaturesExtractor):
    """Features [B, P F] of what the current task meets at each place where tasks wait.

    All times over the deadline. Of a place, in order: is it local; when the task would end by what
    waits now, how late that is, how much of it lies beyond 0.7; what waits there, its own work
    there, work under way, UEs there; upload and run time; room for the task. Of all places: the
    current UE's data, cycles, power, queues; the mean queues of all UEs; the share of UEs that
    still decide; the objective.
    """

    per_place = True

    def __init__(self, observation_space: spaces.Dict) -> None:
        check_observation("EachQueue", observation_space)
        places = observation_space["servers"].shape[0] + 1  # type: ignore[index]
        super().__init__(observation_space, places * (OWN_QUEUE + SHARED_QUEUE))

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Return the features, one place after the other."""
        ues, servers, weights = (observations[name] for name in ("ues", "servers", "objective"))
        num_servers = servers.shape[1]
        at = ues[..., UE.CURRENT].argmax(1)
        mine = ues[torch.arange(len(ues), device=ues.device), at]
        seen = read(mine, num_servers, torch)
        once, upload, own = (
            unsquash(part, torch, _SMALL).clamp(max=_LARGEST)
            for part in (seen.once, seen.upload, seen.own_work)
        )
        waits, coming = (
            unsquash(servers[..., k], torch, _SMALL).clamp(max=_LARGEST)
            for k in (SERVER.WAITING, SERVER.COMING)
        )
        size = servers[..., SERVER.SIZE]
        local, load = once[:, UE.LOCAL : UE.LOCAL + 1], once[:, UE.LOAD : UE.LOAD + 1]
        run = load * size.sum(1, keepdim=True) / (size * ues.shape[1])
        sent = once[:, UE.UPLINK_QUEUE : UE.UPLINK_QUEUE + 1] + upload
        end = torch.maximum(sent, waits) + run
        queue = once[:, UE.CPU_QUEUE : UE.CPU_QUEUE + 1]
        none, one = torch.zeros_like(local), torch.ones_like(local)
        columns = [
            (one, torch.zeros_like(end)),
            (queue + local, end),
            ((queue + local > 1).float(), (end > 1).float()),
            ((queue + local - 0.7).clamp(min=0), (end - 0.7).clamp(min=0)),
            (queue, waits),
            (queue, own),
            (none, coming),
            (none, servers[..., SERVER.USERS]),
            (none, upload),
            (local, run),
            (1 - queue, 1 - waits),
        ]
        places = torch.stack([torch.cat(pair, 1) for pair in columns], -1)
        left = ues[..., UE.HAS_TASK] * (
            torch.arange(ues.shape[1], device=ues.device) >= at[:, None]
        )
        slot = [
            *(mine[:, k : k + 1] for k in (UE.DATA, UE.LOCAL, UE.LOAD, UE.POWER)),
            *(mine[:, k : k + 1] for k in (UE.CPU_QUEUE, UE.UPLINK_QUEUE)),
            *(ues[..., k].mean(1, keepdim=True) for k in (UE.CPU_QUEUE, UE.UPLINK_QUEUE)),
            left.mean(1, keepdim=True),
            weights[:, :2],
        ]
        shared = torch.cat(slot, 1)[:, None].expand(-1, num_servers + 1, -1)
        return torch.cat([places, shared], -1).clamp(-_LARGEST_COST, _LARGEST_COST).flatten(1)


EXTRACTORS: dict[str, Any] = {
    "current_ue": CurrentUE,
    "each_place": EachPlace,
    "each_queue": EachQueue,
}
