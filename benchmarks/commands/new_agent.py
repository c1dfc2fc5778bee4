"""``lambo new-agent NAME``: a package of four files whose agent already runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from lambo_env.utils import validate


def new_agent(name: str, *, out: Path | None = None) -> None:
    """Write the package and say what to type next.

    Args:
        name: Of the agent and of its module: lower-case letters, digits and _.
        out: Folder to write (default: NAME); new or empty.
    """
    from benchmarks.scaffold.scaffold import new_agent as write
    from lambo_agents.registry import list_agents

    taken = (
        name in list_agents() or importlib.util.find_spec(name.partition(".")[0] or "_") is not None
    )
    validate.check(
        "new-agent NAME",
        name,
        not taken,
        "a name that no agent and no installed module has",
    )
    folder = out or Path(name)
    for path in write(name, folder):
        print(path)
    print(f"next: pip install -e {folder} && lambo check agent {name}")
    print(f"      lambo bench quick --agents {name},greedy,exact")
