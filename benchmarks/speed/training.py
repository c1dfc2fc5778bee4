"""Decisions per second that a training learns from.

ACL beside Stable-Baselines3 with the same network, batch and threads.

A decision is one UE's. All roll out the same number of slots of the scenario, one thread, and
update on them as one batch: ACL and A2C by one gradient step, PPO by the epochs of its shipped
setting. CPU seconds, so that a busy machine does not count.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable

import torch

from baselines.sb3.config import load_config
from baselines.sb3.train import build
from benchmarks.report.console import print_table
from lambo_agents.acl.config import PRECISIONS, Recipe, World
from lambo_agents.acl.stages import GradientStage
from lambo_agents.acl.trainer import Trainer, flushed
from lambo_env.offloading.scenario import load_scenario
from lambo_env.utils import validate
from lambo_env.utils.timing import measure, one_thread

PRESET = "lambo_s"
ROLLOUTS = 8  # of an instance, ACL's default
LARGE = 512  # slots of an update of a whole training
ALGOS = ("a2c", "ppo")


@dataclasses.dataclass(frozen=True)
class TrainingSpeed:
    """Decisions per CPU second, medians over rounds in which all took turns."""

    slots: int  # an update learns from
    acl: float
    sb3: dict[str, float]  # by algorithm
    ratio: dict[str, float]  # ACL's over each; medians of the rounds' ratios


def training_speed(
    scenario: str = "paper", preset: str = PRESET, slots: int = 64, rounds: int = 1
) -> TrainingSpeed:
    """Time rollout and update of each on one thread.

    Args:
        scenario: preset or TOML file.
        preset: network of both.
        slots: an update learns from; a multiple of 8, the rollouts that ACL draws of an instance.
        rounds: timed updates of each; one before them is not timed.

    Raises:
        ValueError: naming the argument, its value and what is allowed.
    """
    allowed = f"a positive multiple of {ROLLOUTS}"
    validate.check("slots", slots, slots > 0 and slots % ROLLOUTS == 0, allowed)
    validate.integer("rounds", rounds)
    decisions = slots * load_scenario(scenario).num_ues
    with one_thread(), flushed():
        ways = {"acl": _acl(scenario, preset, slots)} | {
            a: _sb3(a, scenario, preset, slots) for a in ALGOS
        }
        found: dict[str, list[float]] = {way: [] for way in ways}
        for update in ways.values():
            update()
        for _ in range(rounds):
            for way, update in ways.items():
                found[way].append(decisions / float(measure(update).cpu_s[0]))
    middle = {way: statistics.median(speeds) for way, speeds in found.items()}
    ratio = {
        a: statistics.median(x / y for x, y in zip(found["acl"], found[a], strict=True))
        for a in ALGOS
    }
    return TrainingSpeed(slots, middle["acl"], {a: middle[a] for a in ALGOS}, ratio)


def _acl(
    scenario: str, preset: str, slots: int, precision: str = "fp32", start: str | None = None
) -> Callable[[], object]:
    """Return an update by policy gradient.

    A trained network's is slower, since its gradients are full of tiny numbers.
    """
    stage = GradientStage(updates=1, rollouts=ROLLOUTS, instances=slots // ROLLOUTS)
    recipe = Recipe(
        phases=(stage,),
        worlds=(World(scenario=scenario),),
        preset=preset,
        precision=precision,
        start=start,
    )
    return Trainer(recipe).update


def rollout_speed(scenario: str = "paper", slots: int = LARGE, rounds: int = 5) -> dict[str, float]:
    """Return the rollouts per second that ACL draws and learns from, by precision.

    On from lambo-s, all threads, wall clock, best round.
    """
    validate.integer("rounds", rounds)
    found = {}
    for precision in PRECISIONS:
        with flushed():
            update = _acl(scenario, PRESET, slots, precision, "lambo-s")
            update()
            found[precision] = slots / float(measure(update, rounds).wall_s.min())
    return found


def _sb3(algo: str, scenario: str, preset: str, slots: int) -> Callable[[], object]:
    shipped = load_config(algo, scenario=scenario, num_envs=slots, policy_kwargs={"aed": preset})
    num_ues = load_scenario(scenario).num_ues
    # whole, which suits SB3: a slot is encoded once per pass
    batch = {"batch_size": slots * num_ues} if algo == "ppo" else {}
    model = build(shipped.replace(algorithm={**shipped.algorithm, **batch, "n_steps": num_ues}))
    return lambda: model.learn(slots * num_ues, reset_num_timesteps=False)


def print_training_throughput(scenario: str = "paper", slots: int = 64, rounds: int = 1) -> None:
    """Print the decisions per second of each, and how many times as many ACL does."""
    speed = training_speed(scenario, slots=slots, rounds=rounds)
    rows = [("ACL", f"{speed.acl:,.0f}", "1")] + [
        (f"SB3 {algo.upper()}", f"{found:,.0f}", f"{speed.ratio[algo]:.1f}")
        for algo, found in speed.sb3.items()
    ]
    print_table(
        ("training", "decisions/CPU s", "ACL over it"),
        rows,
        f"rollout + update of {PRESET} on {scenario}, {slots} slots per update, one thread",
    )
    for precision, rollouts in rollout_speed(scenario).items():
        print(
            f"ACL in {precision}, {torch.get_num_threads()} threads: "
            f"{rollouts:,.0f} rollouts/s, {LARGE} per update"
        )
