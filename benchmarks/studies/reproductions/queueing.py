"""The published worlds of tasks that wait: what rules get there, and what their papers claim."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from baselines.heuristics.local import Local
from baselines.heuristics.random import Random
from baselines.queueing.rules import COUNTS, ShortestFinish
from benchmarks.report.statistics import mean_interval
from benchmarks.studies.reproductions.quantity import Quantity
from lambo_env import registration
from lambo_env.cell.seeding import evaluation_rng
from lambo_env.prompts.objectives import PURE_PROMPTS
from lambo_env.utils import validate

_KNOWN = {
    "stale": "what waited a slot before",
    "fresh": "what waits now",
    "slot": "the choices made before in the slot too",
}


@dataclasses.dataclass(frozen=True)
class Published:
    """What a paper claims, and what rules get in its authors' own code: late %, by load."""

    rules: dict[float, tuple[str, ...]]  # local, random, shortest finish stale, fresh, slot
    learner: dict[float, str]
    claim: str


PUBLISHED = {
    "tang-wong": Published(
        {
            0.3: ("51.3", "9.8", "0.20", "0.07", "0.06"),
            0.5: ("83.0", "42.7", "21.8", "19.4", "13.9"),
        },
        {},
        "The paper claims 86.4 to 95.4 % fewer dropped tasks and 18.0 to 30.1 % less delay than "
        "existing algorithms (Tang and Wong, IEEE TMC 21(6), 2022); it plays no rule that finishes "
        "soonest.",
    ),
    "qeco": Published(
        {0.3: ("51.7", "11.6", "2.85", "2.13", "1.59"), 0.5: ("77.7", "36.3", "", "23.0", "20.6")},
        {0.3: "6.74 +- 0.26"},
        "The paper claims up to 14.4 % more completed tasks, 9.2 % less delay and 6.3 % less "
        "energy than existing works (QECO, arXiv 2311.02525); its network's late % above is by its "
        "own code.",
    ),
}
DIFFERENCES = (
    "Theirs is late % by the authors' own code, with random draws among all places.",
    "Their finish times count tasks at a server; ours are its work over its capacity.",
)


def reproduce(name: str, episodes: int = 12, root: int = 0) -> list[Quantity]:
    """Return late % of each rule at each load, with intervals over episodes.

    Args:
        name: of PUBLISHED, a preset of that name.
        episodes: of each load.
        root: root seed of the episodes.

    Raises:
        ValueError: an unknown name, or no episode.
    """
    published = PUBLISHED[validate.known(name, PUBLISHED, "published world")]
    validate.integer("episodes", episodes)
    found = []
    for load, theirs in published.rules.items():
        rules: dict[str, Any] = {"local": Local(), "random": Random()}
        rules |= {
            f"shortest finish, knows {_KNOWN[counts]}": ShortestFinish(counts) for counts in COUNTS
        }
        for (title, rule), figure in zip(rules.items(), theirs, strict=True):
            late, cost = play(name, load, rule, episodes, root)
            note = f"{np.mean(cost):.3f} s per task"
            value = mean_interval(100 * late)
            found.append(Quantity(f"p {load:g}: {title}", value, figure, note))
        if load in published.learner:
            nothing = mean_interval([np.nan])
            title = f"p {load:g}: their trained network"
            found.append(Quantity(title, nothing, published.learner[load]))
    return found


def play(name: str, load: float, rule: Any, episodes: int, root: int) -> tuple[Any, Any]:
    """Return the late share and the cost per task [episodes] of a rule under latency."""
    scenario = registration.load_scenario(name).replace(arrival_probability=load)
    rng = evaluation_rng(root, scenario, 0)
    outcome = registration.play(scenario, rule, PURE_PROMPTS[0], episodes, rng)
    tasks = np.maximum(np.sum(~np.isnan(outcome.cost), axis=(1, 2)), 1)
    return outcome.late.sum(axis=(1, 2)) / tasks, outcome.episode_cost
