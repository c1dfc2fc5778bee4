"""From ``predict`` to ``decide``.

Any step-by-step policy plays the vector environment on given instances and becomes an agent.

Stable-Baselines3's signature is the pattern: ``predict(observation, deterministic=...) -> (actions,
state)``, with ``action_masks=...`` where the policy takes them (MaskablePPO). Actions alone may be
returned too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from lambo_env.envs.vector_env import AssociationVectorEnv, JointVectorEnv, OffloadingVectorEnv
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.offloading.scenario import Scenario
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate

ENVIRONMENTS: dict[str, type[OffloadingVectorEnv]] = {
    "LAMBO-MEC-v0": JointVectorEnv,
    "LAMBO-MEC-Association-v0": AssociationVectorEnv,
}


class PolicyAgent:
    """An agent whose decisions are a policy's steps through an environment.

    Args:
        policy: what has ``predict``.
        env_id: the environment that the policy was trained in.
        observe: "prompt" or "objective"; None: what the policy's ``observation_space`` shows,
            "prompt" where it has none.
        batch: instances played at once at most; memory grows with it, the decisions do not change.
        deterministic: handed to ``predict`` where it takes it.

    Raises:
        ValueError: an unknown environment, or a policy without ``predict``.
    """

    evaluator_in_loop = False

    def __init__(
        self,
        policy: Any,
        env_id: str = "LAMBO-MEC-Association-v0",
        *,
        observe: str | None = None,
        batch: int = 1024,
        deterministic: bool = True,
    ) -> None:
        self.policy = policy
        self.env_id = validate.known(env_id, ENVIRONMENTS, "environment")
        self.batch = validate.integer("PolicyAgent.batch", batch)
        self._spaces = getattr(getattr(policy, "observation_space", None), "spaces", {})
        self._observe = observe or ("objective" if "objective" in self._spaces else "prompt")
        self._predict = _predictor(policy, deterministic)

    def supports(self, instances: Instances) -> str | None:
        """Return why the policy cannot see these instances.

        Its network was cut for another N or M.
        """
        if "ues" not in self._spaces:
            return None
        trained = (self._spaces["ues"].shape[0], self._spaces["servers"].shape[0])
        given = (instances.num_ues, instances.num_servers)
        return (
            None if trained == given else f"trained for (UEs, servers) = {trained}, given {given}"
        )

    def decide(self, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> Decision:
        """Return the places and CPU that the policy's steps lead to.

        Late offloaded tasks have cpu_hz 0.
        """
        size = instances.batch_size
        parts = [
            self._play(instances.take(rows), prompts.take(rows), rng)
            for rows in (
                np.arange(first, min(first + self.batch, size))
                for first in range(0, size, self.batch)
            )
        ]
        xp = instances.xp
        place, cpu_hz = (np.concatenate([part[k] for part in parts]) for k in range(2))
        device, dtype = instances.cycles.device, instances.cycles.dtype
        return Decision(
            xp.asarray(place, device=device), xp.asarray(cpu_hz, device=device, dtype=dtype)
        )

    def _play(
        self, instances: Instances, prompts: Prompts, rng: np.random.Generator
    ) -> tuple[Any, Any]:
        env = ENVIRONMENTS[self.env_id](
            instances.batch_size,
            Scenario(
                num_ues=instances.num_ues, server_cpu_hz=(1.0,) * instances.num_servers
            ),  # only its sizes count here
            observe=self._observe,
            autoreset_mode="Disabled",
            copy=False,
        )
        options = {"instances": instances, "prompt": prompts}
        observation, infos = env.reset(seed=int(rng.integers(2**31)), options=options)
        for _ in range(instances.num_ues):
            actions = self._predict(observation, env.action_masks())
            observation, _, _, _, infos = env.step(actions)
        return infos["outcome"]["place"], infos["outcome"]["cpu_hz"]


def _predictor(policy: Any, deterministic: bool) -> Callable[[Any, Any], Any]:
    """Return a function of (observation, masks) that hands ``policy.predict`` what it takes and returns its actions."""
    predict = getattr(policy, "predict", None)
    validate.check(
        "PolicyAgent.policy",
        type(policy).__name__,
        callable(predict),
        "an object with predict(observation, ...)",
    )
    assert predict is not None
    names = inspect.signature(predict).parameters
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in names.values())
    fixed = {"deterministic": deterministic} if anything or "deterministic" in names else {}
    masked = anything or "action_masks" in names

    def actions(observation: Any, masks: Any) -> Any:
        out = predict(observation, **fixed, **({"action_masks": masks} if masked else {}))
        return np.asarray(out[0] if isinstance(out, tuple) else out)

    return actions
