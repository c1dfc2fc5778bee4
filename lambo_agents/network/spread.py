"""Networks that no process holds whole (FSDP2): each keeps its part of every encoder layer.

A layer's weights come together where it computes, and part again; its gradient is summed straight
into the parts. All else of a network is held by each process, as without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lambo_env.utils import validate


def spread(layers: Iterable[nn.Module], device: str, count: int) -> None:
    """Leave in this process, one of ``count``, its part of each layer; alone, leave all as it is.

    Args:
        layers: the same in all processes, which call this together.
        device: cpu or cuda, which the layers are on.
        count: of the processes.

    Raises:
        ValueError: this torch lacks what that needs.
    """
    if count == 1:
        return
    from torch.distributed import fsdp
    from torch.distributed.device_mesh import init_device_mesh

    fully_shard: Any = getattr(fsdp, "fully_shard", None)
    kind: Any = getattr(fsdp, "FSDPModule", None)
    known = hasattr(kind, "set_force_sum_reduction_for_comms")
    allowed = f"False: torch {torch.__version__} lacks FSDP2 with sums; 2.13 has it"
    validate.check("Recipe.fully_shard", True, known, allowed)
    mesh = init_device_mesh(device, (count,))
    for layer in layers:
        part: Any = fully_shard(layer, mesh=mesh)
        part.set_gradient_divide_factor(1.0)  # pieces are weighed already
        part.set_force_sum_reduction_for_comms(True)  # gloo has sums alone


def is_spread(tensor: Tensor) -> bool:
    """Whether other processes hold the rest of a tensor."""
    return hasattr(tensor, "to_local")


def mine(tensor: Tensor) -> Tensor:
    """Return what this process holds of a tensor, with the same memory."""
    held: Any = tensor
    return held.to_local() if is_spread(tensor) else tensor


def whole(part: Tensor, like: Tensor) -> Tensor:
    """Return the tensor whose part here is ``part``, spread as ``like`` is.

    All processes ask; the first gets it, in the processor's memory, the others their part again.
    """
    if not is_spread(like):
        return part
    together: Tensor = _spread_as(part, like).full_tensor()
    return together.cpu() if like.device_mesh.get_local_rank() == 0 else part  # type: ignore[attr-defined]


def part_of(tensor: Tensor, like: Tensor) -> Tensor:
    """Return this process' part of a whole tensor that is to be spread as ``like`` is."""
    if not is_spread(like):
        return tensor
    mesh: Any = like.device_mesh  # type: ignore[attr-defined]
    parts = tensor.chunk(mesh.size())
    rank = mesh.get_local_rank()
    return parts[rank] if rank < len(parts) else tensor[:0]


def fitted(tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Return whole tensors as a module's ``load_state_dict`` takes them."""
    like = module.state_dict()
    return {
        name: _spread_as(part_of(tensor, like[name]).to(mine(like[name]).device), like[name])
        if name in like and is_spread(like[name]) and like[name].shape == tensor.shape
        else tensor
        for name, tensor in tensors.items()
    }


def _spread_as(part: Tensor, like: Any) -> Any:
    from torch.distributed.tensor import DTensor

    mesh, placements = like.device_mesh, like.placements
    return DTensor.from_local(
        part, mesh, placements, run_check=False, shape=like.shape, stride=like.stride()
    )
