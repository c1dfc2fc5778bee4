"""``lambo new-agent NAME``: a package of four files whose agent already runs."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

from cyclopts import Parameter

from lambo_env.utils import validate


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class NewAgentOptions:
    """What ``lambo new-agent`` takes."""

    name: str
    """Of the agent and of its module: lower-case letters, digits and _."""
    _: dataclasses.KW_ONLY
    out: Path | None = None
    """Folder to write (default: NAME); new or empty."""


def new_agent(options: NewAgentOptions) -> None:
    """Write the package and say what to type next."""
    from benchmarks.scaffold.scaffold import new_agent as write
    from lambo_agents.registry import list_agents

    taken = (
        options.name in list_agents()
        or importlib.util.find_spec(options.name.partition(".")[0] or "_") is not None
    )
    validate.check(
        "new-agent NAME",
        options.name,
        not taken,
        "a name that no agent and no installed module has",
    )
    folder = options.out or Path(options.name)
    for path in write(options.name, folder):
        print(path)
    print(f"next: pip install -e {folder} && lambo check agent {options.name}")
    print(f"      lambo bench quick --agents {options.name},greedy,exact")
