"""Play an episode whose tasks wait and film it, slot by slot: on ``LAMBO-MEC-Queue-v0``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from lambo_agents import guard
from lambo_agents.protocol import Agent, unsupported
from lambo_agents.registry import make_agent
from lambo_env.envs.env import WorldEnv
from lambo_env.envs.queueing_arguments import QueueArguments
from lambo_env.queueing.scenario import QueueScenario
from lambo_env.rendering.queues import QueueFrame
from lambo_env.utils import validate


def play(
    player: str | Agent, scenario: QueueScenario, prompt: str, seed: int, num_slots: int | None
) -> Iterator[QueueFrame]:
    """Yield the frames of an episode: as each slot that brings tasks begins, and at the end."""
    agent = make_agent(player) if isinstance(player, str) else player
    title = player if isinstance(player, str) else type(player).__name__
    owner, rng = f"agent {title!r}", np.random.default_rng([seed, 1])
    env = WorldEnv(QueueArguments(scenario, prompt, num_slots))
    env.reset(seed=seed)
    over = False
    while not over:
        yield dataclasses.replace(env.frame(), title=title)
        instances = env.instances
        with guard.guarded(owner):
            reason = unsupported(agent, instances, env.prompts)
        allowed = f"an agent that can decide this scenario ({reason})"
        validate.check("--agent", title, reason is None, allowed)
        with guard.guarded(owner):
            place = np.asarray(agent.decide(instances, env.prompts, rng).place)[0]
        tasks = np.flatnonzero(instances.has_task[0])
        for ue in tasks if tasks.size else [0]:  # an episode without any has one step
            over = env.step(int(place[ue]))[2]
    yield dataclasses.replace(env.frame(), title=title)


def line(frame: Any) -> str:
    """Return what a finished episode came to."""
    cost = f"{frame.cost:#.5g} {frame.unit}".rstrip()
    return f"{frame.title}: cost {cost}, {frame.late} of {frame.tasks} tasks late"
