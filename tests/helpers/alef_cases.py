"""Small networks, an expert and slots for the tests of ALEF."""

import dataclasses

import numpy as np
import torch

from lambo_agents.alef.agent import ALEF
from lambo_agents.alef.finetune import UpdateConfig
from lambo_agents.network.aed import AED
from lambo_agents.network.config import AEDConfig, lambo_xs
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts

POINTER = dataclasses.replace(
    lambo_xs(), d_model=16, encoder_layers=1, pair_width=8, memory_width=4, prompt_width=8
)
LINEAR = AEDConfig(
    d_model=16, num_heads=2, encoder_layers=1, decoder_layers=1, encoder_ff=16, decoder_ff=16
)
QUICK = UpdateConfig(steps=3, batch=8)
TEXTS = ["minimum latency", "minimum energy"]


def network(config: AEDConfig = POINTER, seed: int = 0) -> AED:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AED(config).eval()


def make(**options) -> ALEF:
    settings = {
        "weights": network(),
        "expert": Nearest(),
        "labels_per_slot": 2,
        "update": QUICK,
        "fallback": False,
        **options,
    }
    return ALEF(**settings)


def slot(count: int = 6, num_ues: int = 6, seed: int = 0) -> tuple[Instances, Prompts]:
    scenario = load_scenario("tiny").replace(num_ues=num_ues)
    return sample_instances(scenario, count, np.random.default_rng(seed)), Prompts.of(
        [TEXTS[k % 2] for k in range(count)]
    )


def play(agent: ALEF, instances: Instances, prompts: Prompts, seed: int = 0) -> int:
    rng = np.random.default_rng(seed)
    return agent.adapt(instances, prompts, agent.decide(instances, prompts, rng), rng)


class Nearest:
    """An expert: the UE with the fastest link goes to that server, all others stay."""

    calls = 0

    def decide(self, instances, prompts, rng):
        self.calls += instances.batch_size
        place = np.zeros(instances.cycles.shape, dtype=np.int64)
        for row, links in enumerate(instances.uplink_bps):
            ue, server = np.unravel_index(links.argmax(), links.shape)
            place[row, ue] = server + 1
        return Decision(place, physics.allocate(instances, place))


def weights_of(agent: ALEF) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in agent.agent.aed.state_dict().items()}


def equal(a: dict, b: dict) -> list[str]:
    """Names of the weights that are the same to the bit."""
    return [name for name in a if torch.equal(a[name], b[name])]
