"""ARE's original network on its authors' scenarios, and their labels beside the optimum."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np

from benchmarks.report.statistics import mean_interval, seeds_interval
from benchmarks.studies.reproductions.quantity import Quantity
from lambo_env.offloading import physics
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate
from lambo_env.utils.gaps import gap_percent
from lambo_env.utils.timing import measure

NUM_TEST = 60  # scenarios, the last ones, 12 %
NUM_FIRST = 200  # scenarios that the stream begins with, 40 %
PROMPT = "minimum latency"
DIFFERENCES = (
    "Theirs is MATLAB's DeepLearnToolbox; network, initial weights, loss, momentum and epochs are "
    "the same, the draws are not.",
    "The shipped labels stand in for the global optimiser, as in their own program, "
    "which holds no optimiser.",
    "Allocation: their rescaled shares (own shares), and this suite's closed form on the same "
    "places.",
    "The network sees one UE at a time and cannot count who else chooses a server: most of what it "
    "loses is there.",
)


def reproduce(path: str | os.PathLike[str], seeds: int = 5) -> list[Quantity]:
    """Train ARE's original network on its 500 scenarios, once per seed, and score the last 60.

    It is trained on the others at once (static), and on them one after the other (stream).

    Raises:
        ValueError: a file that is not theirs, or a bad number of seeds.
    """
    from baselines.neural.are import original
    from lambo_env.datasets.are import load_are

    validate.integer("seeds", seeds)
    instances, labels = load_are(path)
    enough = len(instances) > NUM_TEST + NUM_FIRST
    validate.check("scenarios in the file", len(instances), enough, "500 as the authors ship")
    train, test = slice(0, len(instances) - NUM_TEST), slice(len(instances) - NUM_TEST, None)
    target, wanted = instances.take(test), labels.take(test)
    prompts = Prompts.of(PROMPT, NUM_TEST)
    scores: dict[str, list[tuple[float, float]]] = {
        "static, closed form": [],
        "static, own shares": [],
        "stream, closed form": [],
    }
    labels_used, entropies_bits = [], []
    for seed in range(seeds):
        agent = original.fit_static(instances.take(train), labels.take(train), seed=seed)
        for name, allocation in (
            ("static, closed form", "optimal"),
            ("static, own shares", "head"),
        ):
            agent.allocation = allocation
            decision = agent.decide(target, prompts, np.random.default_rng(0))
            scores[name].append(_score(target, wanted, decision))
        _, stream = original.fit_stream(instances, labels, NUM_FIRST, seed=seed)
        decision = stream.decision.take(slice(-NUM_TEST, None))
        scores["stream, closed form"].append(_score(target, wanted, decision))
        labels_used.append(stream.labels_used)
        entropies_bits.append(float(np.mean(stream.entropy_bits[-NUM_TEST:])))
    shipped = f"{_score(target, wanted, wanted)[1]:.4f}"
    quantities = []
    for name, columns in scores.items():
        match, latency_s = (seeds_interval(column) for column in np.transpose(columns))
        quantities += [
            Quantity(f"{name}: places as labelled", match, note="of 60 x 50"),
            Quantity(f"{name}: latency, s per UE", latency_s, shipped),
        ]
    return [
        *quantities,
        Quantity(
            "labels that the stream asked for",
            seeds_interval(labels_used),
            note=f"of {len(instances) - NUM_FIRST}; {NUM_FIRST} more before it",
        ),
        Quantity(
            "mean entropy of the last 60, bits",
            seeds_interval(entropies_bits),
            note="above 0.7 a label is asked for",
        ),
    ]


def compare_labels(
    path: str | os.PathLike[str], scenarios: int | None = None, gap: float = 1e-4
) -> list[Quantity]:
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

    instances, labels = load_are(path)
    if scenarios is not None:
        enough = validate.integer("scenarios", scenarios) <= len(instances)
        allowed = f"at most {len(instances)}, what the file has"
        validate.check("scenarios", scenarios, enough, allowed)
        instances, labels = instances.take(slice(0, scenarios)), labels.take(slice(0, scenarios))
    prompts, count = Prompts.of(PROMPT, len(instances)), len(instances)
    timing = measure(functools.partial(Exact(gap=gap).solve, instances, prompts))
    solved, objective = timing.result, prompts.objective(instances)
    optimum, labelled = (
        physics.evaluate(instances, decision, objective) for decision in (solved.decision, labels)
    )
    shipped = f"{np.mean(labelled.latency_s):.4f}"
    rows: list[tuple[str, Any, str, str]] = [
        (
            "labels above the optimum, share",
            optimum.cost < labelled.cost,
            "",
            f"of {count} scenarios",
        ),
        (
            "labels below the optimum, share",
            labelled.cost < optimum.cost,
            "",
            "0: no label beats the optimum",
        ),
        ("bound proven, share", solved.proven, "", f"to {gap:.2%}"),
        (
            "labels above the optimum, %",
            gap_percent(labelled.cost, optimum.cost),
            "",
            "mean over scenarios",
        ),
        ("latency, s per UE", np.mean(optimum.latency_s, axis=1), shipped, ""),
        ("CPU ms per scenario", 1e3 * timing.cpu_s / count, "", ""),
    ]
    return [
        Quantity(name, mean_interval(np.asarray(values, float)), theirs, note)
        for name, values, theirs, note in rows
    ]


def _score(instances: Any, labels: Any, decision: Any) -> tuple[float, float]:
    """Return (share of places as labelled, mean latency per UE in s)."""
    objective = instances.objective(np.ones(len(instances)))
    latency_s = physics.evaluate(instances, decision, objective).latency_s
    return float(np.mean(decision.place == labels.place)), float(np.mean(latency_s))
