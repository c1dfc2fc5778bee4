"""How the linear rule is tuned: evolution strategies on training seeds, one knot at a time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baselines.queueing.evolution import Strategy
from baselines.queueing.linear import KNOTS, places, save
from baselines.queueing.rules import LocalIfFits
from lambo_env import registration
from lambo_env.cell.seeding import training_rng
from lambo_env.prompts.objectives import PURE_PROMPTS
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.instances import QueueInstances, Trace
from lambo_env.queueing.policies.columns import COLUMNS
from lambo_env.queueing.policies.simulation import Decide, Simulation
from lambo_env.queueing.policies.turns import Floats, Ints
from lambo_env.queueing.slots import sample_trace
from lambo_env.utils import files, jsons, runs, validate
from lambo_env.utils.rules import Ruled, count, ruled

STATE, WEIGHTS = "state.json", "linear-rule.json"
PRESETS = ("queue-light", "queue", "queue-bursts")
_START = {"finish": 1.0, "late": 1.0}  # shortest finish, but for tasks that are late everywhere
_STEP = 0.3  # of the weights, at first


def _presets(field: str, value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value)
    validate.check(field, value, len(names) > 0, "one or more scenarios of the queueing world")
    for name in names:
        kind = type(registration.load_scenario(name)).__name__
        validate.check(field, name, kind == "QueueScenario", "a scenario of the queueing world")
    return names


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearTuning(Ruled):
    """Options of the tuning.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    scenarios: tuple[str, ...] = ruled(PRESETS, _presets)
    """Presets or .toml files of the queueing world, with the same numbers of UEs and slots."""
    generations: int = ruled(100, validate.integer)
    """Of each knot."""
    population: int = ruled(16, validate.integer)
    """Candidates of a generation."""
    episodes: int = ruled(4, validate.integer)
    """Of each scenario and generation, the same for all its candidates."""
    pool: int = ruled(64, validate.integer)
    """Episodes of each scenario that generations draw from."""
    seed: int = ruled(0, count)
    """Of all draws."""

    def __post_init__(self) -> None:
        """Check what fields say together."""
        super().__post_init__()
        self.check("population", self.population >= 4, "an integer >= 4")
        self.check("episodes", self.episodes <= self.pool, f"at most the pool, {self.pool}")


def tune(
    options: LinearTuning,
    folder: Path,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
) -> Floats:
    """Tune the weights of all knots and write them to ``folder``; a killed run goes on.

    ``report`` gets a row per generation: costs over those of local-if-fits, the best candidate's
    and the mean.

    Returns:
        The weights [len(KNOTS), K].

    Raises:
        ValueError: the folder belongs to a run with other options.
    """
    with runs.opened(folder, "tune linear-rule", options.to_dict()), runs.deferred() as pause:
        state = _read(folder / STATE)
        bench = _Bench(options)
        start = np.array([_START.get(name, 0.0) for name in COLUMNS])
        for done, knot in enumerate(KNOTS[::-1]):  # each from what the one before it found
            known = state.get(str(knot))
            search = Strategy.from_dict(known) if known else Strategy.begin(start, _STEP)
            while search.generation < options.generations:
                rng = training_rng(options.seed, bench.scenarios[0], _stream(knot, search))
                candidates = search.ask(options.population, rng)
                costs = bench.costs(candidates, knot, rng)
                search = search.tell(candidates, costs)
                state[str(knot)] = search.to_dict()
                files.write_text(folder / STATE, json.dumps(state))
                step = done * options.generations + search.generation
                row = {"what": "generation", "step": step, "of": len(KNOTS) * options.generations}
                told = {"best_over_rule": costs.min(), "mean_over_rule": costs.mean()}
                report({**row, "latency_weight": knot, **told})
                pause(lambda: None)
            start = search.mean
        weights = np.array([state[str(knot)]["mean"] for knot in KNOTS])
        card = {"command": "lambo tune linear-rule", "options": options.to_dict()}
        generations = {str(knot): state[str(knot)]["generation"] for knot in KNOTS}
        save(folder / WEIGHTS, weights, **card, generations=generations)
    return weights


def _stream(knot: float, search: Strategy) -> int:
    """Return the training stream of a generation; those of the pools are below 100."""
    return 100 + 10_000 * KNOTS.index(knot) + search.generation


def _read(path: Path) -> dict[str, Any]:
    return dict(jsons.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


class _Bench:
    """What candidates are scored on: their costs over those of local-if-fits."""

    def __init__(self, options: LinearTuning) -> None:
        self.episodes = options.episodes
        self.scenarios = [registration.load_scenario(name) for name in options.scenarios]
        self.pools = [
            sample_trace(scenario, options.pool, training_rng(options.seed, scenario, 0))
            for scenario in self.scenarios
        ]
        self._reference: dict[float, Floats] = {}

    def costs(self, candidates: Floats, knot: float, rng: np.random.Generator) -> Floats:
        """Return the costs [P] of candidates [P, K], the mean over scenarios."""
        picked = [rng.choice(len(pool), self.episodes, replace=False) for pool in self.pools]
        traces = [pool[k] for pool, ks in zip(self.pools, picked, strict=True) for k in ks]
        weights = np.repeat(candidates, len(traces), axis=0)
        cost = self._play(lambda shown: places(shown, weights), traces, knot, len(candidates))
        by_scenario = cost.reshape(len(candidates), len(self.pools), -1).mean(axis=-1)
        return np.asarray((by_scenario / self._references(knot)).mean(axis=-1))

    def _references(self, knot: float) -> Floats:
        if knot not in self._reference:
            traces = [trace for pool in self.pools for trace in pool]
            rule, rng = LocalIfFits(), np.random.default_rng(0)  # it draws nothing

            def reference(shown: QueueInstances) -> Ints:
                asked = Prompts.of(PURE_PROMPTS[0], len(shown))  # it asks for nothing
                return rule.decide(shown, asked, rng).place

            cost = self._play(reference, traces, knot)
            self._reference[knot] = cost.reshape(len(self.pools), -1).mean(axis=-1)
        return self._reference[knot]

    def _play(
        self, decide: Decide, traces: Sequence[Trace], knot: float, copies: int = 1
    ) -> Floats:
        return Simulation(self.scenarios[0], traces, knot, copies).play(decide).episode_cost
