"""Rollouts: cells that go on from what is shown, and plans that they improve."""

import dataclasses

import numpy as np
import pytest
from queue_slots import queue_slots

from baselines.queueing.linear import KNOTS, LinearRule
from baselines.queueing.rollout import Rollout
from lambo_env import registration
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.play import play
from lambo_env.queueing.policies.columns import COLUMNS
from lambo_env.queueing.policies.resume import resumed
from lambo_env.queueing.slots import Arrivals

LATENCY = Prompts.of("minimum latency", 1)


def weights_of(**columns):
    """Return weights of the linear rule that are 0 but for some columns'."""
    return np.tile([float(columns.get(name.replace(" ", "_"), 0)) for name in COLUMNS], (3, 1))


def test_cells_go_on_from_what_instances_show():
    shown = queue_slots(3, seed=4, slots=6, num_ues=12)
    assert shown.edge_wait_cycles.any() and shown.uplink_wait_bits.any()
    scenario = registration.load_scenario("queue").replace(num_ues=12, num_slots=3)
    cells, rows = resumed(scenario, shown), np.arange(3)
    slot = Arrivals(shown.has_task, shown.data_bits, shown.cycles, shown.uplink_bps)
    cells.put(rows, slot)
    again, _ = cells.show(rows)
    for field in dataclasses.fields(shown):
        told, known = getattr(again, field.name), getattr(shown, field.name)
        if field.name == "uplink_wait_s":  # by the order of tasks that go to different servers
            continue
        assert np.allclose(told, known), field.name


def test_work_that_waits_is_served_like_any_other():
    shown = queue_slots(1, seed=4, slots=6, num_ues=12)
    scenario = registration.load_scenario("queue").replace(num_ues=12, num_slots=2)
    cells, rows = resumed(scenario, shown), np.arange(1)
    none = np.zeros_like(shown.has_task)
    slot = Arrivals(none, 0.0 * shown.data_bits, 0.0 * shown.cycles, shown.uplink_bps)
    cells.put(rows, slot)
    cells.show(rows)
    cells.serve(rows)
    cells.put(rows, slot)
    after, _ = cells.show(rows)
    served = shown.cpu_wait_cycles - shown.local_cpu_hz * shown.slot_s[:, None]
    assert np.allclose(after.cpu_wait_cycles, np.maximum(served, 0))
    arrived = (shown.coming_cycles - after.coming_cycles).sum(axis=(0, 1))
    before = shown.edge_wait_cycles.sum(axis=(0, 1))
    left = np.maximum(before - shown.server_cpu_hz[0] * shown.slot_s, 0) + arrived
    assert np.allclose(after.edge_wait_cycles.sum(axis=(0, 1)), left)


@pytest.mark.parametrize("bad", ({"futures": 1}, {"horizon": 0}, {"budget_ms": 0}))
def test_options_that_mean_nothing_are_refused(bad):
    with pytest.raises(ValueError, match=f"Rollout.{next(iter(bad))}"):
        Rollout(**bad)


def test_futures_improve_a_poor_rule():
    scenario = registration.load_scenario("queue").replace(num_ues=10, num_slots=6)
    poor = weights_of(local=-1.0)  # everything local; the first server is second best
    rule, ahead = LinearRule(poor), Rollout(futures=4, horizon=2, weights=poor)
    assert len(poor) == len(KNOTS)
    cost = [
        play(scenario, agent, LATENCY, 2, np.random.default_rng(0)).episode_cost.mean()
        for agent in (rule, ahead)
    ]
    assert cost[1] < 0.8 * cost[0]


def test_a_budget_that_is_spent_leaves_the_rules_plan():
    shown = queue_slots(2, seed=2, slots=4, num_ues=12)
    prompts = Prompts.of("minimum latency", 2)
    poor = weights_of(local=-1.0)
    spent = Rollout(futures=2, horizon=1, weights=poor, budget_ms=1e-6)
    whole = Rollout(futures=4, horizon=1, weights=poor)
    place = spent.decide(shown, prompts, np.random.default_rng(0)).place
    assert not place.any()
    plans = [whole.decide(shown, prompts, np.random.default_rng(0)).place for _ in range(2)]
    assert plans[0].any() and np.array_equal(*plans)
    assert not plans[0][~shown.has_task].any()
