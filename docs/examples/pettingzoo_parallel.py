"""One agent per UE: an episode of PettingZoo's parallel form.

Every UE picks at random among its own places in time.
"""

from lambo_env.envs.parallel_env import ParallelMEC


def main(seed: int = 0) -> float:
    """Play two slots and return the sum of all rewards: minus the cost of both."""
    env = ParallelMEC(scenario="tiny", num_slots=2, prompt="minimum latency")
    _, infos = env.reset(seed=seed)
    for ue in env.agents:
        env.action_space(ue).seed(seed)
    total = 0.0
    while env.agents:
        actions = {ue: env.action_space(ue).sample(infos[ue]["action_mask"]) for ue in env.agents}
        _, rewards, _, _, infos = env.step(actions)
        total += sum(rewards.values())
    env.close()
    return total


if __name__ == "__main__":
    print(f"{main():.3f} s")
