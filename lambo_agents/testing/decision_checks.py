"""What can be wrong with one decision.

Checks in the order in which they make sense, each refusing the first wrong value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lambo_env.offloading import physics
from lambo_env.offloading.instances import LOCAL, Decision, Instances, one_hot_servers
from lambo_env.utils import validate


def a_decision(instances: Instances, decision: Any) -> None:
    """Refuse anything but a Decision of NumPy arrays."""
    kind = type(decision).__name__
    validate.check(
        "type of what decide returned", kind, isinstance(decision, Decision), "lambo_env.Decision"
    )
    for name in ("place", "cpu_hz"):
        kind = type(getattr(decision, name)).__name__
        numpy = isinstance(getattr(decision, name), np.ndarray)
        validate.check(f"type of Decision.{name}", kind, numpy, "numpy.ndarray for NumPy instances")


def shapes(instances: Instances, decision: Decision) -> None:
    """Refuse shapes other than [B, N]."""
    want = instances.cycles.shape
    for name in ("place", "cpu_hz"):
        got = getattr(decision, name).shape
        validate.check(f"Decision.{name}.shape", got, got == want, f"[B, N] = {want}")


def dtypes(instances: Instances, decision: Decision) -> None:
    """Refuse places that are no integers and CPU that is no float."""
    place, cpu = decision.place.dtype, decision.cpu_hz.dtype
    validate.check("Decision.place.dtype", str(place), place.kind in "iu", "an integer dtype")
    validate.check("Decision.cpu_hz.dtype", str(cpu), cpu.kind == "f", "a floating dtype")


def capacity(instances: Instances, decision: Decision) -> None:
    """Refuse a server that allots more than it has."""
    member = one_hot_servers(decision.place, instances.num_servers, np)
    total = np.sum(np.where(member, decision.cpu_hz[..., None].astype(np.float64), 0.0), axis=1)
    fits = total <= instances.server_cpu_hz * (1 + physics.CAPACITY_TOLERANCE)
    for row, column in np.argwhere(~fits)[:1]:
        most = f"at most server_cpu_hz = {instances.server_cpu_hz[row, column]:.6g}"
        validate.refuse(
            f"cpu_hz summed over instance {row}'s server {column + 1}",
            float(total[row, column]),
            most,
        )


FAULTS: dict[str, Callable[[Instances, Any], None]] = {
    "type": a_decision,
    "shapes": shapes,
    "dtypes": dtypes,
    "legal places": lambda instances, made: validate.each(
        "Decision.place",
        made.place,
        (made.place >= LOCAL) & (made.place <= instances.num_servers),
        f"0 (local) .. {instances.num_servers}",
    ),
    "legal cpu": lambda instances, made: validate.each(
        "Decision.cpu_hz",
        made.cpu_hz,
        np.isfinite(made.cpu_hz) & (made.cpu_hz >= 0),
        "finite and >= 0",
    ),
    "local without server": lambda instances, made: validate.each(
        "Decision.cpu_hz",
        made.cpu_hz,
        (made.place != LOCAL) | (made.cpu_hz == 0),
        "0 for a local task",
    ),
    "capacity": capacity,
}
