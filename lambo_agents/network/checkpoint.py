"""AEDs on disk: the weights with the config of the network that they fit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lambo_agents import weights_io
from lambo_agents.network.aed import AED
from lambo_agents.network.config import AEDConfig
from lambo_agents.weights_io import Weights
from lambo_env.utils import validate

FORMAT = "lambo-aed-1"
SCALE = "/scale"  # ends the name of what multiplies the rows of integers
WEIGHTS = Path(__file__).parents[1] / "weights"


def save(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], config: AEDConfig, **meta: Any
) -> None:
    """Write tensors, their network's config and further JSON values, atomically."""
    weights_io.save(path, tensors, FORMAT, {"config": config.to_dict(), **meta})


def load(path: str | os.PathLike[str]) -> Weights:
    """Read a file that ``save`` wrote; its JSON values have the network's "config".

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is a pickle, truncated, or another program's.
    """
    weights = weights_io.load(path, FORMAT)
    weights_io.check_header(path, isinstance(weights.meta.get("config"), dict))
    return weights


@weights_io.reader
def load_network(
    path: str | os.PathLike[str], expect: AEDConfig | None = None
) -> tuple[AED, dict[str, Any]]:
    """Return the network of a file, ready to decide, and the file's JSON values.

    Args:
        path: a file that ``save`` wrote.
        expect: refuse any other config.

    Raises:
        FileNotFoundError: there is none.
        ValueError: not such a file, another config than expected, or weights that do not fit their
            config.
    """
    tensors, meta = load(path)
    config = AEDConfig.from_dict(meta["config"])
    if expect is not None:
        check_config(config, expect, str(path))
    _check_size(config, tensors, str(path))
    aed, own = AED(config), {}
    for name, tensor in tensors.items():
        if "/" not in name:
            scale = tensors.get(name + SCALE)
            own[name] = tensor if scale is None else tensor.to(scale.dtype) * scale
    fit_tensors(aed, own, str(path))
    return aed.eval(), meta


def _check_size(config: AEDConfig, tensors: Mapping[str, Tensor], path: str) -> None:
    """Refuse a header that claims more than the file's tensors, before memory is spent on it."""
    layers = config.encoder_layers + config.decoder_layers
    axis = max((max(tensor.shape, default=0) for tensor in tensors.values()), default=0)
    validate.check(
        f"checkpoint {path!r}: layers",
        layers,
        layers <= len(tensors),
        f"<= {len(tensors)}, its weights",
    )
    for name, value in config.to_dict().items():
        fits = (
            isinstance(value, bool)
            or not isinstance(value, int)
            or value <= max(axis, len(tensors))
        )
        validate.check(
            f"checkpoint {path!r}: AEDConfig.{name}",
            value,
            fits,
            f"<= {axis}, its weights' longest axis",
        )
    most = config.d_model * max(3 * config.d_model, config.encoder_ff, config.decoder_ff)
    held = max((tensor.numel() for tensor in tensors.values()), default=0)
    validate.check(
        f"checkpoint {path!r}: largest weight", most, most <= held, f"<= {held} numbers, as in it"
    )


def check_config(found: AEDConfig, expect: AEDConfig, path: str) -> None:
    """Raise ``ValueError`` that names the first field in which two configs differ."""
    theirs, ours = found.to_dict(), expect.to_dict()
    for name, value in ours.items():
        validate.check(
            f"checkpoint {path!r}: AEDConfig.{name}",
            theirs[name],
            theirs[name] == value,
            f"{value!r} here",
        )


def fit_tensors(aed: AED, tensors: Mapping[str, Tensor], path: str) -> None:
    """Load weights into a network.

    Raise ``ValueError`` that names the first that is missing, unknown, not finite or of another
    shape.
    """
    expected = aed.state_dict()
    for name in sorted({*expected, *tensors}):
        want = tuple(expected[name].shape) if name in expected else None
        got = tuple(tensors[name].shape) if name in tensors else None
        validate.check(
            f"checkpoint {path!r}: {name}",
            got,
            got == want,
            f"shape {want}" if want else "no such weight",
        )
        kind, allowed = str(tensors[name].dtype), "finite floating-point numbers"
        validate.check(
            f"checkpoint {path!r}: {name}", kind, tensors[name].is_floating_point(), allowed
        )
    aed.load_state_dict(dict(tensors))


def weights_path(name: str | os.PathLike[str]) -> Path:
    """Return the file of shipped weights by name, or ``name`` itself where it is a path."""
    return weights_io.weights_path(name, WEIGHTS)
