"""The asymmetric encoder-decoder (AED).

A deep encoder over prompt and UEs, a shallow causal decoder, two heads.

Shapes: B instances, O orders or rollouts of an instance, N UEs, M servers, P = M + 1 places, T
steps, S encoder tokens, D width, H heads. The network reads ``observation`` columns and prompt
tokens only. ``forward`` (teacher-forced, all steps at once) and ``decoding.Rollout`` (step by step,
cached) run the same ``AED.steps``.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lambo_agents.network.config import PROMPT_POSITIONS, VOCABULARY, AEDConfig
from lambo_agents.network.prompt_encoder import PromptSummary
from lambo_agents.network.server_encoding import (
    DecoderInputs,
    DecoderState,
    Embedded,
    LinearServers,
    PointerServers,
)

PROMPT_TYPE, UE_TYPE, MEC_TYPE = range(3)
_SCORES = 2**19  # of an instance's attention at once: they stay in a processor's cache


class Inputs(NamedTuple):
    """What the network may see of B slots before the first decision."""

    ues: Tensor  # [B, N, M + 4] static observation columns, float
    size: Tensor  # [B, M] total / largest, the servers' second observation column
    tokens: Tensor  # uint8 [U, L] the distinct texts
    text: Tensor  # int64 [B] which of them each instance has
    shares: Tensor  # bool [B] the sigmoid shares allot the CPU (else the closed form)
    meaning: Tensor | None = None  # [B, bins] what the texts say; None: the network reads them

    def take(self, rows: Tensor | slice) -> Inputs:
        """Return the inputs of some instances."""
        meaning = None if self.meaning is None else self.meaning[rows]
        return Inputs(
            self.ues[rows],
            self.size[rows],
            self.tokens,
            self.text[rows],
            self.shares[rows],
            meaning,
        )


class Encoded(NamedTuple):
    """What the encoder knows of B instances."""

    tokens: Tensor  # [B, S, D]: prompt, places (pointer only), UEs
    valid: Tensor | None  # bool [B, 1, 1, S]; None: every token counts
    prompt: Tensor  # [B, D] mean prompt embedding
    embedded: Embedded

    def take(self, rows: Tensor) -> Encoded:
        """Return the encodings of some instances; what a network lacks stays None or empty."""

        def of(part: Any) -> Any:
            return part if part is None or len(part) != len(self.tokens) else part[rows]

        embedded = Embedded(*map(of, self.embedded))
        return Encoded(self.tokens[rows], of(self.valid), self.prompt[rows], embedded)


class SelfAttention(nn.Module):
    """Multi-head self-attention with one fused projection.

    Over everything, causal, or cached step by step.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, valid: Tensor | None = None, causal: bool = False) -> Tensor:
        """Attend over x itself."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=valid, is_causal=causal)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def cached(self, x: Tensor, cache: Tensor, step: int) -> Tensor:
        """Attend from one new token to those before.

        Writes its key and value into ``cache`` [2, R, H, N, D / H] at ``step``.
        """
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(1, 0, 2, 3)
        cache[0, :, :, step], cache[1, :, :, step] = k, v
        seen = cache[:, :, :, : step + 1]
        mixed = functional.scaled_dot_product_attention(q[:, :, None], seen[0], seen[1])
        return self.out(mixed.flatten(1))


class CrossAttention(nn.Module):
    """Attention of rollouts and steps to their instance's tokens, which are projected once.

    With shared keys (one key and value head for all query heads) the heads of a query are more rows
    of one matrix product.
    """

    def __init__(self, width: int, heads: int, shared: bool) -> None:
        super().__init__()
        self.heads, self.shared, self.head_width = heads, shared, width // heads
        self.query = nn.Linear(width, width)
        self.keys = nn.Linear(width, 2 * (self.head_width if shared else width))
        self.out = nn.Linear(width, width)

    def keys_values(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys [B, H, D / H, S] and values [B, H, S, D / H].

        Without the axis H where they are shared.
        """
        key, value = self.keys(tokens).chunk(2, dim=-1)
        if self.shared:
            return key.transpose(1, 2).contiguous(), value.contiguous()
        key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (key, value))
        return key.transpose(2, 3).contiguous(), value.contiguous()

    def forward(
        self, x: Tensor, keys_values: tuple[Tensor, Tensor], valid: Tensor | None
    ) -> Tensor:
        """Attend from queries [B, Q, D]."""
        keys, values = keys_values
        query = self.query(x)
        rows = (
            query.view(query.shape[0], -1, self.head_width)
            if self.shared
            else query.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        )
        if valid is not None and self.shared:
            valid = valid[:, 0]
        if torch.compiler.is_compiling():  # whose graph is for any number of rows
            mixed = self._mixed(rows, keys, values, valid)
        else:
            at_once = max(1, _SCORES // keys.shape[-1])
            parts = rows.split(at_once, dim=-2)
            mixed = torch.cat([self._mixed(part, keys, values, valid) for part in parts], dim=-2)
        return self.out(
            mixed.view(query.shape) if self.shared else mixed.transpose(1, 2).flatten(2)
        )

    def _mixed(self, rows: Tensor, keys: Tensor, values: Tensor, valid: Tensor | None) -> Tensor:
        scores = (rows @ keys) * self.head_width**-0.5
        if valid is not None:
            scores = scores.masked_fill(~valid, -torch.inf)
        return scores.softmax(-1) @ values


class FeedForward(nn.Module):
    """Two linear maps with a ReLU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to the last axis."""
        return self.down(self.up(x).relu_())


class EncoderLayer(nn.Module):
    """Pre-norm self-attention and feed-forward."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), SelfAttention(width, heads)
        self.norm2, self.feed = nn.LayerNorm(width), FeedForward(width, hidden)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return the next layer's tokens."""
        x = x + self.attention(self.norm1(x), valid)
        return x + self.feed(self.norm2(x))


class DecoderLayer(nn.Module):
    """Pre-norm causal self-attention over steps, cross-attention to the encoder, feed-forward."""

    def __init__(self, config: AEDConfig) -> None:
        super().__init__()
        width, heads = config.d_model, config.num_heads
        if config.self_attention:
            self.norm1, self.attention = nn.LayerNorm(width), SelfAttention(width, heads)
        self.norm2, self.cross = (
            nn.LayerNorm(width),
            CrossAttention(width, heads, config.shared_keys),
        )
        self.norm3, self.feed = nn.LayerNorm(width), FeedForward(width, config.decoder_ff)
        self.attends = config.self_attention

    def remember(self, x: Tensor, cache: Tensor | None, step: int) -> Tensor:
        """Return the self-attention of all T steps (no cache), or of one step to those cached."""
        normed = self.norm1(x).flatten(0, 1)
        return (
            self.attention(normed, causal=True)
            if cache is None
            else self.attention.cached(normed[:, 0], cache, step)
        ).view(x.shape)

    def forward(
        self, x: Tensor, plan: DecoderInputs, depth: int, cache: Tensor | None, step: int
    ) -> Tensor:
        """Return the next layer's tokens."""
        if self.attends:
            x = x + self.remember(x, None if cache is None else cache[depth], step)
        queries = self.norm2(x).flatten(1, 2)
        x = x + self.cross(queries, plan.keys_values[depth], plan.valid).view(x.shape)
        return x + self.feed(self.norm3(x))


class PromptTokens(nn.Module):
    """The text joins the encoder's sequence, a token a character."""

    def __init__(self, config: AEDConfig) -> None:
        super().__init__()
        self.chars = nn.Embedding(VOCABULARY, config.d_model)
        self.positions = nn.Embedding(PROMPT_POSITIONS, config.d_model)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return tokens [U, L, D], which of them count [U, L], and their mean [U, D]."""
        valid = tokens > 0
        x = self.chars(tokens.int()) + self.positions.weight[: tokens.shape[1]]
        return x, valid, _masked_mean(x, valid)


def _masked_mean(x: Tensor, valid: Tensor) -> Tensor:
    weight = valid.to(x.dtype)[..., None]
    return (x * weight).sum(1) / weight.sum(1).clamp(min=1)


class AED(nn.Module):
    """The network: ``encode`` per instance, ``plan`` per order of UEs, ``steps`` for decisions."""

    def __init__(self, config: AEDConfig) -> None:
        super().__init__()
        self.config = c = config
        self.prompt = PromptSummary(c) if c.prompt == "summary" else PromptTokens(c)
        self.types = nn.Embedding(3, c.d_model)
        self.servers = PointerServers(c) if c.servers == "pointer" else LinearServers(c)
        self.encoder = nn.ModuleList(
            EncoderLayer(c.d_model, c.num_heads, c.encoder_ff) for _ in range(c.encoder_layers)
        )
        self.encoder_norm = nn.LayerNorm(c.d_model)
        self.decoder = nn.ModuleList(DecoderLayer(c) for _ in range(c.decoder_layers))
        self.decoder_norm = nn.LayerNorm(c.d_model)
        self.allocation = nn.Embedding(2, c.d_model) if c.allocation_embedding else None
        self.recompute = False  # activations within layers for the gradient, rather than keep them

    @property
    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self.parameters())

    def encode(self, inputs: Inputs) -> Encoded:
        """Run the encoder over B instances."""
        if inputs.meaning is not None:
            meanings: Any = self.prompt.meanings
            mean = meanings(inputs.meaning)
            text, valid = mean[:, None], None
            inputs = inputs._replace(text=torch.arange(mean.shape[0], device=mean.device))
        else:
            text, valid, mean = self.prompt(inputs.tokens)
        asked = (mean + self.types.weight[PROMPT_TYPE])[inputs.text]
        if self.allocation is not None:
            asked = asked + self.allocation(inputs.shares.long())
        embedded = self.servers.embed(inputs.ues, inputs.size)
        parts = [
            text[inputs.text] + self.types.weight[PROMPT_TYPE],
            embedded.ues + self.types.weight[UE_TYPE],
        ]
        if embedded.places is not None:
            parts.insert(1, embedded.places + self.types.weight[MEC_TYPE])
        x = torch.cat(parts, dim=1)
        counts = (
            None
            if valid is None
            else functional.pad(valid[inputs.text], (0, x.shape[1] - text.shape[1]), value=True)
        )
        counts = None if counts is None else counts[:, None, None, :]
        kind = self.encoder[0].norm1.weight.dtype  # type: ignore[union-attr]
        x, columns = x.to(kind), embedded._replace(pairs=embedded.pairs.to(kind))  # type: ignore[arg-type]
        for depth, layer in enumerate(self.encoder):
            x = self.servers.mix(depth, self._through(layer, x, counts), columns)
        return Encoded(
            self.encoder_norm(x.to(self.encoder_norm.weight.dtype)), counts, asked, embedded
        )

    def _through(self, layer: nn.Module, *given: Any) -> Tensor:
        if not (self.recompute and torch.is_grad_enabled()):
            return layer(*given)
        return checkpoint(layer, *given, use_reentrant=False, preserve_rng_state=False)

    def with_encoder_in(self, kind: torch.dtype) -> AED:
        """Return a copy whose encoder's layers compute in ``kind``; all else stays as it is."""
        other = copy.deepcopy(self)
        other.encoder.to(kind)
        if isinstance(other.servers, PointerServers):
            other.servers.mixes.to(kind)
        return other

    def plan(self, encoded: Encoded, order: Tensor | None = None) -> DecoderInputs:
        """Compute what is fixed before decisions, UEs in ``order`` [B, O, N] or as given."""
        plan = self.servers.plan(encoded.tokens, encoded.embedded, order)
        keys_values = tuple(layer.cross.keys_values(encoded.tokens) for layer in self.decoder)  # type: ignore[union-attr,operator]
        base = plan.base + (encoded.prompt + self.types.weight[MEC_TYPE])[:, None, None]
        return plan._replace(base=base, keys_values=keys_values, valid=encoded.valid)

    def steps(
        self, plan: DecoderInputs, state: DecoderState, cache: Tensor | None = None, step: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Decode T steps from the state before each.

        All of them (no cache), or one with the cache of those before.

        Args:
            plan: of the steps; ``plan.at(i)`` for one.
            state: left and memory [B, O, T, P, ...].
            cache: [layers, 2, B * O, H, N, D / H]; written at ``step``.
            step: index of the step that the cache is at.

        Returns:
            Logits of the places [B, O, T, P] (unmasked) and of the share of what is left at each.
        """
        mec, seen = self.servers.enter(plan, state)
        x = plan.base + mec
        for depth, layer in enumerate(self.decoder):
            x = self._through(layer, x, plan, depth, cache, step)
        return self.servers.leave(self.decoder_norm(x), seen, plan)

    def new_cache(self, rows: int, steps: int) -> Tensor | None:
        """Return room for the keys and values of ``rows`` rollouts of ``steps`` steps.

        None without self-attention.
        """
        if not self.config.self_attention:
            return None
        c = self.config
        return self.decoder_norm.weight.new_empty(
            c.decoder_layers, 2, rows, c.num_heads, steps, c.d_model // c.num_heads
        )
