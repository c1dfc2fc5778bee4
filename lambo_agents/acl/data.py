"""What one update of the training is fed.

Instances of a family of scenarios, prompts, and which of them use the shares.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import torch

from lambo_agents.acl.config import ACLConfig
from lambo_env.cell import seeding
from lambo_env.offloading.instances import Instances
from lambo_env.offloading.scenario import Scenario, load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts


class Batch(NamedTuple):
    """One update's problems."""

    instances: Instances
    prompts: Prompts
    shares: torch.Tensor  # bool [B], whose CPU the sigmoid shares allot


@functools.cache
def _scenario(name: str) -> Scenario:
    return load_scenario(name)


def step_rng(config: ACLConfig, step: int) -> np.random.Generator:
    """Return the generator of one update.

    It depends on the seed and the step alone, so a resumed run draws the same.
    """
    return seeding.training_rng(config.seed, _scenario(config.scenario), step)


def vary(scenario: Scenario, config: ACLConfig, rng: np.random.Generator) -> Scenario:
    """Draw a relative of ``scenario``.

    Number of UEs, capacities, servers, data, bandwidth and cycles.
    """
    capacity = np.asarray(scenario.server_cpu_hz)
    if config.servers is not None:
        count = int(rng.integers(config.servers[0], config.servers[1] + 1))
        capacity = rng.choice(capacity, count, replace=count > len(capacity)) * (
            len(capacity) / count
        )
    low, high = config.num_ues
    num_ues = int(np.clip(round(_log_uniform((low - 0.5, high + 0.5), rng)), low, high))
    per_ue = (
        num_ues / scenario.num_ues
    ) ** rng.random()  # between the same servers and the same load
    scale = _log_uniform(config.capacity_scale, rng) * per_ue
    data, (least, most) = _log_uniform(config.data_scale, rng), config.cycles_scale
    # without a range no draw: seeds give what they gave before cycles could vary
    cycles = least if least == most else _log_uniform((least, most), rng)
    return scenario.replace(
        num_ues=num_ues,
        server_cpu_hz=tuple(float(f) for f in capacity * scale),
        data_bits=tuple(float(d) for d in np.asarray(scenario.data_bits) * data),
        cycles=tuple(float(c) for c in np.asarray(scenario.cycles) * cycles),
        bandwidth_hz=scenario.bandwidth_hz * _log_uniform(config.bandwidth_scale, rng),
    )


def _log_uniform(ends: tuple[float, float], rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(ends))))


def sample_batch(config: ACLConfig, size: int, rng: np.random.Generator) -> Batch:
    """Draw the problems of one update.

    One scenario or a variation, training phrasings of all kinds mixed.
    """
    scenario = _scenario(config.scenario)
    if rng.random() < config.varied:
        scenario = vary(_scenario(str(rng.choice((config.scenario, *config.others)))), config, rng)
        size = max(8, int(size * min(2.0, 50 / scenario.num_ues)))  # about as many decisions
    instances = sample_instances(scenario, size, rng)
    prompts = Prompts.sample(size, rng, kinds=config.kinds)
    return Batch(instances, prompts, torch.from_numpy(rng.random(size) < config.share_rows))
