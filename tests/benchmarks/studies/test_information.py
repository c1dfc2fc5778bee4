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


def test_the_command_says_what_each_level_is_worth(capsys):
    assert cli.main(["scenario", "check", "qeco", "--instances", "1", "--rounds", "1"]) == 0
    text = capsys.readouterr().out
    for word in ("hindsight", "bound", "linear-rule", "loose"):
        assert word in text
    assert cli.main(["scenario", "check", "qeco", "--rounds", "0"]) == 2
    assert "--rounds is 0" in capsys.readouterr().err
