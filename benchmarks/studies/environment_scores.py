"""Reference scores of the environment pages.

Agents and uniform actions on fixed evaluation instances, beside the certified bound.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report.statistics import mean_interval
from lambo_agents.adapter import PolicyAgent
from lambo_agents.registry import make_agent
from lambo_env.cell.seeding import evaluation_rng
from lambo_env.envs.actions import encode_action
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.objectives import PURE_PROMPTS
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils.gaps import gap_percent
from lambo_env.wpmec import instances as wpmec_frames
from lambo_env.wpmec import physics as wpmec_physics

JOINT, ASSOCIATION, WPMEC = IDS = ("LAMBO-MEC-v0", "LAMBO-MEC-Association-v0", "LAMBO-WPMEC-v0")
SCENARIOS, PROMPTS = ("tiny", "paper", "hetero"), PURE_PROMPTS
AGENTS = ("local", "random", "greedy")  # and exact, which is solved for the bound already
INSTANCES, FRAMES, DEVICES = 64, 200, 10
UNIFORM = {"uniform actions": False, "uniform legal actions": True}  # whether masks are kept
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
        """Return one action per row."""
        weight = self.rng.random(action_masks.shape) * (action_masks if self.legal else 1.0)
        place = weight.argmax(axis=-1)
        if not self.joint:
            return place
        return encode_action(place, self.rng.random(len(place)), action_masks.shape[-1] - 1)


def measure_offloading(scenarios: tuple[str, ...] = SCENARIOS) -> Scores:
    """Return cost, late UEs and gap, both in percent, by id, scenario, prompt and player.

    Means with 95 % intervals.
    """
    scores: Scores = {JOINT: {}, ASSOCIATION: {}}
    for name in scenarios:
        scenario = load_scenario(name)
        instances = sample_instances(scenario, INSTANCES, evaluation_rng(0, scenario, 0))
        for text in PROMPTS:
            prompts = Prompts.of(text, INSTANCES)
            exact: Any = make_agent("exact")
            solved = exact.solve(instances, prompts)
            of_agents = {
                f"`{name}`": _decided(make_agent(name), instances, prompts) for name in AGENTS
            }
            for env_id, by_scenario in scores.items():
                decisions = {
                    **{
                        words: _decided(
                            PolicyAgent(UniformPlayer(env_id == JOINT, legal), env_id),
                            instances,
                            prompts,
                        )
                        for words, legal in UNIFORM.items()
                    },
                    **of_agents,
                    "`exact`": solved.decision,
                }
                by_scenario.setdefault(name, {})[text] = {
                    player: _scores_of(instances, decision, prompts, solved.lower_bound)
                    for player, decision in decisions.items()
                }
    return scores


def _decided(agent: Any, instances: Instances, prompts: Prompts) -> Decision:
    return agent.decide(instances, prompts, np.random.default_rng(0))


def _scores_of(
    instances: Instances, decision: Decision, prompts: Prompts, bound: NDArray[np.float64]
) -> dict[str, Any]:
    outcome = physics.evaluate(instances, decision, prompts.objective(instances))
    return {
        "cost": _interval(outcome.cost),
        "late_percent": round(100 * float(np.mean(outcome.late)), 2),
        "gap_percent": _interval(gap_percent(outcome.cost, bound)),
    }


def measure_wpmec() -> Scores:
    """Return the rate in Mbit/s and its percentage of the optimum by player.

    Means with 95 % intervals.
    """
    frames = wpmec_frames.generate(DEVICES, FRAMES, np.random.default_rng(0))
    shape = frames.gain.shape
    modes = {
        "all local": np.zeros(shape, dtype=bool),
        "all offload": np.ones(shape, dtype=bool),
        "uniform modes": np.random.default_rng(1).random(shape) < 0.5,
    }
    best = wpmec_physics.best_modes(frames)[1]
    rates = {name: wpmec_physics.rate_bps(frames, mode) for name, mode in modes.items()} | {
        "optimum": best
    }
    return {
        name: {"mbps": _interval(rate / 1e6), "share_percent": _interval(100 * rate / best)}
        for name, rate in rates.items()
    }


def measure() -> Scores:
    """Return all reference scores."""
    return {**measure_offloading(), WPMEC: measure_wpmec()}


def _interval(values: Any) -> list[float]:
    interval = mean_interval(values)
    return [float(f"{value:.6g}") for value in (interval.mean, interval.low, interval.high)]
