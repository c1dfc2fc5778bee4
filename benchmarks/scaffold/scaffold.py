"""A package of four files whose agent already runs: the start of somebody else's agent."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from lambo_env.utils import files, validate

_PYPROJECT = """\
[build-system]
requires = ["setuptools>=61"]
build-backend = "setuptools.build_meta"

[project]
name = "@DIST@"
version = "0.1.0"
description = "An agent for the LAMBO suite"
requires-python = ">=3.11"
dependencies = ["lambo-mec"]

[project.entry-points."lambo.agents"]
@NAME@ = "@NAME@:@CLASS@"

[tool.setuptools]
py-modules = ["@NAME@"]
"""

_AGENT = '''\
"""@CLASS@, an agent for the LAMBO suite. Shapes: B instances, N UEs, M servers; place 0 is local, m is server m."""

from lambo_env.offloading import physics
from lambo_env.offloading.instances import LOCAL, Decision, at_place, over_places


class @CLASS@:
    """Every UE to the server that it uploads to in the least time, if the task can then still be in time."""

    def decide(self, instances, prompts, rng):
        """Return places int [B, N] and server CPU [B, N] in cycles/s. `prompts.objective(instances)` has the weights of the cost."""
        xp = instances.xp  # NumPy or torch, whatever came in
        rates = over_places(xp.zeros_like(instances.cycles), instances.uplink_bps, xp)  # [B, N, M + 1]
        place = xp.argmax(rates, axis=-1)
        place = xp.where(at_place(physics.on_time(instances), place, xp), place, LOCAL)
        return Decision(place, physics.allocate(instances, place))  # the optimal CPU for these places
'''

_TEST = '''\
"""@CLASS@ keeps the contract of the suite's agents, and is found by its name."""

import numpy as np

import lambo_agents
import lambo_env
from @NAME@ import @CLASS@


def test_it_keeps_the_contract():
    lambo_agents.testing.agent_checks.check_agent(@CLASS@())


def test_it_is_found_and_offloads_something():
    instances = lambo_env.sample_instances(lambo_env.load_scenario("paper"), 4, np.random.default_rng(0))
    prompts = lambo_env.Prompts.of("minimum latency", 4)
    decision = lambo_agents.make_agent("@NAME@").decide(instances, prompts, np.random.default_rng(0))
    assert (decision.place > 0).any()
'''

_README = """\
# @DIST@

An agent for the [LAMBO suite](https://pypi.org/project/lambo-mec/). The rule is in `@NAME@.py`; change `decide`.

```console
$ pip install -e .
$ lambo check agent @NAME@
$ lambo bench quick --agents @NAME@,greedy,exact
```

`pytest` runs the same checks.
"""

_TAKEN = ("conftest", "setup")  # pip and pytest would run these files


def new_agent(name: str, folder: Path) -> list[Path]:
    """Write the package of agent ``name`` into ``folder`` and return its files.

    Raises:
        ValueError: a name that cannot be a Python module and an agent at once, or one that is
            taken.
        FileExistsError: the folder holds something already.
    """
    named = re.fullmatch(r"[a-z][a-z0-9_]*", name) is not None and not keyword.iskeyword(name)
    allowed = "a Python module's name: lower-case letters, digits and _, a letter first"
    validate.check("new-agent NAME", name, named, allowed)
    validate.check(
        "new-agent NAME",
        name,
        name not in _TAKEN,
        "a name that no tool takes for a file of its own",
    )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} holds something already; choose another folder with --out")
    words = {
        "NAME": name,
        "CLASS": "".join(part.capitalize() for part in name.split("_")),
        "DIST": name.replace("_", "-"),
    }
    texts = {
        "pyproject.toml": _PYPROJECT,
        f"{name}.py": _AGENT,
        f"test_{name}.py": _TEST,
        "README.md": _README,
    }
    for file, text in texts.items():
        files.write_text(
            folder / file, re.sub("@(NAME|CLASS|DIST)@", lambda found: words[found[1]], text)
        )
    return [folder / file for file in texts]
