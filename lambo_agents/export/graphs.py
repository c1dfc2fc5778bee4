"""LAMBO's network as graphs of arrays alone: read a text, encode a slot, plan an order, decide.

Shapes: B instances, N UEs, M servers, P = M + 1 places, T steps, U texts, L characters, S encoder
tokens, D width, W pair width, R memory width. All sizes but D, W and R are free.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from lambo_agents.network import decoding
from lambo_agents.network.aed import AED, Encoded, Inputs, SelfAttention
from lambo_agents.network.config import PROMPT_POSITIONS, AEDConfig
from lambo_agents.network.decision_order import confident_order
from lambo_agents.network.server_encoding import DecoderInputs, Embedded
from lambo_env.utils import validate

ENCODED = ("tokens", "prompt", "pairs", "log_roots")
PLANNED = ("base", "pair", "prior", "gift", "log_root", "keys", "values")
_SIZES = (2, 7, 4)  # B, N, M of the example that is traced


class Graph(NamedTuple):
    """One graph: its module, an example of its inputs by name, and the names of its outputs."""

    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    fixed: frozenset[tuple[str, int]]  # axes whose size never changes; those of size 1, too

    def program(self) -> ExportedProgram:
        """Trace the module for any size of its free axes."""
        free = {
            name: {
                axis: Dim.AUTO
                for axis, size in enumerate(value.shape)
                if size > 1 and (name, axis - value.ndim) not in self.fixed
            }
            for name, value in self.inputs.items()
        }
        example = tuple(self.inputs.values())
        shapes = tuple(free.values())
        with torch.no_grad():
            return torch.export.export(
                self.module.eval(), example, dynamic_shapes=shapes, strict=False
            )


class Read(nn.Module):
    """Texts uint8 [U, L] -> probabilities of latency shares [U, bins], and of ``ASKS`` [U, 3]."""

    def __init__(self, aed: AED) -> None:
        super().__init__()
        self.prompt = aed.prompt

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Read the texts."""
        summary: Any = self.prompt
        found = summary.read(tokens)
        return found.meaning.exp(), found.asks.exp()


class Encode(nn.Module):
    """Slots and what they are for -> their encodings, the confident order, and its plan."""

    def __init__(self, aed: AED) -> None:
        super().__init__()
        self.aed = aed

    def forward(
        self, ues: Tensor, size: Tensor, need: Tensor, meaning: Tensor
    ) -> tuple[Tensor, ...]:
        """Encode B slots."""
        rows = torch.arange(ues.shape[0])
        tokens = torch.zeros(1, 1, dtype=torch.uint8)  # read already
        shares = torch.zeros_like(rows, dtype=torch.bool)
        encoded = self.aed.encode(Inputs(ues, size, tokens, rows, shares, meaning))
        order = confident_order(self.aed, encoded, need)
        columns = encoded.embedded
        known = (encoded.tokens, encoded.prompt, columns.pairs, columns.log_root)
        return *known, order, *_parts(self.aed.plan(encoded, order[:, None]))


class Plan(nn.Module):
    """Encodings and another order of the UEs -> its plan."""

    def __init__(self, aed: AED) -> None:
        super().__init__()
        self.aed = aed

    def forward(
        self,
        tokens: Tensor,
        prompt: Tensor,
        pairs: Tensor,
        log_roots: Tensor,
        size: Tensor,
        order: Tensor,
    ) -> tuple[Tensor, ...]:
        """Plan B slots."""
        embedded = Embedded(pairs[:, :, 0], size, None, pairs, log_roots)
        return _parts(self.aed.plan(Encoded(tokens, None, prompt, embedded), order[:, None]))


class Decide(nn.Module):
    """A plan, and the places of the last pass -> those of the next, all steps at once.

    Places that do not change are the decisions.
    """

    def __init__(self, aed: AED) -> None:
        super().__init__()
        self.aed = aed

    def forward(
        self,
        base: Tensor,
        pair: Tensor,
        prior: Tensor,
        gift: Tensor,
        log_root: Tensor,
        keys: Tensor,
        values: Tensor,
        left: Tensor,
        memory: Tensor,
        floor: Tensor,
        take: Tensor,
        fallback: Tensor,
        place: Tensor,
    ) -> Tensor:
        """Run one pass of ``decoding.fixed_point`` over T steps; the last four as it has them."""
        size = base[:, :1, :1, :1]  # never read
        plan = DecoderInputs(base, size, pair, prior, gift, log_root, ((keys, values),))
        took = take.gather(-1, place[..., None])[..., 0]
        state, rest = decoding.states(plan, place, took, take.shape[-1], left, memory)
        logits = torch.where(floor <= rest, self.aed.steps(plan, state)[0], fallback)
        return logits.argmax(-1)


