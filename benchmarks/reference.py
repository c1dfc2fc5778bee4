"""Reference scores of the environment pages: agents and uniform actions on fixed evaluation instances, beside the certified bound."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.stats import mean_interval
from lambo_agents.adapter import PolicyAgent
from lambo_agents.registry import make_agent
from lambo_env import episode, physics
from lambo_env.prompt import Prompts
from lambo_env.scenario import load_scenario
from lambo_env.seeding import evaluation_rng
from lambo_env.world import sample_instances
from lambo_env.wpmec import frames as wpmec_frames
from lambo_env.wpmec import physics as wpmec_physics

JOINT, ASSOCIATION, WPMEC = IDS = ("LAMBO-MEC-v0", "LAMBO-MEC-Association-v0", "LAMBO-WPMEC-v0")
SCENARIOS, PROMPTS = ("tiny", "paper", "hetero"), ("minimum latency", "minimum energy")
AGENTS = ("local", "random", "greedy", "exact")
INSTANCES, FRAMES, DEVICES = 64, 200, 10
Scores = dict[str, Any]


class UniformPlayer:
    """Uniform actions: among the legal places, or among all.

    Args:
        joint: for the joint environment: a uniform share comes with the place.
        legal: keep to the mask.
    """

    def __init__(self, joint: bool, legal: bool) -> None:
        self.joint, self.legal = joint, legal
        self.rng = np.random.default_rng(0)

    def predict(self, observation: Any, action_masks: NDArray[np.bool_]) -> NDArray[Any]:
        """Return an action a row."""
        weight = self.rng.random(action_masks.shape) * (action_masks if self.legal else 1.0)
        place = weight.argmax(axis=-1)
        if not self.joint:
            return place
        return episode.encode_action(place, self.rng.random(len(place)), action_masks.shape[-1] - 1)


def players(env_id: str) -> dict[str, Callable[[], Any]]:
    """Return what is measured on an offloading environment, by the words of the tables."""
    uniform = partial(_uniform, env_id)
    found: dict[str, Callable[[], Any]] = {
        "uniform actions": partial(uniform, legal=False),
        "uniform legal actions": partial(uniform, legal=True),
    }
    return found | {f"`{name}`": partial(make_agent, name) for name in AGENTS}


def _uniform(env_id: str, *, legal: bool) -> PolicyAgent:
    return PolicyAgent(UniformPlayer(env_id == JOINT, legal), env_id)


def measure_offloading(env_id: str, scenarios: tuple[str, ...] = SCENARIOS) -> Scores:
    """Return cost, share of late UEs and gap in percent by scenario, prompt and player, means with 95 % intervals."""
    scores: Scores = {}
    for name in scenarios:
        scenario = load_scenario(name)
        instances = sample_instances(scenario, INSTANCES, evaluation_rng(0, scenario, 0))
        for text in PROMPTS:
            prompts = Prompts.of(text, INSTANCES)
            exact: Any = make_agent("exact")
            bound = exact.solve(instances, prompts).lower_bound
            lines = scores.setdefault(name, {}).setdefault(text, {})
            for player, make in players(env_id).items():
                decision = make().decide(instances, prompts, np.random.default_rng(0))
                outcome = physics.evaluate(instances, decision, prompts.objective(instances))
                lines[player] = {
                    "cost": _interval(outcome.cost),
                    "late_percent": round(100 * float(np.mean(outcome.late)), 2),
                    "gap_percent": _interval(100 * (outcome.cost / bound - 1)),
                }
    return scores


def measure_wpmec() -> Scores:
    """Return the rate in Mbit/s and its share of the optimum in percent by player, means with 95 % intervals."""
    frames = wpmec_frames.generate(DEVICES, FRAMES, np.random.default_rng(0))
    shape = frames.gain.shape
    modes = {
        "all local": np.zeros(shape, dtype=bool),
        "all offload": np.ones(shape, dtype=bool),
        "uniform modes": np.random.default_rng(1).random(shape) < 0.5,
    }
    best = wpmec_physics.best_modes(frames)[1]
    rates = {name: wpmec_physics.rate_bps(frames, mode) for name, mode in modes.items()} | {"optimum": best}
    return {
        name: {"mbps": _interval(rate / 1e6), "share_percent": _interval(100 * rate / best)}
        for name, rate in rates.items()
    }


def measure() -> Scores:
    """Return all reference scores."""
    return {JOINT: measure_offloading(JOINT), ASSOCIATION: measure_offloading(ASSOCIATION), WPMEC: measure_wpmec()}


def _interval(values: Any) -> list[float]:
    interval = mean_interval(values)
    return [float(f"{value:.6g}") for value in (interval.mean, interval.low, interval.high)]
