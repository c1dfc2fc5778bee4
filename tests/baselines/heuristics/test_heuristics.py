"""Local, Random and Greedy: worked cases, the deadline's floors, levels on the paper's scenario."""

import itertools

import numpy as np
import pytest

from baselines.heuristics.greedy import Greedy, play
from baselines.heuristics.local import Local
from baselines.heuristics.random import Random
from lambo_env.offloading import physics
from lambo_env.offloading.instances import LOCAL, Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts

LATENCY, ENERGY, MIX = "minimum latency", "minimum energy", "70% latency, 30% energy"
AGENTS = [
    Local(),
    Random(),
    Random(False),
    Random(False, "equal"),
    Greedy(),
    Greedy(allocation="equal"),
]


def drawn(preset: str, batch: int) -> Instances:
    return sample_instances(load_scenario(preset), batch, np.random.default_rng(5))


def cost(agent: object, instances: Instances, text: str) -> np.ndarray:
    prompts = Prompts.of(text, instances.batch_size)
    decision = agent.decide(instances, prompts, np.random.default_rng(0))
    return physics.evaluate(instances, decision, prompts.objective(instances)).cost


def two_ues(**fields: list) -> Instances:
    """Two UEs of 1e9 cycles and 1 GHz, 2 s to live, one server of 4 GHz.

    1e8 bits take 0.5 s to upload.
    """
    values = {
        "data_bits": [[1e8, 1e8]],
        "cycles": [[1e9, 1e9]],
        "deadline_s": [[2.0, 2.0]],
        "local_cpu_hz": [[1e9, 1e9]],
        "local_power_w": [[1.0, 1.0]],
        "tx_power_w": [[1.0, 1.0]],
        "uplink_bps": [[[2e8], [2e8]]],
        "server_cpu_hz": [[4e9]],
        "late_penalty": [2.0],
    }
    return Instances(**{**values, **fields})


def test_local_is_local_even_when_late():
    instances = two_ues(local_cpu_hz=[[1e9, 0.1e9]])
    decision = Local().decide(instances, Prompts.of(LATENCY), np.random.default_rng(0))
    assert not decision.place.any() and not decision.cpu_hz.any()
    outcome = physics.evaluate(instances, decision, Prompts.of(LATENCY).objective(instances))
    assert outcome.late.tolist() == [[False, True]]


def test_greedy_by_hand():
    """Alone on the server a UE takes 0.5 + 0.25 s against 1 s locally.

    The second would add (2^2 - 1) x 0.25 + 0.5 = 1.25 s.
    """
    instances = two_ues()
    decision = Greedy().decide(instances, Prompts.of(LATENCY), np.random.default_rng(0))
    assert decision.place.tolist() == [[1, 0]]
    assert decision.cpu_hz.tolist() == [[4e9, 0.0]]
    assert cost(Greedy(), instances, LATENCY) == pytest.approx([(0.75 + 1.0) / 2])


def test_greedy_sends_all_where_energy_alone_counts():
    decision = Greedy().decide(two_ues(), Prompts.of(ENERGY), np.random.default_rng(0))
    assert decision.place.tolist() == [[1, 1]]  # 0.5 J against 1 J, and the floors of 2/3 GHz fit


def test_greedy_leaves_a_ue_late_where_the_server_is_full():
    """Neither can be in time locally; the floors of 1e9 / 1.5 s fit the server once."""
    instances = two_ues(local_cpu_hz=[[0.1e9, 0.1e9]], server_cpu_hz=[[1e9]])
    prompts = Prompts.of(LATENCY)
    decision = Greedy().decide(instances, prompts, np.random.default_rng(0))
    outcome = physics.evaluate(instances, decision, prompts.objective(instances))
    assert sorted(decision.place[0].tolist()) == [0, 1]
    assert outcome.late.sum() == 1


def test_greedy_accepts_lateness_where_it_is_cheaper():
    """Without a penalty the late task costs P C / f = 2 J x 1.0, the upload 5 J."""
    fields = {"local_cpu_hz": [[0.4e9, 0.4e9]], "late_penalty": [0.0], "tx_power_w": [[10.0, 10.0]]}
    decision = Greedy().decide(two_ues(**fields), Prompts.of(ENERGY), np.random.default_rng(0))
    assert not decision.place.any()
    fields["late_penalty"] = [2.0]
    assert (
        Greedy().decide(two_ues(**fields), Prompts.of(ENERGY), np.random.default_rng(0)).place.all()
    )


@pytest.mark.parametrize("text", [LATENCY, ENERGY, MIX])
def test_greedy_is_close_to_the_best_of_all_associations(tiny: Instances, text: str):
    """All 15,625 associations of an instance.

    None is cheaper than the best, greedy within 3 % of it in the mean.
    """
    prompts = Prompts.of(text, tiny.batch_size)
    every = np.array(list(itertools.product(range(5), repeat=6)))
    objective, best = prompts.objective(tiny), []
    for k in range(tiny.batch_size):
        copies = tiny.take([k]).repeat(len(every))
        best.append(physics.association_cost(copies, every, objective.take([k] * len(every))).min())
    gap = cost(Greedy(), tiny, text) / np.array(best) - 1
    assert np.all(gap >= -1e-9)
    assert gap.mean() < 0.03


