"""Smaller checkpoints of a network: bf16 or int8 weights, fewer encoder layers.

``checkpoint.load_network`` reads them all; a network computes in fp32 whatever its file holds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lambo_agents.network import checkpoint
from lambo_agents.network.config import AEDConfig
from lambo_env.utils import validate

_STACKS = ("encoder.", "servers.mixes.")  # whose next part is the number of a layer
Tensors = Mapping[str, Tensor]


def to_bf16(tensors: Tensors) -> dict[str, Tensor]:
    """Return weights of 16 bits, the exponent's whole."""
    return {name: tensor.bfloat16() for name, tensor in tensors.items()}


def to_int8(tensors: Tensors) -> dict[str, Tensor]:
    """Return matrices and tables as 8-bit integers with a scale per row; vectors in bf16."""
    small: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.ndim < 2:
            small[name] = tensor.bfloat16()
            continue
        axes = tuple(range(1, tensor.ndim))
        scale = tensor.abs().amax(axes, keepdim=True).clamp(min=1e-12) / 127
        small[name] = (tensor / scale).round().to(torch.int8)
        small[name + checkpoint.SCALE] = scale
    return small


KINDS: dict[str, Callable[[Tensors], dict[str, Tensor]]] = {
    "fp32": dict,
    "bf16": to_bf16,
    "int8": to_int8,
}


def pruned(tensors: Tensors, config: AEDConfig, kept: Sequence[int]) -> dict[str, Tensor]:
    """Return the weights of a network with the encoder layers ``kept``, in their order.

    Raises:
        ValueError: no layer, one that there is not, or one twice.
    """
    known = 0 < len(kept) == len({*kept} & {*range(config.encoder_layers)})
    allowed = f"some of 0..{config.encoder_layers - 1}, each once"
    validate.check("kept", list(kept), known, allowed)
    number = {str(layer): str(index) for index, layer in enumerate(kept)}
    found = {}
    for name, tensor in tensors.items():
        stack = next((part for part in _STACKS if name.startswith(part)), None)
        if stack is None:
            found[name] = tensor
            continue
        layer, _, rest = name.removeprefix(stack).partition(".")
        if layer in number:
            found[f"{stack}{number[layer]}.{rest}"] = tensor
    return found


def compress(
    weights: str | os.PathLike[str],
    path: str | os.PathLike[str],
    kind: str = "fp32",
    kept: Sequence[int] | None = None,
) -> Path:
    """Write a smaller checkpoint of a network; return its path.

    Args:
        weights: name of shipped weights, or a checkpoint.
        path: where to, a name that ends in .safetensors.
        kind: of the numbers in the file: fp32, bf16 or int8.
        kept: encoder layers that stay; None: all.

    Raises:
        FileNotFoundError: no such weights.
        ValueError: no checkpoint, an unknown kind, or layers that there are not.
    """
    small = KINDS[validate.known(kind, KINDS, "kind of numbers")]
    aed, meta = checkpoint.load_network(checkpoint.weights_path(weights))
    tensors, config = dict(aed.state_dict()), aed.config
    if kept is not None:
        tensors = pruned(tensors, config, kept)
        config = config.replace(encoder_layers=len(kept))
    others: dict[str, Any] = {
        name: value for name, value in meta.items() if name not in ("config", "numbers")
    }
    checkpoint.save(path, small(tensors), config, **others, numbers=kind)
    return Path(path)
