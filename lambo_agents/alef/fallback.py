"""The network as it came, kept beside the one that learns.

A slot is decided by whichever was cheaper on the slot most like it.

So an update that does no good is not used, and a world that comes back is decided as it was,
without a label. Costs are those of the simulator on instances without a label, after the slot; a
decision itself rests on the observation alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lambo_agents.agent import LamboAgent
from lambo_agents.alef.query import Pool
from lambo_env.offloading import observation, physics
from lambo_env.offloading.instances import Decision, Instances

COMPARED = 8  # instances of a slot that both decide, at most
REMEMBERED = 64  # slots
PREFIX = "guard/"
_FINEST = 1e-3  # differences of columns below this mean nothing

Weights = dict[str, Tensor]


class FallbackPolicy:
    """Two sets of weights of one network, of which one is in use.

    Args:
        agent: whose network learns.
        names: of the weights that may change.
    """

    def __init__(self, agent: LamboAgent, names: Sequence[str]) -> None:
        self.agent, self.names = agent, tuple(names)
        self.home = self._copy()
        self.evaluations = 0  # decisions that were scored
        self.learned: Weights | None = None  # before the first round there is nothing to compare
        self.at_home = True  # which is in use
        self.decided_at_home = True  # which decided the slot at hand
        self.slots: list[
            tuple[NDArray[np.float64], bool]
        ] = []  # what slots were like, and whether home was the better

    def _copy(self) -> Weights:
        state = self.agent.aed.state_dict()
        return {name: state[name].detach().clone() for name in self.names}

    @torch.no_grad()
    def _use(self, weights: Weights) -> None:
        state = self.agent.aed.state_dict()
        for name in self.names:
            state[name].copy_(weights[name])

    def use_learned(self) -> None:
        """Put the learned weights in use, so that they are updated further."""
        if self.learned is not None:
            self._use(self.learned)

    def adopt(self) -> None:
        """Take the weights in use as those that were learned."""
        self.learned, self.at_home = self._copy(), False

    def recognise(self, instances: Instances) -> None:
        """Put in use, before a decision, what was better on the slot most like this one."""
        if self.learned is None or not self.slots:
            return
        mean, error = _likeness(instances)
        far = [float((((seen - mean) / error) ** 2).sum()) for seen, _ in self.slots]
        self.at_home = self.decided_at_home = self.slots[int(np.argmin(far))][1]
        self._use(self.home if self.at_home else self.learned)

    def tensors(self) -> dict[str, Tensor]:
        """Return the remembered slots and the learned weights as tensors by name."""
        seen, home = zip(*self.slots, strict=True)
        return {
            PREFIX + "seen": torch.from_numpy(np.stack(seen)),
            PREFIX + "home": torch.tensor(home),
            **(self.learned or {}),
        }

    def restore(self, tensors: dict[str, Tensor], learned: Weights | None, at_home: bool) -> None:
        """Go on with the slots of ``tensors`` and, where there are any, weights learned before."""
        if PREFIX + "seen" in tensors:
            seen, home = (tensors[PREFIX + name] for name in ("seen", "home"))
            self.slots = list(zip(seen.numpy(), home.tolist(), strict=True))
        if learned is not None:
            self.learned = {name: learned[name].to(self.home[name]) for name in self.names}
            self.at_home = self.decided_at_home = at_home
            self._use(self.home if at_home else self.learned)

    def settle(self, pool: Pool, asked: NDArray[np.intp]) -> None:
        """Compare both on a slot's unlabelled instances (all, if none is left), and remember it.

        The one in use, after a round the one that learned, gives way if the other is cheaper by
        more than a standard error: a slot is a small sample.

        Args:
            pool: the slot.
            asked: rows [K] that were labelled.
        """
        if self.learned is not None:
            self._compare(pool, asked, self.learned)
        self.remember(pool.instances)

    def remember(self, instances: Instances) -> None:
        """Note what a slot was like, and that the weights in use are the better ones there."""
        self.slots = [*self.slots, (_likeness(instances)[0], self.at_home)][-REMEMBERED:]

    def _compare(self, pool: Pool, asked: NDArray[np.intp], learned_weights: Weights) -> None:
        rows = np.setdiff1d(np.arange(pool.instances.batch_size), asked)
        rows = rows[:COMPARED] if len(rows) else np.arange(pool.instances.batch_size)
        some = Pool(
            pool.agent,
            pool.instances.take(rows),
            pool.prompts.take(rows),
            pool.decision.take(rows),
            pool.rng,
        )
        self.evaluations += 2 * len(rows)
        # whoever decided the slot has not changed since, unless it has just learned
        known = _cost(some, some.decision)
        home = known if self.decided_at_home else self._anew(some, self.home)
        learned = self._anew(some, learned_weights) if self.decided_at_home or len(asked) else known
        dearer = np.log(learned / home)
        error = float(dearer.std() / np.sqrt(max(1, len(rows) - 1)))
        self.at_home = bool(dearer.mean() > (-error if self.at_home else error))
        self.decided_at_home = self.at_home
        self._use(self.home if self.at_home else learned_weights)

    def _anew(self, some: Pool, weights: Weights) -> NDArray[np.float64]:
        """Return what the decisions of some weights cost [B]."""
        self._use(weights)
        return _cost(some, self.agent.decide(some.instances, some.prompts, some.rng))


def _likeness(instances: Instances) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a slot's mean observation of UEs and servers, and its standard error."""
    capacity = instances.server_cpu_hz
    sizes = observation.server_columns(capacity, capacity, np)[..., 1]
    each = np.concatenate([observation.static_columns(instances).mean(axis=1), sizes], axis=1)
    return each.mean(axis=0), each.std(axis=0) / np.sqrt(len(each)) + _FINEST


def _cost(some: Pool, decision: Decision) -> NDArray[np.float64]:
    return np.asarray(
        physics.evaluate(some.instances, decision, some.prompts.objective(some.instances)).cost
    )
