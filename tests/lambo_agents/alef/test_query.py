"""What ALEF asks: scores of uncertainty and the choice of instances."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from alef_cases import LINEAR, POINTER, make, network, slot

from lambo_agents.alef import query
from lambo_agents.alef.agent import ALEF
from lambo_agents.alef.query import Pool
from lambo_agents.network import decoding
from lambo_env.offloading import physics


def pool(agent: ALEF, count: int = 6) -> Pool:
    instances, prompts = slot(count)
    rng = np.random.default_rng(1)
    return Pool(agent.agent, instances, prompts, agent.decide(instances, prompts, rng), rng)


@pytest.mark.parametrize("allocation", ["optimal", "share"])
@pytest.mark.parametrize("config", [POINTER, LINEAR], ids=["pointer", "linear"])
def test_entropy_is_that_of_the_steps_taken(allocation, config, monkeypatch):
    """Teacher forcing agrees with a rollout that is watched step by step."""
    monkeypatch.setattr(decoding, "FIXED_POINT_ROWS", 0)
    agent = make(weights=network(config), allocation=allocation)
    mine = pool(agent)
    seen = []
    steps = agent.agent.aed.steps

    def watch(plan, state, cache=None, step=0):
        logits, rest = steps(plan, state, cache, step)
        seen.append((logits[:, 0, 0], state.left[:, 0, 0]))
        return logits, rest

    agent.agent.aed.steps = watch
    agent.decide(mine.instances, mine.prompts, mine.rng)
    del agent.agent.aed.steps
    slots = decoding.slot(mine.instances, mine.prompts.tokens, allocation == "share")
    with torch.no_grad():
        slots = decoding.prepare(agent.agent.aed, slots)[1]
    total = torch.zeros(6)
    for i, (logits, left) in enumerate(seen):
        legal = slots.need[:, i] - physics.FIT_TOLERANCE <= left.double()
        chance = torch.where(legal, logits, -torch.inf).softmax(-1)
        total += torch.special.entr(chance).sum(-1) / len(seen)
    assert query.entropy(mine) == pytest.approx(total.double().numpy(), rel=1e-4)
    assert (total <= np.log(5)).all() and len(seen) == 6


def test_certain_and_uncertain_networks_score_as_they_should():
    sure, unsure = make(), make()
    with torch.no_grad():
        for agent, factor in ((sure, 200.0), (unsure, 0.0)):
            heads = agent.agent.aed.servers.heads
            heads.weight[0] *= factor
            agent.agent.aed.servers.prior.weight *= factor
    for name in ("entropy", "margin"):
        low, high = (query.QUERIES[name](pool(agent)) for agent in (sure, unsure))
        assert low.max() < 0.5 * high.min()
    assert (query.committee(pool(make())) >= 0).all()


def test_the_highest_scores_are_chosen():
    mine = pool(make())
    scores = query.entropy(mine)
    rows = query.choose(mine, "entropy", 3)
    latency, energy = (
        scores[::2],
        scores[1::2],
    )  # kinds take turns: the best of each, then the second best of one
    assert {scores[rows[0]], scores[rows[1]]} == {latency.max(), energy.max()}
    assert scores[rows[2]] in (np.sort(latency)[1], np.sort(energy)[1])


def test_diversity_prefers_what_is_far_apart():
    agent = make()
    instances, prompts = slot(3)
    instances, prompts = (
        instances.take([0, 0, 1, 2]),
        prompts.take([0, 0, 0, 0]),
    )  # the first two are one
    rng = np.random.default_rng(0)
    mine = Pool(agent.agent, instances, prompts, agent.decide(instances, prompts, rng), rng)
    rows = query.choose(mine, "entropy", 3, diversity=2)
    assert len({min(int(row), 1) if row < 2 else int(row) for row in rows}) == 3 or not {
        0,
        1,
    } <= set(rows.tolist())
