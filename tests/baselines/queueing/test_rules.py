"""Rules of the queueing world: against plain loops, under every prompt, on odd slots."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_slots import finish, queue_slots

import lambo_env
from baselines.queueing.rules import Lyapunov, ShortestFinish
from lambo_agents.protocol import unsupported
from lambo_agents.registry import make_agent
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.utils.rows import read_only

RULES = ("shortest-finish", "local-if-fits", "least-cost", "power-of-two", "lyapunov")
TEXTS = ("minimum latency", "minimum energy", "70% latency, 30% energy")


def decide(agent, shown, text="minimum latency", seed=0):
    prompts = Prompts.of(text, len(shown))
    return agent.decide(read_only(shown), prompts, np.random.default_rng(seed)).place


def plain(shown, local_if_fits, counts="slot"):
    place = np.zeros(shown.has_task.shape, dtype=int)
    for row in range(len(shown)):
        work = (shown.edge_wait_cycles + shown.coming_cycles)[row].sum(axis=0)
        for ue in np.flatnonzero(shown.has_task[row]):
            ends = finish(shown, row, ue, work)
            fits = local_if_fits and ends[0] <= shown.deadline_s[row, ue]
            place[row, ue] = 0 if fits else int(np.argmin(ends))
            if place[row, ue] and counts == "slot":
                work[place[row, ue] - 1] += shown.cycles[row, ue]
    return place


@pytest.mark.parametrize("counts", ["fresh", "slot"])
@given(seed=st.integers(0, 50), slots=st.integers(0, 8))
@settings(max_examples=6, deadline=None)
def test_shortest_finish_is_the_plain_loops_choice(counts, seed, slots):
    shown = queue_slots(3, seed, slots, num_ues=12)
    assert (decide(ShortestFinish(counts), shown) == plain(shown, False, counts)).all()


def test_local_if_fits_is_the_plain_loops_choice():
    for seed in range(4):
        shown = queue_slots(3, seed, 6, num_ues=15)
        assert (decide(make_agent("local-if-fits"), shown) == plain(shown, True)).all()


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("text", TEXTS)
def test_rows_are_decided_as_they_would_be_alone(name, text):
    shown, agent = queue_slots(4, slots=5, num_ues=10), make_agent(name)
    place = decide(agent, shown, text)
    assert place.shape == shown.has_task.shape and not place[~shown.has_task].any()
    assert ((place >= 0) & (place <= shown.num_servers)).all()
    if name != "power-of-two":  # that one draws
        alone = [decide(agent, shown.take([row]), text)[0] for row in range(4)]
        assert (place == np.stack(alone)).all()


@pytest.mark.parametrize("name", RULES)
def test_a_slot_without_tasks_is_decided_too(name):
    shown = queue_slots(2, slots=1, num_ues=3, arrival_probability=1e-6)
    assert not decide(make_agent(name), shown).any()


def test_stale_counts_are_those_of_the_slot_before():
    rule, first, second = ShortestFinish("stale"), queue_slots(2, 0, 5), queue_slots(2, 0, 6)
    decide(rule, first)
    aged = second.replace(
        edge_wait_cycles=first.edge_wait_cycles, coming_cycles=first.coming_cycles
    )
    assert (decide(rule, second) == plain(aged, False, "fresh")).all()
    # a new episode, in which nothing waits yet, knows nothing of the one before
    assert (decide(rule, queue_slots(2, 1, 0)) == plain(queue_slots(2, 1, 0), False, "fresh")).all()


def test_rules_stand_in_the_order_that_information_says(rng):
    costs = {}
    for name, agent in (
        ("random", make_agent("random")),
        *((counts, ShortestFinish(counts)) for counts in ("stale", "fresh", "slot")),
        ("local-if-fits", make_agent("local-if-fits")),
    ):
        outcome = lambo_env.play("queue", agent, "minimum latency", 8, np.random.default_rng(3))
        costs[name] = outcome.episode_cost.mean()
    assert list(costs.values()) == sorted(costs.values(), reverse=True)
    assert costs["slot"] == pytest.approx(0.94, abs=0.08)
    assert costs["local-if-fits"] == pytest.approx(0.78, abs=0.08)


def test_local_and_random_play_both_worlds(rng):
    tiny, shown = sample_instances(load_scenario("tiny"), 1, rng), queue_slots(2)
    for name in ("local", "random"):
        agent = make_agent(name)
        assert unsupported(agent, tiny) is unsupported(agent, shown) is None
    assert not decide(make_agent("local"), shown).any()
    assert set(np.unique(decide(make_agent("random"), shown))) == {0, 1, 2, 3, 4}
    reason = "it decides instances of 'queueing'; these are of 'offloading'"
    assert unsupported(make_agent("lyapunov"), tiny) == reason


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ShortestFinish("freshh"), "did you mean 'fresh'"),
        (lambda: Lyapunov(0.0), r"Lyapunov\.v is 0\.0; allowed"),
    ],
)
def test_bad_options_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()
