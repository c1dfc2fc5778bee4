"""The study of smaller forms: what cannot be made is told before anything is measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="networks need torch")

from benchmarks.studies import compression
from lambo_agents.network import checkpoint


def test_a_form_that_cannot_be_made_is_told_before_one_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forms(*given: Any) -> Iterator[compression.Form]:
        yield compression.Form("fp32", "lambo-s", checkpoint.WEIGHTS / "lambo-xs.safetensors")
        raise ImportError("no onnx")

    monkeypatch.setattr(compression, "forms", forms)
    monkeypatch.setattr(compression, "_row", lambda *given: pytest.fail("measured"))
    with pytest.raises(ImportError, match="no onnx"):
        compression.compression_table("lambo-xs", tmp_path)
