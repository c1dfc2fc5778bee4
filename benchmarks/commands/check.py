"""``lambo check agent|env``: conformance checks, one line each; exit code 1 where one fails."""

from __future__ import annotations

import importlib
from typing import Any

from benchmarks.report.console import print_table


def agent(name: str, *, scenario: str = "tiny") -> int:
    """Run the checks of a registered agent.

    Args:
        name: A registered agent (`lambo list agents`).
        scenario: Preset or .toml file to check it on.
    """
    from lambo_agents.registry import make_agent
    from lambo_agents.testing.agent_checks import check_agent

    return _tell(check_agent(make_agent(name), scenario, raise_on_failure=False), f"agent {name}")


def env(id: str) -> int:  # noqa: A002
    """Run the checks of a registered environment.

    Args:
        id: A registered environment, for example LAMBO-MEC-v0, or module:ID to import its module
            first.
    """
    import gymnasium

    from lambo_env.testing.env_checks import check_env

    module, _, name = id.rpartition(":")
    importlib.import_module(module or "lambo_env")  # registers its ids
    try:
        gymnasium.spec(name)
    except gymnasium.error.Error as error:
        raise ValueError(f"unknown environment {id!r}: {error}") from error
    return _tell(check_env(name, raise_on_failure=False), f"environment {id}")


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
