"""From ``predict`` to ``decide``.

Any step-by-step policy plays the vector environment on given instances and becomes an agent.

Stable-Baselines3's signature is the pattern: ``predict(observation, deterministic=...) -> (actions,
state)``, with ``action_masks=...`` where the policy takes them (MaskablePPO). Actions alone may be
returned too.
"""

from __future__ import annotations

import inspect
import threading
from typing import Any

import numpy as np

from lambo_env import registration
from lambo_env.envs.vector_env import WorldVectorEnv
from lambo_env.offloading import observation
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate

_ALONE = threading.Lock()  # a policy may be shared by threads; a lock of its own is not pickled


class PolicyAgent:
    """An agent whose decisions are a policy's steps through an environment.

    Args:
        policy: what has ``predict``. A model that was trained on SB3's ``VecNormalize`` sees here
            what it saw there: its ``get_vec_normalize_env()`` scales the observations.
        env_id: the environment that the policy was trained in, of any world.
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
        self.env_id = validate.known(env_id, registration.ENVIRONMENTS, "environment")
        self.world = registration.ENVIRONMENTS[env_id].world
        self.batch = validate.integer("PolicyAgent.batch", batch)
        self._spaces = getattr(getattr(policy, "observation_space", None), "spaces", {})
        observe = observe or ("objective" if "objective" in self._spaces else None)
        self._arguments = {} if observe is None else {"observe": observe}
        self._takes = _arguments(policy, deterministic)

    def supports(self, instances: Any) -> str | None:
        """Return why the policy cannot see these instances.

        Its network was cut for another N or M.
        """
        if "ues" not in self._spaces:
            return None
        trained = (self._spaces["ues"].shape[0], self._spaces["servers"].shape[0])
        given = (instances.num_ues, instances.num_servers)
        if self._varies and given[1] == trained[1]:
            most = trained[0]
            return None if given[0] <= most else f"trained for at most {most} UEs, given {given[0]}"
        return (
            None if trained == given else f"trained for (UEs, servers) = {trained}, given {given}"
        )

    @property
    def _varies(self) -> bool:
        """Whether N varied in training: the columns tell which UEs are present."""
        if "num_ues" not in registration.ENVIRONMENTS[self.env_id].argument_names():
            return False
        shapes = [getattr(self._spaces.get(name), "shape", None) for name in ("servers", "ues")]
        sizes = [shape for shape in shapes if shape is not None]
        if len(sizes) < len(shapes):
            return False
        width = observation.num_static(sizes[0][0]) + observation.NUM_DYNAMIC
        return bool(sizes[1][1] == width + 1)

    def decide(self, instances: Any, prompts: Prompts, rng: np.random.Generator) -> Any:
        """Return what the policy's steps decide; late offloaded tasks have cpu_hz 0."""
        validate.generator(rng)
        size = len(prompts)
        parts = [
            self._play(instances.take(rows), prompts.take(rows), rng)
            for rows in (
                np.arange(first, min(first + self.batch, size))
                for first in range(0, size, self.batch)
            )
        ]
        place, cpu_hz = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("place", "cpu_hz")
        )
        decision = Decision(place, cpu_hz)
        return decision.to(instances) if isinstance(instances, Instances) else decision

    def _play(self, instances: Any, prompts: Prompts, rng: np.random.Generator) -> Any:
        row = registration.ENVIRONMENTS[self.env_id]
        chosen: dict[str, Any] = dict(self._arguments)
        if self._varies:
            chosen["num_ues"] = (instances.num_ues, self._spaces["ues"].shape[0])
        arguments = row.arguments_class().fitting(instances, **chosen)
        env = WorldVectorEnv(arguments, len(prompts), "Disabled")
        options = {"instances": instances}
        if hasattr(arguments, "prompt"):
            options["prompt"] = prompts
        observation, infos = env.reset(seed=int(rng.integers(2**31)), options=options)
        over = np.zeros(len(prompts), dtype=bool)
        while not over.any():  # instances of one batch take as many steps
            actions = self._predict(observation, env.action_masks())
            observation, _, over, _, infos = env.step(actions)
        return arguments.decision(infos)

    def _predict(self, observation: Any, masks: Any) -> Any:
        """Return the actions, one call at a time: policies keep what they compute."""
        masked = {"action_masks": masks} if "action_masks" in self._takes else {}
        scaled = getattr(self.policy, "get_vec_normalize_env", lambda: None)()
        if scaled is not None:
            observation = scaled.normalize_obs(observation)
        with _ALONE:
            out = self.policy.predict(observation, **{**self._takes, **masked})
        return np.asarray(out[0] if isinstance(out, tuple) else out)


def _arguments(policy: Any, deterministic: bool) -> dict[str, Any]:
    """Return the options that ``policy.predict`` takes of ours."""
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
    options = {"deterministic": deterministic, "action_masks": None}
    return {name: value for name, value in options.items() if anything or name in names}
