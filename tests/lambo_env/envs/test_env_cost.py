"""Returns are costs.

Every id on every preset under any actions, and every agent's decision played step by step.
"""

import gymnasium as gym
import numpy as np
import pytest

import lambo_env  # noqa: F401 - registers the ids
from lambo_agents.protocol import unsupported
from lambo_agents.registry import agent_spec, list_agents
from lambo_env.envs.actions import encode_action
from lambo_env.offloading import dynamics, physics
from lambo_env.offloading.instances import LOCAL, Decision
from lambo_env.offloading.scenario import list_scenarios, load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts

IDS = ("LAMBO-MEC-v0", "LAMBO-MEC-Association-v0", "LAMBO-MEC-Drift-v0")


def actions(env, masks, rng, legal):
    """Places that the mask allows, or any; shares at the corners often."""
    chance = rng.random(masks.shape)
    place = (chance * masks if legal else chance).argmax(1)
    if isinstance(env.single_action_space, gym.spaces.Discrete):
        return place
    share = np.where(
        rng.random(len(place)) < 0.4, rng.integers(0, 2, len(place)), rng.random(len(place))
    )
    return encode_action(place, share, masks.shape[1] - 1)


@pytest.mark.parametrize("name", list_scenarios())
@pytest.mark.parametrize("env_id", IDS)
def test_the_return_is_minus_the_sum_of_the_slots_costs(env_id, name):
    for prompt, legal in (("minimum latency", True), ("minimum energy", False), (None, False)):
        env = gym.make_vec(env_id, 3, scenario=name, prompt=prompt, num_slots=2)
        rng, over, returns, costs = (
            np.random.default_rng(0),
            np.zeros(3, dtype=bool),
            np.zeros(3),
            np.zeros(3),
        )
        masks = env.reset(seed=1)[1]["action_mask"]
        while not over.all():
            instances, objective = (
                env.unwrapped.instances,
                env.unwrapped.prompts.objective(env.unwrapped.instances),
            )
            _, rewards, over, _, infos = env.step(actions(env, masks, rng, legal))
            returns, masks = returns + rewards, infos["action_mask"]
            if "outcome" in infos:
                told = infos["outcome"]
                costs += told["cost"]
                again = physics.evaluate(
                    instances, Decision(told["place"], told["cpu_hz"]), objective
                )
                np.testing.assert_allclose(again.cost, told["cost"], rtol=1e-9)
                np.testing.assert_allclose(-returns, costs, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", list_agents())
def test_every_agents_decision_costs_in_the_environment_what_evaluate_says(name):
    spec = agent_spec(name)
    if spec.error:
        pytest.skip(spec.error)
    scenario, agent = load_scenario("paper"), spec.make()
    instances, prompts = (
        sample_instances(scenario, 2, np.random.default_rng(7)),
        Prompts.of(["minimum latency"] * 2),
    )
    reason = unsupported(agent, instances)
    if reason:
        pytest.skip(reason)
    decision = agent.decide(instances, prompts, np.random.default_rng(0))
    outcome = physics.evaluate(instances, decision, prompts.objective(instances))
    if (outcome.late & (decision.place != LOCAL)).any():
        pytest.skip("late offloaded tasks: an environment gives them no CPU")
    closed = np.allclose(decision.cpu_hz, physics.allocate(instances, decision.place), rtol=1e-6)
    for env_id in IDS[: 2 if closed else 1]:
        env = gym.make_vec(env_id, 2, scenario=scenario)
        env.reset(seed=0, options={"instances": instances, "prompt": prompts})
        floors, left = physics.floors_hz(instances), instances.server_cpu_hz.copy()
        rows, total = np.arange(2), np.zeros(2)
        for ue in range(scenario.num_ues):
            place, cpu = decision.place[:, ue], decision.cpu_hz[:, ue]
            server = np.maximum(place - 1, 0)
            share = dynamics.share_of(cpu, floors[rows, ue, server], left[rows, server])
            left[rows, server] -= np.where(place > 0, cpu, 0.0)
            joint = encode_action(place, np.where(place > 0, share, 0), scenario.num_servers)
            total -= env.step(joint if env_id == IDS[0] else place)[1]
        np.testing.assert_allclose(total, outcome.cost, rtol=1e-6)
