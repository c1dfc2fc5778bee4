"""Smaller checkpoints: what they hold, that they load, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="networks need torch")

import torch

from lambo_agents import weights_io
from lambo_agents.export.compression import compress, pruned
from lambo_agents.network import checkpoint
from lambo_agents.network.aed import AED
from lambo_agents.network.config import AEDConfig, preset


def _config() -> AEDConfig:
    return preset("lambo_xs").replace(d_model=8, pair_width=4, memory_width=2, prompt_width=4)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "whole.safetensors"
    checkpoint.save(path, AED(_config()).state_dict(), _config(), row={"labels": 3})
    return path


@pytest.mark.parametrize(
    ("kind", "share", "apart"), [("fp32", 1.0, 0), ("bf16", 0.6, 2**-8), ("int8", 0.55, 1 / 254)]
)
def test_a_smaller_file_holds_nearly_the_same_numbers(
    weights: Path, tmp_path: Path, kind: str, share: float, apart: float
) -> None:
    small = compress(weights, tmp_path / "small.safetensors", kind)
    assert small.stat().st_size <= share * weights.stat().st_size + 200
    (whole, meta), (other, kept) = map(checkpoint.load_network, (weights, small))
    assert kept["row"] == meta["row"]
    for name, tensor in whole.state_dict().items():
        if tensor.ndim > 1:
            most = tensor.abs().amax(tuple(range(1, tensor.ndim)), keepdim=True)
            assert ((other.state_dict()[name] - tensor).abs() <= apart * most * 1.01).all(), name


def test_layers_that_stay_are_numbered_anew(weights: Path, tmp_path: Path) -> None:
    small = compress(weights, tmp_path / "small.safetensors", kept=[0, 2])
    (whole, _), (other, _) = map(checkpoint.load_network, (weights, small))
    assert len(other.encoder) == 2
    ours, theirs = other.state_dict(), whole.state_dict()
    for stack, rest in (("encoder", "norm1.weight"), ("servers.mixes", "to_ue.weight")):
        assert torch.equal(ours[f"{stack}.1.{rest}"], theirs[f"{stack}.2.{rest}"])


@pytest.mark.parametrize("kept", [[], [3], [-1], [1, 1]])
def test_layers_that_there_are_not_are_refused(kept: list[int]) -> None:
    with pytest.raises(ValueError, match=r"allowed: some of 0\.\.2, each once"):
        pruned({}, _config(), kept)


def test_an_unknown_kind_is_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown kind of numbers 'int4'"):
        compress(weights, tmp_path / "small.safetensors", "int4")


@pytest.mark.parametrize("damage", ["gone", "shape"])
def test_integers_without_their_scale_are_refused(
    weights: Path, tmp_path: Path, damage: str
) -> None:
    small = compress(weights, tmp_path / "small.safetensors", "int8")
    tensors, meta = checkpoint.load(small)
    name = next(name for name in tensors if name.endswith(checkpoint.SCALE))
    scale = tensors.pop(name)
    if damage == "shape":
        tensors[name] = torch.from_numpy(np.ones((len(scale) + 1, 3), np.float32))
    weights_io.save(small, tensors, checkpoint.FORMAT, meta)
    with pytest.raises(ValueError, match=r"small\.safetensors"):
        checkpoint.load_network(small)
