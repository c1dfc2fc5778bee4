"""The networks' files: weights for use with a card beside them, and what a killed run needs."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from baselines.neural.networks import SIZES, NetConfig, PlaceNet, seeded
from lambo_agents import weights_io
from lambo_env.utils import files, validate

FORMAT = "lambo-dnn-1"
STATE = ("state", "that of this very training; or remove it to begin anew")  # of one not finished
WEIGHTS = Path(__file__).parents[1] / "weights"


def save_net(path: Path, net: nn.Module, card: Mapping[str, Any]) -> None:
    """Write a network for use, its size and its card within, and the same as JSON beside it.

    Seconds are in the JSON alone: the weights' file is the same on every run.
    """
    size = {"net": dataclasses.asdict(net.config)} if isinstance(net, PlaceNet) else {}
    timeless = {name: value for name, value in card.items() if not name.endswith("seconds")}
    weights_io.save(path, net.state_dict(), FORMAT, {**size, **timeless})
    text = json.dumps({**size, **card}, indent=2) + "\n"
    files.write_text(path.with_suffix(".json"), text, weights_io.CARD)


@weights_io.reader
def load_net(name: str | os.PathLike[str], agent: str) -> tuple[PlaceNet, dict[str, Any]]:
    """Return the network of shipped weights by name, or of a path, and the file's JSON values.

    Raises:
        ValueError: no such file, or weights of another agent than ``agent`` or a former release.
    """
    path = weights_io.weights_path(name, WEIGHTS)
    tensors, meta = weights_io.load(path, FORMAT)
    weights_io.check_header(path, "net" in meta)
    size, family = meta.get("options", {}).get("size"), agent.removesuffix("-60fc")
    validate.check(
        f"size of the network in {str(path)!r}",
        size,
        size in SIZES,
        f"{' or '.join(SIZES)}; a former release's 60 layers are {family}-60fc now, "
        f"trained anew by `lambo train {family} OUT --size 60fc`",
    )
    made_for = meta.get("agent")
    validate.check(
        "weights", str(name), made_for == agent, f"weights of {agent}; these are of {made_for}"
    )
    net = weights_io.fit(lambda: SIZES[size](**meta["net"]).network(), tensors)
    return net.eval(), meta


def agent_name(family: str, size: str) -> str:
    """Return what the agent of a family is called whose network is of ``size``."""
    return family if size == "pooled" else f"{family}-{size}"


def net_of(
    owner: str, weights: str | None, size: str, net: NetConfig | None, seed: int
) -> tuple[PlaceNet, dict[str, Any]]:
    """Return the network that an agent's arguments ask for, and what is known of it.

    ``owner``, the agent's class, is named in errors.
    """
    validate.integer(f"{owner}.seed", seed, low=0)
    validate.known(size, SIZES, f"{owner}.size")
    sized = net is None or isinstance(net, NetConfig)
    validate.check(f"{owner}.net", net, sized, "FlatConfig(...) or PooledConfig(...)")
    if weights is not None:
        return load_net(weights, agent_name(owner.lower(), size))
    with seeded(seed):
        return (net or SIZES[size]()).network().eval(), {"labels": 0}


def pack(net: nn.Module, optimiser: torch.optim.Adam) -> dict[str, Tensor]:
    """Return all tensors that resuming needs: the network's, and Adam's moments under adam/."""
    out = dict(net.state_dict())
    for name, parameter in net.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            out[f"adam/{key}/{name}"] = value
    return out


def unpack(tensors: Mapping[str, Tensor], net: nn.Module, optimiser: torch.optim.Adam) -> None:
    """Put back what ``pack`` took."""
    net.load_state_dict({key: value for key, value in tensors.items() if "/" not in key})
    for name, parameter in net.named_parameters():
        state = {key: tensors[f"adam/{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq")}
        optimiser.state[parameter].update(state)
