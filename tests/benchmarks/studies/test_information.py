"""What information is worth where tasks wait."""

import numpy as np
import pytest

from baselines.queueing.hindsight import HindsightSearch
from benchmarks import cli
from benchmarks.studies.information import LEVELS, assess
from lambo_env import registration

SMALL = {"num_ues": 10, "num_slots": 15, "server_cpu_hz": (3e9, 6e9)}


@pytest.mark.parametrize("prompt", ["minimum latency", "minimum energy"])
def test_levels_are_played_on_the_same_episodes_above_the_bound(prompt):
    scenario = registration.load_scenario("queue").replace(**SMALL)
    search = HindsightSearch(rounds=4, candidates=24)
    found = assess(scenario, prompt, 3, search)
    assert len(found.levels) == len(LEVELS) + 1
    rule, hindsight = found.levels[-2:]
    assert (rule.agent, rule.above, rule.closed) == ("linear-rule", None, 0.0)
    assert hindsight.above.mean < 0 and hindsight.closed == pytest.approx(100)
    assert found.bound.mean < hindsight.cost.mean < rule.cost.mean
    again = assess(scenario, prompt, 3, search)
    assert again == found
    for level in found.levels:
        assert 0 <= level.late <= 100 and 0 < level.median_s <= level.high_s <= 1
        assert np.isfinite(level.energy_j)


def test_further_agents_stand_beside_the_rules():
    scenario = registration.load_scenario("queue").replace(**SMALL)
    search = HindsightSearch(rounds=1, candidates=24)
    found = assess(scenario, "minimum latency", 2, search, agents=("least-cost", "linear-rule"))
    least, again = found.levels[-3:-1]
    rule = found.levels[-4]
    assert (least.agent, again.agent, rule.agent) == ("least-cost", "linear-rule", "linear-rule")
    assert again.cost == rule.cost and again.above.mean == 0 and least.cost != rule.cost
    assert again.servers == rule.servers and len(rule.cpus) == SMALL["num_slots"]
    assert rule.servers[0] == 0 and max(rule.servers) > 0


def test_the_command_draws_queues_over_time(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    figure = tmp_path / "queues.png"
    small = tmp_path / "small.toml"
    small.write_text('world = "queueing"\nnum_ues = 6\nnum_slots = 5\n')
    told = ["scenario", "check", str(small), "--instances", "1", "--rounds", "1"]
    told += ["--prompt", "minimum energy", "--agents", "least-cost", "--figure", str(figure)]
    assert cli.main(told) == 0
    assert figure.read_bytes().startswith(b"\x89PNG")
    text = capsys.readouterr().out
    assert "least-cost" in text and " J" in text and "way to hindsight" in text.replace("\n", " ")
    assert cli.main(["scenario", "check", "paper", "--agents", "random"]) == 2
    assert cli.main(["scenario", "check", "queue", "--figure", "queues.jpg"]) == 2
    assert "--figure is 'queues.jpg'" in capsys.readouterr().err


def test_the_command_says_what_each_level_is_worth(capsys):
    assert cli.main(["scenario", "check", "qeco", "--instances", "1", "--rounds", "1"]) == 0
    text = capsys.readouterr().out
    for word in ("hindsight", "bound", "linear-rule", "loose"):
        assert word in text
    assert cli.main(["scenario", "check", "qeco", "--rounds", "0"]) == 2
    assert "--rounds is 0" in capsys.readouterr().err
