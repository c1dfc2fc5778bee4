"""Contracts that any agent must keep: ``check_agent``."""

from lambo_agents.testing.agent_checks import AgentCheckError, check_agent
from lambo_env.testing.report import NotChecked

__all__ = ["AgentCheckError", "NotChecked", "check_agent"]
