"""PPO in one file, in the manner of CleanRL.

Masked, on the native vector environment, Gymnasium's SameStep autoreset.

python cleanrl_ppo.py 300000
"""

import sys
import time

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import nn
from torch.distributions import Categorical

import lambo_env  # noqa: F401 (registers the environments)

ENVS, STEPS, EPOCHS, MINIBATCHES = 64, 48, 4, 4
RATE, LAMBDA, CLIP, ENTROPY, VALUE, NORM = 1e-3, 0.95, 0.2, 0.003, 0.5, 0.5


class Agent(nn.Module):
    """Policy and value over the flattened observation."""

    def __init__(self, width: int, places: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(width, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh())
        self.policy, self.value = nn.Linear(128, places), nn.Linear(128, 1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[Categorical, torch.Tensor]:
        """Return the distribution over legal places and the value."""
        hidden = self.body(x)
        return Categorical(logits=self.policy(hidden).masked_fill(~mask, -1e9)), self.value(hidden)[
            :, 0
        ]


def flat(seen: dict[str, np.ndarray]) -> torch.Tensor:
    """Return observations as one row of numbers each."""
    return torch.from_numpy(
        np.concatenate([seen[key].reshape(len(seen[key]), -1) for key in sorted(seen)], axis=1)
    ).float()


def advantages(
    rewards: torch.Tensor, dones: torch.Tensor, values: torch.Tensor, last: torch.Tensor
) -> torch.Tensor:
    """Return generalised advantages [T, B].

    Gamma is 1: an episode is N steps long and its return minus the slot's cost.
    """
    out, ahead = torch.zeros_like(rewards), torch.zeros_like(last)
    for t in reversed(range(len(rewards))):
        following = values[t + 1] if t + 1 < len(rewards) else last
        alive = 1 - dones[t]
        ahead = rewards[t] + alive * (following + LAMBDA * ahead) - values[t]
        out[t] = ahead
    return out


def main(timesteps: int = 300_000, seed: int = 1) -> list[float]:
    """Train; return the mean cost of the episodes that ended in each rollout."""
    torch.manual_seed(seed)
    envs = gym.make_vec(
        "LAMBO-MEC-Association-v0",
        ENVS,
        scenario="tiny",
        observe="objective",
        reward="relative",
        mask="observation",
        prompt="minimum latency",
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    seen, _ = envs.reset(seed=seed)
    mask = torch.from_numpy(seen.pop("action_mask")).bool()
    x = flat(seen)
    agent = Agent(x.shape[1], mask.shape[1])
    optimizer = torch.optim.Adam(agent.parameters(), RATE, eps=1e-5)
    curve, start = [], time.perf_counter()
    for update in range(max(1, timesteps // (ENVS * STEPS))):
        rows, costs = [], []
        for _ in range(STEPS):
            with torch.no_grad():
                chances, value = agent(x, mask)
                action = chances.sample()
            seen, reward, done, _, infos = envs.step(action.numpy())
            gained, over = torch.from_numpy(reward).float(), torch.from_numpy(done).float()
            rows.append((x, mask, action, chances.log_prob(action), value, gained, over))
            mask = torch.from_numpy(seen.pop("action_mask")).bool()
            x = flat(seen)
            if "final_info" in infos:
                costs.append(infos["final_info"]["outcome"]["cost"].mean())
        with torch.no_grad():
            last = agent(x, mask)[1]
        xs, masks, actions, old, values, rewards, dones = (
            torch.stack(part) for part in zip(*rows, strict=True)
        )
        gain = advantages(rewards, dones, values, last)
        learn(
            agent,
            optimizer,
            [part.flatten(0, 1) for part in (xs, masks, actions, old, gain, gain + values)],
        )
        curve.append(float(np.mean(costs)))
        speed = (update + 1) * ENVS * STEPS / (time.perf_counter() - start)
        print(f"update {update} cost {curve[-1]:.4f} s, {speed:.0f} steps/s")
    envs.close()
    return curve


def learn(agent: Agent, optimizer: torch.optim.Adam, batch: list[torch.Tensor]) -> None:
    """Update the network on one rollout."""
    size = len(batch[0])
    for _ in range(EPOCHS):
        for rows in torch.randperm(size).view(MINIBATCHES, -1):
            x, mask, action, old, gain, target = (part[rows] for part in batch)
            chances, value = agent(x, mask)
            ratio = (chances.log_prob(action) - old).exp()
            gain = (gain - gain.mean()) / (gain.std() + 1e-8)
            policy = torch.max(-gain * ratio, -gain * ratio.clamp(1 - CLIP, 1 + CLIP)).mean()
            loss = (
                policy
                + VALUE * (value - target).square().mean()
                - ENTROPY * chances.entropy().mean()
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), NORM)
            optimizer.step()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
