"""Processes that train one network together: each takes some pieces of every update.

All hold the same weights; gradients are summed (gloo on processors, nccl on GPUs). The first alone
measures and writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, distributed

from lambo_env.utils import runs, validate

BAD_INPUT = 2  # exit code
_BUCKET = 2**24  # numbers of a gradient that are sent at once
_PATIENCE = datetime.timedelta(hours=2)  # the others wait while the first measures
_GRACE_S, _POLL_S = 5.0, 0.05  # for processes to end, once another has


class LostProcessError(RuntimeError):
    """A process that the training needs is gone."""


@dataclasses.dataclass(frozen=True)
class Processes:
    """This process among those of a training."""

    rank: int = 0
    count: int = 1
    device: str = "cpu"  # of what is sent

    @property
    def first(self) -> bool:
        """Whether this one measures and writes."""
        return self.rank == 0

    def share(self, shards: int) -> range:
        """Return which of an update's pieces are this process'.

        Raises:
            ValueError: the processes cannot share them evenly.
        """
        allowed = f"a multiple of {self.count}, the processes that share an update's pieces"
        validate.check("Recipe.shards", shards, shards % self.count == 0, allowed)
        each = shards // self.count
        return range(self.rank * each, (self.rank + 1) * each)

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Return the sums of numbers over all processes."""
        return self._reduced(numbers, distributed.ReduceOp.SUM)

    def largest(self, number: int) -> int:
        """Return the largest of all processes' numbers."""
        return round(self._reduced([number], distributed.ReduceOp.MAX)[0])

    def _reduced(self, numbers: Sequence[float], how: object) -> list[float]:
        if self.count == 1:
            return list(numbers)
        sent = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        with connected():
            distributed.all_reduce(sent, how)
        return sent.tolist()

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Sum gradients over all processes; one that nobody has stays away."""
        if self.count == 1:
            return
        held = self.total([float(parameter.grad is not None) for parameter in parameters])
        bucket: list[Tensor] = []
        for parameter, holders in zip(parameters, held, strict=True):
            if not holders:
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            bucket.append(parameter.grad)
            if sum(grad.numel() for grad in bucket) >= _BUCKET:
                _sum(bucket)
                bucket = []
        if bucket:
            _sum(bucket)


ALONE = Processes()


def _sum(tensors: list[Tensor]) -> None:
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    with connected():
        distributed.all_reduce(flat)
    parts = flat.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


@contextlib.contextmanager
def connected(computes: bool = False) -> Iterator[None]:
    """Say that a process is gone where sending fails.

    Args:
        computes: whether what is done computes too, so that errors may be none of sending.

    Raises:
        LostProcessError: another process is gone.
    """
    try:
        yield
    except RuntimeError as error:  # what gloo and nccl raise
        sent = "gloo" in str(error) or isinstance(error, distributed.DistError)
        if computes and not sent:
            raise
        raise LostProcessError("another process of this training is gone") from error


@contextlib.contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun or ``launch`` started beside this one, if it did.

    Args:
        device: that the network is on; of "cuda", each process on a machine has a GPU of its own.

    Raises:
        ValueError: there are fewer GPUs than processes, or no rank among them.
        LostProcessError: the others do not come.
    """
    count, rank = _whole("WORLD_SIZE", 1), _whole("RANK", -1)
    if count == 1:
        yield ALONE
        return
    allowed = f"0 .. {count - 1}, as torchrun sets it beside WORLD_SIZE {count}"
    validate.check("RANK", os.environ.get("RANK"), 0 <= rank < count, allowed)
    cuda = device.partition(":")[0] == "cuda"
    if cuda:
        local, gpus = _whole("LOCAL_RANK", 0), torch.cuda.device_count()
        allowed = f"a device that each process has one of: there are {gpus} GPUs here"
        validate.check("Recipe.device", device, local < gpus and device == "cuda", allowed)
        torch.cuda.set_device(local)
    with connected():
        distributed.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    yield Processes(rank, count, "cuda" if cuda else "cpu")
    distributed.destroy_process_group()


def _whole(name: str, default: int) -> int:
    """Return a whole number of the environment."""
    told = os.environ.get(name, str(default))
    validate.check(name, told, told.removeprefix("-").isdecimal(), "a whole number")
    return int(told)


def launch(module: str, arguments: Sequence[str], count: int) -> None:
    """Run ``python -m`` a module, which calls ``joined``, in ``count`` processes of this machine.

    The first that ends badly ends the others; signals reach all.

    Raises:
        ValueError: bad input, of which one has said more.
        LostProcessError: one was killed, or failed and has said why.
        Stopped: a signal came; the training is saved as it was then.
    """
    store = distributed.TCPStore(  # type: ignore[attr-defined]
        "127.0.0.1", 0, is_master=True, wait_for_workers=False
    )
    environment = os.environ | {
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store is here
    }
    command = [sys.executable, "-m", module, *arguments]
    started: list[subprocess.Popen[bytes]] = []
    asked: list[int] = []

    def forward(number: int, frame: object) -> None:
        asked.append(number)
        for process in started:
            process.send_signal(number)

    with runs.handled(forward):
        try:
            for rank in range(count):
                its = environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                started.append(subprocess.Popen(command, env=its, start_new_session=True))
            while None in (codes := [process.poll() for process in started]) and not any(codes):
                time.sleep(_POLL_S)
        finally:
            _end(started)
    if asked:
        raise runs.Stopped(asked[0])
    _check(codes)


def _end(started: list[subprocess.Popen[bytes]]) -> None:
    """End those that still run: asked first, then killed."""
    for process in started:
        if process.poll() is None:
            process.terminate()
    until_s = time.monotonic() + _GRACE_S
    for process in started:
        try:
            process.wait(max(0.0, until_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _check(codes: Sequence[int | None]) -> None:
    for rank, code in enumerate(codes):
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            raise LostProcessError(f"process {rank} of {len(codes)} was ended by {name}")
    for rank, code in enumerate(codes):
        if code:
            kind = ValueError if code == BAD_INPUT else LostProcessError
            raise kind(f"process {rank} of {len(codes)} ended with code {code}, and said why")
