"""One agent per UE: an episode of PettingZoo's parallel form.

Every UE picks at random among its own places in time.
"""

from lambo_env.envs.parallel_env import ParallelMEC


def main(seed: int = 0) -> float:
    """Play two slots and return the sum of all rewards: minus the cost of both.

    That is in slots run all locally: ``reward="relative"``. Up to 8 UEs are there, and the masks
    are part of what they see, for learners that look nowhere else.
    """
    env = ParallelMEC(
        scenario="tiny",
        num_slots=2,
        observe="objective",
        mask="observation",
        reward="relative",
        num_ues=(4, 8),
    )
    seen, _ = env.reset(seed=seed)
    for ue in env.agents:
        env.action_space(ue).seed(seed)
    total = 0.0
    while env.agents:
        actions = {ue: env.action_space(ue).sample(seen[ue]["action_mask"]) for ue in env.agents}
        seen, rewards, *_ = env.step(actions)
        total += sum(rewards.values())
    env.close()
    return total


if __name__ == "__main__":
    print(f"{main():.3f}")
