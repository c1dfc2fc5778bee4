"""The cost of a decision against the size of the problem."""

import math
from pathlib import Path

import pytest

from benchmarks.speed.scaling import ScalingRow, draw, exponents, part_of, scaling
from lambo_env import load_scenario


def test_a_part_keeps_density_and_reach():
    metro = load_scenario("metro")
    part = part_of(metro, 8)
    assert (part.num_ues, part.num_servers, part.reachable_servers) == (125, 8, 4)
    assert part.num_ues / part.side_m**2 == pytest.approx(metro.num_ues / metro.side_m**2)


def test_exponents_are_those_of_the_seconds(tmp_path: Path):
    rows = [
        ScalingRow(label, n, n // 10, 0.0, 3e-3 * n**power)
        for label, power in (("plain", 1.0), ("steep", 2.5))
        for n in (100, 200, 800)
    ]
    found = exponents(rows)
    assert found["plain"] == pytest.approx(1.0)
    assert found["steep"] == pytest.approx(2.5)
    pytest.importorskip("matplotlib")
    draw(rows, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")
    assert math.isfinite(sum(found.values()))


def test_a_scenario_that_cannot_be_cut_is_refused():
    with pytest.raises(ValueError, match="at least 8 UEs and servers"):
        scaling("paper")
