"""Certified lower bounds of evaluation blocks, proven by Exact.

They are kept as files that all agents and runs share.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from baselines.queueing.bound import lower_bound
from baselines.search.exact import Exact
from benchmarks.sweep.instance_sources import Episodes
from lambo_agents.protocol import unsupported
from lambo_env import registration
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.policies.simulation import Simulation
from lambo_env.utils import files
from lambo_env.utils.gaps import below, refuse_below

VERSION = 2  # of the bounds: those that an older one proved are proven again


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Lower bounds [B] in units of the cost, and whether each reached the gap asked for."""

    lower: NDArray[np.float64]
    proven: NDArray[np.bool_]
    reason: str | None = None  # why there are none (then NaN)
    limit_s: float = 0.0  # time that an instance was given


def cache_folder() -> Path:
    """Return the user's cache.

    ``LAMBO_CACHE``, or ``lambo`` in ``XDG_CACHE_HOME`` (default ``~/.cache``).
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("LAMBO_CACHE") or Path(base) / "lambo") / "bounds"


def bound_key(
    content_hash: str, root: int, block: int, count: int, weight: float, gap: float
) -> str:
    """Return the name of the file that holds these bounds."""
    parts = json.dumps([VERSION, content_hash, root, block, count, weight, gap])
    return hashlib.sha256(parts.encode()).hexdigest()[:20]


def fingerprint(instances: Instances) -> NDArray[np.float64]:
    """Return numbers [B, 2] that change with the instances.

    A file that lacks them is of other instances.
    """
    if isinstance(instances, Episodes):
        return np.array([[t.cycles.sum(), t.uplink_bps.sum()] for t in instances.traces])
    if not isinstance(instances, Instances):  # of another world: the sums of its arrays
        arrays = [v for v in vars(instances).values() if len(np.shape(v)) > 1]
        return np.stack([np.sum(array, axis=tuple(range(1, array.ndim))) for array in arrays], -1)
    links = np.log(instances.uplink_bps).mean(axis=(1, 2))
    return np.stack([links, physics.local_s(instances).sum(axis=-1)], axis=-1)


def find(key: str, instances: Instances, folder: Path, limit_s: float = 0.0) -> Bounds | None:
    """Return the bounds kept under ``key`` in ``folder`` or in the user's cache, if they fit.

    Bounds that did not reach the gap count only if they had ``limit_s`` an instance to do so.
    """
    for place in (folder, cache_folder()):
        found = _read(place / f"{key}.npz", instances)
        if found is not None and (found.proven.all() or found.limit_s >= limit_s):
            return found
    return None


def _read(path: Path, instances: Instances) -> Bounds | None:
    """Return the bounds of a file.

    A missing, broken or foreign one counts as none and is written anew.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            lower, proven, mark = kept["lower"], kept["proven"], kept["fingerprint"]
            limit_s = float(kept["limit_s"])
    except Exception:  # whatever a damaged archive raises: the bounds are proven again
        return None
    expected = fingerprint(instances)
    same = mark.shape == expected.shape and np.allclose(mark, expected, rtol=1e-9, atol=0)
    fits = lower.shape == proven.shape == (instances.batch_size,) and bool(
        np.all(np.isfinite(lower))
    )
    return Bounds(lower, proven.astype(bool), limit_s=limit_s) if same and fits else None


def write(key: str, bounds: Bounds, instances: Instances, folder: Path) -> None:
    """Keep bounds in ``folder`` and, where it can be written, in the user's cache."""
    for place in dict.fromkeys((folder, cache_folder())):
        try:
            with files.atomic_writer(place / f"{key}.npz") as file:
                np.savez(
                    file,
                    lower=bounds.lower,
                    proven=bounds.proven,
                    fingerprint=fingerprint(instances),
                    limit_s=bounds.limit_s,
                )
        except OSError:
            if place == folder:
                raise


def prove(instances: Instances, prompt: str, gap: float, limit_s: float) -> Bounds:
    """Return the bounds of instances under a prompt to a relative ``gap``.

    Exact proves them.
    """
    if isinstance(instances, Episodes):
        return _hindsight(instances, prompt, limit_s)
    world = registration.world_of(instances, "instances")
    prompts = Prompts.of(prompt, instances.batch_size)
    try:
        if "bound" in world.offers:
            lower = world.get("bound")(instances, prompts)
            return Bounds(lower, np.ones(lower.shape, dtype=bool), limit_s=limit_s)
        solver = Exact(gap=gap, time_limit_s=limit_s)
        reason = unsupported(solver, instances, prompts)
        if reason is not None:
            return none(instances.batch_size, reason)
        solved = solver.solve(instances, prompts)
    except (
        Exception
    ) as error:  # without bounds the costs still stand; the report says why there are none
        return none(instances.batch_size, f"{type(error).__name__}: {error}")
    lower, proven = (
        np.asarray(solved.lower_bound, dtype=float),
        np.asarray(solved.proven, dtype=bool),
    )
    return Bounds(lower, proven, limit_s=limit_s)


def _hindsight(episodes: Episodes, prompt: str, limit_s: float) -> Bounds:
    """Return the bounds of a linear program that knows all that comes: valid, and loose."""
    shown = Simulation(episodes.scenario, episodes.traces).enter()
    objective = Prompts.of(prompt, len(shown)).objective(shown)
    pairs = zip(objective.cost_per_s, objective.cost_per_j, strict=True)
    lower = [lower_bound(trace, pair) for trace, pair in zip(episodes.traces, pairs, strict=True)]
    return Bounds(np.array(lower), np.zeros(len(lower), dtype=bool), limit_s=limit_s)


def none(count: int, reason: str) -> Bounds:
    """Return what stands for ``count`` unknown bounds."""
    return Bounds(np.full(count, np.nan), np.zeros(count, dtype=bool), reason)


def held(
    costs: Sequence[float | None],
    found: Bounds,
    what: str,
    task: tuple[Instances, str, str, float, float, Path],
) -> Bounds:
    """Return bounds that costs do not undercut: as found, or proven anew by ``obtain``'s ``task``.

    Raises:
        ValueError: a cost lies below its bound all the same.
    """
    cost = np.asarray(costs, dtype=float)
    if not below(cost, found.lower).size:
        return found
    instances, prompt, key, gap, limit_s, folder = task
    fresh = prove(instances, prompt, gap, limit_s)
    if fresh.reason is None:
        write(key, fresh, instances, folder)
    refuse_below(what, cost, fresh.lower)
    return fresh


def obtain(
    instances: Instances, prompt: str, key: str, gap: float, limit_s: float, folder: Path
) -> Bounds:
    """Return the bounds kept under ``key``, or prove and keep them."""
    found = find(key, instances, folder, limit_s)
    if found is None:
        found = prove(instances, prompt, gap, limit_s)
        if found.reason is None:
            write(key, found, instances, folder)
    return found
