"""The mask rule: which places can still meet the current UE's deadline."""

from __future__ import annotations

import numpy as np

from lambo_env.offloading.dynamics import Bools, SlotState, SlotTables
from lambo_env.offloading.instances import LOCAL
from lambo_env.utils.rows import starts


def legal_places(tables: SlotTables, state: SlotState) -> Bools:
    """Return the places that can still meet the current UE's deadline, bool [B, P].

    Local alone where none can or no UE is current.
    """
    batch, ues = state.place.shape
    done = state.ue == ues
    task, over = starts(batch, ues) + state.ue, np.count_nonzero(done)  # the fastest "any"
    if over:
        task -= done
    legal = (
        tables.floor_hz.reshape(batch * ues, -1).take(task, 0) <= state.left_hz + tables.slack_hz
    )
    if over:
        legal[done] = False
    elif np.count_nonzero(tables.always_local) == batch:
        return legal
    hard = ~legal[:, LOCAL]
    if np.count_nonzero(hard):
        legal[hard, LOCAL] = ~legal[hard].any(axis=1)
    return legal
