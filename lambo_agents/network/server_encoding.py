"""How the network sees edge servers.

One linear map of all of them (the paper), or tokens that are scored one by one (any M).

Shapes: B instances, O orders or rollouts of an instance, N UEs, M servers, P = M + 1 places, T
steps, D width, W pair width, R memory width. A plan is everything that can be known before the
first decision: it is computed once and read step by step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lambo_agents.network.config import AEDConfig
from lambo_env.offloading import observation

NUM_PAIR_COLUMNS = 6
_LARGEST_RATIO = 1e3
_UNREACHED_LOG_ODDS = -30.0  # of a place out of reach
_NONE = torch.empty(0)  # where a network has no such thing


class DecoderInputs(NamedTuple):
    """What the decoder reads at each step.

    All but ``size``, ``keys_values`` and ``valid`` have the steps at axis 2.
    """

    base: Tensor  # [B, O, N, D] encoded UE + mean prompt embedding
    size: Tensor  # [B, 1, 1, M] total / largest
    pair: Tensor | None = None  # [B, O, N, P, 2 W] what is fixed of a (UE, place)
    place_prior: Tensor | None = None  # [B, O, N, P] the encoder's own log-odds of the places
    memory_update: Tensor | None = None  # [B, O, N, R] what a UE adds to the memory of its place
    log_root: Tensor | None = None  # [B, O, N, 1] log sqrt(load)
    keys_values: tuple[
        tuple[Tensor, Tensor], ...
    ] = ()  # per layer [B, H, S, D / H], for cross-attention
    valid: Tensor | None = None  # bool [B, 1, 1, S]
    reach: Tensor | None = None  # bool [B, O, N, P]; None: each UE reaches all servers

    def at(self, step: int) -> DecoderInputs:
        """Return the plan of one step, T = 1."""
        return self.of_steps(lambda part: part[:, :, step : step + 1])

    def of_steps(self, pick: Callable[[Tensor], Tensor]) -> DecoderInputs:
        """Return the plan of the steps that ``pick`` takes from each tensor [B, O, N, ...]."""
        stepped = ("base", "pair", "place_prior", "memory_update", "log_root", "reach")
        parts = {name: part for name in stepped if (part := getattr(self, name)) is not None}
        picked: dict[str, Any] = {name: pick(part) for name, part in parts.items()}
        return self._replace(**picked)


class DecoderState(NamedTuple):
    """What the steps so far have left."""

    left: Tensor  # [B, O, T, P] left / total of each place, 0 for the local one
    memory: Tensor = _NONE  # [B, O, T, P, R] sum of the updates of the UEs decided so far, x M / N


class Embedded(NamedTuple):
    """UEs and servers as they enter the encoder."""

    ues: Tensor  # [B, N, D]
    size: Tensor  # [B, M]
    places: Tensor | None = None  # [B, P, D] the local place first; pointer only
    pairs: Tensor = _NONE  # [B, N, P, E] columns of each (UE, place); pointer only
    log_root: Tensor = _NONE  # [B, N, 1]; pointer only
    reach: Tensor | None = None  # bool [B, N, P]; None: each UE reaches all servers


def within_reach(ues: Tensor, servers: int) -> Tensor | None:
    """Return the places that each UE reaches, bool [B, N, P]; None where that is all.

    Out of reach is a server whose upload takes so many deadlines that its column is 1. No trace
    of this is made: a graph is for slots where all is within reach.
    """
    if torch.compiler.is_compiling():
        return None
    near = ues[..., :servers] < 1
    return None if bool(near.all()) else functional.pad(near, (1, 0), value=True)


def reached_mean(hidden: Tensor, reach: Tensor | None, axis: int) -> Tensor:
    """Return the mean of pairs [..., N, P, W] over an axis, those out of reach left out."""
    if reach is None:
        return hidden.mean(axis)
    here = reach[..., None].to(hidden.dtype)
    return (hidden * here).sum(axis) / here.sum(axis).clamp(min=1)


def of_reached(sums: Tensor, reach: Tensor | None) -> Tensor:
    """Return sums over UEs [B, O, T, P, R], scaled by M / N, as one that reaches few servers sees.

    The local place is everybody's, so that its sum counts as many servers as the UE reaches.
    """
    if reach is None:
        return sums
    local = reach[..., 1:].float().mean(-1)[..., None, None]
    return torch.cat([sums[..., :1, :] * local, sums[..., 1:, :]], dim=-2)


def in_order(values: Tensor, order: Tensor | None) -> Tensor:
    """Return ``values`` [B, N, ...] as [B, O, N, ...] in the orders [B, O, N].

    None keeps the one given order.
    """
    if order is None:
        return values[:, None]
    batch, ues = values.shape[:2]
    first = torch.arange(0, batch * ues, ues, device=order.device)[:, None, None]
    rows = values.reshape(batch * ues, *values.shape[2:]).index_select(0, (order + first).flatten())
    return rows.view(*order.shape, *values.shape[2:])


class LinearServers(nn.Module):
    """The paper's maps.

    A UE from its M + 4 columns, the MEC state from its 2 M, heads of M + 1 places and of shares.
    """

    def __init__(self, config: AEDConfig) -> None:
        super().__init__()
        servers, width = config.num_servers or 0, config.d_model
        self.ue, self.mec = nn.Linear(servers + 4, width), nn.Linear(2 * servers, width)
        self.place = nn.Linear(width, servers + 1)
        self.share = nn.Linear(width, servers if config.shares == "per_server" else 1)

    def embed(self, ues: Tensor, size: Tensor) -> Embedded:
        """Return the UE embeddings; servers have no tokens here."""
        return Embedded(self.ue(ues), size)

    def mix(self, depth: int, tokens: Tensor, embedded: Embedded) -> Tensor:
        """Return the encoder's tokens as they are."""
        return tokens

    def place_prior(self, tokens: Tensor, embedded: Embedded) -> None:
        """Return None: the encoder has no opinion of its own about places."""

    def plan(self, tokens: Tensor, embedded: Embedded, order: Tensor | None) -> DecoderInputs:
        """Return the plan of B instances, without what the whole network adds."""
        ues = tokens[:, -embedded.ues.shape[1] :]
        return DecoderInputs(base=in_order(ues, order), size=embedded.size[:, None, None, :])

    def enter(self, plan: DecoderInputs, state: DecoderState) -> tuple[Tensor, Tensor]:
        """Return the MEC embedding [B, O, T, D] of the state left."""
        left = state.left[..., 1:].clamp(min=0)
        return self.mec(torch.stack([left, plan.size.expand_as(left)], dim=-1).flatten(-2)), _NONE

    def leave(self, x: Tensor, seen: Tensor, plan: DecoderInputs) -> tuple[Tensor, Tensor]:
        """Return logits of the places and of the share at each, both [B, O, T, P]."""
        logits, share = self.place(x), self.share(x)
        return logits, functional.pad(share, (1, 0)) if share.shape[-1] > 1 else share.expand_as(
            logits
        )


