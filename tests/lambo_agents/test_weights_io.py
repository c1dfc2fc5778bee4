"""Damaged weights: one clear error whatever is wrong, for every agent that reads some."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lambo_agents import registry, weights_io

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

READERS = [
    name
    for name in ("lambo-s", "are", "droo", "are-small", "wpmec-droo", "maskable-ppo")
    if registry.agent_spec(name).error is None
]


def shipped(name: str) -> Path:
    """Return the weights that an agent plays by default."""
    found = [
        path
        for folder in ("lambo_agents", "baselines")
        for path in (Path(registry.__file__).parents[1] / folder / "weights").glob("*.safetensors")
    ]
    agent = registry.agent_spec(name)
    for path in sorted(found, key=lambda path: len(path.stem)):
        try:
            agent.make(weights=str(path))
        except ValueError:
            continue
        return path
    pytest.skip(f"{name} ships no weights")


def split(data: bytes) -> tuple[dict[str, object], bytes]:
    (size,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def joined(header: object, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def with_meta(data: bytes, change: Callable[[dict[str, object]], object]) -> bytes:
    """Return a file whose JSON of values is changed."""
    header, body = split(data)
    meta = json.loads(header["__metadata__"]["json"])  # type: ignore[index]
    changed = change(meta)
    text = changed if isinstance(changed, str) else json.dumps(meta)
    header["__metadata__"]["json"] = text  # type: ignore[index]
    return joined(header, body)


def with_tensor(data: bytes, value: float) -> bytes:
    header, body = split(data)
    first = next(
        name for name, entry in header.items() if name != "__metadata__" and entry["dtype"] == "F32"
    )  # type: ignore[index]
    begin, _ = header[first]["data_offsets"]  # type: ignore[index]
    return joined(header, body[:begin] + struct.pack("<f", value) + body[begin + 4 :])


def refused(name: str, path: Path, data: bytes, *, always: bool) -> None:
    path.write_bytes(data)
    try:
        registry.make_agent(name, weights=str(path))
    except ValueError as error:
        assert str(path) in str(error), error
        assert len(str(error)) < 3000
    else:
        assert not always, "it was taken"


def damages(data: bytes) -> dict[str, bytes]:
    def put(name: str, value: object) -> Callable[[dict[str, object]], object]:
        def change(meta: dict[str, object]) -> None:
            for holder in (meta, *(v for v in list(meta.values()) if isinstance(v, dict))):
                for key in list(holder):
                    if name in ("*", key):
                        holder[key] = value

        return change

    header, _ = split(data)
    return {
        "NaN": with_tensor(data, np.nan),
        "inf": with_tensor(data, np.inf),
        "empty": b"",
        "half": data[: len(data) // 2],
        "one byte short": data[:-1],
        "header alone": data[:100],
        "zeros": bytes(len(data)),
        "pickle": b"\x80\x04]." * 30,
        "a header of 2**63 bytes": struct.pack("<Q", 2**63) + data[8:],
        "deep JSON header": joined(nested(100_000).encode(), b""),
        "deep JSON of values": with_meta(data, lambda meta: nested(100_000)),
        "values that are a list": with_meta(data, lambda meta: "[]"),
        "no values": with_meta(data, lambda meta: meta.clear()),
        "values that are none": with_meta(data, put("*", None)),
        "values that are texts": with_meta(data, put("*", "x")),
        "values that are huge": with_meta(data, put("*", 10**400)),
        "values that are large": with_meta(data, put("*", 10**9)),
        "values that are negative": with_meta(data, put("*", -1)),
        "values that are lists": with_meta(data, put("*", [1, [2]])),
        "no tensors": joined({"__metadata__": header["__metadata__"]}, b""),
    }


@pytest.mark.parametrize("name", READERS)
def test_every_kind_of_damage_is_one_clear_error(name: str, tmp_path: Path):
    data = shipped(name).read_bytes()
    for kind, damaged in damages(data).items():
        try:
            refused(name, tmp_path / "w.safetensors", damaged, always=True)
        except BaseException as error:
            raise AssertionError(f"{kind}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "count", [20, pytest.param(300, marks=pytest.mark.slow)], ids=["sample", "all"]
)
def test_bytes_flipped_at_random_end_in_a_sound_agent_or_a_clear_error(
    name: str, count: int, tmp_path: Path
):
    data, rng = shipped(name).read_bytes(), np.random.default_rng(0)
    (size,) = struct.unpack("<Q", data[:8])
    for _ in range(count):
        damaged = bytearray(data)
        for at in rng.integers(0, size + 8 + 64, rng.integers(1, 4)):
            damaged[at] = int(rng.integers(0, 256))
        refused(name, tmp_path / "w.safetensors", bytes(damaged), always=False)


def test_weights_replace_only_weights_of_their_own_format(tmp_path: Path):
    path = tmp_path / "w.safetensors"
    for _ in range(2):
        weights_io.save(path, {"a": torch.zeros(2)}, "mine-1", {})
    with pytest.raises(ValueError, match="this one is another's"):
        weights_io.save(path, {"a": torch.zeros(2)}, "yours-1", {})
    assert weights_io.load(path, "mine-1").meta == {}
