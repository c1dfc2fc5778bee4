"""Writes a network as graphs that other runtimes play: ONNX, or torch's exported programs."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator

import torch

from lambo_agents.export import graphs
from lambo_agents.export.folder import Exported, check_folder, graph_path, sha256
from lambo_agents.network import checkpoint
from lambo_agents.rows import LABELS
from lambo_env.utils import files, validate

TARGETS = ("onnx", "pt2")
PRECISIONS = ("fp32", "int8")
# the decoder's passes must not see steps to come, which ranges over all steps would show them
_FLOATING = ("decide",)
_OF = "graphs are made of lambo-s, lambo-xs and checkpoints that `lambo train` wrote"


def export(
    weights: str | os.PathLike[str],
    target: str,
    folder: str | os.PathLike[str],
    precision: str = "fp32",
) -> Exported:
    """Write the graphs of a network and their manifest; return what it says.

    A manifest without graphs comes first, the whole one last: so an export that was killed is no
    network, and its folder may be written again.

    Args:
        weights: name of shipped weights, or a checkpoint.
        target: "onnx", for ONNX Runtime; or "pt2", programs of ``torch.export``.
        folder: new, empty, or of an earlier export.
        precision: "int8" makes integers of matrices, tables and activations, but for the decoder
            (ONNX alone).

    Raises:
        FileNotFoundError: no such weights.
        ImportError: onnx, onnxscript or onnxruntime is missing.
        ValueError: a target or precision that is not known or does not fit, a network whose
            decisions these graphs do not hold, or a folder with other things.
    """
    validate.known(target, TARGETS, "export target")
    validate.known(precision, PRECISIONS, "precision")
    fits = precision == "fp32" or target == "onnx"
    validate.check("precision", precision, fits, f"fp32 for {target}")
    where = check_folder(folder)
    write = _writer(target, precision)
    try:
        path = checkpoint.weights_path(weights)
        aed, meta = checkpoint.load_network(path)
    except ValueError as error:
        raise ValueError(f"{error}; {_OF}") from error
    graphs.check_config(aed.config, target)
    network = graphs.packed(aed) if target == "onnx" else aed
    labels = LABELS.get(path.stem) if path.parent == checkpoint.WEIGHTS else None
    labels = int(meta.get("row", {}).get("labels", 0)) if labels is None else labels
    bins, size, digests = aed.config.prompt_bins, aed.num_parameters, dict[str, str]()
    exported = Exported(target, precision, str(weights), bins, size, labels, digests)
    exported.write(where)
    for name, graph in graphs.graphs(network).items():
        file = graph_path(where, name, target)
        with _quiet():
            content = write(graph, name)
        with files.atomic_writer(file) as out:
            out.write(content)
        digests[name] = sha256(file)
    exported.write(where)
    return exported


def _writer(target: str, precision: str) -> Callable[[graphs.Graph, str], bytes]:
    """Return what makes the bytes of a graph."""
    if target == "pt2":
        return _program
    from lambo_agents.export import onnx_graphs

    def onnx_bytes(graph: graphs.Graph, name: str) -> bytes:
        model = onnx_graphs.model(graph)
        model = onnx_graphs.looped(model) if name == "decide" else model
        small = precision == "int8" and name not in _FLOATING
        return (onnx_graphs.int8(model) if small else model).SerializeToString()

    return onnx_bytes


def _program(graph: graphs.Graph, name: str) -> bytes:
    import io

    buffer = io.BytesIO()
    torch.export.save(graph.program(), buffer)
    return buffer.getvalue()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporters say of their own insides from the reader."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
