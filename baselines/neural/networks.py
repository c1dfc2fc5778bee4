"""The fully connected networks of DROO and ARE, and what their training shares.

Such a network sees a whole slot as one flat row, so it is made for one number of UEs and servers
and gives every position its own weights. Shapes: B instances, N UEs, M edge servers, P = M + 1
places, I inputs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import array_api_compat
import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lambo_env.offloading import observation, physics
from lambo_env.offloading.instances import LOCAL, Decision, Instances, one_hot_servers
from lambo_env.utils import files, validate

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

FORMAT = "lambo-dnn-1"
WEIGHTS = Path(__file__).parents[1] / "weights"


# ---- networks ------------------------------------------------------------------------------------


def plain(sizes: Sequence[int], hidden: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return fully connected layers sizes[0] -> ...

    -> sizes[-1] with ``hidden`` between them; the last gives logits.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), hidden()]
    return nn.Sequential(*layers[:-1])


class Residual(nn.Module):
    """One fully connected layer of a deep stack: x + W relu(norm(x)).

    Without the sum and the norm, 60 layers do not train at all.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.linear = nn.Linear(width, width)
        self.scale = 1 / math.sqrt(depth)  # so that the sum of all layers starts no larger than one

    def forward(self, value: Tensor) -> Tensor:
        """Return the layer's output [..., width]."""
        return value + self.scale * self.linear(torch.relu(self.norm(value)))


