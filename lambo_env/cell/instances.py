"""What a batch of a cell's problems can do, whatever numbers its world adds.

Shapes: B instances, N UEs, M edge servers.
"""

from __future__ import annotations

import dataclasses
import importlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import array_api_compat
import array_api_compat.numpy
import numpy as np

from lambo_env.utils import files, validate
from lambo_env.utils.rows import Array, ArrayHolder, content_hash


class CellInstances(ArrayHolder):
    """A batch of problems of one cell: arrays of one namespace and device, checked when made.

    A subclass is the dataclass that names the fields; one is ``uplink_bps`` [B, N, M], which gives
    the sizes.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    uplink_bps: Array  # [B, N, M]

    SHAPES: ClassVar[dict[str, str]] = {  # of the fields that are not [B, N]
        "uplink_bps": "BNM",
        "server_cpu_hz": "BM",
        "late_penalty": "B",
    }
    ZERO_OK: ClassVar[Sequence[str]] = ("late_penalty", "data_bits", "local_power_w", "tx_power_w")
    FLAGS: ClassVar[Sequence[str]] = ()  # fields of booleans; the others are float64 in NumPy

    def __post_init__(self) -> None:
        """Turn lists into arrays, then check shapes and ranges."""
        for name in self.names():
            value = getattr(self, name)
            if not array_api_compat.is_array_api_obj(value) or array_api_compat.is_numpy_array(
                value
            ):
                made = _flags if name in self.FLAGS else float_array
                object.__setattr__(self, name, made(f"{type(self).__name__}.{name}", value))
        self._check_shapes()
        self._check_values()

    def _check_shapes(self) -> None:
        kind, links = type(self).__name__, tuple(self.uplink_bps.shape)
        fits = len(links) == 3 and min(links) >= 1
        validate.check(f"{kind}.uplink_bps.shape", links, fits, "[B, N, M], each >= 1")
        sizes = dict(zip("BNM", links, strict=True))
        for name in self.names():
            shape = tuple(getattr(self, name).shape)
            want = tuple(sizes[axis] for axis in self.SHAPES.get(name, "BN"))
            allowed = f"{want} to go with uplink_bps {links}"
            validate.check(f"{kind}.{name}.shape", shape, shape == want, allowed)

    def _check_values(self) -> None:
        xp, kind = self.xp, type(self).__name__
        for name in self.names():
            if name not in self.FLAGS:
                value, zero_ok = getattr(self, name), name in self.ZERO_OK
                ok = xp.isfinite(value) & ((value >= 0) if zero_ok else (value > 0))
                allowed = f"finite and {'>= 0' if zero_ok else '> 0'}"
                validate.each(f"{kind}.{name}", value, ok, allowed)

    @classmethod
    def names(cls) -> list[str]:
        """Names of the fields."""
        return [field.name for field in dataclasses.fields(cls)]

    @classmethod
    def unchecked(cls, **fields: Array) -> Self:
        """Build from arrays that are right by construction (internal: skips every check)."""
        self = object.__new__(cls)
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        return self

    @property
    def xp(self) -> Any:
        """The array namespace of the fields."""
        if (
            type(self.uplink_bps) is np.ndarray
        ):  # the general answer takes longer than a sum over one slot
            return array_api_compat.numpy
        return array_api_compat.array_namespace(self.uplink_bps)

    @property
    def batch_size(self) -> int:
        """B, the number of instances."""
        return self.uplink_bps.shape[0]

    @property
    def num_ues(self) -> int:
        """N, the number of UEs per instance."""
        return self.uplink_bps.shape[1]

    @property
    def num_servers(self) -> int:
        """M, the number of edge servers per instance."""
        return self.uplink_bps.shape[2]

    def __len__(self) -> int:
        """Return B."""
        return self.batch_size

    def _map(self, function: Any) -> Self:
        return self.unchecked(**{name: function(getattr(self, name)) for name in self.names()})

    def take(self, rows: Any) -> Self:
        """Return the instances at ``rows`` (an int, slice, list, bool or index array)."""
        if isinstance(rows, (int, np.integer)):
            inside = bool(-self.batch_size <= rows < self.batch_size)
            allowed = f"a row of 0..{self.batch_size - 1}"
            validate.check(f"{type(self).__name__}.take(rows)", rows, inside, allowed)
            rows = [int(rows)]
        return self._map(lambda value: value[rows])

    def repeat(self, count: int) -> Self:
        """Return each instance ``count`` times in a row: [B * count]."""
        count, xp = validate.integer(f"{type(self).__name__}.repeat(count)", count), self.xp
        return self._map(lambda value: xp.repeat(value, count, axis=0))

    def replace(self, **fields: Array) -> Self:
        """Return a copy with some fields replaced; checked like a new one."""
        validate.known_keys(type(self).__name__, fields, self.names())
        return dataclasses.replace(self, **fields)

    def to(self, xp: Any, device: Any = None, dtype: Any = None) -> Self:
        """Return the instances in another namespace ("numpy" or a module), device or dtype."""
        if isinstance(xp, str):
            xp = importlib.import_module(validate.known(xp, ("numpy", "torch"), "namespace"))
        if xp is np:
            return self._map(lambda value: _numpy(value, dtype or np.float64))
        xp = array_api_compat.array_namespace(
            xp.asarray(0.0)
        )  # a bare module such as torch -> its standard namespace
        flag = xp.asarray(True).dtype

        def moved(value: Array) -> Array:
            sealed = isinstance(value, np.ndarray) and not value.flags.writeable
            kept = None if value.dtype in (np.bool_, flag) else dtype
            return xp.asarray(value, device=device, dtype=kept, copy=True if sealed else None)

        return self._map(moved)

    @staticmethod
    def concat(parts: Sequence[Any]) -> Any:
        """Join batches of the same N and M along B."""
        validate.check("Instances.concat(parts)", len(parts), len(parts) > 0, "at least one batch")
        shapes = {(part.num_ues, part.num_servers) for part in parts}
        validate.check(
            "Instances.concat(parts)",
            sorted(shapes),
            len(shapes) == 1,
            "batches of one (num_ues, num_servers)",
        )
        xp, kind = parts[0].xp, type(parts[0])
        return kind.unchecked(
            **{n: xp.concat([getattr(p, n) for p in parts], axis=0) for n in kind.names()}
        )

    def hash(self, text: str = "") -> str:
        """Return the content hash of a text and all arrays, 64 hex digits."""
        return content_hash(self, text)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to an ``.npz`` file, atomically."""
        with files.atomic_writer(path, b"uplink_bps.npy") as file:
            fields: dict[str, Any] = {
                name: np.asarray(getattr(self, name)) for name in self.names()
            }
            np.savez_compressed(file, **fields)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file that ``save`` wrote; anything else is refused with the reason."""
        field, names = f"{cls.__name__}.load(path)", cls.names()
        validate.check(field, str(path), Path(path).is_file(), "an existing .npz file")
        try:
            with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as file:
                fields = {name: file[name] for name in names}
        except Exception as error:  # a damaged archive raises whatever it likes
            raise ValueError(
                f"{field} is {str(path)!r}; allowed: a whole .npz of {cls.__name__} ({error})"
            ) from error
        return cls(**fields)


def detached(value: Array) -> Array:
    """Return a torch tensor without its graph, on the CPU; anything else as it is."""
    return value.detach().cpu() if hasattr(value, "detach") else value


def _numpy(value: Array, dtype: Any) -> Array:
    array = np.asarray(detached(value))
    return array if array.dtype == bool else array.astype(dtype, copy=False)


def _flags(field: str, value: Any) -> Array:
    array = np.asarray(value)
    validate.check(f"{field}.dtype", str(array.dtype), array.dtype == bool, "bool")
    return array


def float_array(field: str, value: Any) -> Array:
    """Return a float64 array of numbers; anything else is refused by its field's name."""
    try:
        out = np.asarray(value)
        validate.check(field, value, out.dtype.kind in "fiu", "an array of numbers")
        return out.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        if "allowed" in str(error):
            raise
        validate.refuse(field, value, "an array of numbers")
