"""Active learning from expert feedback (ALEF).

A LAMBO that follows a changing world with a few labels per slot.

After each slot of a stream: the instances that the network is least sure of go to an expert, and
decoder and heads learn its answers, old ones included; the encoder stays as it is, bit for bit.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambo_agents import weights_io
from lambo_agents.agent import LamboAgent
from lambo_agents.alef import finetune
from lambo_agents.alef.expert import Expert, Label, Labels, joined, question_key
from lambo_agents.alef.fallback import PREFIX as FALLBACK_PREFIX
from lambo_agents.alef.fallback import FallbackPolicy
from lambo_agents.alef.finetune import LabelledBatch, UpdateConfig
from lambo_agents.alef.query import QUERIES, Pool, choose
from lambo_agents.alef.replay import PREFIX, ReplayBuffer
from lambo_agents.network import checkpoint
from lambo_agents.network.aed import AED
from lambo_agents.protocol import Agent
from lambo_agents.registry import make_agent
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.prompts.objectives import PAIR
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import validate

STATE, LABELS = "state.safetensors", "labels"
_ADVICE = "the network is as it was"


class ALEF:
    """An ``Adaptive`` agent around a LAMBO network.

    Args:
        weights: name of shipped weights, a path, or an AED (copied).
        expert: whom to ask: a registered agent's name, or an agent.
        expert_options: arguments for a named expert.
        labels_per_slot: the most that are asked for after a slot.
        budget: the most over the whole stream; None: no end.
        start_slot: slots before it are only decided.
        every: ask after every so many slots only.
        query: "entropy", "margin", "committee" or "random".
        diversity: choose among so many times the labels wanted, far apart (1: the highest scores,
            however alike).
        memory: instances of the stream that are rehearsed, so that nothing is forgotten; they need
            no labels.
        update: how a round learns; an UpdateConfig or its fields.
        fallback: keep the network as it came beside the one that learns, and let a slot be decided
            by whichever was cheaper on the slot most like it, on instances without a label; what is
            rehearsed is then what the former knew.
        fresh: begin from random weights, for comparison: the network is learned from the labels
            alone.
        folder: where labels and state are kept; one that holds some is gone on with, and no
            question is asked twice.
        agent_options: further arguments of LamboAgent, such as allocation.

    ``update_s`` and ``expert_s`` count the CPU seconds of learning and of the expert so far.

    Raises:
        ValueError: an argument out of range, an unknown expert, or a folder of another adaptation.
    """

    objectives = PAIR

    def __init__(
        self,
        weights: str | Path | AED = "lambo-s",
        expert: str | Agent = "local-search",
        expert_options: Mapping[str, Any] | None = None,
        labels_per_slot: int = 4,
        budget: int | None = None,
        start_slot: int = 0,
        every: int = 1,
        query: str = "entropy",
        diversity: int = 1,
        memory: int = 64,
        update: UpdateConfig | Mapping[str, Any] | None = None,
        fallback: bool = True,
        fresh: bool = False,
        folder: str | os.PathLike[str] | None = None,
        **agent_options: Any,
    ) -> None:
        self.labels_per_slot = validate.integer("ALEF.labels_per_slot", labels_per_slot)
        self.budget = None if budget is None else validate.integer("ALEF.budget", budget)
        self.start_slot = validate.integer("ALEF.start_slot", start_slot, low=0)
        self.every = validate.integer("ALEF.every", every)
        self.query = validate.known(query, QUERIES, "ALEF.query")
        self.diversity = validate.integer("ALEF.diversity", diversity)
        for name, table in (("update", update), ("expert_options", expert_options)):
            known = table is None or isinstance(table, Mapping | UpdateConfig)
            validate.check(f"ALEF.{name}", table, known, "a mapping of fields")
        validate.check(
            "ALEF.folder",
            folder,
            folder is None or isinstance(folder, str | os.PathLike),
            "a path or None",
        )
        for name, flag in (("fallback", fallback), ("fresh", fresh)):
            validate.boolean(f"ALEF.{name}", flag)
        self.update = (
            update if isinstance(update, UpdateConfig) else UpdateConfig(**dict(update or {}))
        )
        self.expert = _expert(expert, dict(expert_options or {}))
        own = inspect.signature(LamboAgent).parameters
        validate.known_keys("ALEF", agent_options, [name for name in own if name != "weights"])
        self.agent = LamboAgent(
            weights=copy.deepcopy(weights) if isinstance(weights, AED) else weights, **agent_options
        )
        if fresh:
            finetune.randomise(self.agent.aed)
        self.folder = None if folder is None else Path(folder)
        self.labels = Labels(None if self.folder is None else self.folder / LABELS)
        self.slot, self.asked, self.update_s, self.expert_s = 0, 0, 0.0, 0.0
        self.replay_buffer = ReplayBuffer(validate.integer("ALEF.memory", memory, low=0))
        self._memory: list[Label] = []
        self._sizes: tuple[int, int] | None = None
        self._names = finetune.learned_names(self.agent.aed, self.update.update_params)
        self.fallback = FallbackPolicy(self.agent, self._names) if fallback else None
        if self.folder is not None and (self.folder / STATE).exists():
            with weights_io.reading(self.folder / STATE, "state", "that of this very adaptation"):
                self._restore(self.folder / STATE)

    @property
    def evaluator_in_loop(self) -> bool:
        """Whether candidates are scored before one is answered, as ``agent_options`` say.

        The fallback policy's prices come after the slot.
        """
        return self.agent.evaluator_in_loop

    @property
    def num_parameters(self) -> int:
        """How many numbers the network has learned."""
        return self.agent.num_parameters

    @property
    def num_trainable(self) -> int:
        """How many of them a round updates."""
        return (
            finetune.num_trainable(self.agent.aed)
            if self.update.update_params == "decoder"
            else self.num_parameters
        )

    @property
    def evaluations(self) -> int:
        """How many decisions the simulator has scored, those of the expert apart."""
        return self.agent.evaluations + (0 if self.fallback is None else self.fallback.evaluations)

    @property
    def labels_used(self) -> int:
        """How many labels the network has learned from."""
        return len(self._memory)

    def supports(self, instances: Instances) -> str | None:
        """Return why these instances cannot be decided, or None."""
        return self.agent.supports(instances)

    def decide(self, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> Decision:
        """Return places and CPU of B instances under their prompts, by the network as it is now."""
        validate.generator(rng)
        if self.fallback is not None:
            self.fallback.recognise(instances.to("numpy"))
        return self.agent.decide(instances, prompts, rng)

    def adapt(
        self, instances: Instances, prompts: Prompts, decision: Decision, rng: np.random.Generator
    ) -> int:
        """Learn from the slot just decided; return how many labels were used.

        Raises:
            ExpertError: the expert gave no usable label.
            ValueError: another number of UEs or servers than in the slots before.
            FloatingPointError: the loss was not finite.
            In each case the network is as it was, and the slot may be tried again.
        """
        arrays = instances.to("numpy")
        sizes = (arrays.num_ues, arrays.num_servers)
        validate.check(
            "ALEF.adapt(instances) (num_ues, num_servers)",
            sizes,
            self._sizes in (None, sizes),
            f"{self._sizes}, as before; {_ADVICE}",
        )
        seed = int(rng.integers(2**62))
        new: list[Label] = []
        rows = np.arange(0)
        own = Decision(np.asarray(decision.place), np.asarray(decision.cpu_hz))
        pool = Pool(self.agent, arrays, prompts, own, rng)
        if self.wanted() > 0:
            rows, new = self._ask(pool, seed)
            self._learn(new, seed)
        if self.fallback is not None:
            self.fallback.settle(pool, rows)
        if self.fallback is None or self.fallback.at_home:
            self.replay_buffer.offer(pool, np.random.default_rng(seed + 1))
        self._sizes = sizes
        self.slot += 1
        if self.folder is not None:
            self._save(self.folder / STATE)
        return len(new)

    def wanted(self) -> int:
        """Return how many labels may be asked for after the present slot."""
        due = self.slot >= self.start_slot and (self.slot - self.start_slot) % self.every == 0
        left = (
            self.labels_per_slot
            if self.budget is None
            else min(self.labels_per_slot, self.budget - self.labels_used)
        )
        return left if due else 0

    def _ask(self, pool: Pool, seed: int) -> tuple[NDArray[np.intp], list[Label]]:
        """Return the slot's most doubtful instances and their labels.

        Questions known from before are not asked again. Each has a generator of its own, so that
        the labels that a killed run left change no draw.
        """
        rows = choose(pool, self.query, self.wanted(), self.diversity)
        known = {label.key for label in self._memory}
        questions = [(pool.instances.take(row), pool.prompts.take(row)) for row in rows.tolist()]
        return rows, [
            self._label(*question, seed)
            for question in questions
            if question_key(*question) not in known
        ]

    def _label(self, instances: Instances, prompts: Prompts, seed: int) -> Label:
        """Return the label of one instance: an earlier one, or the expert's."""
        key = question_key(instances, prompts)
        label = self.labels.find(key)
        if label is None:
            start = time.process_time()
            rng = np.random.default_rng([seed, int(key, 16)])
            (label,) = self.expert.ask(instances, prompts, rng)
            self.expert_s += time.process_time() - start
            self.asked += 1
            self.labels.add(label)
        return label

    def _learn(self, new: list[Label], seed: int) -> None:
        """Do one round on what is remembered and what is new."""
        if not new:
            return
        start = time.process_time()
        memory = [*self._memory, *new]
        batch = LabelledBatch.of(*joined(memory), self.agent.device)
        with finetune.restored_on_failure(self.agent.aed):
            if self.fallback is not None:
                self.fallback.use_learned()
            finetune.learn(self.agent, batch, len(new), self.replay_buffer.kept, self.update, seed)
        if self.fallback is not None:
            self.fallback.adopt()
        self.agent.aed.eval()
        self._memory = memory
        self.update_s += time.process_time() - start

    # ---- on the disk -----------------------------------------------------------------------------

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the adapted network as weights that LamboAgent takes."""
        checkpoint.save(path, self.agent.aed.state_dict(), self.agent.aed.config, alef=self._meta())

    def _meta(self) -> dict[str, Any]:
        return {
            "settings": self._settings(),
            "slot": self.slot,
            "sizes": self._sizes,
            "seconds": [self.update_s, self.expert_s],
            "asked": self.asked,
            "evaluations": self.evaluations,
            "offered": self.replay_buffer.offered,
            "labels": [label.key for label in self._memory],
            "at_home": self.fallback is not None and self.fallback.at_home,
        }

    def _settings(self) -> dict[str, Any]:
        """Return what an adaptation that is gone on with must have in common."""
        names = ("labels_per_slot", "budget", "start_slot", "every", "query", "diversity")
        own = {name: getattr(self, name) for name in names}
        own["memory"] = self.replay_buffer.size
        own["fallback"] = self.fallback is not None
        return {**own, "expert": self.expert.name, "update": dataclasses.asdict(self.update)}

    def _save(self, path: Path) -> None:
        aed = self.agent.aed
        kept = {name: aed.state_dict()[name] for name in self._names}
        kept |= self.replay_buffer.tensors()
        if self.fallback is not None:
            kept |= self.fallback.tensors()
        checkpoint.save(path, kept, aed.config, alef=self._meta())

    def _restore(self, path: Path) -> None:
        """Go on where ``_save`` left off.

        Raises:
            ValueError: the state is of another network or of other settings, or a label of it is
                gone.
        """
        tensors, meta = checkpoint.load(path)
        validate.check("ALEF.folder", str(path), "alef" in meta, "the folder of an adaptation")
        kept, aed = meta["alef"], self.agent.aed
        for name, value in self._settings().items():
            there = kept["settings"].get(name)
            validate.check(
                f"adaptation in {str(path.parent)!r}: {name}",
                there,
                there == value,
                f"{value!r} here",
            )
        weights = {
            name: tensor
            for name, tensor in tensors.items()
            if not name.startswith((PREFIX, FALLBACK_PREFIX))
        }
        checkpoint.fit_tensors(aed, {**aed.state_dict(), **weights}, str(path))
        if self.fallback is not None:
            self.fallback.restore(tensors, weights if kept["labels"] else None, kept["at_home"])
        self.replay_buffer.restore(tensors, kept["offered"])
        self.slot, self.asked, (self.update_s, self.expert_s) = (
            kept["slot"],
            kept["asked"],
            kept["seconds"],
        )
        self.agent.evaluations = kept["evaluations"]
        self._sizes = (
            None if kept["sizes"] is None else (int(kept["sizes"][0]), int(kept["sizes"][1]))
        )
        for key in kept["labels"]:
            label = self.labels.find(key)
            validate.check(
                "ALEF.folder",
                str(path.parent),
                label is not None,
                f"a folder with its label {key}.npz",
            )
            self._memory.extend([] if label is None else [label])


def _expert(expert: str | Agent, options: dict[str, Any]) -> Expert:
    if isinstance(expert, str):
        return Expert(make_agent(expert, **options), expert)
    decides = callable(getattr(expert, "decide", None))
    allowed = "a registered agent's name, or an agent with decide(instances, prompts, rng)"
    validate.check("ALEF.expert", expert, decides and not options, allowed)
    return Expert(expert, type(expert).__name__)
