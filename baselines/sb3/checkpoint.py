"""What an unfinished SB3 training needs to go on as if nothing had been: safetensors and JSON.

Parameters, optimisers' moments, the replay buffer, counters, generators, the episodes under way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import recursive_getattr
from torch import Tensor

from lambo_agents import weights_io
from lambo_env.utils import validate

FORMAT = "lambo-sb3-run-1"
_COUNTERS = (
    *("num_timesteps", "_n_updates", "_episode_num", "_n_calls"),
    *("exploration_rate", "_current_progress_remaining"),
)  # those of them that an algorithm has
_BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def save(path: Path, model: BaseAlgorithm, **meta: Any) -> None:
    """Write a training between two rollouts; ``meta`` are JSON values."""
    tensors: dict[str, torch.Tensor] = {}
    groups: dict[str, Any] = {}
    for part, state in model.get_parameters().items():
        if "param_groups" in state:  # an optimiser
            groups[part] = state["param_groups"]
            state = {
                f"{k}/{name}": v for k, own in state["state"].items() for name, v in own.items()
            }
        tensors |= {f"{part}/{name}": torch.as_tensor(value) for name, value in state.items()}
    tensors |= {f"variables/{name}": value.detach() for name, value in _variables(model).items()}
    origin, since = _env(model).state()
    arrays = {"since": since, **_rows(model)}
    tensors |= {f"arrays/{name}": torch.from_numpy(array) for name, array in arrays.items()}
    tensors["torch"] = torch.get_rng_state()
    buffer = getattr(model, "replay_buffer", None)
    state = {
        "groups": groups,
        "counters": {name: getattr(model, name) for name in _COUNTERS if hasattr(model, name)},
        "numpy": _plain(np.random.get_state(legacy=False)),  # noqa: NPY002
        "actions": _plain(model.action_space.np_random.bit_generator.state),
        "environments": _plain(origin),
        "buffer": None if buffer is None else [int(buffer.pos), bool(buffer.full)],
    }
    weights_io.save(path, tensors, FORMAT, {"state": state, **meta})


def restore(path: Path, model: BaseAlgorithm) -> dict[str, Any]:
    """Put a new model, built from the same config, to where ``save`` left it; return ``meta``.

    Raises:
        ValueError: not such a file, or one that does not fit the model.
    """
    tensors, meta = weights_io.load(path, FORMAT)
    try:
        _restore(model, tensors, meta.pop("state"))
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        allowed = f"a checkpoint of this very training ({error}); remove it to begin anew"
        validate.check("checkpoint", str(path), False, allowed)
    return meta


def _restore(model: BaseAlgorithm, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        part, _, rest = name.partition("/")
        parts.setdefault(part, {})[rest] = value
    parameters: dict[str, Any] = {}
    for part in model.get_parameters():
        parameters[part] = parts.get(part, {})
        if part in state["groups"]:
            moments: dict[int, dict[str, Tensor]] = {}
            for name, value in parameters[part].items():
                index, _, field = name.partition("/")
                moments.setdefault(int(index), {})[field] = value
            parameters[part] = {"state": moments, "param_groups": state["groups"][part]}
    model.set_parameters(parameters, exact_match=True, device="cpu")
    for name, variable in _variables(model).items():
        variable.data.copy_(parts["variables"][name])
    for name, value in state["counters"].items():
        setattr(model, name, value)
    arrays = {name: value.numpy() for name, value in parts["arrays"].items()}
    seen, dones = _env(model).restore(state["environments"], arrays.pop("since"))
    model._last_obs, model._last_episode_starts = seen, dones
    buffer: Any = getattr(model, "replay_buffer", None)
    if buffer is not None:
        buffer.pos, buffer.full = state["buffer"]
        for name, rows in _rows(model).items():
            rows[...] = arrays[name]
    model.action_space.np_random.bit_generator.state = state["actions"]
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(parts["torch"][""])


def _rows(model: BaseAlgorithm) -> dict[str, NDArray[Any]]:
    """Return views of the filled part of the replay buffer, none where there is no such buffer."""
    buffer: Any = getattr(model, "replay_buffer", None)
    found: dict[str, NDArray[Any]] = {}
    for name in _BUFFER if buffer is not None else ():
        value, count = getattr(buffer, name), len(buffer.rewards) if buffer.full else buffer.pos
        named = value.items() if isinstance(value, dict) else [("", value)]
        found |= {f"{name}/{key}": array[:count] for key, array in named}
    return found


def _variables(model: BaseAlgorithm) -> dict[str, Tensor]:
    """Return the learned tensors that are no module's, such as SAC's log of alpha."""
    return {name: recursive_getattr(model, name) for name in model._get_torch_save_params()[1]}


def _env(model: BaseAlgorithm) -> Any:
    return model.get_env()


def _plain(value: Any) -> Any:
    """Return a generator's state as JSON values."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
