"""The network as it came: when it decides in place of what was learned."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from alef_cases import TEXTS, equal, make, play, slot, weights_of

from lambo_agents.agent import LamboAgent
from lambo_agents.alef import finetune
from lambo_agents.alef.finetune import UpdateConfig
from lambo_env.offloading.instances import Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts


def fleet(count: int = 8) -> tuple[Instances, Prompts]:
    """Instances of ``paper`` with fewer UEs, which only the shipped network decides well."""
    scenario = load_scenario("paper").replace(num_ues=12)
    texts = [TEXTS[k % 2] for k in range(count)]
    return sample_instances(scenario, count, np.random.default_rng(3)), Prompts.of(texts)


def test_an_update_that_does_no_good_is_not_used():
    """Labels of a poor expert.

    They are learned from and paid for, but the network as it came goes on deciding.
    """
    agent = make(
        weights="lambo-s", fallback=True, update=UpdateConfig(steps=10, learning_rate=2e-2)
    )
    instances, prompts = fleet()
    rng = np.random.default_rng(0)
    frozen = LamboAgent("lambo-s").decide(instances, prompts, rng)
    assert play(agent, instances, prompts) == 2 and agent.labels_used == 2
    assert agent.fallback.at_home
    assert np.array_equal(agent.decide(instances, prompts, rng).place, frozen.place)
    assert len(equal(agent.fallback.home, agent.fallback.learned)) < len(agent.fallback.home)


def test_whichever_was_cheaper_decides_the_next_slot():
    """Good weights and random ones, each in turn the ones that learned.

    The good ones are in use after one slot, without a label.
    """
    instances, prompts = fleet()
    shipped = LamboAgent("lambo-s").aed
    good = {name: shipped.state_dict()[name].clone() for name in finetune.decoder_names(shipped)}
    bad = {name: torch.randn_like(weight) for name, weight in good.items()}
    for home, learned, at_home in ((good, bad, True), (bad, good, False)):
        agent = make(weights="lambo-s", fallback=True, start_slot=10)
        agent.fallback.home = home
        agent.fallback.restore({}, learned, not at_home)
        assert play(agent, instances, prompts) == 0
        assert agent.fallback.at_home == at_home
        assert len(equal(good, weights_of(agent))) == len(good)


def test_a_world_that_comes_back_is_recognised_before_it_is_decided():
    """One slot of each world is enough: by the observation alone, without a label or a price."""
    scenario = load_scenario("paper").replace(num_ues=12)
    halved = scenario.replace(server_cpu_hz=tuple(f / 2 for f in scenario.server_cpu_hz))
    agent, rng = make(weights="lambo-s", fallback=True), np.random.default_rng(0)
    learned = {name: weight + 0.01 for name, weight in agent.fallback.home.items()}
    agent.fallback.restore({}, learned, at_home=False)
    for world, at_home in ((scenario, True), (halved, False)):
        given = sample_instances(world, 8, rng)
        agent.fallback.at_home = at_home
        agent.fallback.remember(given)
    for world, at_home in ((scenario, True), (halved, False), (halved, False), (scenario, True)):
        agent.decide(sample_instances(world, 8, rng), fleet()[1], rng)
        assert agent.fallback.at_home == at_home
        expected = agent.fallback.home if at_home else agent.fallback.learned
        assert len(equal(expected, weights_of(agent))) == len(expected)


def test_a_failed_round_leaves_the_weights_in_use(monkeypatch):
    agent = make(fallback=True, start_slot=1)
    play(agent, *slot())
    before = weights_of(agent)
    doubled = {name: 2 * weight for name, weight in agent.fallback.home.items()}
    agent.fallback.restore({}, doubled, at_home=True)
    monkeypatch.setattr(
        finetune, "labels_loss", lambda *parts: torch.tensor(float("nan"), requires_grad=True)
    )
    with pytest.raises(FloatingPointError):
        play(agent, *slot(seed=1))
    assert len(equal(before, weights_of(agent))) == len(before) and agent.fallback.at_home
