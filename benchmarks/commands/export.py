"""``lambo export WEIGHTS DIR --to onnx|pt2``: a network as graphs for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def export(
    weights: str,
    folder: str,
    *,
    to: Literal["onnx", "pt2"] = "onnx",
    precision: Literal["fp32", "int8"] = "fp32",
) -> None:
    """Write the graphs and their manifest.

    Args:
        weights: Shipped weights by name, or a .safetensors file.
        folder: Where to; new, empty, or of an earlier export.
        to: onnx, for ONNX Runtime (`lambo evaluate lambo-onnx --weights DIR` plays it); or pt2,
            programs of torch.export.
        precision: fp32, or int8 (onnx alone).
    """
    from lambo_agents.export.export import export as write

    made = write(weights, to, folder, precision)
    size = sum(path.stat().st_size for path in Path(folder).glob(f"*.{to}"))
    print(
        f"{made.weights}: {made.parameters:,} parameters in {len(made.graphs)} graphs, "
        f"{size / 1e6:.2f} MB, in {folder}"
    )
