"""Files of weights: what is written comes back, and anything else is refused with the reason."""

import dataclasses
import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import safetensors.torch

from lambo_agents.network import checkpoint, config
from lambo_agents.network.aed import AED

XS = config.preset("lambo_xs")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    checkpoint.save(path, AED(XS).state_dict(), XS, note="hello")
    return path


def test_round_trip(file: Path) -> None:
    aed, meta = checkpoint.load_network(file, expect=XS)
    stored = checkpoint.load(file).tensors
    assert aed.config == XS
    assert meta["note"] == "hello"
    assert all(torch.equal(weight, stored[name]) for name, weight in aed.state_dict().items())
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_truncated(file: Path) -> None:
    whole = file.read_bytes()
    for size in (0, 5, 500, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="allowed: a whole .safetensors file"):
            checkpoint.load_network(file)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "boom",))  # type: ignore[return-value]

    torch.save({"a": torch.ones(1)}, tmp_path / "torch.pt")
    (tmp_path / "raw.pkl").write_bytes(pickle.dumps(Bomb()))
    for name in ("torch.pt", "raw.pkl"):
        with pytest.raises(ValueError, match="pickle, which is never opened"):
            checkpoint.load(tmp_path / name)
    assert not (tmp_path / "boom").exists()


def test_foreign(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"a": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="format 'lambo-aed-1'; this one's is 'none'"):
        checkpoint.load(path)


@pytest.mark.parametrize("text", [None, "", "{", "null", "[1]", "{}", '{"config": null}'])
def test_a_header_that_says_nothing_is_refused(file: Path, text: str | None) -> None:
    told = {"format": checkpoint.FORMAT} | ({} if text is None else {"json": text})
    safetensors.torch.save_file(checkpoint.load(file).tensors, file, metadata=told)
    with pytest.raises(ValueError, match="the JSON of its header is damaged"):
        checkpoint.load_network(file)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_weights_are_finite_numbers(file: Path, value: float | None) -> None:
    stored = checkpoint.load(file).tensors
    name = next(iter(stored))
    stored[name] = stored[name].long() if value is None else torch.full_like(stored[name], value)
    checkpoint.save(file, stored, XS)
    with pytest.raises(
        ValueError,
        match=f"{name} is '?(nan|inf|torch.int64).*; allowed: finite floating-point numbers",
    ):
        checkpoint.load_network(file)


def test_other_config(file: Path, tmp_path: Path) -> None:
    other = dataclasses.replace(XS, encoder_layers=XS.encoder_layers + 1)
    with pytest.raises(ValueError, match=r"AEDConfig.encoder_layers is \d; allowed: \d here"):
        checkpoint.load_network(file, expect=other)
    checkpoint.save(tmp_path / "lie.safetensors", AED(XS).state_dict(), other)
    with pytest.raises(ValueError, match=r"encoder.* is None; allowed: shape"):
        checkpoint.load_network(tmp_path / "lie.safetensors")
    checkpoint.save(tmp_path / "more.safetensors", AED(other).state_dict(), XS)
    with pytest.raises(ValueError, match="no such weight"):
        checkpoint.load_network(tmp_path / "more.safetensors")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no weights at"):
        checkpoint.load(tmp_path / "none.safetensors")
    known = "known: lambo-q, lambo-s, lambo-xs"
    with pytest.raises(ValueError, match=f"unknown weights 'lambo-z'; .*{known}"):
        checkpoint.weights_path("lambo-z")


def test_a_header_that_claims_more_than_the_file_holds_costs_no_memory(file: Path) -> None:
    """Hundreds of gigabytes, were the network built.

    And a file without any weights is refused in the same words.
    """
    tensors = checkpoint.load(file).tensors
    for field, value in (
        ("encoder_ff", 10**9),
        ("encoder_layers", 10**7),
        ("d_model", 480),
        ("pair_width", 10**9),
    ):
        checkpoint.save(file, tensors, dataclasses.replace(XS, **{field: value}))
        with pytest.raises(
            ValueError, match=r"checkpoint .*: (AEDConfig\.|layers is|largest weight is)"
        ):
            checkpoint.load_network(file)
    checkpoint.save(file, {}, XS)
    with pytest.raises(ValueError, match="layers is 4; allowed: <= 0, its weights"):
        checkpoint.load_network(file)
