"""What an agent is: an object that turns Instances and Prompts into a Decision.

No base class, no environment, no torch.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np

from lambo_env.offloading.instances import Array, Decision, Instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.registration import DEFAULT_WORLD, world_of
from lambo_env.utils import validate
from lambo_env.utils.rows import ArrayHolder


@runtime_checkable
class Agent(Protocol):
    """The whole contract.

    ``decide`` never changes its arguments; all randomness comes from ``rng``.

    An agent may also have ``supports(instances) -> str | None``: why it cannot decide these (the
    sweep prints the reason), and may state, for the tables and for ``testing.check_agent`` (class
    attributes; the class's first docstring line is its summary):

    - ``evaluator_in_loop: bool`` (False): it scores candidates with the simulator before it
      answers;
    - ``labels_used: int`` (0): expert decisions that its training saw;
    - ``batch_invariant: bool``: a row is decided as it would be alone; expected of agents that draw
      nothing from ``rng``;
    - ``world: str | tuple[str, ...]`` ("offloading"): whose instances it decides, of ``lambo list
      envs``;
    - ``objectives: tuple[str, ...]``: the only ones that it can minimise; otherwise any.
    """

    def decide(self, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> Decision:
        """Return places int [B, N] and server CPU [B, N] in cycles/s for B instances."""
        ...


@runtime_checkable
class Adaptive(Agent, Protocol):
    """An agent that learns on the way.

    ``adapt`` is called after each slot of a stream has been scored.
    """

    def adapt(
        self, instances: Instances, prompts: Prompts, decision: Decision, rng: np.random.Generator
    ) -> int:
        """Learn from the slot just decided; return how many expert labels were used."""
        ...


@runtime_checkable
class Improver(Protocol):
    """A search that starts from a given decision and returns one that costs no more."""

    def improve(
        self, instances: Instances, prompts: Prompts, decision: Decision, rng: np.random.Generator
    ) -> Decision:
        """Return a decision at most as costly as ``decision``."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Solved(ArrayHolder):
    """A decision with a proof.

    No decision of the instance costs less than ``lower_bound`` (to 1e-5, the tolerances).
    """

    decision: Decision
    lower_bound: Array  # [B], in units of the cost
    proven: Array  # bool [B], whether the gap asked for was reached within the time limit


@runtime_checkable
class Solver(Protocol):
    """An agent that proves how cheap a decision can be."""

    def solve(self, instances: Instances, prompts: Prompts) -> Solved:
        """Return the best decisions found for B instances, with their lower bounds."""
        ...


def worlds(agent: object) -> tuple[str, ...]:
    """Return the names of the worlds whose instances an agent, or a class of agents, decides."""
    named: str | tuple[str, ...] = getattr(agent, "world", DEFAULT_WORLD)
    return (named,) if isinstance(named, str) else named


def unsupported(agent: object, instances: Instances, prompts: Prompts | None = None) -> str | None:
    """Return why ``agent`` cannot decide ``instances`` under ``prompts``, or None.

    An agent decides one world, "offloading" unless it says otherwise; without ``supports`` it
    takes everything of that world, without ``objectives`` whatever prompts ask for.
    """
    given = world_of(instances, "instances").name
    if given not in (known_worlds := worlds(agent)):
        known_text = " or ".join(map(repr, known_worlds))
        return f"it decides instances of {known_text}; these are of {given!r}"
    supports, known = getattr(agent, "supports", None), getattr(agent, "objectives", None)
    reason: str | None = None if supports is None else supports(instances)
    if reason is not None or prompts is None or known is None:
        return reason
    beyond = [
        name for name, weight in prompts.weights.items() if weight.any() and name not in known
    ]
    asked = f"it minimises {' and '.join(known)}; these prompts ask for {', '.join(beyond)}"
    return asked if beyond else None


def refuse_unsupported(agent: object, instances: Instances, prompts: Prompts) -> None:
    """Raise ``ValueError`` with the reason where ``unsupported`` gives one."""
    reason = unsupported(agent, instances, prompts)
    if reason:
        raise ValueError(f"{type(agent).__name__} cannot decide these instances: {reason}")


def check_call(
    agent: object, instances: Instances, prompts: Prompts, rng: np.random.Generator
) -> None:
    """Refuse what no agent can decide, in the words of ``agent``.

    Raises:
        ValueError: instances that it does not support, none at all, not as many prompts, or no
            generator.
    """
    validate.generator(rng)
    name, size = type(agent).__name__, instances.batch_size
    reason = unsupported(agent, instances, prompts)
    validate.check(f"{name}.decide(instances)", instances.num_servers, reason is None, f"{reason}")
    what = f"{name}.decide(instances) (batch_size)"
    validate.check(what, size, size > 0, "at least one instance")
    allowed = f"{size}, one per instance"
    validate.check(f"{name}.decide(prompts)", len(prompts), len(prompts) == size, allowed)
