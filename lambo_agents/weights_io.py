"""Weights on disk: one safetensors file whose JSON header says what they belong to.

Never a pickle, never half a file, and no word on any network. The header's metadata holds
``format`` (the family of networks) and ``json`` (their config and whatever else belongs to them).
Importing this loads neither torch nor safetensors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lambo_env.utils import files, validate

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"
_WHOLE = f"a whole {SUFFIX} file written by this package"
_PICKLE_STARTS = (b"\x80", b"PK")  # a pickle, and torch.save's zip of pickles


class Weights(NamedTuple):
    """What a file holds."""

    tensors: dict[str, Tensor]
    meta: dict[str, Any]  # JSON values


def save(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], form: str, meta: Mapping[str, Any]
) -> None:
    """Write tensors and JSON values of a format ``form``, atomically."""
    import safetensors.torch

    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {"format": form, "json": json.dumps(meta)}
    with files.atomic_writer(path, _mark(form)) as file:
        file.write(safetensors.torch.save(whole, metadata=header))


def check_target(path: str | os.PathLike[str], form: str) -> Path:
    """Return the path of weights to be, before anything is trained for them.

    Raises:
        ValueError: another suffix, or something there that is no file of that format.
    """
    validate.check(
        "weights", str(path), Path(path).suffix == SUFFIX, f"a name that ends in {SUFFIX}"
    )
    return files.check_target(path, _mark(form))


def _mark(form: str) -> bytes:
    return f'"format":"{form}"'.encode()


def load(path: str | os.PathLike[str], form: str) -> Weights:
    """Read a file that ``save`` wrote.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is a pickle, truncated, another program's or of another format.
    """
    import safetensors

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {str(path)!r}")
    with open(path, "rb") as file:
        start = file.read(9)
    # a safetensors file begins with 8 bytes of length and a brace
    pickled = start.startswith(_PICKLE_STARTS) and start[8:] != b"{"
    is_pickle = f"{_WHOLE}; this is a pickle, which is never opened"
    validate.check("weights", str(path), not pickled, is_pickle)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"weights is {str(path)!r}; allowed: {_WHOLE} ({error})") from error
    found = header.get("format", "none")
    other = f"{_WHOLE} (format {form!r}; this one's is {found!r})"
    validate.check("weights", str(path), found == form, other)
    try:
        meta = json.loads(header.get("json", ""))
    except ValueError:
        meta = None
    check_header(path, isinstance(meta, dict))
    return Weights(tensors, meta)


def check_header(path: str | os.PathLike[str], whole: bool) -> None:
    """Refuse a file whose JSON lacks what its format needs."""
    damaged = f"{_WHOLE} (the JSON of its header is damaged)"
    validate.check("weights", os.fspath(path), whole, damaged)


def weights_path(name: str | os.PathLike[str], folder: Path) -> Path:
    """Return the file of a name among those in ``folder``, or ``name`` itself where it is a path.

    Raises:
        ValueError: an unknown name, the text gives the closest known one; or no name at all.
    """
    named = isinstance(name, str | os.PathLike)
    validate.check("weights", name, named, "a name of shipped weights, or a path")
    text = os.fspath(name)
    known = {path.stem: path for path in folder.glob(f"*{SUFFIX}")}
    if text in known:
        return known[text]
    if text.endswith(SUFFIX) or os.sep in text:
        return Path(text)
    hint = validate.closest(text, known) or ";"
    raise ValueError(f"unknown weights {text!r}{hint} known: {', '.join(sorted(known))}, or a path")
