"""Expert labels: asked for once, refused where they are bad, kept on the disk."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambo_agents.protocol import Agent, unsupported
from lambo_env.offloading import physics
from lambo_env.offloading.instances import LOCAL, Decision, Instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import files, validate

_FIELDS = [field.name for field in dataclasses.fields(Instances)]


class ExpertError(RuntimeError):
    """The expert gave no usable label; the text says which expert, and why.

    Nothing was learned from the slot.
    """


@dataclasses.dataclass(frozen=True)
class Label:
    """One instance with its prompt and what the expert would do."""

    instances: Instances  # [1]
    prompts: Prompts  # [1]
    place: NDArray[np.int64]  # [N]

    @property
    def key(self) -> str:
        """Content hash of the question (not of the answer), 24 hex digits."""
        return question_key(self.instances, self.prompts)

    def save(self, path: Path) -> None:
        """Write the label, atomically."""
        fields: dict[str, Any] = {name: getattr(self.instances, name) for name in _FIELDS}
        with files.atomic_writer(path) as file:
            np.savez(
                file,
                **fields,
                place=self.place,
                text=self.prompts.texts[0],
                weight=self.prompts.latency_weight,
            )

    @classmethod
    def load(cls, path: Path) -> Label:
        """Read a label that ``save`` wrote.

        Raises:
            ValueError: the file is damaged or another program's.
        """
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
                instances = Instances(**{name: kept[name] for name in _FIELDS})
                prompts = Prompts((str(kept["text"]),), kept["weight"])
                place = kept["place"].astype(np.int64)
                if not (
                    place.shape == (instances.num_ues,)
                    and place.min() >= 0
                    and place.max() <= instances.num_servers
                ):
                    raise ValueError("places that do not fit the instance")
        except Exception as error:  # a damaged archive raises whatever it likes
            raise ValueError(
                f"label is {str(path)!r}; allowed: a whole .npz of this package ({error})"
            ) from error
        return cls(instances, prompts, place)


def question_key(instances: Instances, prompts: Prompts) -> str:
    """Return the content hash of one instance under its prompt, 24 hex digits."""
    return instances.hash(prompts.texts[0])[:24]


class Labels:
    """The labels so far, by question; with a folder each is on the disk before it is used."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.known: dict[str, Label] = {}

    def find(self, key: str) -> Label | None:
        """Return the label of a question, from memory or from the disk."""
        path = None if self.folder is None else self.folder / f"{key}.npz"
        if key not in self.known and path is not None and path.is_file():
            self.known[key] = Label.load(path)
        return self.known.get(key)

    def add(self, label: Label) -> None:
        """Keep a label, for good."""
        if self.folder is not None:
            label.save(self.folder / f"{label.key}.npz")
        self.known[label.key] = label


@dataclasses.dataclass(frozen=True)
class Expert:
    """An agent that is asked, with what is expected of its answers.

    Args:
        agent: whoever decides.
        name: for messages.
    """

    agent: Agent
    name: str

    def ask(self, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> list[Label]:
        """Return the expert's labels of k instances.

        Raises:
            ExpertError: it refuses the instances, fails, or its decision is illegal or needlessly
                late.
        """
        reason = unsupported(self.agent, instances, prompts)
        if reason is not None:
            raise self._error(f"cannot decide these instances: {reason}")
        try:
            answer = self.agent.decide(instances, prompts, rng)
        except Exception as error:  # whatever a stranger's agent raises
            raise self._error(f"failed: {type(error).__name__}: {error}") from error
        try:
            decision = Decision(np.asarray(answer.place), np.asarray(answer.cpu_hz))
            decision.check(instances, physics.CAPACITY_TOLERANCE)
        except Exception as error:
            raise self._error(f"gave an illegal decision: {error}") from error
        outcome = physics.evaluate(instances, decision, prompts.objective(instances))
        needless = outcome.late & ~physics.is_late(physics.local_s(instances), instances.deadline_s)
        if needless.any():
            row, ue = np.argwhere(needless)[0]
            raise self._error(f"labels late: UE {ue} of instance {row} could be in time locally")
        place = np.where(outcome.late, LOCAL, decision.place).astype(
            np.int64
        )  # late is late: the network knows it as local
        return [Label(instances.take(k), prompts.take(k), place[k]) for k in range(len(place))]

    def _error(self, what: str) -> ExpertError:
        return ExpertError(f"expert {self.name!r} {what}; the network is as it was")


def joined(labels: Sequence[Label]) -> tuple[Instances, Prompts, NDArray[np.int64]]:
    """Return labels as one batch: instances [L], prompts [L], places [L, N]."""
    validate.check("labels", len(labels), len(labels) > 0, "at least one")
    return (
        Instances.concat([label.instances for label in labels]),
        Prompts.concat([label.prompts for label in labels]),
        np.stack([label.place for label in labels]),
    )
