"""Actions: what a space holds is checked here, and the joint action is encoded and decoded here.

Nothing else knows the form of an action.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from lambo_env.utils import validate

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class ActionCheck:
    """Whether actions are in a space whose entries share their bounds.

    Args:
        space: Discrete, MultiBinary, or a Box with one low and one high for all its entries.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.shape: tuple[int, ...] = space.shape or ()
        self.whole = not isinstance(space, spaces.Box)
        self.kinds = "iuf" if isinstance(space, spaces.Box) else "iu"
        if isinstance(space, spaces.Discrete):
            self.low, self.high = 0.0, float(space.n - 1)
        elif isinstance(space, spaces.Box):
            self.low, self.high = float(space.low.min()), float(space.high.max())
        else:
            self.low, self.high, self.kinds = 0.0, 1.0, "iufb"
        self.kind = "integers" if self.whole else "numbers"
        self.bounds = f"0..{self.high:g}" if self.whole else f"[{self.low:g}, {self.high:g}]"

    def one(self, action: Any) -> NDArray[Any]:
        """Return the action of one environment [1, ...].

        Raises:
            ValueError: it is not in the space; NaN is refused.
        """
        array = as_array(action)
        ok = array.shape == self.shape and array.dtype.kind in self.kinds
        if ok:  # a list of one or two numbers is quicker than two reductions
            values = array.ravel().tolist()
            ok = all(self.low <= value <= self.high for value in values)
            ok = ok and (not self.whole or _are_whole(array))
        allowed = f"{self.kind} in {self.bounds} of shape {self.shape}"
        allowed = allowed if self.shape else f"an integer in {self.bounds}"
        validate.check("action", action, ok, allowed)
        return (array.astype(np.int64) if self.whole else array)[None]

    def many(self, actions: Any, rows: Ints, num_envs: int) -> NDArray[Any]:
        """Return the actions of the acting ``rows`` [R, ...]; what the others hold is ignored.

        Raises:
            ValueError: one is not in the space, or there is not one per row.
        """
        array, shape = as_array(actions), (num_envs, *self.shape)
        ok = array.shape == shape and array.dtype.kind in self.kinds
        if ok:
            array = array if rows.size == num_envs else array[rows]
            inside = (array >= self.low) & (array <= self.high)  # NaN is not
            ok = np.count_nonzero(inside) == array.size and (not self.whole or _are_whole(array))
        if not ok:
            validate.refuse("actions", actions, f"{self.kind} in {self.bounds} of shape {shape}")
        return array.astype(np.int64) if self.whole else array


def _are_whole(array: NDArray[Any]) -> bool:
    return array.dtype.kind != "f" or bool(np.all(array == np.rint(array)))


def as_array(value: Any) -> NDArray[Any]:
    """Return ``value`` as an array; of objects, which no space holds, where it cannot be one."""
    if isinstance(value, np.ndarray):
        return value
    try:
        return np.asarray(
            value.detach() if hasattr(value, "detach") else value
        )  # torch's, with grad
    except (TypeError, ValueError):  # lists of unequal lengths
        return np.asarray(None)


def decode_action(action: Any, num_servers: int) -> tuple[Ints, Floats]:
    """Return place int [...] and share [...] of actions [..., 2] in [-1, 1].

    u = (a + 1) / 2, place = min(floor(u_0 (M + 1)), M), share = u_1.
    """
    unit = (np.asarray(action, dtype=np.float64) + 1) * 0.5
    place = np.minimum((unit[..., 0] * (num_servers + 1)).astype(np.int64), num_servers)
    return place, unit[..., 1]


def encode_action(place: Any, share: Any, num_servers: int) -> NDArray[np.float32]:
    """Return the action float32 [..., 2] whose place and share these are.

    The middle of the place's interval.
    """
    first = 2 * ((np.asarray(place) + 0.5) / (num_servers + 1)) - 1
    second = 2 * np.asarray(share, dtype=np.float64) - 1
    shape = np.broadcast(first, second).shape
    action = np.empty((*shape, 2), dtype=np.float32)
    action[..., 0], action[..., 1] = first, second
    return action
