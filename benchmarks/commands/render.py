"""``lambo render``: play an episode and write it as a film, a picture or text."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class RenderOptions:
    """What ``lambo render`` takes."""

    _: dataclasses.KW_ONLY
    agent: str = "greedy"
    """A registered agent (`lambo list agents`)."""
    versus: str | None = None
    """A second agent, drawn beside the first on the same slots."""
    scenario: str = "paper"
    """Preset or .toml file."""
    prompt: str = "minimum latency"
    """The objective in words."""
    seed: int = 0
    """Of the environment and of the agents."""
    num_slots: int = 1
    """Time slots of the episode; UEs move between them."""
    out: Path = Path("episode.mp4")
    """Where to write: .mp4, .gif, .png (the last picture) or .txt."""
    fps: int = 10
    """UE decisions a second."""
    bound: Annotated[bool, Parameter(negative="--no-bound")] = True
    """Prove each slot's certified optimum and show it beside the running cost."""
    limit_s: float = 20.0
    """Time limit of that proof, a slot."""


def render(options: RenderOptions = RenderOptions()) -> int:
    """Play, write, and say what came out."""
    from benchmarks.report.labels import tell
    from benchmarks.video.episode import render_episode

    for line in render_episode(**vars(options)):
        tell(line)
    return 0
