"""``lambo check agent|env``: conformance checks, one line each; exit code 1 where one fails."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

from cyclopts import Parameter

from benchmarks.report.console import print_table


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class CheckAgentOptions:
    """What ``lambo check agent`` takes."""

    name: str
    """A registered agent (`lambo list agents`)."""
    _: dataclasses.KW_ONLY
    scenario: str = "tiny"
    """Preset or .toml file to check it on."""


def agent(options: CheckAgentOptions) -> int:
    """Run the checks of a registered agent."""
    from lambo_agents.registry import make_agent
    from lambo_agents.testing.agent_checks import check_agent

    report = check_agent(make_agent(options.name), options.scenario, raise_on_failure=False)
    return _tell(report, f"agent {options.name}")


@Parameter(name="*")
@dataclasses.dataclass(frozen=True)
class CheckEnvOptions:
    """What ``lambo check env`` takes."""

    id: str
    """A registered environment, for example LAMBO-MEC-v0, or module:ID to import its module
    first."""


def env(options: CheckEnvOptions) -> int:
    """Run the checks of a registered environment."""
    import gymnasium

    from lambo_env.testing.env_checks import check_env

    module, _, name = options.id.rpartition(":")
    importlib.import_module(module or "lambo_env")  # registers its ids
    try:
        gymnasium.spec(name)
    except gymnasium.error.Error as error:
        raise ValueError(f"unknown environment {options.id!r}: {error}") from error
    return _tell(check_env(name, raise_on_failure=False), f"environment {options.id}")


def _tell(report: Any, title: str) -> int:
    words = {True: "ok", False: "FAIL", None: "skipped"}
    print_table(
        ("", "check", "detail"),
        [(words[row.ok], row.name, row.detail) for row in report.rows],
        title,
    )
    counts = {word: sum(row.ok is ok for row in report.rows) for ok, word in words.items()}
    print(", ".join(f"{count} {word}" for word, count in counts.items() if count))
    return 1 if counts["FAIL"] else 0
