"""Greedy decoding of LAMBO beside a plain loop of the same layers.

What projecting once, caching and deciding all steps at once pay.

The plain loop encodes once and then, for each UE, runs the decoder over all steps so far from their
states and keeps the last one's answer, as a teacher-forced network without a cache is usually
decoded. Both give the same places.
"""

from __future__ import annotations

import dataclasses
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


@dataclasses.dataclass(frozen=True)
class DecodeSpeed:
    """Milliseconds per instance, best of some rounds."""

    batch: int
    ours_ms: float
    low_ms: float  # with the encoder in bfloat16
    compiled_ms: float | None  # and compiled; None where that was not asked for
    plain_ms: float


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
) -> DecodeSpeed:
    """Time both on a scenario's first evaluation instances.

    Args:
        agent: whose network decides.
        batch: instances decided at once.
        scenario: preset, TOML file or Scenario.
        rounds: of each; the best counts.
        prompt: the objective in words.
        compiled: compile the encoder for the last but one column; else that column is left out.

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
    return DecodeSpeed(
        batch,
        ours_ms=decide_ms(agent),
        low_ms=decide_ms(LamboAgent(agent.aed, precision="bf16")),
        compiled_ms=decide_ms(LamboAgent(agent.aed, precision="bf16", compiled=True))
        if compiled
        else None,
        plain_ms=1e3 * float(plain.wall_s.min()) / batch,
    )


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
        other = neighbour_ms(batch)
        all_ms = (speed.ours_ms, speed.low_ms, speed.compiled_ms, speed.plain_ms, other)
        times = ("-" if spent is None else f"{spent:.2f}" for spent in all_ms)
        rows.append((str(batch), *times, f"{speed.plain_ms / speed.ours_ms:.1f}"))
    header = (
        "instances at once",
        "lambo-s, ms per instance",
        "encoder in bf16",
        "and compiled",
        "plain loop",
        "RL4CO's AM",
        "plain loop over ours",
    )
    print_table(
        header,
        rows,
        f"greedy decoding on {scenario}, {torch.get_num_threads()} threads, best of {ROUNDS}",
    )
