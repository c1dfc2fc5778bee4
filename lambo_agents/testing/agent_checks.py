"""``check_agent``: whether an agent keeps the contract of ``lambo_agents.protocol``."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from lambo_agents import guard
from lambo_agents.testing.behaviour_checks import BEHAVIOUR, TEXTS, Probe
from lambo_agents.testing.decision_checks import FAULTS
from lambo_env.offloading.scenario import Scenario, load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.testing.report import Check, Report


class AgentCheckError(AssertionError):
    """Raised for an agent that fails a check; ``report`` has every row."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


def check_agent(
    agent: Any,
    scenario: str | Scenario = "tiny",
    *,
    seed: int = 0,
    torch_device: str | None = None,
    limit_ms: float | None = None,
    raise_on_failure: bool = True,
) -> Report:
    """Run every check on ``agent`` and return the report.

    Args:
        agent: the object to check.
        scenario: what the instances are drawn from; choose one that the agent supports.
        seed: of the instances and of the agent's generator.
        torch_device: also hand the agent torch instances on this device, such as "cpu".
        limit_ms: the most that a decision may take, in ms per instance; None only reports the time.
        raise_on_failure: False returns the report of a faulty agent too.

    Raises:
        AgentCheckError: some check failed; the text is the report.
    """
    instances = sample_instances(load_scenario(scenario), len(TEXTS), np.random.default_rng(seed))
    probe = Probe(agent, instances, Prompts.of(list(TEXTS)), seed, torch_device, limit_ms)
    with guard.guarded():
        report = Report(type(agent).__name__, tuple(_rows(probe)))
    if report.failures and raise_on_failure:
        raise AgentCheckError(report)
    return report


def _rows(probe: Probe) -> list[Check]:
    """Run every check; those that build on a decision run only when there is a sound one."""
    rows = [Check.made("decide", probe.can_decide)]
    for name, fault in FAULTS.items():
        if not rows[-1].ok:  # a wrong shape makes nonsense of what follows it
            return rows
        rows.append(Check.made(name, partial(fault, probe.instances, probe.decided)))
    if rows[-1].ok:
        rows += [Check.made(name, partial(check, probe)) for name, check in BEHAVIOUR.items()]
    return rows
