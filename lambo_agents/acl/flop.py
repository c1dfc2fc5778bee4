"""How fast a training is: rollouts and labels per second, and its model FLOP over the machine's.

Model FLOP: matrix products of the forward passes, three times where a gradient follows; what is
computed again to save memory does not count.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from lambo_env.utils.timing import measure

_SDPA = "scaled_dot_product"  # part of the names of all kernels of attention
_WITH_GRADIENT = 3
_SIZES = {"cpu": 512, "cuda": 8192}  # of the square matrices whose product is timed


class _Counter(TorchDispatchMode):
    """Counts the model FLOP of what runs within."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flop = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        packet, kwargs = func._overloadpacket, kwargs or {}
        if packet not in flop_registry:
            with self:
                done = func.decompose(*args, **kwargs)
            if done is not NotImplemented:
                return done
        out, times = func(*args, **kwargs), _WITH_GRADIENT if torch.is_grad_enabled() else 1
        if _SDPA in str(packet):  # the kernel of processors has no entry
            self.flop += times * sdpa_flop_count(*(part.shape for part in args[:3]))
        elif packet in flop_registry:
            self.flop += times * flop_registry[packet](*args, **kwargs, out_val=out)
        return out


@contextlib.contextmanager
def counted(found: dict[int, float], stage: int, shards: int) -> Iterator[None]:
    """Keep the FLOP of a stage's updates where none are known: ``shards`` times those within."""
    if stage in found:
        yield
        return
    with _Counter() as counter:
        yield
    found[stage] = float(counter.flop * shards)


def peak_flop_s(device: str, precision: str) -> float:
    """Return the FLOP per second of a large product of square matrices on a device."""
    kind = torch.device(device).type
    size = _SIZES.get(kind, _SIZES["cpu"])
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left = torch.ones(size, size, dtype=dtype, device=device)

    def product() -> None:
        torch.mm(left, left)
        if kind == "cuda":
            torch.cuda.synchronize()

    product()
    return 2 * size**3 / float(measure(product, 3).wall_s.min())


class Meter:
    """Rates between two lines of a log, by the wall clock.

    Args:
        counts: (rollouts, labels, model FLOP) so far.
        peak: FLOP per second of all devices together.
    """

    def __init__(self, counts: Callable[[], tuple[float, ...]], peak: float) -> None:
        self.counts, self.peak = counts, peak
        self.then_s, self.before = time.perf_counter(), counts()

    def line(self) -> str:
        """Return the rates since the last line, or since the beginning."""
        now_s, now = time.perf_counter(), self.counts()
        rollouts, labels, flop = (
            (b - a) / (now_s - self.then_s) for a, b in zip(self.before, now, strict=True)
        )
        self.then_s, self.before = now_s, now
        return f"{rollouts:.3g} rollouts/s, {labels:.3g} labels/s, MFU {flop / self.peak:.1%}"
