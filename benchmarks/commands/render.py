"""``lambo render``: play an episode and write it as a film, a picture or text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from benchmarks.commands.groups import PLAYED, RUN, WRITTEN


def render(
    *,
    agent: Annotated[str, Parameter(group=PLAYED)] = "greedy",
    versus: Annotated[str | None, Parameter(group=PLAYED)] = None,
    weights: Annotated[str | None, Parameter(group=PLAYED)] = None,
    scenario: Annotated[str, Parameter(group=PLAYED)] = "paper",
    prompt: Annotated[str, Parameter(group=PLAYED)] = "minimum latency",
    seed: Annotated[int, Parameter(group=PLAYED)] = 0,
    num_slots: Annotated[int | None, Parameter(["--num-slots", "--slots"], group=PLAYED)] = None,
    out: Annotated[Path, Parameter(group=WRITTEN)] = Path("episode.mp4"),
    fps: Annotated[int, Parameter(group=WRITTEN)] = 10,
    every: Annotated[int, Parameter(group=WRITTEN)] = 1,
    bound: Annotated[bool, Parameter(group=RUN)] = True,
    limit_s: Annotated[float, Parameter(group=RUN)] = 20.0,
) -> None:
    """Play, write, and say what came out.

    Args:
        agent: A registered agent (`lambo list agents`).
        versus: A second agent, drawn beside the first on the same slots.
        weights: Weights to play instead of the first agent's own, where it takes some: a path.
        scenario: Preset or .toml file.
        prompt: The objective in words.
        seed: Of the environment and of the agents.
        num_slots: Time slots of the episode; UEs move between them (default: 1; where tasks wait,
            the scenario's).
        out: Where to write: .mp4, .gif, .png (the last picture) or .txt.
        fps: Pictures per second: UE decisions, or slots where tasks wait.
        every: One picture in so many stays, and each slot's last: a smaller file.
        bound: Prove each slot's certified optimum and show it beside the running cost.
        limit_s: Time limit of that proof, per slot.
    """
    from benchmarks.report.escaping import tell
    from benchmarks.video.episode import render_episode

    for line in render_episode(
        agent=agent if weights is None else _with_weights(agent, weights),
        out=out,
        scenario=scenario,
        prompt=prompt,
        versus=versus,
        seed=seed,
        num_slots=num_slots,
        fps=fps,
        every=every,
        bound=bound,
        limit_s=limit_s,
    ):
        tell(line)


def _with_weights(name: str, weights: str) -> Any:
    """Return an agent that plays these weights."""
    from lambo_agents.registry import make_agent
    from lambo_env.utils import validate

    try:
        return make_agent(name, weights=weights)
    except ValueError as error:
        return validate.refuse("--weights", weights, f"weights that {name!r} takes ({error})")
