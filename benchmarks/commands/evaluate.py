"""``lambo evaluate AGENT``: one agent on evaluation instances, beside the certified bound.

Nothing is written.
"""

from __future__ import annotations

from lambo_env.prompts.objectives import PURE_PROMPTS
from lambo_env.utils import validate


def evaluate(
    agent: str,
    *,
    scenario: str = "paper",
    prompt: list[str] | None = None,
    instances: int = 64,
    root: int = 0,
    weights: str | None = None,
    bound: bool = True,
) -> int:
    """Print the agent's table.

    Args:
        agent: A registered agent (`lambo list agents`).
        scenario: Preset or .toml file.
        prompt: The objective in words; may be given more than once (default: minimum latency,
            minimum energy).
        instances: How many evaluation instances.
        root: Root seed of the evaluation instances.
        weights: Weights to play instead of the agent's own, where it takes some: a path, such as
            that of a training's best network.
        bound: Prove bounds and print the gap to them.
    """
    from benchmarks.report.single_agent import print_single
    from benchmarks.sweep.config import AgentEntry, Sweep
    from benchmarks.sweep.instance_sources import scenario_source
    from lambo_agents.registry import list_agents, make_agent

    validate.known(agent, list_agents(), "agent")
    if weights is not None:
        make_agent(agent, weights=weights)  # what cannot be loaded is bad input, not an empty table
    sweep = Sweep(
        name="evaluate",
        agents=(AgentEntry(agent, {} if weights is None else {"weights": weights}),),
        scenarios=(scenario_source(scenario),),
        prompts=tuple(prompt or PURE_PROMPTS),
        instances=instances,
        root=root,
    )
    return print_single(sweep, bound)
