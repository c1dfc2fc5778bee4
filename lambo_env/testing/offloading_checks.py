"""Checks of the sequential offloading environments.

Rewards, masks, last observations, given instances, bad input.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from lambo_env.offloading import physics
from lambo_env.offloading.instances import LOCAL, Decision, Instances
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.testing.harness import (
    Moment,
    Probe,
    episode,
    legal_action,
    raises,
    random_action,
    same,
)
from lambo_env.testing.report import NotChecked


def base(env: gym.Env[Any, Any]) -> Any:
    """Return the environment under the wrappers."""
    return env.unwrapped


def return_is_cost(probe: Probe) -> str:
    """Check that each slot's rewards sum to minus its cost, which physics gives its outcome too."""
    slots = 0
    for policy in (legal_action, random_action):
        env, rewards = probe.make(), 0.0
        for (_, reward, _, info), slot in _told(
            env, episode(env, policy, probe.rng(), seed=probe.seed)
        ):
            rewards += reward
            if "outcome" in info:
                cost, again = info["outcome"]["cost"], _evaluated(info["outcome"], *slot)
                assert np.isclose(-rewards, cost, rtol=1e-6, atol=0), (
                    f"rewards sum to {rewards}, cost is {cost}"
                )
                assert np.isclose(again, cost, rtol=1e-9, atol=0), (
                    f"evaluate gives {again}, outcome says {cost}"
                )
                rewards, slots = 0.0, slots + 1
    return f"{slots} slots, legal and random actions"


def _told(
    env: gym.Env[Any, Any], moments: Iterable[Moment]
) -> Iterator[tuple[Moment, tuple[Instances, Prompts]]]:
    """Yield each moment with the instances and prompts of the slot that its step was in."""
    slot = None
    for moment in moments:
        slot = slot or (base(env).instances, base(env).prompts)
        yield moment, slot
        slot = base(env).instances, base(env).prompts


def _evaluated(outcome: dict[str, Any], instances: Instances, prompts: Prompts) -> float:
    decision = Decision(outcome["place"][None], outcome["cpu_hz"][None])
    return float(physics.evaluate(instances, decision, prompts.objective(instances)).cost[0])


def masks_advise(probe: Probe) -> str:
    """Check that a legal place is in time where the UE could be.

    And that an illegal server makes it late and gives nothing.
    """
    seen = 0
    for policy in (legal_action, random_action):
        env = probe.make()
        masks: list[NDArray[np.bool_]] = []
        ues = base(env).scenario.num_ues
        for _, _, _, info in episode(env, policy, probe.rng(), seed=probe.seed):
            same(
                info["action_mask"].astype(bool),
                env.get_wrapper_attr("action_masks")(),
                "mask in info and method",
            )
            if "outcome" in info:
                legal = np.asarray(masks[-ues:])[np.arange(ues), info["outcome"]["place"]]
                late, cpu = info["outcome"]["late"], info["outcome"]["cpu_hz"]
                wrong = np.flatnonzero(late & legal & (info["outcome"]["place"] != LOCAL))
                assert not wrong.size, f"UE {wrong[:1]} is late on a legal server"
                wrong = np.flatnonzero(~legal & (~late | (cpu > 0)))
                assert not wrong.size, f"UE {wrong[:1]} is served at an illegal place"
                seen += ues
            masks.append(info["action_mask"].astype(bool))
        local = np.arange(masks[-1].size) == LOCAL
        assert np.array_equal(masks[-1], local), "the mask after the end is not local alone"
    return f"{seen} decisions"


def last_observation(probe: Probe) -> str:
    """Check that the last observation shows the finished slot, with no UE current."""
    env = probe.make()
    *_, (observation, _, _, info) = episode(env, legal_action, probe.rng(), seed=probe.seed)
    current, place = observation["ues"][:, -3], observation["ues"][:, -2]
    assert not current.any(), f"UE {int(current.argmax())} is current after the end"
    shown = np.rint(place * base(env).scenario.num_servers).astype(int)
    same(shown, info["outcome"]["place"].astype(int), "places shown and decided")
    return ""


def bad_cell(probe: Probe) -> str:
    """Check that unknown scenarios, prompts and instances are errors that change nothing."""
    env, twin = probe.make(), probe.make()
    for one in (env, twin):
        one.reset(seed=probe.seed)
    for options in (
        {"prompt": "make it so"},
        {"prompt": "x" * 161},
        {"prompt": "é"},
        {"instances": 3},
    ):
        raises(ValueError, partial(env.reset, seed=99, options=options), f"the options {options}")
    arguments: Any = type(base(env).arguments)
    for kwargs in (
        {"num_slots": 0},
        {"scenario": "papr"},
        {"observe": "all"},
        {"prompt": ""},
        {"render_mode": "braille"},
    ):
        raises(ValueError, partial(arguments, **kwargs), f"the arguments {kwargs}")
    for one in (env, twin):
        list(episode(one, legal_action, probe.rng()))
    same(base(env).frame().cost, base(twin).frame().cost, "after bad options")
    return "arguments and options"


def given_instances(probe: Probe) -> str:
    """Check that given instances are played once, and that draws go on as if they had not been."""
    env, twin = probe.make(), probe.make()
    if base(env).num_slots != 1:
        raise NotChecked("given instances are for one slot")
    given = sample_instances(base(env).scenario, 1, probe.rng())
    env.reset(seed=probe.seed, options={"instances": given, "prompt": "minimum energy"})
    same(base(env).instances.uplink_bps, given.uplink_bps, "instances played")
    same(base(env).prompts.tokens, Prompts.of("minimum energy").tokens, "prompt played")
    twin.reset(seed=probe.seed)
    same(env.reset(), twin.reset(), "the episode after")
    return ""


CHECKS = {
    "rewards sum to minus the cost": return_is_cost,
    "masks advise rightly": masks_advise,
    "last observation": last_observation,
    "given instances": given_instances,
    "bad arguments of a cell": bad_cell,
}
