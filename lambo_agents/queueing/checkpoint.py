"""Networks of ``lambo-q`` on disk: the weights with the config of the network that they fit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lambo_agents import weights_io
from lambo_agents.network.checkpoint import weights_path
from lambo_agents.queueing.network import QueueNet, QueueNetConfig

FORMAT = "lambo-queue-1"


def save(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], config: QueueNetConfig, **meta: Any
) -> None:
    """Write tensors, their network's config and further JSON values, atomically."""
    weights_io.save(path, tensors, FORMAT, {"config": config.to_dict(), **meta})


@weights_io.reader
def load_network(path: str | os.PathLike[str]) -> QueueNet:
    """Return the network of shipped weights, by name, or of a file, ready to decide.

    Raises:
        FileNotFoundError: there is none.
        ValueError: not such a file, or weights that do not fit their config.
    """
    path = weights_path(path)
    tensors, meta = weights_io.load(path, FORMAT)
    weights_io.check_header(path, isinstance(meta.get("config"), dict))
    config = QueueNetConfig.from_dict(meta["config"])
    return weights_io.fit(lambda: QueueNet(config), tensors).eval()
