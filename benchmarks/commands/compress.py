"""``lambo compress WEIGHTS``: smaller forms of a network, and what each costs."""

from __future__ import annotations


def compress(
    weights: str = "lambo-s",
    *,
    out: str = "runs/compress",
    student: str | None = None,
    instances: int = 1000,
) -> None:
    """Write bf16, int8, pruned and ONNX forms; print gap, milliseconds, file size and memory.

    Args:
        weights: Shipped weights by name, or a .safetensors file.
        out: Folder of the forms and of the table.
        student: Weights of a smaller network taught by this one (`lambo train --recipe lambo-xs`),
            for rows of its own.
        instances: Fresh instances that the gap is measured on.
    """
    from pathlib import Path

    from benchmarks.report.console import print_table
    from benchmarks.report.escaping import tell
    from benchmarks.studies.compression import compression_table

    rows = compression_table(
        weights, Path(out), student, instances, lambda row: tell(f"{row.name}: done")
    )
    print_table(
        ("form", "latency %", "energy %", "mix %", "CPU ms", "file MB", "memory MiB"),
        [
            (
                row.name,
                *(f"{gap:.3f}" for gap in row.gap_percent),
                f"{row.cpu_ms:.2f}",
                f"{row.file_mb:.2f}",
                f"{row.memory_mib:.0f}",
            )
            for row in rows
        ],
        f"{weights}: mean gap on {instances} instances, a decision at batch 1 on one core",
    )
