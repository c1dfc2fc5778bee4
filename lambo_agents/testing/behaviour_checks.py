"""What an agent must do beyond one sound decision.

Keep to its rng, leave its input alone, manage odd instances.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import array_api_compat
import numpy as np

from lambo_agents.protocol import unsupported
from lambo_agents.testing.decision_checks import FAULTS
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision, Instances
from lambo_env.prompts.objectives import PAIR, PURE_PROMPTS
from lambo_env.prompts.prompts import Prompts
from lambo_env.testing.report import NotChecked
from lambo_env.utils import validate
from lambo_env.utils.rows import read_only
from lambo_env.utils.timing import measure

TEXTS = (*PURE_PROMPTS, f"70% {PAIR[0]}, 30% {PAIR[1]}")
CPU_TOLERANCE = (
    1e-4  # relative: a network's batch of one may round otherwise than its batch of many
)


@dataclasses.dataclass
class Probe:
    """An agent, the batch that most checks share, and what it decided there."""

    agent: Any
    instances: Instances  # one row per prompt of TEXTS
    prompts: Prompts
    seed: int
    torch_device: str | None
    limit_ms: float | None

    def decide(self, instances: Instances, prompts: Prompts) -> Decision:
        """Return the agent's decision with a fresh generator.

        It gets copies that refuse writes, as a sweep's instances do.
        """
        instances, prompts = _copies(instances, prompts)
        return self.agent.decide(read_only(instances), prompts, np.random.default_rng(self.seed))

    def can_decide(self) -> None:
        """Call decide on the batch, having asked supports."""
        name = type(self.agent).__name__
        if not callable(getattr(self.agent, "decide", None)):
            raise ValueError(f"{name} has no decide(instances, prompts, rng)")
        reason = unsupported(self.agent, self.instances, self.prompts)
        validate.check(
            f"{name}.supports(instances)",
            reason,
            reason is None or (isinstance(reason, str) and reason != ""),
            "None, or the reason as text",
        )
        if reason:
            raise ValueError(
                f"{name} supports none of these instances ({reason}); "
                "pass check_agent a scenario it supports"
            )
        rng = np.random.default_rng(self.seed)
        before = _state(rng)
        self.decided = self.agent.decide(*_copies(self.instances, self.prompts), rng)
        self.draws = _state(rng) != before

    def valid(self, instances: Instances, prompts: Prompts) -> str | None:
        """Refuse a faulty decision of other instances.

        Nothing to check where the agent does not support them.
        """
        reason = unsupported(self.agent, instances, prompts)
        if reason:
            raise NotChecked(f"not supported: {reason}")
        decision = self.decide(instances, prompts)
        for fault in FAULTS.values():
            fault(instances, decision)
        physics.evaluate(instances, decision, prompts.objective(instances))
        return None


def _copies(instances: Instances, prompts: Prompts) -> tuple[Instances, Prompts]:
    rows = np.arange(instances.batch_size)  # indexing by an array copies
    return instances.take(rows), prompts.take(rows)


def _state(rng: np.random.Generator) -> str:
    """Return what changes when a generator is drawn from or spawns others."""
    return (
        f"{rng.bit_generator.state} {getattr(rng.bit_generator.seed_seq, 'n_children_spawned', 0)}"
    )


def _same(label: str, got: Decision, want: Decision, tolerance: float = 0.0) -> None:
    """Refuse a decision that is not the one wanted, naming the first value that differs."""
    validate.each(f"{label}: place", got.place, got.place == want.place, "the same places")
    close = np.abs(got.cpu_hz - want.cpu_hz) <= tolerance * np.abs(want.cpu_hz)
    validate.each(f"{label}: cpu_hz", got.cpu_hz, close, "the same CPU")


def _evaluates(probe: Probe) -> str:
    outcome = physics.evaluate(
        probe.instances, probe.decided, probe.prompts.objective(probe.instances)
    )
    validate.each("Outcome.cost", outcome.cost, np.isfinite(outcome.cost), "finite")
    return f"{np.mean(outcome.late):.1%} late"


def _same_rng(probe: Probe) -> str:
    again = probe.decide(probe.instances, probe.prompts)
    for name in ("place", "cpu_hz"):
        if np.shares_memory(getattr(again, name), getattr(probe.decided, name)):
            raise ValueError(
                f"Decision.{name} of two calls is one array; allowed: a new one each call"
            )
    _same("second call with an equal generator", again, probe.decided)
    return "draws from its rng" if probe.draws else "uses no randomness"


def _global_random(probe: Probe) -> None:
    def states() -> object:
        numpy = np.random.get_state(legacy=False)["state"]  # noqa: NPY002 - the global generator is what is watched
        return numpy["key"].tolist(), numpy["pos"], random.getstate()

    before = states()
    probe.decide(probe.instances, probe.prompts)
    if states() != before:
        raise ValueError(
            "decide draws from a global generator; allowed: the rng that it is given, alone"
        )


def _values(instances: Instances, prompts: Prompts) -> dict[str, Any]:
    fields = {
        f"Instances.{f.name}": getattr(instances, f.name) for f in dataclasses.fields(instances)
    }
    fields |= {
        f"Prompts.{name}": getattr(prompts, name) for name in ("texts", "tokens", "latency_weight")
    }
    return {name: np.array(value) for name, value in fields.items()}


def _input_untouched(probe: Probe) -> None:
    instances, prompts = _copies(probe.instances, probe.prompts)
    before = _values(instances, prompts)
    probe.agent.decide(instances, prompts, np.random.default_rng(probe.seed))
    for name, value in _values(instances, prompts).items():
        same = value.shape == before[name].shape
        validate.check(
            f"{name}.shape after decide", value.shape, same, f"{before[name].shape}, as before"
        )
        validate.each(f"{name} after decide", value, value == before[name], "the value before")


def _one_by_one(probe: Probe) -> str:
    """An agent that draws nothing must decide a row as it does alone.

    ``batch_invariant`` overrides what is expected.
    """
    expected = getattr(probe.agent, "batch_invariant", not probe.draws)
    for k in range(len(TEXTS)):
        instances, prompts = probe.instances.take([k]), probe.prompts.take([k])
        probe.valid(instances, prompts)
        if expected:
            alone = probe.decide(instances, prompts)
            _same(f"row {k} alone against the batch", alone, probe.decided.take([k]), CPU_TOLERANCE)
    return (
        "rows equal the batch's" if expected else "rows are legal; they may differ from the batch's"
    )


def _every_prompt(probe: Probe) -> None:
    for text in TEXTS:
        probe.valid(probe.instances, Prompts.of(text, len(TEXTS)))


def _cut(instances: Instances, ues: int, servers: int) -> Instances:
    fields = {
        f.name: getattr(instances, f.name)[:, :ues]
        for f in dataclasses.fields(instances)
        if f.name in _PER_UE
    }
    links = instances.uplink_bps[:, :ues, :servers]
    return instances.replace(
        **fields, uplink_bps=links, server_cpu_hz=instances.server_cpu_hz[:, :servers]
    )


_PER_UE = {"data_bits", "cycles", "deadline_s", "local_cpu_hz", "local_power_w", "tx_power_w"}


# instances that an agent has to decide soundly too
ODD: dict[str, Callable[[Instances], Instances]] = {
    "one UE": lambda given: _cut(given, 1, given.num_servers),
    "one server": lambda given: _cut(given, given.num_ues, 1),
    # no place can meet a deadline of a nanosecond
    "hopeless deadline": lambda given: given.replace(deadline_s=given.deadline_s * 0 + 1e-9),
    # few can be served in time, and nobody can stay local
    "scarce servers": lambda given: given.replace(
        server_cpu_hz=given.server_cpu_hz * 0.02, local_cpu_hz=given.local_cpu_hz * 0.1
    ),
}


def _odd(name: str) -> Callable[[Probe], str | None]:
    return lambda probe: probe.valid(ODD[name](probe.instances), probe.prompts)


def _torch(probe: Probe) -> str:
    if probe.torch_device is None:
        raise NotChecked('ask for it with torch_device="cpu"')
    import torch

    instances = probe.instances.to(torch, device=probe.torch_device)
    try:
        decision = probe.decide(instances, probe.prompts)
    except (TypeError, ValueError) as refusal:
        return f"refused: {refusal}"
    for name in ("place", "cpu_hz"):
        value = getattr(decision, name)
        validate.check(
            f"type of Decision.{name}",
            type(value).__name__,
            isinstance(value, torch.Tensor),
            "Tensor for torch instances",
        )
        device = array_api_compat.device(value)
        validate.check(
            f"Decision.{name}.device",
            str(device),
            device == instances.cycles.device,
            "the instances' device",
        )
    physics.evaluate(instances, decision, probe.prompts.objective(instances))
    return f"decides on {instances.cycles.device}"


def _time(probe: Probe) -> str:
    spent_s = measure(lambda: probe.decide(probe.instances, probe.prompts)).wall_s[0]
    taken_ms = spent_s * 1e3 / len(TEXTS)
    text = f"{taken_ms:.3g} ms per instance, {len(TEXTS)} at once"
    if probe.limit_ms is not None and taken_ms > probe.limit_ms:
        raise ValueError(f"{text}; allowed: {probe.limit_ms:g} ms")
    return text


BEHAVIOUR: dict[str, Callable[[Probe], str | None]] = {
    "evaluate": _evaluates,
    "same rng, same answer": _same_rng,
    "no global randomness": _global_random,
    "input untouched": _input_untouched,
    "batch = one by one": _one_by_one,
    "every prompt": _every_prompt,
    **{name: _odd(name) for name in ODD},
    "torch": _torch,
    "time": _time,
}
