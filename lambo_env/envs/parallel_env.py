"""The association as a game of many: one PettingZoo agent per UE, all choose their place at once.

Needs the extra ``multiagent``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from lambo_env.envs.arguments import MASK_KEY, RENDER_MODES, AssociationArguments, Source
from lambo_env.envs.env import WorldEnv
from lambo_env.offloading import observation, physics
from lambo_env.offloading.batch import Reward
from lambo_env.offloading.instances import LOCAL
from lambo_env.prompts.arguments import Prompt
from lambo_env.rendering.renderer import FPS

Observations = dict[str, dict[str, NDArray[Any]]]


class ParallelMEC(ParallelEnv[str, dict[str, NDArray[Any]], int]):
    """``LAMBO-MEC-Association-v0`` with an agent per UE, "ue_0" ..

    "ue_{N-1}"; one step decides a slot, an episode has ``num_slots`` steps.

    The servers serve in the UEs' order: a UE whose floor no longer fits is late. Its reward is
    minus the rise of the slot's cost that its decision causes, so the rewards of a step sum to
    minus the slot's cost. An agent sees its own static columns, the servers' sizes and the prompt;
    its mask tells the places where it would be in time if it were alone.

    Args:
        scenario: as in the environment, like the others.
        prompt: likewise.
        num_slots: steps per episode.
        render_mode: "human", "rgb_array", "ansi" or None.
        observe: "prompt" or "objective".
        mask: "info", or "observation": each UE's own mask also as its key action_mask.
        reward: as in the environment; what a function pays for a slot is shared equally.
        num_ues: (low, high): in each episode the first n of ``possible_agents`` play.

    Raises:
        ValueError: naming the argument, its value and what is allowed.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "name": "lambo_mec_parallel_v0",
        "render_modes": RENDER_MODES,
        "render_fps": FPS,
    }

    def __init__(
        self,
        scenario: Source = "paper",
        prompt: Prompt | Sequence[Prompt] | None = None,
        num_slots: int = 1,
        render_mode: str | None = None,
        observe: str = "prompt",
        mask: str = "info",
        reward: str | Reward = "cost",
        num_ues: tuple[int, int] | None = None,
    ) -> None:
        arguments = AssociationArguments(
            scenario, prompt, num_slots, render_mode, observe, mask, reward, num_ues
        )
        self._env, slots = WorldEnv(arguments), arguments.slots()
        self._num_servers = slots.num_servers
        self.render_mode, self._shared = render_mode, callable(reward)
        self.possible_agents = [f"ue_{ue}" for ue in range(slots.num_ues)]
        self.agents: list[str] = []

    @functools.cache  # noqa: B019 (PettingZoo wants the same object at each call)
    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Return the space of one UE's observation."""
        inner = self._env.observation_space
        assert isinstance(inner, spaces.Dict)
        width = observation.num_static(self._num_servers)
        return spaces.Dict({**inner.spaces, "ues": spaces.Box(0.0, 1.0, (width,), np.float32)})

    @functools.cache  # noqa: B019
    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Return Discrete(M + 1)."""
        return spaces.Discrete(self._num_servers + 1)

    def reset(
        self, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observations, dict[str, dict[str, Any]]]:
        """Start an episode; ``options`` "prompt" and "instances" as in the environment.

        PettingZoo's tests want others let be.
        """
        known = {
            key: value for key, value in (options or {}).items() if key in ("prompt", "instances")
        }
        seen, _ = self._env.reset(seed=seed, options=known)
        self.agents = self._present()
        masks = self._masks(self.agents)
        return self._views(seen, masks), masks

    def _present(self) -> list[str]:
        """Return the agents of the UEs that are there."""
        return self.possible_agents[: self._env.instances.num_ues]

    def step(
        self, actions: Mapping[str, int]
    ) -> tuple[Observations, dict[str, float], dict[str, bool], dict[str, bool], Any]:
        """Decide the slot.

        infos hold each UE's latency_s, energy_j, late and cpu_hz, and its mask in the next slot.

        Raises:
            ValueError: not an action for each agent, or one outside the space.
        """
        if sorted(actions) != sorted(self.agents):
            raise ValueError(
                f"actions is for {sorted(actions)}; allowed: an action for each of {self.agents}"
            )
        bad = {
            name: place
            for name, place in actions.items()
            if not self.action_space(name).contains(place)
        }
        if bad:
            raise ValueError(f"actions is {bad}; allowed: integers in 0..{self._num_servers}")
        decided = list(self.agents)
        steps = [self._env.step(actions[name]) for name in decided]
        paid = [step[1] for step in steps]
        if self._shared:
            paid = [sum(paid) / len(paid)] * len(paid)
        seen, _, over, _, info = steps[-1]
        following = self._present()
        infos = self._masks(max(decided, following, key=len))
        views = self._views(seen, infos)
        for ue, name in enumerate(decided):
            outcome = {
                key: info["outcome"][key][ue] for key in ("latency_s", "energy_j", "late", "cpu_hz")
            }
            infos[name].update(outcome)
        self.agents = [] if over else following
        return (
            views,
            dict(zip(decided, paid, strict=True)),
            dict.fromkeys(decided, over),
            dict.fromkeys(decided, False),
            infos,
        )

    def _views(
        self, seen: Mapping[str, NDArray[Any]], infos: Mapping[str, dict[str, Any]]
    ) -> Observations:
        static = seen["ues"][:, : observation.num_static(self._num_servers)]
        rest = {key: array for key, array in seen.items() if key not in ("ues", MASK_KEY)}
        views = {
            name: {"ues": static[ue].copy(), **{key: array.copy() for key, array in rest.items()}}
            for ue, name in enumerate(infos)
        }
        if MASK_KEY in seen:
            for name, view in views.items():
                view[MASK_KEY] = infos[name]["action_mask"].copy()
        return views

    def _masks(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return each UE's mask; of one that is not there any more local alone."""
        legal = physics.on_time(self._env.instances)[0].astype(np.int8)
        masks = np.zeros((len(names), self._num_servers + 1), dtype=np.int8)
        masks[: len(legal)] = legal
        masks[masks.sum(axis=1) == 0, LOCAL] = 1
        return {name: {"action_mask": masks[ue]} for ue, name in enumerate(names)}

    def render(self) -> Any:
        """Return or show the picture of the slot, as ``render_mode`` says."""
        return self._env.render()

    def close(self) -> None:
        """Close the window, if there is one."""
        self._env.close()

    def state(self) -> NDArray[np.float32]:
        """Return every UE's columns and the servers', flat: what a central critic may see."""
        seen = self._env._batch.observe()
        return np.concatenate([seen["ues"][0].ravel(), seen["servers"][0].ravel()])
