"""The linear rule: its columns by a plain loop, its tuning, its file."""

import json
import math

import numpy as np
import pytest
from queue_slots import finish, queue_slots

from baselines.queueing import tuning
from baselines.queueing.evolution import Strategy
from baselines.queueing.linear import KNOTS, LinearRule, places
from baselines.queueing.rules import ShortestFinish
from lambo_agents.registry import make_agent
from lambo_env import load_scenario
from lambo_env.prompts.prompts import Prompts
from lambo_env.queueing.policies.columns import COLUMNS, PlaceColumns, latency_share
from lambo_env.queueing.policies.turns import turns
from lambo_env.utils import runs


def plain_columns(shown, row, ue, work, finish_s, later_cycles):
    """Return the columns of all places [P, K] of one task, by loops."""
    d, capacity = shown.deadline_s[row, ue], shown.server_cpu_hz[row]
    cycles, bits, f = shown.cycles[row, ue], shown.data_bits[row, ue], shown.local_cpu_hz[row, ue]
    load = work.sum() / (capacity.sum() * d)
    later = later_cycles / (capacity.sum() * d)
    slot_s, out = shown.slot_s[row], []
    for p, end in enumerate(finish_s):
        y = dict.fromkeys(COLUMNS, 0.0)
        y["finish"], y["late"], y["above 0.7"] = end / d, end / d > 1, max(end / d - 0.7, 0)
        y["finish squared"] = (end / d) ** 2
        y["finish in slots"] = math.ceil(end / slot_s - 1e-9) * slot_s / d
        if p == 0:
            run = cycles / (f * d)
            y |= {"local": 1, "local run": run, "load, local": load, "local run x load": run * load}
            y["local wait"] = shown.cpu_wait_cycles[row, ue] / (f * d)
            y["later work, local"] = later
        else:
            m = p - 1
            run, wait = cycles / (capacity[m] * d), work[m] / (capacity[m] * d)
            upload = bits / shown.uplink_bps[row, ue, m] / d
            sent_s = shown.uplink_wait_s[row, ue] + upload * d
            y |= {"run": run, "wait": wait, "upload": upload, "run x wait": run * wait}
            y |= {"wait squared": wait**2, "run x load": run * load, "upload x load": upload * load}
            y["uplink wait"] = shown.uplink_wait_s[row, ue] / d
            y["upload x cycles"] = upload * cycles / (f * d)
            y["coming"] = shown.coming_cycles[row, :, m].sum() / (capacity[m] * d)
            y["slowness"] = capacity.mean() / capacity[m]
            y["run x later work"] = run * later
            y["ready"] = math.ceil(sent_s / slot_s - 1e-9) * slot_s / d
        out.append([float(y[name]) for name in COLUMNS])
    return np.array(out)


def test_columns_are_those_of_a_plain_loop():
    shown = queue_slots(2, seed=1, slots=6, num_ues=14)
    now = turns(shown)
    columns = PlaceColumns(now, shown.slot_s)
    for row in range(2):
        work = (shown.edge_wait_cycles + shown.coming_cycles)[row].sum(axis=0)
        mine = np.flatnonzero(shown.has_task[row])
        for j, ue in enumerate(mine):
            ends = np.array(finish(shown, row, ue, work))
            later = shown.cycles[row, mine[j + 1 :]].sum()
            want = plain_columns(shown, row, ue, work, ends, later)
            finish_s, work_s = np.ones((2, 5)), np.zeros((2, 4))
            finish_s[row], work_s[row] = ends, work / shown.server_cpu_hz[row]
            got = columns.at(j, finish_s, work_s)[row]
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
            work[j % 4] += shown.cycles[row, ue]  # whatever was chosen


def test_finish_alone_is_shortest_finish():
    shown = queue_slots(3, seed=2, slots=5)
    weights = np.tile([float(name == "finish") for name in COLUMNS], (3, 1))
    prompts, rng = Prompts.of("minimum latency", 3), np.random.default_rng(0)
    assert (places(shown, weights) == ShortestFinish().decide(shown, prompts, rng).place).all()


def test_weights_follow_the_prompt():
    shown = queue_slots(3, local_power_w=2.0)
    texts = ["minimum energy", "30% latency, 70% energy", "minimum latency"]
    share = latency_share(shown, Prompts.of(texts).objective(shown))
    np.testing.assert_allclose(share, [0, 0.3, 1])
    weights = np.zeros((len(KNOTS), len(COLUMNS)))
    weights[0, COLUMNS.index("local")] = 1  # energy: never local
    weights[2, COLUMNS.index("local")] = -1
    rule, rng = LinearRule(weights), np.random.default_rng(0)
    place = rule.decide(shown, Prompts.of(texts), rng).place
    assert (place[0] > 0)[shown.has_task[0]].all() and not place[2].any()


def test_the_strategy_finds_a_minimum():
    rng, target = np.random.default_rng(0), np.linspace(-1, 1, 6)
    search = Strategy.begin(np.zeros(6), 0.5)
    for _ in range(200):
        found = search.ask(12, rng)
        costs = ((found - target) ** 2 * np.logspace(0, 3, 6)).sum(axis=1)
        search = Strategy.from_dict(json.loads(json.dumps(search.tell(found, costs).to_dict())))
    np.testing.assert_allclose(search.mean, target, atol=1e-3)


SHORT = {"generations": 2, "population": 4, "episodes": 1, "pool": 2}


def test_a_stopped_tuning_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    cell = tmp_path / "cell.toml"
    cell.write_text(load_scenario("queue").replace(num_ues=10, num_slots=20).to_toml())
    options = tuning.LinearTuning(**SHORT, scenarios=(str(cell),))
    whole = tuning.tune(options, tmp_path / "whole")

    def stop(row):
        raise runs.Stopped(2)

    with pytest.raises(KeyboardInterrupt):
        tuning.tune(options, tmp_path / "cut", stop)
    assert not (tmp_path / "cut" / tuning.WEIGHTS).exists()
    again = tuning.tune(options, tmp_path / "cut")
    np.testing.assert_array_equal(again, whole)
    rule = LinearRule(tmp_path / "cut" / tuning.WEIGHTS)
    np.testing.assert_array_equal(rule.weights, whole)
    with pytest.raises(ValueError, match="generations is 3; allowed: 2"):
        tuning.tune(options.replace(generations=3), tmp_path / "cut")


def test_the_shipped_weights_beat_every_hand_made_rule_on_queue():
    import lambo_env

    cost = {
        name: lambo_env.play(
            "queue", make_agent(name), "minimum latency", 8, np.random.default_rng(5)
        ).episode_cost.mean()
        for name in ("linear-rule", "local-if-fits", "lyapunov", "shortest-finish")
    }
    best, *others = cost.values()
    assert best < 0.95 * min(others)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "a whole file of `lambo tune linear-rule`"),
        ('{"weights": {}}', "a whole file of `lambo tune linear-rule`"),
        (None, "a file of `lambo tune linear-rule`"),
    ],
)
def test_damaged_files_are_refused(tmp_path, text, words):
    path = tmp_path / "rule.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=f"weights is .*{words}"):
        LinearRule(path)