class PackedAttention(nn.Module):
    """``SelfAttention`` by one node of an ONNX graph."""

    def __init__(self, attention: SelfAttention) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = attention.heads, attention.qkv, attention.out

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Attend over x itself, all of whose tokens count."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        mixed = torch.onnx.ops.attention(q, k, v, q_num_heads=self.heads, kv_num_heads=self.heads)
        return self.out(mixed[0])


def packed(aed: AED) -> AED:
    """Return a copy whose encoder attends by ``PackedAttention``."""
    aed = copy.deepcopy(aed)
    for layer in aed.encoder:
        part: Any = layer
        part.attention = PackedAttention(part.attention)
    return aed


def _parts(plan: DecoderInputs) -> tuple[Tensor, ...]:
    """Return a plan's tensors as ``PLANNED`` names them."""
    given = (plan.base, plan.pair, plan.place_prior, plan.memory_update, plan.log_root)
    return *(part for part in given if part is not None), *plan.keys_values[0]


def check_config(config: AEDConfig, target: str) -> None:
    """Refuse a network whose decisions need more than these graphs.

    Raises:
        ValueError: naming the field of its config.
    """
    known: dict[str, Any] = {"servers": "pointer", "self_attention": False, "decoder_layers": 1}
    for name, value in {**known, "shared_keys": True, "prompt": "summary"}.items():
        found = getattr(config, name)
        allowed = f"{value!r}, as in lambo_xs, lambo_s and lambo_b"
        validate.check(f"export to {target}: AEDConfig.{name}", found, found == value, allowed)
    bins = config.prompt_bins
    allowed = "> 0: a network that reads to meanings"
    validate.check(f"export to {target}: AEDConfig.prompt_bins", bins, bins > 0, allowed)


def graphs(aed: AED) -> dict[str, Graph]:
    """Return the graphs of a network by name."""
    c, (batch, ues, servers) = aed.config, _SIZES
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int, kind: torch.dtype = torch.float32) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=kind)

    need = drawn(batch, ues, servers + 1, kind=torch.float64)
    slots = {
        "ues": drawn(batch, ues, servers + 4),
        "size": drawn(batch, servers),
        "need": need,
        "meaning": drawn(batch, c.prompt_bins),
    }
    encode = Encode(aed)
    with torch.inference_mode():
        found = dict(zip((*ENCODED, "order", *PLANNED), encode(*slots.values()), strict=True))
    found = {name: value.clone() for name, value in found.items()}
    known = {name: found[name] for name in ENCODED}
    floor, take, fallback = decoding.rules(need)
    state = {
        "left": drawn(batch, 1, 1, servers + 1, kind=torch.float64),
        "memory": drawn(batch, 1, 1, servers + 1, c.memory_width),
        "floor": floor,
        "take": take,
        "fallback": fallback,
        "place": torch.zeros(batch, 1, ues, dtype=torch.int64),
    }
    texts = {"tokens": torch.randint(32, 127, (batch, PROMPT_POSITIONS)).to(torch.uint8)}
    widths = {(name, -1) for name in ("tokens", "prompt", "pairs", "log_roots", "meaning")}
    wide = {(name, -1) for name in ("base", "pair", "gift", "values", "memory")} | {("keys", -2)}
    reading = ("meaning", "asks")
    length = frozenset({("tokens", -1)})
    return {
        "read": Graph(Read(aed), texts, reading, length),
        "encode": Graph(encode, slots, (*ENCODED, "order", *PLANNED), frozenset(widths)),
        "plan": Graph(
            Plan(aed),
            {**known, "size": slots["size"], "order": found["order"]},
            PLANNED,
            frozenset(widths),
        ),
        "decide": Graph(
            Decide(aed),
            {**{name: found[name] for name in PLANNED}, **state},
            ("next",),
            frozenset(wide),
        ),
    }
