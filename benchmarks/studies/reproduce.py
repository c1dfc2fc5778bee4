"""What other papers' programs print, done again.

Their number, ours with an interval over seeds, the time, and what differed.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report.statistics import Interval, mean_interval, seeds_interval
from lambo_env.offloading import physics
from lambo_env.utils import validate

if TYPE_CHECKING:
    from baselines.neural.droo.wpmec import Trace

THEIR_DROO_MS = 8.2  # a frame at N = 10: their code, with torch, on two cores
THEIR_DROO_RATE = 0.99  # their headline: above this, over the last 20 % of 30,000 frames
TEST_SHARE = 0.2  # DROO's test frames: the last 20 %, in which it still learns
ARE_TEST = 60  # ARE's test scenarios: the last 60, 12 %
ARE_FIRST = 200  # scenarios that ARE's stream begins with, 40 %
VARIANTS = ("default", "original")

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Figure:
    """One number of ours, with its 95 % interval.

    Student's t over seeds, bootstrap over scenarios.
    """

    name: str
    value: Interval
    theirs: str  # what they report or what the file ships; empty where they give none
    note: str


def droo(
    path: str | os.PathLike[str],
    seeds: int = 5,
    frames: int | None = None,
    variant: str = "default",
) -> list[Figure]:
    """Play DROO over the frames of a .mat file, once a seed.

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
        validate.check(
            "frames", frames, frames <= len(data), f"at most {len(data)}, what the file has"
        )
        data = data.take(slice(0, frames))
    given = Frames(data.gain)
    error = float(np.max(np.abs(wpmec.rate_bps(given, data.mode) / data.rate_bps - 1)))
    config = ORIGINAL if variant == "original" else DrooWpmecConfig()
    traces = [run(given, config, seed) for seed in range(seeds)]
    return [
        *_droo_figures(traces, data.rate_bps),
        Figure(
            "allocation against the file",
            seeds_interval([error]),
            "",
            "largest relative difference of a rate",
        ),
    ]


def _droo_figures(traces: Sequence[Trace], optimum: Floats) -> list[Figure]:
    test = slice(len(optimum) - max(1, int(len(optimum) * TEST_SHARE)), None)

    def over_seeds(values: list[Any]) -> Interval:
        return seeds_interval([float(np.mean(value)) for value in values])

    best = [trace.rate_bps / optimum for trace in traces]
    own = over_seeds([(trace.first_rate_bps / optimum)[test] for trace in traces])
    count = over_seeds([trace.candidates[test] for trace in traces])
    time_ms = over_seeds([trace.seconds / len(optimum) * 1e3 for trace in traces])
    cpu_ms = over_seeds([trace.cpu_seconds / len(optimum) * 1e3 for trace in traces])
    times = over_seeds([THEIR_DROO_MS / 1e3 * len(optimum) / trace.cpu_seconds for trace in traces])
    last = over_seeds([rate[test] for rate in best])
    return [
        Figure(
            "normalised rate, last 20 %",
            last,
            f"> {THEIR_DROO_RATE}",
            "best of K: evaluator in the loop",
        ),
        Figure(
            "normalised rate, all frames", over_seeds(best), "", "learning from nothing included"
        ),
        Figure(
            "the network's own modes, last 20 %", own, "", "first candidate alone, still learning"
        ),
        Figure("candidates K, last 20 %", count, "", "chosen every 32 frames"),
        Figure(
            "ms a frame",
            time_ms,
            f"{THEIR_DROO_MS}",
            "training included, one thread; theirs is of N = 10",
        ),
        Figure("CPU ms a frame", cpu_ms, "", "the same on the processor's clock"),
        Figure("their ms over CPU ms", times, "", "times as fast, where N = 10"),
    ]


DROO_DIFFERENCES = (
    "The file's optimum is the yardstick; the last 20 % still learn and play the best of K, as theirs do, so this is an online "
    "algorithm with an evaluator in the loop, not a trained network's accuracy.",
    "Their mean drops one frame but divides by all; ours does neither.",
    "Their code has Adam's beta1 = 0.09 (ours 0.9), forgets Adam's moments at each update, and learns from an empty row until the "
    "memory is full; --variant original restores the three.",
    "Frames between two updates are evaluated with all their candidates in one call; that changes no number.",
)


