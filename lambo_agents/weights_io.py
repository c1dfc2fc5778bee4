"""Weights on disk: one safetensors file whose JSON header says what they belong to.

Never a pickle, never half a file, and no word on any network. The header's metadata holds
``format`` (the family of networks) and ``json`` (their config and whatever else belongs to them).
Importing this loads neither torch nor safetensors.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from lambo_env.utils import files, validate

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

SUFFIX = ".safetensors"
CARD = b'seconds"'  # in the card beside weights, which tells what the training took
_Path = str | os.PathLike[str]
_P = ParamSpec("_P")
_T = TypeVar("_T")
_Net = TypeVar("_Net", bound="Module")
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
        file.write(_ordered(safetensors.torch.save(whole, metadata=header)))


def _ordered(content: bytes) -> bytes:
    """Return a safetensors file whose header lists its metadata in order: the same every time."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def check_target(path: str | os.PathLike[str], form: str) -> Path:
    """Return the path of weights to be, before anything is trained for them.

    Raises:
        ValueError: another suffix, or something there that is no file of that format.
    """
    validate.check(
        "weights", str(path), Path(path).suffix == SUFFIX, f"a name that ends in {SUFFIX}"
    )
    files.check_target(Path(path).with_suffix(".json"), CARD)
    return files.check_target(path, _mark(form))


def _mark(form: str) -> bytes:
    return f'"format":"{form}"'.encode()


def load(path: str | os.PathLike[str], form: str) -> Weights:
    """Read a file that ``save`` wrote.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is a pickle, truncated, another program's or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {str(path)!r}")
    with reading(path):
        return _load(path, form)


def form_of(path: str | os.PathLike[str]) -> str:
    """Return the format that a file says it is of; "" where it says none."""
    import safetensors

    with reading(path), safetensors.safe_open(path, framework="pt") as file:
        return str((file.metadata() or {}).get("format", ""))


@contextlib.contextmanager
def reading(
    path: str | os.PathLike[str], what: str = "weights", allowed: str = _WHOLE
) -> Iterator[None]:
    """Turn whatever a damaged or foreign file does to its reader into one clear error.

    Raises:
        ValueError: naming the file and what is wrong with it.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        text = f"{what} is {str(path)!r}; allowed: {allowed} ({validate.told(error)})"
        raise ValueError(text) from error


def reader(read: Callable[Concatenate[_Path, _P], _T]) -> Callable[Concatenate[_Path, _P], _T]:
    """Return a function whose first argument is a file, with ``reading`` around it."""

    @functools.wraps(read)
    def read_or_tell(path: _Path, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with reading(path):
            return read(path, *args, **kwargs)

    return read_or_tell


def fit(make: Callable[[], _Net], tensors: Mapping[str, Tensor]) -> _Net:
    """Return the network that ``make`` gives with the weights of a file.

    It is made without memory first, since a damaged header may ask for any size.

    Raises:
        ValueError: the first weight that is missing, unknown, or of another shape or kind.
    """
    import torch

    with torch.device("meta"):
        wanted = make().state_dict()
    for name in sorted({*wanted, *tensors}):
        want, got = (
            (tuple(held[name].shape), held[name].dtype) if name in held else None
            for held in (wanted, tensors)
        )
        validate.check(f"weight {name}", got, got == want, f"{want}")
    net = make()
    net.load_state_dict(dict(tensors))
    return net


def _load(path: Path, form: str) -> Weights:
    import safetensors

    with open(path, "rb") as file:
        start = file.read(9)
    # a safetensors file begins with 8 bytes of length and a brace
    pickled = start.startswith(_PICKLE_STARTS) and start[8:] != b"{"
    is_pickle = f"{_WHOLE}; this is a pickle, which is never opened"
    validate.check("weights", str(path), not pickled, is_pickle)
    with safetensors.safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    found = header.get("format", "none")
    other = f"{_WHOLE} (format {form!r}; this one's is {found!r})"
    validate.check("weights", str(path), found == form, other)
    try:
        meta = json.loads(header.get("json", ""))
    except (ValueError, RecursionError):
        meta = None
    check_header(path, isinstance(meta, dict))
    for name, tensor in tensors.items():
        odd = tensor[~tensor.isfinite()].tolist()[:1] if tensor.is_floating_point() else []
        what, allowed = (
            f"weights {str(path)!r}: a number of {name}",
            "finite floating-point numbers",
        )
        validate.check(what, (odd or [None])[0], not odd, allowed)
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