def pair_columns(ues: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Return columns of each (UE, place) [B, N, P, 6] and log sqrt(load) [B, N, 1].

    The first four squashed by x / (1 + x): time before a CPU runs over deadline; floor over the
    fair share of a server; energy over local energy; cycles over the fair share. Then total /
    largest, and whether the place is local.
    """
    least = 1 / _LARGEST_RATIO
    upload, local, load, _, power = (
        ratio.clamp(min=least) for ratio in observation.ratios(ues, size.shape[-1], torch, least)
    )
    fair = (
        load * (size.mean(-1, keepdim=True) / size)[:, None, :]
    )  # cycles of the UE x N / M over those of the server
    floor = observation.floor_share(upload, fair, torch, least)
    floor = torch.where(1 - upload > least, floor, _LARGEST_RATIO)
    squashed = [x / (1 + x) for x in (upload, floor, power * upload / local, fair)]
    remote = torch.stack(
        [*squashed, size[:, None, :].expand_as(fair), torch.zeros_like(fair)], dim=-1
    )
    zero, one = torch.zeros_like(local), torch.ones_like(local)
    home = torch.stack(
        [local / (1 + local), (local > 1).to(ues.dtype), one / 2, zero, zero, one], dim=-1
    )
    return torch.cat([home, remote], dim=2), load.log() / 2


class Pairs(nn.Module):
    """Hidden units of each pair of a UE and a place."""

    def __init__(self, width: int, pair: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.ue, self.place = nn.Linear(width, pair), nn.Linear(width, pair, bias=False)
        self.columns = nn.Linear(NUM_PAIR_COLUMNS, pair, bias=False)

    def hidden(self, ues: Tensor, places: Tensor, pairs: Tensor) -> Tensor:
        """Return what each (UE, place) has to say [B, N, P, W]."""
        hidden = self.columns(pairs)  # the largest tensor there is: filled in place
        hidden += self.ue(self.norm(ues))[:, :, None]
        hidden += self.place(self.norm(places))[:, None]
        return hidden.relu_()


class Mix(Pairs):
    """One round of messages between UEs and places over their pairs."""

    def __init__(self, width: int, pair: int) -> None:
        super().__init__(width, pair)
        self.to_ue, self.to_place = nn.Linear(pair, width), nn.Linear(pair, width)

    def forward(
        self, ues: Tensor, places: Tensor, pairs: Tensor, reach: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return UEs [B, N, D] and places [B, P, D] with their messages added."""
        hidden = self.hidden(ues, places, pairs)
        to_ue, to_place = (reached_mean(hidden, reach, axis) for axis in (2, 1))
        return ues + self.to_ue(to_ue), places + self.to_place(to_place)


class PointerServers(nn.Module):
    """Servers as tokens: nothing depends on their number or order.

    Each place remembers the UEs that it got (a learned sum), and the plan tells how much the
    encoder expects to follow there, so that a step weighs what has come against what is still to
    come.
    """

    def __init__(self, config: AEDConfig) -> None:
        super().__init__()
        width, pair, memory = config.d_model, config.pair_width, config.memory_width
        self.remaining = config.share_rule == "remaining"
        self.ue, self.place = nn.Linear(4, width), nn.Linear(2, width)
        self.mixes = nn.ModuleList(Mix(width, pair) for _ in range(config.encoder_layers))
        self.last = Pairs(width, pair)
        self.prior = nn.Linear(pair, 1)
        self.gift = nn.Linear(width, memory)
        self.fixed = nn.Linear(pair + memory, 2 * pair)
        self.own = nn.Linear(width, 2 * pair, bias=False)
        self.moving = nn.Linear(1 + memory, 2 * pair, bias=False)
        self.mec = nn.Linear(pair, width)
        self.query = nn.Linear(width, pair, bias=False)
        self.heads = nn.Linear(pair, 2)

    def embed(self, ues: Tensor, size: Tensor) -> Embedded:
        """Return UE and place tokens and the columns of their pairs."""
        pairs, log_root = pair_columns(ues, size)
        places = functional.pad(functional.pad(size[..., None], (0, 1)), (0, 0, 1, 0))
        places[:, 0, 1] = 1
        return Embedded(
            self.ue(ues[..., size.shape[-1] :]),
            size,
            self.place(places),
            pairs,
            log_root,
            within_reach(ues, size.shape[-1]),
        )

    def split(self, tokens: Tensor, embedded: Embedded) -> tuple[Tensor, Tensor, Tensor]:
        """Return the prompt's, the places' and the UEs' tokens."""
        num_ues, num_places = embedded.ues.shape[1], embedded.size.shape[1] + 1
        text, places, ues = tokens.split(
            (tokens.shape[1] - num_places - num_ues, num_places, num_ues), dim=1
        )
        return text, places, ues

    def mix(self, depth: int, tokens: Tensor, embedded: Embedded) -> Tensor:
        """Return the encoder's tokens after a round of messages over the pairs."""
        text, places, ues = self.split(tokens, embedded)
        ues, places = self.mixes[depth](ues, places, embedded.pairs, embedded.reach)
        return torch.cat([text, places, ues], dim=1)

    def place_prior(self, tokens: Tensor, embedded: Embedded) -> Tensor:
        """Return the encoder's own log-odds of the places [B, N, P], before any decision."""
        _, places, ues = self.split(tokens, embedded)
        return self._prior(self.last.hidden(ues, places, embedded.pairs), embedded.reach)

    def _prior(self, hidden: Tensor, reach: Tensor | None) -> Tensor:
        prior = self.prior(hidden)[..., 0]
        return prior if reach is None else prior.masked_fill(~reach, _UNREACHED_LOG_ODDS)

    def plan(self, tokens: Tensor, embedded: Embedded, order: Tensor | None) -> DecoderInputs:
        """Return the plan of B instances, without what the whole network adds."""
        _, places, ues = self.split(tokens, embedded)
        hidden = self.last.hidden(ues, places, embedded.pairs)
        prior, gift = self._prior(hidden, embedded.reach), self.gift(ues)
        scale = embedded.size.shape[1] / ues.shape[1]
        expected = in_order(prior.softmax(-1)[..., None] * gift[:, :, None, :], order)
        to_come = (expected.sum(2, keepdim=True) - expected.cumsum(2)) * scale
        reach = None if embedded.reach is None else in_order(embedded.reach, order)
        base = in_order(ues, order)
        pair = (
            self.fixed(torch.cat([in_order(hidden, order), of_reached(to_come, reach)], dim=-1))
            + self.own(base)[..., None, :]
        )
        rest = (
            in_order(prior, order),
            in_order(gift, order) * scale,
            in_order(embedded.log_root, order),
        )
        return DecoderInputs(base, embedded.size[:, None, None, :], pair, *rest, reach=reach)

    def enter(self, plan: DecoderInputs, state: DecoderState) -> tuple[Tensor, Tensor]:
        """Return the MEC embedding [B, O, T, D] and what the heads need of it [B, O, T, P, W]."""
        memory = of_reached(state.memory, plan.reach)
        seen = self.moving(torch.cat([state.left[..., None], memory], dim=-1)) + plan.pair
        first, second = seen.chunk(2, dim=-1)
        return self.mec(reached_mean(functional.relu(first), plan.reach, -2)), second

    def leave(self, x: Tensor, seen: Tensor, plan: DecoderInputs) -> tuple[Tensor, Tensor]:
        """Return logits of the places and of the share at each, both [B, O, T, P]."""
        logits, rest = self.heads(functional.relu(seen + self.query(x)[..., None, :])).unbind(-1)
        share = plan.log_root - rest if self.remaining else rest
        return logits + plan.place_prior, share
