"""What can be wrong with one decision.

Checks in the order in which they make sense, each refusing the first wrong value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lambo_env.offloading import physics
from lambo_env.offloading.instances import DECISION_RULES, Decision, Instances
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


def dtypes(instances: Instances, decision: Decision) -> None:
    """Refuse places that are no integers and CPU that is no float."""
    DECISION_RULES["dtypes"](decision, instances, 0.0)
    kind = decision.cpu_hz.dtype
    validate.check("Decision.cpu_hz.dtype", str(kind), kind.kind == "f", "a floating dtype")


def _as_fault(rule: Callable[..., None]) -> Callable[[Instances, Any], None]:
    return lambda instances, decision: rule(decision, instances, physics.CAPACITY_TOLERANCE)


FAULTS: dict[str, Callable[[Instances, Any], None]] = {
    "type": a_decision,
    **{name: _as_fault(rule) for name, rule in DECISION_RULES.items()},
    "dtypes": dtypes,
}
