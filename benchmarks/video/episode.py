"""Play an episode with one agent or two and film it: on ``LAMBO-MEC-v0``, reset with the seed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.sweep import bounds
from benchmarks.video import queues, writer
from lambo_agents import guard
from lambo_agents.protocol import Agent, unsupported
from lambo_agents.registry import make_agent
from lambo_env.envs.actions import encode_action
from lambo_env.envs.arguments import JointArguments
from lambo_env.envs.env import WorldEnv
from lambo_env.offloading import physics
from lambo_env.offloading.dynamics import share_of
from lambo_env.offloading.instances import LOCAL, Decision, Instances, at_server
from lambo_env.offloading.scenario import Scenario
from lambo_env.queueing.scenario import QueueScenario
from lambo_env.registration import load_scenario
from lambo_env.rendering.frame import Frame
from lambo_env.utils import validate

_GAP = 1e-4  # to which optima are proven

Optima = dict[int, float | None]  # certified lower bound of each slot's cost


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What is played: one episode."""

    scenario: Scenario
    prompt: str = "minimum latency"
    seed: int = 0
    num_slots: int = 1
    limit_s: float = 20.0  # of a slot's proof; 0: prove nothing

    def __post_init__(self) -> None:
        """Check the numbers."""
        validate.integer("--num-slots", self.num_slots)
        validate.integer("--seed", self.seed, low=0)
        validate.non_negative("--limit-s", self.limit_s)


def render_episode(
    agent: str | Agent,
    out: str | os.PathLike[str],
    *,
    scenario: Any = "paper",
    prompt: str = "minimum latency",
    versus: str | Agent | None = None,
    seed: int = 0,
    num_slots: int | None = None,
    fps: int = 10,
    every: int = 1,
    bound: bool = True,
    limit_s: float = 20.0,
) -> list[str]:
    """Play and write a film, a picture or text.

    Return one line per slot and agent, and a last one with the file.

    Args:
        agent: a registered name, or an agent.
        out: .mp4, .gif, .png (the last picture) or .txt.
        scenario: what ``load_scenario`` takes.
        prompt: the objective in words.
        versus: a second agent, drawn beside the first on the same slots.
        seed: of the environment and of the agents' draws.
        num_slots: of the episode; None: 1, or as many as a scenario of tasks that wait says.
        fps: pictures per second: UE decisions, or slots where tasks wait.
        every: one picture in so many stays, and each slot's last.
        bound: prove each slot's optimum and show it.
        limit_s: time limit of that proof, a slot.

    Raises:
        ValueError: an unknown name, prompt or suffix, a bad number, or an agent that cannot decide
            the slot.
        ImportError: a package is missing; the text has the command that installs it.
    """
    path, players = writer.check_out(out), [agent] if versus is None else [agent, versus]
    chosen = load_scenario(scenario)
    if isinstance(chosen, QueueScenario):
        seed = validate.integer("--seed", seed, low=0)
        films = [list(queues.play(one, chosen, prompt, seed, num_slots)) for one in players]
        writer.write_film(list(zip(*films, strict=True)), path, fps, every)
        return [*(queues.line(film[-1]) for film in films), f"wrote {path}"]
    setting = Setting(
        scenario=chosen,
        prompt=prompt,
        seed=seed,
        num_slots=1 if num_slots is None else num_slots,
        limit_s=validate.non_negative("--limit-s", limit_s) if bound else 0.0,
    )
    optima: Optima = {}
    boards = [list(play(player, setting, optima)) for player in players]
    writer.write_film(list(zip(*boards, strict=True)), path, fps, every)
    return [
        *(_line(frame) for board in boards for frame in board if frame.current is None),
        f"wrote {path}",
    ]


def play(player: str | Agent, setting: Setting, optima: Optima) -> Iterator[Frame]:
    """Yield the frames of an episode: before the first decision, then after each.

    ``optima`` is filled where it lacks a slot.

    The agent decides a slot as a whole; its decision is then played UE by UE. A task that it drops,
    or allots less than its deadline needs, gets what the environment grants: the least that meets
    the deadline where the server has it.
    """
    agent = make_agent(player) if isinstance(player, str) else player
    title = player if isinstance(player, str) else type(player).__name__
    owner = f"agent {title!r}"
    env, own_rng = (
        WorldEnv(JointArguments(setting.scenario, setting.prompt, setting.num_slots)),
        np.random.default_rng([setting.seed, 1]),
    )
    env.reset(seed=setting.seed)
    for slot in range(setting.num_slots):
        instances = env.instances
        with guard.guarded(owner):
            reason = unsupported(agent, instances, env.prompts)
        validate.check(
            "--agent", title, reason is None, f"an agent that can decide this scenario ({reason})"
        )
        if slot not in optima:
            optima[slot] = _optimum(instances, setting)
        with guard.guarded(owner):
            decision = agent.decide(instances, env.prompts, own_rng)
            physics.evaluate(instances, decision, env.prompts.objective(instances))
        shown: dict[str, Any] = {"title": title, "optimum": optima[slot]}
        frame = dataclasses.replace(env.frame(), **shown)
        yield frame
        while frame.current is not None:
            outcome = env.step(_action(frame, decision))[-1].get("outcome")
            frame = (
                dataclasses.replace(env.frame(), **shown)
                if outcome is None
                else _done(frame, outcome)
            )
            yield frame


def _action(frame: Frame, decision: Decision) -> Any:
    """Return the action that gives the current UE what the agent decided."""
    assert frame.current is not None
    ue, instances = slice(frame.current, frame.current + 1), frame.instances
    place = np.asarray(decision.place)[:, ue].astype(np.int64)
    share = share_of(
        np.asarray(decision.cpu_hz)[:, ue],
        at_server(physics.floors_hz(instances)[:, ue], place, np),
        at_server(frame.left_hz[None, None], place, np),
    )
    return encode_action(
        place, np.where(place == LOCAL, 0.0, np.nan_to_num(share)), instances.num_servers
    )[0, 0]


def _done(before: Frame, outcome: dict[str, Any]) -> Frame:
    """Return the frame of a finished slot; the environment shows the next one already."""
    capacity = before.instances.server_cpu_hz[0]
    used = np.bincount(outcome["place"], weights=outcome["cpu_hz"], minlength=capacity.size + 1)[
        LOCAL + 1 :
    ]
    return dataclasses.replace(
        before,
        place=outcome["place"],
        decided=np.ones_like(before.decided),
        latency_s=outcome["latency_s"],
        late=outcome["late"],
        left_hz=np.maximum(capacity - used, 0.0),
        current=None,
        cost=float(outcome["cost"]),
    )


def _optimum(instances: Instances, setting: Setting) -> float | None:
    if setting.limit_s == 0:
        return None
    lower = bounds.prove(instances, setting.prompt, _GAP, setting.limit_s).lower[0]
    return float(lower) if np.isfinite(lower) else None


def _line(frame: Frame) -> str:
    cost = f"{frame.cost:#.5g} {frame.unit}".rstrip()
    beside = "" if frame.gap is None else f", {100 * frame.gap:+.2f} % over the certified optimum"
    where = f"slot {frame.slot + 1} of {frame.num_slots}"
    return f"{frame.title}: {where}: cost {cost}{beside}, {int(frame.late.sum())} late"
