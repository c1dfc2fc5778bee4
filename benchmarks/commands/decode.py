"""``lambo decode``: one slot through a network of any preset, with random weights.

That it runs here, how long, how much memory.
"""

from __future__ import annotations

import resource


def decode(
    preset: str = "lambo_l",
    *,
    scenario: str = "paper",
    prompt: str = "minimum latency",
    seed: int = 0,
) -> None:
    """Make the network, decide one slot, and print parameters, seconds and peak memory.

    Args:
        preset: Network: lambo_xs, lambo_s, lambo_b, lambo_m or lambo_l (the paper's largest; takes
            about 5 GB of memory).
        scenario: Preset or .toml file of the slot.
        prompt: What to minimise.
        seed: Of weights and slot.
    """
    import numpy as np
    import torch

    from lambo_agents.agent import LamboAgent
    from lambo_agents.network.aed import AED
    from lambo_agents.network.config import preset as network_preset
    from lambo_env.offloading.scenario import load_scenario
    from lambo_env.offloading.slots import sample_instances
    from lambo_env.prompts.prompts import Prompts
    from lambo_env.utils import rules
    from lambo_env.utils.timing import measure

    rules.seed("--seed", seed)
    prompts = Prompts.of(prompt, 1)
    instances = sample_instances(load_scenario(scenario), 1, np.random.default_rng(seed))
    torch.manual_seed(seed)
    made = measure(lambda: LamboAgent(AED(network_preset(preset))))
    rng = np.random.default_rng(seed)
    decided = measure(lambda: made.result.decide(instances, prompts, rng))
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{preset}: {made.result.num_parameters:,} parameters (random) "
        f"made in {made.wall_s[0]:.1f} s; "
        f"{instances.num_ues} UEs decided in {decided.wall_s[0]:.1f} s; "
        f"largest memory {peak_gb:.1f} GB"
    )
