"""Cells that change from episode to episode: the drifts of the cell, as streams of traces.

A drift only says how far and whereto the scenario has moved at an episode. So a stream before its
drift is the stream without one, bit for bit, and all drifts of one seed share their draws.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from lambo_env.cell import shifts
from lambo_env.queueing.instances import Trace
from lambo_env.queueing.scenario import QueueScenario, load_scenario
from lambo_env.queueing.slots import QueueSlots, traces_of
from lambo_env.utils import validate

NUM_EPISODES = 100  # of a stream, unless told otherwise


@dataclasses.dataclass(frozen=True)
class EpisodeDrift:
    """A shift with its schedule over episodes, on a scenario.

    Raises:
        ValueError: a shift that the scenario cannot make: of the channel where the uplinks are
            fixed, of cycles where they follow the data, or one that ``shifts.check`` refuses.
    """

    name: str
    base: QueueScenario
    shift: shifts.Shift
    schedule: Callable[[int], float]  # episode -> weight in [0, 1]

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        shifts.check(self.name, self.shift, self.base)
        fixed, per_bit = self.base.fixed_uplink_bps, self.base.cycles_per_bit
        needs_channel = self.shift.disc_m is not None or bool(self.shift.fields)
        allowed = f"None for the drift {self.name!r}"
        field = "QueueScenario.fixed_uplink_bps"
        validate.check(field, fixed, fixed is None or not needs_channel, allowed)
        own = per_bit is None or "cycles" not in self.shift.scale
        validate.check("QueueScenario.cycles_per_bit", per_bit, own, allowed)

    def scenario(self, episode: int) -> QueueScenario:
        """Return the scenario of episode 0, 1, ...."""
        target = self.shift.target(self.base)
        return shifts.between(self.base, target, shifts.weight(self.schedule, episode))

    def slots(self, episode: int) -> QueueSlots:
        """Return what is played in episode 0, 1, ...."""
        return QueueSlots(self.scenario(episode), self.shift.disc_m, self.schedule(episode))


def load_drift(
    drift: str | Mapping[str, Any], scenario: str | Mapping[str, Any] | QueueScenario = "queue"
) -> EpisodeDrift:
    """Return the drift of a name of ``list_drifts()``, or one's own, on a scenario.

    One's own is a mapping of what changes and when, as ``shifts.read`` takes it.

    Raises:
        ValueError: an unknown name (with the closest known one), or a scenario that cannot drift
            so.
    """
    name, shift, schedule = shifts.read(drift)
    return EpisodeDrift(name, load_scenario(scenario), shift, schedule)


def stream(
    name: str | EpisodeDrift,
    batch: int,
    rng: np.random.Generator | int,
    scenario: str | Mapping[str, Any] | QueueScenario = "queue",
    num_episodes: int = NUM_EPISODES,
) -> Iterator[tuple[int, list[Trace]]]:
    """Return the episodes of ``batch`` independent cells under one drift, in order.

    Args:
        name: of the drift, or an EpisodeDrift (then ``scenario`` is its own).
        batch: cells side by side.
        rng: a generator or a seed.
        scenario: what drifts.
        num_episodes: after which the stream ends.

    Returns:
        An iterator over (episode, a trace per cell).

    Raises:
        ValueError: an unknown drift, or an argument of a wrong type or range; at the call, not at
            the first episode.
    """
    drift = name if isinstance(name, EpisodeDrift) else load_drift(name, scenario)
    count = validate.integer("stream(batch)", batch)
    num_episodes = validate.integer("stream(num_episodes)", num_episodes)
    source = validate.seeded(rng)
    return ((k, traces_of(drift.slots(k), count, source)) for k in range(num_episodes))
