"""What an asymmetric encoder-decoder is made of: a frozen dataclass, stored with the weights."""

from __future__ import annotations

import dataclasses

from lambo_env.utils import rules, validate
from lambo_env.utils.rules import Ruled, one_of, ruled

VOCABULARY = 128  # 7-bit ASCII
PROMPT_POSITIONS = 160


@dataclasses.dataclass(frozen=True, kw_only=True)
class AEDConfig(Ruled):
    """Shape of an AED; defaults as docs/paper.md reads the paper, presets of its and smaller sizes.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    d_model: int = ruled(1024, validate.integer)
    num_heads: int = ruled(8, validate.integer)
    encoder_layers: int = ruled(60, validate.integer)
    decoder_layers: int = ruled(6, validate.integer)
    encoder_ff: int = ruled(
        2048, validate.integer
    )  # hidden units of an encoder layer's feed-forward part
    decoder_ff: int = ruled(2048, validate.integer)
    # M that the linear embedding and heads are cut for; None: any M (pointer only)
    num_servers: int | None = ruled(4, rules.optional(validate.integer))
    # linear: one linear map of all servers' columns; pointer: servers are tokens, scored one by one
    servers: str = ruled("linear", one_of("linear", "pointer"))
    # tokens: the text joins the encoder's sequence; summary: a small encoder reads it to one vector
    prompt: str = ruled("tokens", one_of("tokens", "summary"))
    # of the decoder over the steps so far; without, servers' memories alone carry them (pointer)
    self_attention: bool = True
    shared_keys: bool = (
        False  # the decoder's cross-attention has one key and value head for all query heads
    )
    shares: str = ruled("one", one_of("one", "per_server"))  # sigmoids: one, or one per_server
    # plain: sigmoid(y); remaining: sigmoid(log sqrt(load) - y), y the log of what is still to come
    share_rule: str = ruled("plain", one_of("plain", "remaining"))
    pair_width: int = ruled(0, rules.count)  # hidden units of a (UE, server) pair; pointer only
    memory_width: int = ruled(
        0, rules.count
    )  # learned running sums that a server keeps of its UEs; pointer only
    prompt_width: int = ruled(0, rules.count)  # width of the summary's reader
    prompt_layers: int = ruled(0, rules.count)  # its gated convolutions
    # meanings that the summary decides between, each with an embedding of its own; 0: none, it is a
    # free vector
    prompt_bins: int = ruled(0, rules.count)
    allocation_embedding: bool = (
        False  # tell the network which allocation ("optimal" or "share") its places are for
    )

    def __post_init__(self) -> None:
        """Validate every field, and what they say together."""
        super().__post_init__()
        pointer = self.servers == "pointer"
        summary = self.prompt == "summary"
        self.check("d_model", self.d_model % self.num_heads == 0, "a multiple of num_heads")
        self.check("num_servers", pointer or self.num_servers is not None, "an integer")
        for name in ("pair_width", "memory_width"):
            fits = (getattr(self, name) > 0) == pointer
            self.check(name, fits, "> 0 with pointer servers, 0 with linear ones")
        for name in ("prompt_width", "prompt_layers"):
            fits = (getattr(self, name) > 0) == summary
            self.check(name, fits, "> 0 with prompt 'summary', else 0")
        bins = self.prompt_bins == 0 or (summary and self.prompt_bins > 1)
        self.check("prompt_bins", bins, "0, or >= 2 with prompt 'summary'")
        self.check("self_attention", pointer or self.self_attention, "True with linear servers")
        plain = pointer or self.share_rule == "plain"
        self.check("share_rule", plain, "plain with linear servers")


def _small(width: int, heads: int, layers: int, pair: int, memory: int, prompt: int) -> AEDConfig:
    return AEDConfig(
        d_model=width,
        num_heads=heads,
        encoder_layers=layers,
        decoder_layers=1,
        encoder_ff=2 * width,
        decoder_ff=2 * width,
        num_servers=None,
        servers="pointer",
        self_attention=False,
        shared_keys=True,
        prompt="summary",
        shares="per_server",
        share_rule="remaining",
        pair_width=pair,
        memory_width=memory,
        prompt_width=prompt,
        prompt_layers=3,
        # latency shares in steps of 5 %, energy alone and latency alone at the ends
        prompt_bins=21,
        allocation_embedding=True,
    )


def lambo_xs() -> AEDConfig:
    """About 0.3 M parameters, 0.2 M of them words."""
    return _small(48, 2, 3, 24, 8, 24)


def lambo_s() -> AEDConfig:
    """About 1.0 M parameters, 0.4 M of them words: the shipped one; any number of servers."""
    return _small(96, 3, 5, 32, 16, 48)


def lambo_b() -> AEDConfig:
    """About 2.6 M parameters, 0.7 M of them words."""
    return _small(160, 5, 7, 48, 16, 64)


def lambo_m() -> AEDConfig:
    """LAMBO_M of the paper: 579,920,902 parameters, 60 + 6 layers."""
    return AEDConfig(encoder_layers=60, decoder_layers=6)


def lambo_l() -> AEDConfig:
    """LAMBO_L of the paper: 1,159,515,142 parameters, 120 + 12 layers."""
    return AEDConfig(encoder_layers=120, decoder_layers=12)


PRESETS = {
    "lambo_xs": lambo_xs,
    "lambo_s": lambo_s,
    "lambo_b": lambo_b,
    "lambo_m": lambo_m,
    "lambo_l": lambo_l,
}


def preset(name: str) -> AEDConfig:
    """Return the preset of a name; dashes count as underscores."""
    return PRESETS[validate.known(name.replace("-", "_"), PRESETS, "AED preset")]()