def hidden_widths(field: str, value: Any) -> tuple[int, ...]:
    """Return the widths of hidden layers, checked."""
    validate.check(field, value, isinstance(value, list | tuple), "a list of integers >= 1")
    return tuple(validate.integer(field, width) for width in value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetConfig:
    """Size of a network.

    Args:
        num_ues: N.
        num_servers: M.
        width: of the hidden layers where ``depth`` is given.
        depth: fully connected layers in all, the first and the last plain, those between residual;
            0: ``hidden`` instead.
        hidden: widths of plain hidden layers.
        share_head: one more output a UE, its share of its server.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    num_ues: int = 50
    num_servers: int = 4
    width: int = 69
    depth: int = 60
    hidden: tuple[int, ...] = ()
    share_head: bool = False

    def __post_init__(self) -> None:
        """Check every field."""
        object.__setattr__(self, "hidden", hidden_widths("NetConfig.hidden", self.hidden))
        for name in ("num_ues", "num_servers", "width"):
            validate.integer(f"NetConfig.{name}", getattr(self, name))
        validate.boolean("NetConfig.share_head", self.share_head)
        validate.integer("NetConfig.depth", self.depth, low=0)
        validate.check(
            "NetConfig.depth", self.depth, self.depth == 0 or self.depth >= 3, "0 or >= 3"
        )
        validate.check(
            "NetConfig.hidden",
            self.hidden,
            bool(self.hidden) == (self.depth == 0),
            "given where depth is 0",
        )

    @property
    def inputs(self) -> int:
        """I: N (M + 4) static columns, M relative server sizes, the weight of latency."""
        return self.num_ues * observation.num_static(self.num_servers) + self.num_servers + 1


class PlaceNet(nn.Module):
    """From a slot's inputs [B, I] to logits of every place of every UE [B, N, P] and, with ``share_head``, of its share [B, N]."""

    shift: Tensor
    spread: Tensor

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        outputs = config.num_ues * (config.num_servers + 1 + config.share_head)
        if config.depth:
            blocks = [Residual(config.width, config.depth) for _ in range(config.depth - 2)]
            last = nn.Sequential(
                nn.LayerNorm(config.width, elementwise_affine=False),
                nn.Linear(config.width, outputs),
            )
            self.body = nn.Sequential(nn.Linear(config.inputs, config.width), *blocks, last)
        else:
            self.body = plain([config.inputs, *config.hidden, outputs])
        self.register_buffer("shift", torch.full((config.inputs,), 0.5))
        self.register_buffer("spread", torch.full((config.inputs,), 0.25))

    def standardise(self, inputs: Tensor) -> None:
        """Take the mean and the spread of ``inputs`` [B, I] as those of all inputs to come."""
        self.shift.copy_(inputs.mean(dim=0))
        self.spread.copy_(inputs.std(dim=0).clamp_min(1e-3))

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return (place logits [B, N, P], share logits [B, N] or None)."""
        config = self.config
        out = self.body((inputs - self.shift) / self.spread).unflatten(-1, (config.num_ues, -1))
        return out[..., : config.num_servers + 1], out[..., -1] if config.share_head else None


def parameters(net: nn.Module) -> int:
    """Return how many numbers a network learns."""
    return sum(p.numel() for p in net.parameters())


def columns(instances: Instances, latency_weight: Floats) -> NDArray[np.float32]:
    """Return a slot's inputs as flat rows [B, I].

    Static columns, F_m / largest F, weight of latency.
    """
    static = observation.static_columns(instances).reshape(len(instances), -1)
    capacity = instances.server_cpu_hz
    size = capacity / np.max(capacity, axis=-1, keepdims=True)
    return np.concatenate([static, size, latency_weight[:, None]], axis=1).astype(np.float32)


@torch.no_grad()
def place_logits(
    net: PlaceNet, instances: Instances, inputs: NDArray[np.float32]
) -> tuple[Floats, Floats | None]:
    """Return place logits [B, N, P], -inf where a place can never meet the deadline (local stays open), and share logits."""
    place, share = net(torch.from_numpy(inputs))
    open_ = physics.on_time(instances)
    open_[..., 0] |= ~np.any(open_, axis=-1)
    logits = np.where(open_, place.numpy().astype(np.float64), -np.inf)
    return logits, None if share is None else share.numpy().astype(np.float64)


def unsupported(net: PlaceNet, instances: Instances) -> str | None:
    """Return why a network cannot decide instances, or None."""
    made, given = (
        (net.config.num_ues, net.config.num_servers),
        (instances.num_ues, instances.num_servers),
    )
    if made == given:
        return None
    return f"the network is made for {made[0]} UEs and {made[1]} servers; these have {given[0]} and {given[1]}"


def refuse_unsupported(agent: Any, instances: Instances) -> None:
    """Raise ``ValueError`` with the reason where an agent does not support instances."""
    reason = agent.supports(instances)
    if reason:
        raise ValueError(f"{type(agent).__name__} cannot decide these instances: {reason}")


def rescaled(instances: Instances, place: Places, share: Floats) -> Floats:
    """Return CPU [B, N] in cycles/s in proportion to ``share`` [B, N] > 0 on each server, all of it used."""
    member = one_hot_servers(place, instances.num_servers, np)
    wanted = np.where(member, share[..., None], 0.0)
    total = np.sum(wanted, axis=1, keepdims=True)
    used = wanted / np.where(total > 0, total, 1.0)
    return np.where(
        place == LOCAL, 0.0, np.sum(used * instances.server_cpu_hz[:, None, :], axis=-1)
    )


def in_kind(instances: Instances, place: Places, cpu_hz: Floats) -> Decision:
    """Return NumPy values as a Decision in the namespace and on the device of ``instances``."""
    if isinstance(instances.cycles, np.ndarray):
        return Decision(place, cpu_hz)
    xp, device = instances.xp, array_api_compat.device(instances.cycles)
    return Decision(
        xp.asarray(place, device=device),
        xp.asarray(cpu_hz, dtype=instances.cycles.dtype, device=device),
    )


# ---- torch's global state ------------------------------------------------------------------------


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from ``seed`` and leave torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


# ---- files ---------------------------------------------------------------------------------------


def save(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], **meta: Any) -> None:
    """Write tensors and JSON values to one safetensors file, atomically."""
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    data = safetensors.torch.save(whole, metadata={"format": FORMAT, "json": json.dumps(meta)})
    with files.atomic_writer(path) as file:
        file.write(data)


def save_net(path: Path, net: nn.Module, card: Mapping[str, Any]) -> None:
    """Write a network for use, its size and its card within, and the same as JSON beside it."""
    size = {"net": dataclasses.asdict(net.config)} if isinstance(net, PlaceNet) else {}
    save(path, net.state_dict(), **size, **card)
    files.write_text(path.with_suffix(".json"), json.dumps({**size, **card}, indent=2) + "\n")


def check_options(path: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` that names the first option in which a saved run and the one asked for differ."""
    for name, value in wanted.items():
        same = json.dumps(found.get(name)) == json.dumps(value)
        validate.check(
            f"{name} of the run saved in {path}",
            found.get(name),
            same,
            f"{value!r}; or remove the file",
        )


def load(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the JSON values of a file that ``save`` wrote.

    Raises:
        ValueError: no such file, or not one that ``save`` wrote, whole.
    """
    allowed = "a whole .safetensors file written by this package"
    validate.check("weights", str(path), Path(path).is_file(), allowed)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"weights is {str(path)!r}; allowed: {allowed} ({error})") from error
    validate.check(
        "weights", str(path), meta.get("format") == FORMAT, f"{allowed}, format {FORMAT!r}"
    )
    return tensors, json.loads(meta["json"])


def load_net(name: str | os.PathLike[str]) -> tuple[PlaceNet, dict[str, Any]]:
    """Return the network of shipped weights by name, or of a file by path, and the file's JSON values."""
    path = weights_path(name)
    tensors, meta = load(path)
    net = PlaceNet(NetConfig(**meta["net"]))
    try:
        net.load_state_dict({key: value for key, value in tensors.items() if "/" not in key})
    except RuntimeError as error:
        raise ValueError(
            f"weights is {str(path)!r}; allowed: tensors that fit their NetConfig ({error})"
        ) from error
    return net.eval(), meta


def net_of(
    owner: str, weights: str | None, default: str, net: NetConfig | None, seed: int
) -> tuple[PlaceNet, dict[str, Any]]:
    """Return the network that an agent's arguments ask for, and what is known of it.

    ``owner`` is named in errors.
    """
    validate.integer(f"{owner}.seed", seed, low=0)
    config = NetConfig() if net is None else validate.of_kind(f"{owner}.net", net, NetConfig)
    if weights is not None:
        name = default if weights == "default" else weights
        loaded, meta = load_net(name)
        family = default.partition("-")[0]
        made_for = str(meta.get("options", {}).get("size", family))
        validate.check(
            "weights",
            str(name),
            made_for.startswith(family),
            f"weights of {family}; these are of {made_for}",
        )
        return loaded, meta
    with seeded(seed):
        return PlaceNet(config).eval(), {"labels": 0}


def weights_path(name: str | os.PathLike[str]) -> Path:
    """Return the file of shipped weights by name.

    Anything that ends in .safetensors is a path already.
    """
    if str(name).endswith(".safetensors"):
        return Path(name)
    return (
        WEIGHTS
        / f"{validate.known(name, [p.stem for p in WEIGHTS.glob('*.safetensors')], 'weights')}.safetensors"
    )


# ---- training ------------------------------------------------------------------------------------


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
