"""``lambo evaluate AGENT``: one agent on evaluation instances, beside the certified bound.

Nothing is written.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated

from cyclopts import Parameter

from lambo_env.prompts.objectives import PURE_PROMPTS
from lambo_env.utils import validate


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """What ``lambo evaluate`` takes."""

    agent: str
    """A registered agent (`lambo list agents`)."""
    _: dataclasses.KW_ONLY
    scenario: str = "paper"
    """Preset or .toml file."""
    prompt: Annotated[list[str] | None, Parameter(negative=())] = None
    """The objective in words; may be given more than once (default: minimum latency, minimum
    energy)."""
    instances: int = 64
    """How many evaluation instances."""
    root: int = 0
    """Root seed of the evaluation instances."""
    weights: str | None = None
    """Weights to play instead of the agent's own, where it takes some: a path, such as that of a
    training's best network."""
    bound: bool = True
    """Prove bounds and print the gap to them."""


def evaluate(options: EvaluateOptions) -> int:
    """Print the agent's table."""
    from benchmarks.report.single_agent import print_single
    from benchmarks.sweep.config import AgentEntry, Sweep
    from benchmarks.sweep.instance_sources import scenario_source
    from lambo_agents.registry import list_agents, make_agent

    validate.known(options.agent, list_agents(), "agent")
    if options.weights is not None:
        make_agent(
            options.agent, weights=options.weights
        )  # what cannot be loaded is bad input, not an empty table
    sweep = Sweep(
        name="evaluate",
        agents=(
            AgentEntry(
                options.agent, {} if options.weights is None else {"weights": options.weights}
            ),
        ),
        scenarios=(scenario_source(options.scenario),),
        prompts=tuple(options.prompt or PURE_PROMPTS),
        instances=options.instances,
        root=options.root,
    )
    return print_single(sweep, options.bound)
