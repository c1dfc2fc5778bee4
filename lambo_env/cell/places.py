"""Places: where a task may run, the same numbers in every world of cells."""

from __future__ import annotations

from typing import Any

from lambo_env.utils.rows import Array

LOCAL = 0  # the UE itself; place m is server m, 1..M


def over_places(local: Array, remote: Array, xp: Any) -> Array:
    """Join values of the local place [..., N] and of the servers [..., N, M] to [..., N, M + 1]."""
    return xp.concat([local[..., None], remote], axis=-1)