def are(path: str | os.PathLike[str], seeds: int = 5) -> list[Figure]:
    """Train ARE's original network on the authors' 500 scenarios, static and as a stream, once a seed; score the last 60.

    Raises:
        ValueError: a file that is not theirs, or a bad number of seeds.
    """
    from baselines.neural.are import original
    from lambo_env.datasets.are import load_are

    validate.integer("seeds", seeds)
    instances, labels = load_are(path)
    validate.check(
        "scenarios in the file",
        len(instances),
        len(instances) > ARE_TEST + ARE_FIRST,
        "500 as the authors ship",
    )
    first, test = slice(0, len(instances) - ARE_TEST), slice(len(instances) - ARE_TEST, None)
    target, wanted = instances.take(test), labels.take(test)
    rows: dict[str, list[tuple[float, float]]] = {
        "static, closed form": [],
        "static, own shares": [],
        "stream, closed form": [],
    }
    asked, entropies = [], []
    for seed in range(seeds):
        agent = original.fit_static(instances.take(first), labels.take(first), seed=seed)
        for name, allocation in (
            ("static, closed form", "optimal"),
            ("static, own shares", "head"),
        ):
            agent.allocation = allocation
            rows[name].append(_score(target, wanted, _decide(agent, target)))
        _, stream = original.fit_stream(instances, labels, ARE_FIRST, seed=seed)
        rows["stream, closed form"].append(
            _score(target, wanted, stream.decision.take(slice(-ARE_TEST, None)))
        )
        asked.append(stream.labels_used)
        entropies.append(float(np.mean(stream.entropy_bits[-ARE_TEST:])))
    shipped = f"{_score(target, wanted, wanted)[1]:.4f}"
    figures = []
    for name, scores in rows.items():
        match, latency = (seeds_interval(column) for column in np.transpose(scores))
        figures += [
            Figure(f"{name}: places as labelled", match, "", "of 60 x 50"),
            Figure(f"{name}: latency, s a UE", latency, shipped, ""),
        ]
    of = len(instances) - ARE_FIRST
    return [
        *figures,
        Figure(
            "labels that the stream asked for",
            seeds_interval(asked),
            "",
            f"of {of}; {ARE_FIRST} more before it",
        ),
        Figure(
            "mean entropy of the last 60, bits",
            seeds_interval(entropies),
            "",
            "above 0.7 a label is asked for",
        ),
    ]


def are_optimum(
    path: str | os.PathLike[str], scenarios: int | None = None, gap: float = 1e-4
) -> list[Figure]:
    """Solve the authors' scenarios to a proven gap and compare with their labels, minimum latency.

    Args:
        path: ARE's data set.
        scenarios: the first so many only; None: all.
        gap: of Exact, relative.

    Raises:
        ValueError: a file that is not theirs, more scenarios than it has, a bad gap.
    """
    from baselines.search.exact import Exact
    from lambo_env.datasets.are import load_are
    from lambo_env.prompts.prompts import Prompts

    instances, labels = load_are(path)
    if scenarios is not None:
        enough = validate.integer("scenarios", scenarios) <= len(instances)
        validate.check(
            "scenarios", scenarios, enough, f"at most {len(instances)}, what the file has"
        )
        instances, labels = instances.take(slice(0, scenarios)), labels.take(slice(0, scenarios))
    asked = Prompts.of("minimum latency", len(instances))
    start = time.process_time()
    solved = Exact(gap=gap).solve(instances, asked)
    cpu_ms = (time.process_time() - start) / len(instances) * 1e3
    goal = asked.objective(instances)
    ours, theirs = (
        physics.evaluate(instances, decision, goal) for decision in (solved.decision, labels)
    )
    shipped = f"{np.mean(theirs.latency_s):.4f}"
    rows = [
        (
            "labels above the optimum, share",
            ours.cost < theirs.cost,
            "",
            f"of {len(instances)} scenarios",
        ),
        (
            "labels below the optimum, share",
            theirs.cost < ours.cost,
            "",
            "0: no label beats the optimum",
        ),
        ("bound proven, share", solved.proven, "", f"to {gap:.2%}"),
        (
            "labels above the optimum, %",
            100 * (theirs.cost / ours.cost - 1),
            "",
            "mean over scenarios",
        ),
        ("latency, s a UE", np.mean(ours.latency_s, axis=1), shipped, ""),
        ("CPU ms a scenario", [cpu_ms], "", ""),
    ]
    return [
        Figure(name, mean_interval(np.asarray(values, float)), text, note)
        for name, values, text, note in rows
    ]


ARE_DIFFERENCES = (
    "Theirs is MATLAB's DeepLearnToolbox; network, initial weights, loss, momentum and epochs are the same, the draws are not.",
    "The shipped labels stand in for the global optimiser, as in their own program, which holds no optimiser.",
    "Allocation: their rescaled shares (own shares), and this suite's closed form on the same places.",
    "The network sees one UE at a time and cannot count who else chooses a server: most of what it loses is there.",
)


def _decide(agent: Any, instances: Any) -> Any:
    from lambo_env.prompts.prompts import Prompts

    return agent.decide(
        instances, Prompts.of("minimum latency", len(instances)), np.random.default_rng(0)
    )


def _score(instances: Any, labels: Any, decision: Any) -> tuple[float, float]:
    """Return (share of places as labelled, mean latency a UE in s)."""
    goal = physics.objective(instances, np.ones(len(instances)))
    latency = physics.evaluate(instances, decision, goal).latency_s
    return float(np.mean(decision.place == labels.place)), float(np.mean(latency))