@pytest.mark.parametrize("preset", ["paper", "hetero", "are2020"])
@pytest.mark.parametrize("text", [LATENCY, ENERGY, MIX])
def test_two_orders_are_no_worse_than_either(preset: str, text: str):
    instances = drawn(preset, 20)
    both = cost(Greedy(), instances, text)
    for order in ("gain", "regret"):
        assert np.all(both <= cost(Greedy([order]), instances, text))
    assert both.mean() < cost(Random(), instances, text).mean()


def test_chunks_change_nothing():
    instances = drawn("hetero", 150)  # several chunks
    objective = Prompts.of(MIX, 150).objective(instances)
    tables = physics.place_tables(instances, objective)
    for order in ("gain", "regret"):
        whole = play(tables, order)
        alone = physics.place_tables(instances.take([149]), objective.take([149]))
        assert np.array_equal(whole[149:], play(alone, order))


@pytest.mark.parametrize("agent", [Random(), Greedy()], ids=["random", "greedy"])
@pytest.mark.parametrize("text", [LATENCY, ENERGY, MIX])
def test_nobody_is_late_on_paper(agent: object, text: str):
    instances, prompts = drawn("paper", 50), Prompts.of(text, 50)
    decision = agent.decide(instances, prompts, np.random.default_rng(0))
    assert not physics.evaluate(instances, decision, prompts.objective(instances)).late.any()


def test_whoever_is_late_by_choice_is_local():
    """On `hetero` some cannot be served; they stay local, no offloaded task is late."""
    instances, prompts = drawn("hetero", 50), Prompts.of(LATENCY, 50)
    for agent in (Random(), Greedy()):
        decision = agent.decide(instances, prompts, np.random.default_rng(0))
        late = physics.evaluate(instances, decision, prompts.objective(instances)).late
        assert late.any()
        assert np.all(decision.place[late] == LOCAL)


def test_random_is_uniform_over_the_places():
    instances = drawn("tiny", 1).repeat(4000)
    place = (
        Random(feasible=False)
        .decide(instances, Prompts.of(LATENCY, 4000), np.random.default_rng(0))
        .place
    )
    shares = np.bincount(place.ravel(), minlength=5) / place.size
    assert shares == pytest.approx(np.full(5, 0.2), abs=0.01)


def test_random_draws_each_feasible_place_of_the_first_ue_alike():
    instances = drawn("tiny", 1).repeat(4000)
    legal = physics.on_time(instances)[0, 0]
    place = (
        Random().decide(instances, Prompts.of(LATENCY, 4000), np.random.default_rng(0)).place[:, 0]
    )
    shares = np.bincount(place, minlength=5) / place.size
    assert shares == pytest.approx(legal / legal.sum(), abs=0.03)


def test_random_stays_local_where_nothing_is_legal():
    instances = two_ues(local_cpu_hz=[[1e8, 1e8]], deadline_s=[[0.4, 0.4]])
    for seed in range(20):
        assert (
            not Random()
            .decide(instances, Prompts.of(LATENCY), np.random.default_rng(seed))
            .place.any()
        )


def test_equal_shares_split_the_server():
    instances = two_ues(uplink_bps=[[[1e9], [1e9]]])
    decision = Greedy(allocation="equal").decide(
        instances, Prompts.of(ENERGY), np.random.default_rng(0)
    )
    assert decision.place.tolist() == [[1, 1]]
    assert decision.cpu_hz.tolist() == [[2e9, 2e9]]


@pytest.mark.parametrize("agent", AGENTS)
def test_torch_instances_give_the_same_decision(agent: object, tiny: Instances):
    torch = pytest.importorskip("torch")
    prompts = Prompts.of(MIX, tiny.batch_size)
    here = agent.decide(tiny, prompts, np.random.default_rng(0))
    there = agent.decide(tiny.to(torch), prompts, np.random.default_rng(0))
    assert isinstance(there.place, torch.Tensor)
    assert np.array_equal(here.place, there.place.numpy())
    assert there.cpu_hz.numpy() == pytest.approx(here.cpu_hz)


@pytest.mark.parametrize("value", ["best", "", None, 3, []])
def test_bad_allocations_are_refused(value: object):
    for kind in (Random, Greedy):
        with pytest.raises(ValueError, match="unknown .*allocation.*known: equal, optimal"):
            kind(allocation=value)


@pytest.mark.parametrize("value", ["gain", [], None, ["gains"], [3]])
def test_bad_orders_are_refused(value: object):
    with pytest.raises(ValueError, match=r"Greedy.orders"):
        Greedy(orders=value)


@pytest.mark.parametrize("value", [1, "yes", None, 0.5, []])
def test_bad_feasible_is_refused(value: object):
    with pytest.raises(ValueError, match=r"Random.feasible is .*; allowed: True or False"):
        Random(feasible=value)
