"""Masked PPO of TorchRL on the association: it learns.

The observation shows mask and objective, rewards are relative to all-local play. Features and
checks are a GymWrapper's; the gap is that of the policy that keeps to its likeliest place. It
needs `pip install "lambo-mec[sb3]" torchrl`.

python torchrl_gym.py 7680
"""

import sys

import gymnasium as gym
import numpy as np
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.envs import GymWrapper, TransformedEnv
from torchrl.envs.transforms import ActionMask, Compose, DTypeCastTransform
from torchrl.envs.utils import check_env_specs
from torchrl.modules import MaskedCategorical, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import lambo_agents
import lambo_env
from baselines.sb3.extractors import CurrentUE
from lambo_agents.adapter import PolicyAgent

ID = "LAMBO-MEC-Association-v0"
SHOWN = ("objective", "servers", "ues")
ROLLOUT, EPOCHS, MINIBATCH, RATE = 384, 6, 128, 2e-3


class Net(nn.Module):
    """Two hidden layers over features of what is shown, none of which is learned."""

    def __init__(self, space: gym.spaces.Dict, out: int) -> None:
        super().__init__()
        self.features = CurrentUE(gym.spaces.Dict({name: space[name] for name in SHOWN}))
        self.layers = nn.Sequential(
            nn.Linear(self.features.features_dim, 128),
            nn.Tanh(),
            nn.Linear(128, 128),
            nn.Tanh(),
            nn.Linear(128, out),
        )

    def forward(self, *shown: torch.Tensor) -> torch.Tensor:
        """Return [..., out]."""
        batch = shown[0].shape[:-1]
        flat = [part.reshape(-1, *part.shape[len(batch) :]) for part in shown]
        out: torch.Tensor = self.layers(self.features(dict(zip(SHOWN, flat, strict=True))))
        return out.reshape(*batch, -1)


class Likeliest:
    """What ``PolicyAgent`` plays: the likeliest legal place."""

    def __init__(self, policy: nn.Module, space: gym.spaces.Dict) -> None:
        self.policy, self.observation_space = policy, space

    def predict(self, observation: dict[str, np.ndarray], action_masks: np.ndarray) -> np.ndarray:
        """Return places [B]."""
        shown = [torch.from_numpy(observation[name]) for name in SHOWN]
        with torch.no_grad():
            logits = self.policy(*shown)
        return logits.masked_fill(~torch.from_numpy(action_masks), -torch.inf).argmax(-1).numpy()


def gap_percent(policy: nn.Module, space: gym.spaces.Dict, size: int = 64) -> float:
    """Return the mean gap to the certified optimum on instances that no training sees."""
    rng = np.random.default_rng(1)
    instances = lambo_env.sample_instances(lambo_env.load_scenario("tiny"), size, rng)
    prompts = lambo_env.Prompts.of("minimum latency", size)
    decision = PolicyAgent(Likeliest(policy, space), ID).decide(instances, prompts, rng)
    cost = lambo_env.evaluate(instances, decision, prompts.objective(instances)).cost
    bound = lambo_agents.make_agent("exact").solve(instances, prompts).lower_bound
    return float(100 * np.mean(cost / bound - 1))


def main(decisions: int = 7_680, seed: int = 0) -> list[float]:
    """Check the specs, train, and return the gap before and after, in per cent."""
    torch.manual_seed(seed)
    made = gym.make(
        ID,
        scenario="tiny",
        prompt="minimum latency",
        observe="objective",
        reward="relative",
        mask="observation",
    )
    space = made.observation_space
    as_bool = DTypeCastTransform(torch.int8, torch.bool, in_keys=["action_mask"])
    wrapped = GymWrapper(made, categorical_action_encoding=True)
    env = TransformedEnv(wrapped, Compose(as_bool, ActionMask()))
    check_env_specs(env)
    env.set_seed(seed)
    policy = Net(space, int(made.action_space.n))
    scores = TensorDictModule(policy, in_keys=list(SHOWN), out_keys=["logits"])
    actor = ProbabilisticActor(
        scores,
        spec=env.action_spec,
        in_keys={"logits": "logits", "mask": "action_mask"},
        distribution_class=MaskedCategorical,
        return_log_prob=True,
    )
    critic = ValueOperator(Net(space, 1), in_keys=list(SHOWN))
    advantage = GAE(gamma=1.0, lmbda=1.0, value_network=critic)
    loss = ClipPPOLoss(
        actor, critic, clip_epsilon=0.2, entropy_coeff=0.003, normalize_advantage=True
    )
    optimizer = torch.optim.Adam(loss.parameters(), RATE)
    gaps = [gap_percent(policy, space)]
    updates = max(1, decisions // ROLLOUT)
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = RATE * (1 - update / updates)
        with torch.no_grad():
            batch: TensorDict = env.rollout(ROLLOUT, actor, break_when_any_done=False)
            advantage(batch)
        for _ in range(EPOCHS):
            for rows in torch.randperm(ROLLOUT).split(MINIBATCH):
                parts = loss(batch[rows])
                total = parts["loss_objective"] + parts["loss_critic"] + parts["loss_entropy"]
                optimizer.zero_grad()
                total.backward()
                nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
                optimizer.step()
    return [*gaps, gap_percent(policy, space)]


if __name__ == "__main__":
    print("gap before and after: {:.1f} and {:.1f} %".format(*main(*map(int, sys.argv[1:]))))
