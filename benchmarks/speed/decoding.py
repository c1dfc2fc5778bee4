"""Greedy decoding of LAMBO beside a plain loop of the same layers.

What projecting once, caching and deciding all steps at once pay.

The plain loop encodes once and then, for each UE, runs the decoder over all steps so far from their
states and keeps the last one's answer, as a teacher-forced network without a cache is usually
decoded. Both give the same places.
"""

from __future__ import annotations

import functools
import importlib.util

import numpy as np
import torch
from torch import Tensor

from benchmarks.report.console import print_table
from lambo_agents.agent import LamboAgent
from lambo_agents.network import decoding
from lambo_agents.network.aed import AED
from lambo_env.cell.seeding import evaluation_rng
from lambo_env.offloading import physics
from lambo_env.offloading.scenario import Scenario, load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate
from lambo_env.utils.timing import measure

BATCHES = (1, 256)
ROUNDS = 9
OURS, PLAIN = "lambo-s, ms per instance", "plain loop"


@torch.inference_mode()
def plain_places(aed: AED, slots: decoding.Slot) -> Tensor:
    """Return the greedy places [B, N] of slots in the given order, by the plain loop."""
    batch, steps, places = slots.need.shape
    need = slots.need[:, None]
    place = torch.zeros(batch, 1, steps, dtype=torch.int64)
    taken = torch.zeros(batch, 1, steps, dtype=torch.float64)
    fallback = torch.full((places,), -1e30)
    fallback[0] = -1e9  # late and local: only if nothing else is legal
    encoded = aed.encode(slots.inputs)
    for i in range(steps):
        whole = aed.plan(encoded)
        state, left = decoding.states(whole, place, taken, places)
        so_far = functools.partial(_first, i + 1)
        seen = type(state)(*(part if part.ndim < 3 else so_far(part) for part in state))
        logits = aed.steps(whole.of_steps(so_far), seen)[0][:, :, i]
        legal = need[:, :, i] - physics.FIT_TOLERANCE <= left[:, :, i]
        place[:, :, i] = torch.where(legal, logits, fallback).argmax(-1)
        floor = need[:, :, i].gather(-1, place[:, :, i, None])[..., 0]
        taken[:, :, i] = floor.where(floor.isfinite(), 0.0)
    return place[:, 0]


def _first(steps: int, part: Tensor) -> Tensor:
    """Return the first steps of a tensor [B, O, N, ...]."""
    return part[:, :, :steps]


def decode_speed(
    agent: LamboAgent,
    batch: int,
    scenario: str | Scenario = "paper",
    rounds: int = ROUNDS,
    prompt: str = "minimum latency",
    compiled: bool = True,
) -> dict[str, float]:
    """Return the ms per instance of each way, best of some rounds, by its column's name.

    On a scenario's first evaluation instances.

    Args:
        agent: whose network decides.
        batch: instances decided at once.
        scenario: preset, TOML file or Scenario.
        rounds: of each; the best counts.
        prompt: the objective in words.
        compiled: also compile the encoder, for the last but one column.

    Raises:
        ValueError: naming the argument, its value and what is allowed.
    """
    validate.integer("batch", batch)
    validate.integer("rounds", rounds)
    scenario = load_scenario(scenario)
    instances = sample_instances(scenario, batch, evaluation_rng(0, scenario, 0))
    prompts, rng = Prompts.of(prompt, batch), np.random.default_rng(0)

    def decide_ms(variant: LamboAgent) -> float:
        variant.decide(instances, prompts, rng)  # compiles, where asked for
        timing = measure(lambda: variant.decide(instances, prompts, rng), rounds)
        return 1e3 * float(timing.wall_s.min()) / batch

    plain = measure(
        lambda: plain_places(agent.aed, decoding.slot(instances, prompts.tokens, False)),
        max(1, rounds // 3),
    )
    variants = {OURS: agent, "encoder in bf16": LamboAgent(agent.aed, precision="bf16")}
    if compiled:
        variants["and compiled"] = LamboAgent(agent.aed, precision="bf16", compiled=True)
    times_ms = {name: decide_ms(variant) for name, variant in variants.items()}
    return {**times_ms, PLAIN: 1e3 * float(plain.wall_s.min()) / batch}


def neighbour_ms(batch: int, rounds: int = ROUNDS) -> float | None:
    """Return the ms per instance of RL4CO's attention model; None without RL4CO.

    It has 0.69 M random parameters and routes a vehicle to 50 customers: another problem of about
    as many decisions, for the order of magnitude.
    """
    if importlib.util.find_spec("rl4co") is None:
        return None
    from rl4co.envs import CVRPEnv
    from rl4co.models.zoo.am import AttentionModelPolicy

    env = CVRPEnv(generator_params={"num_loc": 50})
    policy = AttentionModelPolicy(env_name="cvrp", embed_dim=128, num_encoder_layers=3).eval()
    problems = env.reset(batch_size=[batch])
    options = {"phase": "test", "decode_type": "greedy", "calc_reward": False}
    with torch.inference_mode():
        timing = measure(lambda: policy(problems.clone(), env, **options), rounds)
    return 1e3 * float(timing.wall_s.min()) / batch


def print_decode_throughput(scenario: str = "paper") -> None:
    """Print both batch sizes as a table."""
    agent = LamboAgent()
    rows = []
    for batch in BATCHES:
        speed = decode_speed(agent, batch, scenario)
        all_ms = (*speed.values(), neighbour_ms(batch))
        times = ("-" if spent is None else f"{spent:.2f}" for spent in all_ms)
        rows.append((str(batch), *times, f"{speed[PLAIN] / speed[OURS]:.1f}"))
    print_table(
        (
            "instances at once",
            *speed,
            "RL4CO's AM",
            "plain loop over ours",
        ),
        rows,
        f"greedy decoding on {scenario}, {torch.get_num_threads()} threads, best of {ROUNDS}",
    )
