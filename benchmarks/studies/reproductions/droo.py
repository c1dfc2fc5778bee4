"""DROO on its own frames: the normalised rate over the last fifth of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report.statistics import Interval, seeds_interval
from benchmarks.studies.reproductions.quantity import Quantity
from lambo_env.utils import validate

if TYPE_CHECKING:
    from baselines.neural.droo.wpmec import Trace

PUBLISHED_MS = 8.2  # per frame at N = 10: their code, with torch, on two cores
PUBLISHED_RATE = 0.99  # their headline: above this, over the last 20 % of 30,000 frames
TEST_SHARE = 0.2  # of the frames, the last of them; DROO still learns there
VARIANTS = ("default", "original")
DIFFERENCES = (
    "The file's optimum is the yardstick. The last 20 % still learn and play the best of K, as "
    "theirs do: an online algorithm with an evaluator in the loop.",
    "Their mean drops one frame but divides by all; ours does neither.",
    "Their code has Adam's beta1 = 0.09 (ours 0.9), forgets Adam's moments at each update, and "
    "learns from an empty row until the memory is full; --variant original restores the three.",
    "Frames between two updates are evaluated with all their candidates in one call; "
    "that changes no number.",
)


def reproduce(
    path: str | os.PathLike[str],
    seeds: int = 5,
    frames: int | None = None,
    variant: str = "default",
) -> list[Quantity]:
    """Play DROO over the frames of a .mat file, once per seed.

    Args:
        path: one of DROO's data_N.mat.
        seeds: runs, seeded 0, 1, ...
        frames: play the first so many only.
        variant: "default", or "original" with the three details of their code that harm it.

    Raises:
        ValueError: a file that is not theirs, more frames than it has, a bad number of seeds.
    """
    from baselines.neural.droo.wpmec import ORIGINAL, DrooWpmecConfig, run
    from lambo_env.datasets.droo import load_droo
    from lambo_env.wpmec import physics as wpmec
    from lambo_env.wpmec.instances import Frames

    validate.integer("seeds", seeds)
    validate.known(variant, VARIANTS, "variant")
    if frames is not None:
        validate.integer("frames", frames)
    data = load_droo(path)
    if frames is not None:
        allowed = f"at most {len(data)}, what the file has"
        validate.check("frames", frames, frames <= len(data), allowed)
        data = data.take(slice(0, frames))
    given = Frames(data.gain)
    error = float(np.max(np.abs(wpmec.rate_bps(given, data.mode) / data.rate_bps - 1)))
    config = ORIGINAL if variant == "original" else DrooWpmecConfig()
    return [
        *_quantities([run(given, config, seed) for seed in range(seeds)], data.rate_bps),
        Quantity(
            "allocation against the file",
            seeds_interval([error]),
            note="largest relative difference of a rate",
        ),
    ]


def _quantities(traces: list[Trace], optimum_bps: NDArray[np.float64]) -> list[Quantity]:
    num_frames = len(optimum_bps)
    test = slice(num_frames - max(1, int(num_frames * TEST_SHARE)), None)

    def over_seeds(value: Callable[[Trace], NDArray[Any] | float]) -> Interval:
        return seeds_interval([float(np.mean(value(trace))) for trace in traces])

    return [
        Quantity(
            "normalised rate, last 20 %",
            over_seeds(lambda trace: (trace.rate_bps / optimum_bps)[test]),
            f"> {PUBLISHED_RATE}",
            "best of K: evaluator in the loop",
        ),
        Quantity(
            "normalised rate, all frames",
            over_seeds(lambda trace: trace.rate_bps / optimum_bps),
            note="learning from nothing included",
        ),
        Quantity(
            "the network's own modes, last 20 %",
            over_seeds(lambda trace: (trace.first_rate_bps / optimum_bps)[test]),
            note="first candidate alone, still learning",
        ),
        Quantity(
            "candidates K, last 20 %",
            over_seeds(lambda trace: trace.candidates[test]),
            note="chosen every 32 frames",
        ),
        Quantity(
            "ms per frame",
            over_seeds(lambda trace: trace.seconds / num_frames * 1e3),
            f"{PUBLISHED_MS}",
            "training included, one thread; theirs is of N = 10",
        ),
        Quantity(
            "CPU ms per frame",
            over_seeds(lambda trace: trace.cpu_seconds / num_frames * 1e3),
            note="the same on the processor's clock",
        ),
        Quantity(
            "their ms over CPU ms",
            over_seeds(lambda trace: PUBLISHED_MS / 1e3 * num_frames / trace.cpu_seconds),
            note="times as fast, where N = 10",
        ),
    ]
