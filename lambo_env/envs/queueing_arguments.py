"""Arguments of ``LAMBO-MEC-Queue-v0``."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from lambo_env.envs import arguments as cells
from lambo_env.offloading.instances import Decision
from lambo_env.prompts.arguments import Prompt, as_prompts
from lambo_env.prompts.prompts import Prompts, env_prompts
from lambo_env.queueing.batch import QueueBatch
from lambo_env.queueing.instances import QueueInstances
from lambo_env.queueing.observation import SERVER, width
from lambo_env.queueing.scenario import QueueScenario, load_scenario
from lambo_env.queueing.slot_batch import SlotBatch
from lambo_env.utils import validate


@dataclasses.dataclass(frozen=True)
class QueueArguments:
    """One cell whose tasks wait: each that arrives is decided when it comes, UE by UE.

    An episode has as many steps as tasks. Slots in which none comes are passed over. The reward is
    minus the cost of all tasks that settle before the next decision, over N, so that the return is
    minus cost x tasks / N. An episode without any task shows no current UE and ends at its first
    step.

    Args:
        scenario: a preset's name, a TOML path, a QueueScenario, or a mapping of its fields.
        prompt: None draws one of the frozen prompts at each reset; a text fixes it, as do a latency
            weight and (any text, latency weight); of a list one is drawn.
        num_slots: slots that bring tasks; None: the scenario's.
        render_mode: "human", "rgb_array", "ansi" or None.
        observe: "prompt" shows the text's tokens, "objective" (latency_weight, 1 - latency_weight)
            in their place.
        mask: "info" tells the mask in info["action_mask"], "observation" also as the observation's
            key action_mask.
        reward: "cost", or "relative", which divides it by what a mean task costs that a mean UE
            runs itself, so that all prompts have one scale.

    Raises:
        ValueError: naming the argument, its value and what is allowed.
    """

    scenario: str | os.PathLike[str] | Mapping[str, Any] | QueueScenario = "queue"
    prompt: Prompt | Prompts | Sequence[Prompt] | None = None
    num_slots: int | None = None
    render_mode: str | None = None
    observe: str = "prompt"
    mask: str = "info"
    reward: str = "cost"

    world: ClassVar[str] = "queueing"
    render_modes: ClassVar[Sequence[str]] = cells.RENDER_MODES

    def __post_init__(self) -> None:
        """Check every argument."""
        cells.check_shown(self)
        scenario = load_scenario(self.scenario)
        if self.num_slots is not None:
            scenario = scenario.replace(num_slots=validate.integer("num_slots", self.num_slots))
        object.__setattr__(self, "scenario", scenario)
        object.__setattr__(self, "num_slots", scenario.num_slots)
        texts = env_prompts() if self.prompt is None else as_prompts("prompt", self.prompt)
        object.__setattr__(self, "texts", texts)
        validate.known(self.reward, cells.REWARD, "reward")

    @classmethod
    def fitting(cls, instances: QueueInstances, **arguments: Any) -> SlotArguments:
        """Return arguments that play one slot of ``instances``."""
        capacities = (1.0,) * instances.num_servers
        sizes = QueueScenario(num_ues=instances.num_ues, server_cpu_hz=capacities)
        return SlotArguments(sizes, **arguments)

    @staticmethod
    def decision(infos: Mapping[str, Any]) -> Decision:
        """Return the decision that the infos of a finished slot tell."""
        place = infos["outcome"]["place"]
        return Decision(place, np.zeros(place.shape))

    @property
    def _scenario(self) -> QueueScenario:
        return cast(QueueScenario, self.scenario)

    def batch(self, num_envs: int) -> QueueBatch:
        """Return ``num_envs`` episodes that have not begun."""
        return QueueBatch(
            self._scenario,
            self.texts,  # type: ignore[attr-defined]
            num_envs,
            objective=self.observe == "objective",
            relative=self.reward == "relative",
        )

    def observation_space(self) -> spaces.Space[Any]:
        """Return the space of one observation; entries are in their bounds in every scenario."""
        ues, servers = self._scenario.num_ues, self._scenario.num_servers
        shapes = (ues, width(servers)), (servers, SERVER.COUNT)
        return cells.cell_space(*shapes, self.observe, self.mask)

    def action_space(self) -> spaces.Space[Any]:
        """Return the space of one environment's action."""
        return spaces.Discrete(self._scenario.num_servers + 1)

    def decode(self, actions: NDArray[Any]) -> tuple[NDArray[np.int64]]:
        """Return the places [R]."""
        return (actions,)

    def check_options(self, options: Mapping[str, Any], num_envs: int) -> dict[str, Any]:
        """Return the prompts [num_envs] that a reset's options ask for."""
        validate.known_keys("options", options, ["prompt"])
        prompts = cells.prompts_of_rows(options.get("prompt"), num_envs)
        return {} if prompts is None else {"prompts": prompts}


class SlotArguments(QueueArguments):
    """One slot of given instances: what a policy of the environment sees when it decides them."""

    def batch(self, num_envs: int) -> Any:
        """Return slots that have not begun."""
        return SlotBatch(num_envs, objective=self.observe == "objective")

    def check_options(self, options: Mapping[str, Any], num_envs: int) -> dict[str, Any]:
        """Return the instances and prompts [num_envs] that a reset's options give, both."""
        validate.known_keys("options", options, ["instances", "prompt"])
        return {"instances": options["instances"], "prompts": options["prompt"]}
