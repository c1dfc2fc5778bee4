"""What slots are made of: flat blocks of uniform and normal draws, two for each row."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lambo_env.utils.rows import Array


class Draws(NamedTuple):
    """What a slot is made of: flat blocks of draws, and where further ones come from."""

    uniforms: Array  # [B, size]
    normals: Array  # [B, size]
    rngs: Sequence[np.random.Generator]  # one per row, or one for all


@contextlib.contextmanager
def rewound_on_error(rngs: Sequence[np.random.Generator]) -> Iterator[None]:
    """Give the generators the states of before back, where the block fails."""
    states = [rng.bit_generator.state for rng in rngs]
    try:
        yield
    except Exception:
        for rng, state in zip(rngs, states, strict=True):
            rng.bit_generator.state = state
        raise


def draw(
    rngs: np.random.Generator | Sequence[np.random.Generator],
    batch: int,
    sizes: tuple[int, int],
    extra: int = 0,
) -> Draws:
    """Draw (uniforms, normals) of the ``sizes`` that a strategy names.

    Args:
        rngs: one generator per row, or one for the whole batch.
        batch: B.
        sizes: how many of each.
        extra: further uniforms at the end of each row, for whoever asks.
    """
    if isinstance(rngs, np.random.Generator):
        return Draws(
            rngs.random((batch, sizes[0] + extra)), rngs.standard_normal((batch, sizes[1])), [rngs]
        )
    uniforms, normals = np.empty((batch, sizes[0] + extra)), np.empty((batch, sizes[1]))
    for rng, uniform, normal in zip(rngs, uniforms, normals, strict=True):
        rng.random(out=uniform)
        rng.standard_normal(out=normal)
    return Draws(uniforms, normals, rngs)
