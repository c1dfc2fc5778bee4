"""Graphs as ONNX models: translation, the loop around the decoder's passes, int8."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxscript import opset23 as op

from lambo_agents.export.graphs import Graph
from lambo_agents.network import decoding
from lambo_env.offloading import physics

_IR, _OPSET = 10, 23
_SMALL = 8192  # numbers of a matrix


def _cumulative_product(x: Any, dim: int, dtype: int = -1) -> Any:
    """Return products of numbers >= 0 along an axis, which ONNX has sums alone for."""
    axis: Any = op.Constant(value_int=dim)
    return op.Exp(op.CumSum(op.Log(x), axis))


def _sort(x: Any, *, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
    """Sort the last axis; of equal numbers the first comes first."""
    return op.TopK(x, op.Shape(x, start=-1), axis=-1, largest=int(descending))


_TRANSLATIONS: dict[Any, Any] = {
    torch.ops.aten.cumprod.default: _cumulative_product,
    torch.ops.aten.sort.stable: _sort,
}


def model(graph: Graph) -> onnx.ModelProto:
    """Return the ONNX model of a graph; its inputs and outputs have the graph's names."""
    made = torch.onnx.export(
        graph.program(),
        input_names=list(graph.inputs),
        output_names=list(graph.outputs),
        opset_version=_OPSET,
        dynamo=True,
        custom_translation_table=_TRANSLATIONS,
        verbose=False,
    )
    assert made is not None
    return made.model_proto


def looped(once: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``decide``: passes of the model ``once`` until no place changes.

    The rules and the first places, the prior's best, come from ``need`` [B, 1, T, P]; the places
    go into ``decided``.
    """
    inputs = {value.name: value for value in once.graph.input}
    place, (later,) = inputs.pop("place"), once.graph.output
    need = _renamed(inputs.pop("take"), "need")
    for name in ("floor", "fallback"):
        del inputs[name]
    body = helper.make_graph(
        [
            *once.graph.node,
            helper.make_node("Equal", ["next", "place"], ["same"]),
            helper.make_node("Cast", ["same"], ["same_int"], to=TensorProto.INT32),
            helper.make_node("ReduceMin", ["same_int"], ["all_same"], keepdims=0),
            helper.make_node("Cast", ["all_same"], ["settled"], to=TensorProto.BOOL),
            helper.make_node("Not", ["settled"], ["goes_on"]),
        ],
        "one pass",
        [
            helper.make_tensor_value_info("pass", TensorProto.INT64, []),
            helper.make_tensor_value_info("went_on", TensorProto.BOOL, []),
            place,
        ],
        [helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []), later],
    )
    nodes = [
        helper.make_node("Sub", ["need", "tolerance"], ["floor"]),
        helper.make_node("IsInf", ["need"], ["never_fits"]),
        helper.make_node("Where", ["never_fits", "nothing", "need"], ["take"]),
        helper.make_node("Shape", ["need"], ["places"], start=-1),
        helper.make_node("Sub", ["places", "one"], ["servers"]),
        helper.make_node("Expand", ["never", "servers"], ["of_servers"]),
        helper.make_node("Concat", ["last_resort", "of_servers"], ["fallback"], axis=0),
        helper.make_node("LessOrEqual", ["need", "whole"], ["could_fit"]),
        helper.make_node("Where", ["could_fit", "prior", "fallback"], ["guess"]),
        helper.make_node("ArgMax", ["guess"], ["first_place"], axis=-1, keepdims=0),
        helper.make_node("Shape", ["need"], ["steps"], start=-2, end=-1),
        helper.make_node("Add", ["steps", "one"], ["passes"]),  # more are never needed
        helper.make_node("Loop", ["passes", "true", "first_place"], ["decided"], body=body),
    ]
    constants: dict[str, Any] = {
        "tolerance": np.float64(physics.FIT_TOLERANCE),
        "nothing": np.float64(0),
        "whole": np.float64(1),
        "one": np.array([1]),
        "never": np.array([decoding.NEVER], dtype=np.float32),
        "last_resort": np.array([decoding.LAST_RESORT], dtype=np.float32),
        "true": np.bool_(True),
    }
    tensors = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    weights = [*once.graph.initializer, *tensors]
    given, ends = [*inputs.values(), need], [_renamed(later, "decided")]
    whole = helper.make_graph(nodes, "decide", given, ends, weights)
    return helper.make_model(whole, opset_imports=once.opset_import, ir_version=_IR)


def _renamed(value: onnx.ValueInfoProto, name: str) -> onnx.ValueInfoProto:
    other = onnx.ValueInfoProto()
    other.CopyFrom(value)
    other.name = name
    return other


def int8(whole: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose matrices and tables are 8-bit integers, as activations are on the way.

    Activations are quantised with the range of each call. Small matrices, which read the columns
    and decide, stay as they are: they cost the most accuracy and the fewest bytes.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    small = {t.name for t in whole.graph.initializer if np.prod(t.dims) < _SMALL}
    kept = [node.name for node in whole.graph.node if small & set(node.input)]
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        onnx.save(whole, source)
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            nodes_to_exclude=kept,
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"EnableSubgraph": True},
        )
        return onnx.load(target)
