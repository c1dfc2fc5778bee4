"""Where instances come from.

Evaluation and training draw from generators that never meet, whatever the seeds.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from lambo_env.cell.scenario import CellScenario
from lambo_env.utils import validate

_TRAINING, _EVALUATION, _DECISION = 0, 1, 2  # first entry of the spawn key


class Hashed(Protocol):
    """A scenario, or data that stand for one."""

    @property
    def hash(self) -> str:
        """Content hash, hex digits."""


def evaluation_rng(root: int, scenario: Hashed, block: int) -> np.random.Generator:
    """Return the generator of one block of evaluation instances, the same for every agent."""
    return _generator(root, _EVALUATION, scenario.hash, block)


def training_rng(root: int, scenario: CellScenario, stream: int) -> np.random.Generator:
    """Return the generator of one stream of training instances.

    It meets no evaluation block of any root.
    """
    return _generator(root, _TRAINING, scenario.hash, stream)


def decision_rng(root: int, content_hash: str, block: int) -> np.random.Generator:
    """Return the generator that an agent decides one block with.

    ``content_hash`` is the scenario's or the file's.
    """
    return _generator(root, _DECISION, content_hash, block)


def episode_rng(rng: np.random.Generator) -> np.random.Generator:
    """Return the generator of one episode, seeded by one draw from ``rng``.

    What comes after an episode depends neither on its length nor on how far ahead it is drawn.
    """
    return np.random.default_rng(int(rng.integers(2**63)))


def _generator(root: int, kind: int, content_hash: str, index: int) -> np.random.Generator:
    root, index = validate.integer("root", root, low=0), validate.integer("block", index, low=0)
    first_32_bits = int(content_hash[:8], 16)
    return np.random.default_rng(
        np.random.SeedSequence(root, spawn_key=(kind, first_32_bits, index))
    )
