"""LAMBO by ONNX Runtime: the decisions of an exported network, without torch.

Shapes: B instances, N UEs, M servers, P = M + 1 places.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambo_agents import reading
from lambo_agents.export.folder import GRAPHS, Exported, graph_path
from lambo_agents.network.columns import REPAIR_WEIGHTS, meanings, missed, slot_columns
from lambo_agents.protocol import check_call
from lambo_env.cell.channel import UNREACHED_BPS
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.prompts.objectives import PAIR
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils import rules, validate

_ROWS = 64  # instances decided at once
_WINDOW = 256  # steps that are settled at once
_STEPPED = ("base", "pair", "prior", "gift", "log_root", "need")  # have the steps at axis 2
_MISSING = "no network: make it with weights=DIR, a folder that `lambo export` wrote"

Arrays = dict[str, NDArray[Any]]


class OnnxAgent:
    """LAMBO's greedy decisions by ONNX Runtime, without torch.

    Args:
        weights: folder that ``lambo export lambo-s --to onnx`` wrote; None: it supports no
            instances, and says why.
        min_confidence: a text that is read with less is refused; 0 decides under any.
        threads: of ONNX Runtime.

    Raises:
        ImportError: ONNX Runtime is not installed.
        ValueError: a graph of another network, or an option that is not allowed.
    """

    objectives = PAIR

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        min_confidence: float = 0.5,
        threads: int = 1,
    ) -> None:
        self.min_confidence = rules.share("OnnxAgent.min_confidence", min_confidence)
        self.threads = validate.integer("OnnxAgent.threads", threads)
        self.exported = None if weights is None else Exported.read(weights, "onnx")
        self.folder = None if weights is None else Path(weights)
        self._open()

    def _open(self) -> None:
        self._graphs: dict[str, Any] = {}
        self.reader: OnnxReader | None = None
        if self.folder is not None:
            for name in GRAPHS:
                self._graphs[name] = _session(graph_path(self.folder, name, "onnx"), self.threads)
            self.reader = OnnxReader(self._graphs["read"])

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle holds: the folder, whose graphs are opened again."""
        return {**self.__dict__, "_graphs": {}, "reader": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the graphs again."""
        self.__dict__.update(state)
        self._open()

    @property
    def labels_used(self) -> int:
        """Expert decisions that the network's training saw."""
        return 0 if self.exported is None else self.exported.labels

    @property
    def num_parameters(self) -> int:
        """How many numbers the network has learned."""
        return 0 if self.exported is None else self.exported.parameters

    def supports(self, instances: Instances) -> str | None:
        """Return why these instances cannot be decided, or None."""
        if self.exported is None:
            return _MISSING
        near = bool(instances.uplink_bps.min() > UNREACHED_BPS)
        return None if near else "its graphs are for UEs that reach all servers"

    def decide(self, instances: Instances, prompts: Prompts, rng: np.random.Generator) -> Decision:
        """Return places and CPU of B instances under their prompts.

        Raises:
            ValueError: no network, not as many prompts, or a text that is not clear.
        """
        check_call(self, instances, prompts, rng)
        assert self.reader is not None
        weights = self.reader.asked(prompts.texts, self.min_confidence, "OnnxAgent")
        arrays = instances.to("numpy")
        if instances.batch_size <= _ROWS:
            place = self._places(arrays, weights)
        else:
            starts = range(0, instances.batch_size, _ROWS)
            parts = [slice(start, start + _ROWS) for start in starts]
            place = np.concatenate([self._places(arrays.take(p), weights[p]) for p in parts])
        return Decision(place, physics.allocate(arrays, place)).to(instances)

    def _places(self, instances: Instances, weights: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the places [B, N]; late tasks are decided again, as ``decoding`` does."""
        assert self.exported is not None
        slots = slot_columns(instances)
        meaning = meanings(weights, self.exported.bins)
        known = self._run("encode", **slots._asdict(), meaning=meaning)
        order = known["order"]
        place = self._settled(known, slots.need, order)
        lost = missed(slots.need, place)
        if not lost.any():
            return place
        least = np.where(slots.need[..., 0] > 1, slots.need[..., 1:].min(-1), np.inf)
        for weight in REPAIR_WEIGHTS:
            rows = np.flatnonzero(lost)
            if not len(rows):
                break
            others, need = order[rows], slots.need[rows]
            by_floor = np.take_along_axis(least[rows], others, 1).argsort(axis=1, kind="stable")
            again = np.take_along_axis(others, by_floor, 1)
            some = {name: known[name][rows] for name in ("tokens", "prompt", "pairs", "log_roots")}
            plan = self._run("plan", **some, size=slots.size[rows], order=again)
            price = np.minimum(np.take_along_axis(need, again[..., None], 1), 1.0)[:, None]
            plan["prior"] = plan["prior"] - np.float32(weight) * price.astype(np.float32)
            new = self._settled(plan, need, again)
            late = missed(need, new)
            better = late < lost[rows]
            place[rows[better]], lost[rows[better]] = new[better], late[better]
        return place

    def _settled(
        self, plan: Mapping[str, NDArray[Any]], need: NDArray[np.float64], order: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the places [B, N] of a plan in an order, UEs as given."""
        ordered = np.take_along_axis(need, order[..., None], 1)[:, None]
        given: Arrays = {name: plan[name] for name in (*_STEPPED[:-1], "keys", "values")}
        given["need"] = ordered
        batch, _, steps, places = ordered.shape
        left = np.ones((batch, 1, 1, places))
        memory = np.zeros((batch, 1, 1, places, plan["gift"].shape[-1]), np.float32)
        parts = []
        for start in range(0, steps, _WINDOW):
            window = slice(start, start + _WINDOW)
            some = {name: given[name][:, :, window] for name in _STEPPED}
            decided = self._run("decide", **{**given, **some}, left=left, memory=memory)["decided"]
            parts.append(decided[:, 0])
            if start + _WINDOW < steps:
                chosen = decided[..., None] == np.arange(places)
                took = np.where(chosen & np.isfinite(some["need"]), some["need"], 0.0)
                left = left - took.sum(2, keepdims=True)
                updates = np.einsum("botp,botr->bopr", chosen, some["gift"])
                memory = memory + updates[:, :, None].astype(np.float32)
        place = np.empty_like(order)
        np.put_along_axis(place, order, np.concatenate(parts, axis=1), 1)
        return place

    def _run(self, graph: str, **inputs: NDArray[Any]) -> Arrays:
        session, names = self._graphs[graph]
        return dict(zip(names, session.run(names, inputs), strict=True))


class OnnxReader(reading.TextReader):
    """Reads texts by rules and by an exported network's own reader; a text is read once."""

    def __init__(self, graph: tuple[Any, list[str]]) -> None:
        self.graph = graph
        self._known, self._state = {}, ()

    def state(self) -> tuple[Any, ...]:
        """Return (): a graph never changes."""
        return ()

    def by_network(self, texts: Sequence[str]) -> tuple[reading.Floats, reading.Floats]:
        """Return what the network reads in each text [B], and how sure it is [B]."""
        session, names = self.graph
        tokens = Prompts(texts, 0.5).tokens
        return reading.likeliest(*session.run(names, {"tokens": np.ascontiguousarray(tokens)}))


def _session(path: Path, threads: int) -> tuple[Any, list[str]]:
    """Return a graph that runs, and the names of its outputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    return session, [output.name for output in session.get_outputs()]
