"""``lambo render``: play an episode and write it as a film, a picture or text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def render(
    *,
    agent: str = "greedy",
    versus: str | None = None,
    scenario: str = "paper",
    prompt: str = "minimum latency",
    seed: int = 0,
    num_slots: int | None = None,
    out: Path = Path("episode.mp4"),
    fps: int = 10,
    bound: Annotated[bool, Parameter(negative="--no-bound")] = True,
    limit_s: float = 20.0,
) -> None:
    """Play, write, and say what came out.

    Args:
        agent: A registered agent (`lambo list agents`).
        versus: A second agent, drawn beside the first on the same slots.
        scenario: Preset or .toml file.
        prompt: The objective in words.
        seed: Of the environment and of the agents.
        num_slots: Time slots of the episode; UEs move between them (default: 1; where tasks wait,
            the scenario's).
        out: Where to write: .mp4, .gif, .png (the last picture) or .txt.
        fps: UE decisions a second; slots where tasks wait.
        bound: Prove each slot's certified optimum and show it beside the running cost.
        limit_s: Time limit of that proof, a slot.
    """
    from benchmarks.report.escaping import tell
    from benchmarks.video.episode import render_episode

    for line in render_episode(
        agent=agent,
        out=out,
        scenario=scenario,
        prompt=prompt,
        versus=versus,
        seed=seed,
        num_slots=num_slots,
        fps=fps,
        bound=bound,
        limit_s=limit_s,
    ):
        tell(line)
