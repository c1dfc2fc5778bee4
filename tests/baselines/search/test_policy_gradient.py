"""Policy gradient on the instance: it learns, keeps the contract, and refuses bad arguments."""

import numpy as np
import pytest

from baselines.search.policy_gradient import PolicyGradient, _gradient
from lambo_agents.testing.agent_checks import check_agent
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts

TEXTS = ("minimum latency", "minimum energy", "60 % latency, 40 % energy")


def cost(agent: PolicyGradient, instances: Instances, text: str) -> np.ndarray:
    prompts = Prompts.of(text, instances.batch_size)
    decision = agent.decide(instances, prompts, np.random.default_rng(1))
    return physics.evaluate(instances, decision, prompts.objective(instances)).cost


@pytest.mark.parametrize("text", TEXTS)
def test_it_finds_the_optimum_of_tiny(tiny, text):
    objective = Prompts.of(text, 8).objective(tiny)
    places = np.indices((5,) * 6).reshape(6, -1).T  # every association
    rows = [tiny.take(b).repeat(len(places)) for b in range(2)]
    least = [
        physics.association_cost(row, places, Prompts.of(text, len(places)).objective(row)).min()
        for row in rows
    ]
    assert len(places) == 15625 and objective.cost_per_s.shape == (8,)
    assert cost(PolicyGradient(iterations=150), tiny, text)[:2] == pytest.approx(least, rel=2e-3)


@pytest.mark.parametrize("text", TEXTS)
def test_it_learns(text):
    """Measured from equal logits, mean of 4 instances of `paper`.

    1.043 s, 41.5 J, 0.950 after 1 update; 0.863, 31.7, 0.771 after 100.
    """
    instances = sample_instances(load_scenario("paper"), 4, np.random.default_rng(0))
    start, end = (
        cost(PolicyGradient(iterations=n, sharpness=0.0), instances, text) for n in (1, 100)
    )
    assert (end < 0.87 * start).all()


def test_the_gradient_is_the_score_functions():
    """By hand: two samples of cost 3 and 1, one UE at places 0 and 1.

    Weights +1 and -1, mean over samples.
    """
    gradient = _gradient(np.array([[[0], [1]]]), np.array([[3.0, 1.0]]), 3)
    assert gradient == pytest.approx(np.array([[[0.5, -0.5, 0.0]]]))


def test_equal_costs_move_nothing():
    assert (_gradient(np.array([[[0], [1]]]), np.array([[2.0, 2.0]]), 2) == 0).all()


def test_it_keeps_the_contract():
    check_agent(PolicyGradient(iterations=3, samples=4), torch_device="cpu")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"iterations": 0}, "PolicyGradient.iterations is 0"),
        ({"samples": 1}, "PolicyGradient.samples is 1; allowed: an integer >= 2"),
        ({"learning_rate": -1}, "PolicyGradient.learning_rate is -1"),
        ({"sharpness": float("nan")}, "PolicyGradient.sharpness is nan"),
    ],
)
def test_bad_arguments_are_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        PolicyGradient(**arguments)
