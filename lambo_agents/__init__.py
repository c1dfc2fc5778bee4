"""Agents for the LAMBO environments: the protocol, the registry, and LAMBO itself.

Importing this loads no torch.
"""

from lambo_agents import testing
from lambo_agents.protocol import Adaptive, Agent, Solved, Solver
from lambo_agents.reading import TextReading, read
from lambo_agents.registry import AgentSpec, list_agents, make_agent, register_agent

__all__ = [
    "Adaptive",
    "Agent",
    "AgentSpec",
    "Solved",
    "Solver",
    "TextReading",
    "list_agents",
    "make_agent",
    "read",
    "register_agent",
    "testing",
]
