"""DROO where tasks wait: what candidates promise by a plain loop, and that it learns."""

import numpy as np
import pytest
from queue_slots import finish, queue_slots

torch = pytest.importorskip("torch")

from baselines.neural.droo.queueing import DrooSlot, DrooSlotConfig, Pricing, _promised
from lambo_agents.protocol import unsupported
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.policies.turns import decide, turns

RNG = np.random.default_rng


def plain_promise(shown, row, place, per_s, per_j, v):
    """Return what the critic says of a plan [N] of one row: penalty times v, plus drift."""
    work, total = (shown.edge_wait_cycles + shown.coming_cycles)[row].sum(axis=0), 0.0
    hz, power, mean = shown.local_cpu_hz[row], shown.local_power_w[row], shown.mean_cycles[row]
    scale = (mean * (per_s + per_j * power) / hz).mean()
    for ue in np.flatnonzero(shown.has_task[row]):
        p, d = place[ue], shown.deadline_s[row, ue]
        end = finish(shown, row, ue, work)[p]
        local_j = shown.local_power_w[row, ue] * shown.cycles[row, ue] / shown.local_cpu_hz[row, ue]
        sent_s = 0 if p == 0 else shown.data_bits[row, ue] / shown.uplink_bps[row, ue, p - 1]
        energy = local_j if p == 0 else shown.tx_power_w[row, ue] * sent_s
        late = (1 + shown.late_penalty[row]) * (per_s * d + per_j * local_j)
        cost = per_s * end + per_j * energy if end <= d else late * end / d
        wait_s = shown.cpu_wait_cycles[row, ue] / hz[ue]
        if p > 0:
            wait_s = shown.uplink_wait_s[row, ue] + work[p - 1] / shown.server_cpu_hz[row, p - 1]
        total += v * cost / scale + wait_s / d * shown.cycles[row, ue] / mean
        if p > 0:
            work[p - 1] += shown.cycles[row, ue]
    return total


def test_promises_are_those_of_a_plain_loop():
    shown = queue_slots(2, seed=1, slots=6, num_ues=14)
    prompts = Prompts.of(["minimum latency", "30% latency, 70% energy"])
    objective, now = prompts.objective(shown), turns(shown)
    place = RNG(0).integers(0, 5, (2, 3, 14))
    plans = np.take_along_axis(place, now.ue[:, None].repeat(3, axis=1), axis=2)
    told = _promised(shown, objective, plans, 0.7)
    for row in range(2):
        per_s, per_j = objective.cost_per_s[row], objective.cost_per_j[row]
        for k in range(3):
            want = plain_promise(shown, row, place[row, k], per_s, per_j, 0.7)
            assert np.isclose(told[row, k], want)


def test_more_candidates_promise_no_more():
    shown = queue_slots(3, seed=2, slots=5, num_ues=14)
    prompts = Prompts.of("minimum latency", 3)
    objective, now = prompts.objective(shown), turns(shown)
    costs = []
    for count in (1, 5, 40):
        agent = DrooSlot(DrooSlotConfig(candidates=count), online=False)
        draws = torch.Generator().manual_seed(0)
        torch.nn.init.normal_(agent.net[-1].weight, std=20.0, generator=draws)  # a poor first guess
        place = agent.decide(shown, prompts, RNG(0)).place
        assert not place[~shown.has_task].any()
        plans = np.take_along_axis(place, now.ue, axis=1)[:, None]
        costs.append(_promised(shown, objective, plans, 0.4)[:, 0])
    assert (np.diff(costs, axis=0) <= 1e-12).all() and (costs[2] < costs[0]).all()


def test_its_first_guess_is_the_critics_turn_by_turn():
    shown = queue_slots(3, seed=2, slots=5, num_ues=14)
    prompts = Prompts.of(["minimum latency", "minimum energy", "30% latency, 70% energy"])
    price = Pricing(shown, prompts.objective(shown), 0.4)
    want = decide(shown, price.turns, lambda *turn: price(*turn).argmin(axis=1))
    alone = DrooSlot(DrooSlotConfig(candidates=1), online=False)
    assert np.array_equal(alone.decide(shown, prompts, RNG(0)).place, want)


def test_it_learns_what_it_played_unless_it_is_frozen():
    shown = queue_slots(8, seed=2, slots=5, num_ues=14)
    prompts = Prompts.of("minimum latency", 8)
    config = DrooSlotConfig(candidates=20, every=1, learning_rate=1e-2)
    for online in (True, False):
        agent = DrooSlot(config, online=online)
        start = [p.detach().clone() for p in agent.net.parameters()]
        agent.decide(shown, prompts, RNG(0))
        moved = not all(map(torch.equal, start, agent.net.parameters()))
        assert moved == online
    agent, alone = DrooSlot(config), DrooSlotConfig(candidates=1)
    for k in range(40):
        played = agent.decide(shown, prompts, RNG(k)).place
    greedy = DrooSlot(alone, online=False)
    before = greedy.decide(shown, prompts, RNG(0)).place
    greedy.net.load_state_dict(agent.net.state_dict())
    after = greedy.decide(shown, prompts, RNG(0)).place
    same = [(place == played)[shown.has_task].mean() for place in (before, after)]
    assert same[1] > max(0.7, same[0])


def test_other_worlds_and_options_are_refused():
    tiny = sample_instances(load_scenario("tiny"), 1, RNG(0))
    assert unsupported(DrooSlot(), tiny) is not None
    with pytest.raises(ValueError, match="DrooSlotConfig.candidates"):
        DrooSlotConfig(candidates=0)
    with pytest.raises(ValueError, match="DrooSlot.config"):
        DrooSlot({"candidates": 3})
