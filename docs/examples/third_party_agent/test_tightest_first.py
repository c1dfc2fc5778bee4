"""The agent keeps the contract and is better than a rule without thought."""

import numpy as np
from tightest_first import TightestFirst

import lambo_agents
import lambo_env


def test_it_keeps_the_contract():
    """Every named check of the suite passes."""
    lambo_agents.testing.agent_checks.check_agent(TightestFirst())


def test_it_beats_random_places():
    """The mean cost is lower under both objectives."""
    instances = lambo_env.sample_instances(
        lambo_env.load_scenario("paper"), 16, np.random.default_rng(0)
    )
    for text in ("minimum latency", "minimum energy"):
        prompts = lambo_env.Prompts.of(text, 16)
        costs = []
        for agent in (TightestFirst(), lambo_agents.make_agent("random")):
            decision = agent.decide(instances, prompts, np.random.default_rng(0))
            costs.append(
                lambo_env.evaluate(instances, decision, prompts.objective(instances)).cost.mean()
            )
        assert costs[0] < costs[1]
