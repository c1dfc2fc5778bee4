"""Names of torch devices that come from outside."""

from __future__ import annotations

import torch

from lambo_env.utils import validate


def known_device(field: str, name: object) -> str:
    """Return a torch device's name.

    Raises:
        ValueError: this torch has no such device, or one that cannot hold numbers ("meta").
    """
    text = validate.of_kind(field, name, str)
    try:
        torch.zeros(1, device=text).item()
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch without CUDA
        validate.refuse(
            field, name, f"a device of torch, such as 'cpu' or 'cuda' ({str(error)[:60]})"
        )
    return text
