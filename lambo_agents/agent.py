"""LAMBO as an agent.

The network's decisions for a batch of instances, greedy or the best of several, polished if asked.
"""

from __future__ import annotations

import copy
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lambo_agents.network import checkpoint
from lambo_agents.network import decoding as decode
from lambo_agents.network.aed import AED
from lambo_agents.network.device import known_device
from lambo_agents.network.prompt_encoder import meaning_of
from lambo_agents.protocol import Improver, check_call
from lambo_agents.reading import TextReader
from lambo_agents.registry import make_agent
from lambo_agents.rows import LABELS
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.prompts.objectives import PAIR
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import malloc, rules, validate

DECODINGS = ("greedy", "sample")
READINGS = ("rules", "network")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
# temperatures of samples that are taken as they are, and of those that are polished
WARM, HOT = 1.2, 8.0
HOTTEST = 100  # temperature: far more than uniform, far less than what keeps illegal places out
_ROWS = 512  # rollouts worked on at once: their state stays in a processor's cache

Places = NDArray[np.int64]


class LamboAgent:
    """Reads the prompts' text and the slot's observation columns.

    Never the prompts' weights, but to pick the best of its samples.

    Args:
        weights: name of shipped weights ("lambo-s"), a path, or an AED.
        decoding: "greedy", or "sample": the cheapest of the greedy rollout and ``samples`` - 1
            drawn ones.
        samples: rollouts per instance, for "sample".
        polish: an agent, or a registered one's name, whose ``improve`` every rollout is put through
            before the cheapest is taken, such as "local-search"; the CPU of what it changes is
            allotted by its own rule (local search: the closed form).
        allocation: "optimal" (closed form on the chosen places) or "share" (the network's sigmoids,
            as in the paper).
        device: torch device of the network.
        temperature: of the drawn rollouts; above 1 they differ more, which pays where only the
            cheapest counts. None: 1.2, or 8 with ``polish``, which mends what is bad about a start
            but not that all starts are alike.
        precision: "fp32", or "bf16" for the encoder's layers: faster on large batches where a
            processor has matrix units for it.

        min_confidence: a text that is read with less is refused (``lambo_agents.read``); 0 decides
            under any.
        reading: "rules" reads texts as ``lambo_agents.read`` does; "network" leaves it all to the
            network, which refuses none, as networks without meanings always do.
        compiled: compile the encoder for this processor, which pays on large batches in bf16. It
            takes up to a minute at the first decision of a size and a C++ compiler (on a CPU).

    Raises:
        ValueError: an unknown option, or weights that cannot be loaded.
        FileNotFoundError: a path with nothing at it.
    """

    objectives = PAIR

    def __init__(
        self,
        weights: str | Path | AED = "lambo-s",
        decoding: str = "greedy",
        samples: int = 16,
        polish: Improver | str | None = None,
        allocation: str = "optimal",
        device: str = "cpu",
        temperature: float | None = None,
        precision: str = "fp32",
        compiled: bool = False,
        min_confidence: float = 0.5,
        reading: str = "rules",
    ) -> None:
        self.decoding = validate.known(decoding, DECODINGS, "decoding")
        self.allocation = validate.known(allocation, decode.ALLOCATIONS, "allocation")
        self.samples = validate.integer("LamboAgent.samples", samples)
        warmth = (WARM if polish is None else HOT) if temperature is None else temperature
        self.temperature = validate.positive("LamboAgent.temperature", warmth)
        validate.check(
            "LamboAgent.temperature",
            warmth,
            warmth <= HOTTEST,
            f"a number in (0, {HOTTEST}], or None",
        )
        search: Any = make_agent(polish) if isinstance(polish, str) else polish
        validate.check(
            "LamboAgent.polish",
            polish,
            search is None or callable(getattr(search, "improve", None)),
            "None or an agent with improve(instances, prompts, decision, rng)",
        )
        self.polish, self.device = search, known_device("LamboAgent.device", device)
        aed, self.labels_used = _network(weights)
        validate.known(precision, tuple(PRECISIONS), "precision")
        malloc.retain_freed_memory()
        aed = aed if precision == "fp32" else aed.with_encoder_in(PRECISIONS[precision])
        if validate.boolean("LamboAgent.compiled", compiled):
            aed = _compiled(aed, device)
        self.min_confidence = rules.share("LamboAgent.min_confidence", min_confidence)
        self.aed = aed.to(device).eval()
        ruled = validate.known(reading, READINGS, "reading") == "rules"
        self.reader = TextReader(self.aed.prompt) if ruled and aed.config.prompt_bins else None
        self.evaluations = 0  # decisions that the simulator has scored, those of polishing apart

    @property
    def evaluator_in_loop(self) -> bool:
        """Whether candidates are scored before one is answered."""
        return (self.decoding == "sample" and self.samples > 1) or self.polish is not None

    @property
    def num_parameters(self) -> int:
        """How many numbers the network has learned."""
        return self.aed.num_parameters

    def supports(self, instances: Instances) -> str | None:
        """Return why these instances cannot be decided, or None."""
        servers = self.aed.config.num_servers
        if servers is None or servers == instances.num_servers:
            return None
        found = instances.num_servers
        return f"the network is cut for {servers} servers, these instances have {found}"

    def decide(self, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> Decision:
        """Return places and CPU of B instances under their prompts.

        Raises:
            ValueError: instances that ``supports`` refuses, or not as many prompts.
        """
        check_call(self, instances, prompts, rng)
        size = instances.batch_size
        weights = self._weights(prompts)
        arrays = instances.to("numpy")
        count = self.samples if self.decoding == "sample" else 1
        self.evaluations += size * count * (count > 1)
        step = max(1, _ROWS // count)
        parts = [
            self._decide(
                arrays.take(slice(k, k + step)),
                prompts.take(slice(k, k + step)),
                None if weights is None else weights[k : k + step],
                count,
                rng,
            )
            for k in range(0, size, step)
        ]
        return Decision(
            *(
                np.concatenate(part)
                for part in zip(*((p.place, p.cpu_hz) for p in parts), strict=True)
            )
        ).to(instances)

    def _weights(self, prompts: Prompts) -> NDArray[np.float64] | None:
        """Return the latency weights [B] that the texts ask for; refuse one that is not clear."""
        if self.reader is None:
            return None
        return self.reader.asked(prompts.texts, self.min_confidence, "LamboAgent")

    def slots(self, instances: Instances, prompts: Prompts) -> decode.Slot:
        """Return NumPy instances and their prompts, as they are read, as what the network sees."""
        return self._slots(instances, prompts, self._weights(prompts))

    def _slots(
        self, arrays: Instances, prompts: Prompts, weights: NDArray[np.float64] | None
    ) -> decode.Slot:
        shares = torch.full((arrays.batch_size,), self.allocation == "share")
        if weights is not None:  # where energy alone counts, more CPU saves nothing: floors do
            shares &= torch.from_numpy(weights > 0)
        slots = decode.slot(arrays, prompts.tokens, shares, self.device)
        if weights is None:
            return slots
        told = meaning_of(weights, self.aed.config.prompt_bins).to(self.device)
        return slots._replace(inputs=slots.inputs._replace(meaning=told))

    def _decide(
        self,
        arrays: Instances,
        prompts: Prompts,
        weights: NDArray[np.float64] | None,
        count: int,
        rng: np.random.Generator,
    ) -> Decision:
        shares = self.allocation == "share"
        with torch.inference_mode():
            slots = self._slots(arrays, prompts, weights)
            generator = (
                torch.Generator().manual_seed(int(rng.integers(2**62))) if count > 1 else None
            )
            places, takes = decode.decide_all(self.aed, slots, count, generator, self.temperature)
            place, taken = places.cpu().numpy(), takes.cpu().numpy()
        flat, taken = place.reshape(-1, place.shape[-1]), taken.reshape(-1, place.shape[-1])
        rows = np.repeat(np.arange(len(place)), count)
        if count > 1 and not shares:  # rollouts of a confident network are often the same
            flat, kept = np.unique(np.column_stack([rows, flat]), axis=0, return_index=True)
            rows, flat, taken = rows[kept], flat[:, 1:], taken[kept]
        many, asked = arrays.take(rows), prompts.take(rows)
        cpu = decode.cpu_hz(many, flat, taken) if shares else physics.allocate(many, flat)
        decision = Decision(flat, cpu)
        if self.polish is not None:
            decision = self.polish.improve(many, asked, decision, rng)
        return (
            decision
            if count == 1
            else _cheapest(many, asked, decision, rows, check=self.polish is not None)
        )


def _network(weights: str | Path | AED) -> tuple[AED, int]:
    """Return the network, and how many labels its training saw (0 where nothing says so)."""
    if isinstance(weights, AED):
        return weights, 0
    path = checkpoint.weights_path(str(weights))
    aed, meta = checkpoint.load_network(path)
    labels = LABELS.get(path.stem) if path.parent == checkpoint.WEIGHTS else None
    return aed, int(meta.get("row", {}).get("labels", 0)) if labels is None else labels


def _compiled(aed: AED, device: str) -> AED:
    """Return a copy whose encoder is compiled at its first call."""
    names = ("c++", "g++", "clang++", "cl", os.environ.get("CXX", ""))
    ready = torch.device(device).type != "cpu" or any(shutil.which(name) for name in names if name)
    validate.check("LamboAgent.compiled", True, ready, "False, or a machine with a C++ compiler")
    aed = copy.deepcopy(aed)
    aed.encode = torch.compile(aed.encode)  # type: ignore[method-assign]
    return aed


def _cheapest(
    many: Instances, prompts: Prompts, decision: Decision, rows: NDArray[np.intp], *, check: bool
) -> Decision:
    """Return the cheapest decision on each instance.

    ``rows`` says which one each is on, all of one in a row.

    ``check``: whether decisions may be illegal, since a polisher is anybody's.
    """
    cost = np.asarray(physics.evaluate(many, decision, prompts.objective(many), check=check).cost)
    best = np.lexsort((cost, rows))
    return decision.take(best[np.flatnonzero(np.diff(rows, prepend=-1))])
