"""The standard's tables by hand, and site plans."""

import importlib.metadata
import math
import pickle
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import lambo_env
from lambo_env.cell import geometry
from lambo_env.cell.draws import draw
from lambo_env.cell.propagation import (
    CHANNELS,
    indoor_los_probability,
    indoor_loss_db,
    umi_los_probability,
    umi_loss_db,
)
from lambo_env.offloading.slots import MovingSlots

PAPER = lambo_env.load_scenario("paper")


# Worked by hand from TR 38.901 V17.0.0, Table 7.4.1-1: (loss, distance in the plane, los, GHz, dB)
TABLE = [
    # sqrt(100^2 + 8.5^2) = 100.361 m; 32.4 + 21 x 2.00156 + 20 x 0.54407
    (umi_loss_db, 100.0, True, 3.5, 85.314),
    # 35.3 x 2.00156 + 22.4 + 21.3 x 0.54407
    (umi_loss_db, 100.0, False, 3.5, 104.644),
    # beyond 4 x 9 x 0.5 x 3.5e9 / c = 210.15 m: 32.4 + 40 x 2.60216 + 10.881 - 9.5 x 4.64577
    (umi_loss_db, 400.0, True, 3.5, 103.233),
    # near a station both are one: the larger of 72.4 (seen) and 71.9 (hidden) at 10 m
    (indoor_loss_db, 10.0, True, 3.5, 60.729),
    (indoor_loss_db, 10.0, False, 3.5, 69.473),
    (indoor_loss_db, 50.0, False, 28.0, 118.418),
]


@pytest.mark.parametrize(("loss", "distance", "los", "ghz", "expected"), TABLE)
def test_losses_are_those_of_the_standard(loss, distance, los, ghz, expected):
    got = loss(np.array([distance]), np.array([los]), ghz * 1e9, np)[0]
    assert got == pytest.approx(expected, abs=2e-3)


def test_the_loss_of_a_street_is_continuous_at_its_breakpoint():
    edge = 4 * 9 * 0.5 * 3.5e9 / 299_792_458
    near, far = umi_loss_db(np.array([edge * (1 - 1e-9), edge * (1 + 1e-9)]), True, 3.5e9, np)
    assert near == pytest.approx(far, abs=0.01)


@pytest.mark.parametrize(
    ("probability", "distance", "expected"),
    [
        (umi_los_probability, 10.0, 1.0),
        (umi_los_probability, 18.0, 1.0),
        (umi_los_probability, 36.0, 0.5 + 0.5 * math.exp(-1)),
        (umi_los_probability, 180.0, 0.1 + 0.9 * math.exp(-5)),
        (indoor_los_probability, 4.0, 1.0),
        (indoor_los_probability, 49.0, math.exp(-44 / 70.8)),
        (indoor_los_probability, 100.0, 0.54 * math.exp(-51 / 211.7)),
    ],
)
def test_line_of_sight_is_as_likely_as_the_standard_says(probability, distance, expected):
    assert probability(np.array([distance]), np)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["umi", "indoor"])
def test_links_see_as_often_and_spread_as_wide_as_the_table_says(name):
    scenario = PAPER.replace(channel=name, side_m=120.0, mobility="static", rician_k_db=math.inf)
    moving = MovingSlots(scenario)
    cell, _ = moving.first(draw(np.random.default_rng(0), 400, moving.first_draws))
    row, distance = CHANNELS[name], geometry.channel.distance_m(cell.ue_xy, cell.server_xy, np)
    likely = row.los_probability(distance, np)
    los = cell.los_draw < likely
    assert los.mean() == pytest.approx(likely.mean(), abs=0.005)
    gain_db = 10 * np.log10(geometry.link_gain(cell, scenario))
    mean_db = 10 * np.log10(row.gain(distance, None, los, scenario, np))
    wide = (
        {"umi": 7.82, "indoor": 8.03}[name] * scenario.shadowing_db / {"umi": 4, "indoor": 3}[name]
    )
    assert (gain_db - mean_db)[los].std() == pytest.approx(scenario.shadowing_db, rel=0.02)
    assert (gain_db - mean_db)[~los].std() == pytest.approx(wide, rel=0.02)


def test_without_line_of_sight_fading_is_rayleigh():
    scenario = PAPER.replace(channel="umi", side_m=2000.0, shadowing_db=0, rician_k_db=9.0)
    moving = MovingSlots(scenario)
    cell, _ = moving.first(draw(np.random.default_rng(0), 300, moving.first_draws))
    distance = geometry.channel.distance_m(cell.ue_xy, cell.server_xy, np)
    los = cell.los_draw < umi_los_probability(distance, np)
    power = geometry.link_gain(cell, scenario) / CHANNELS["umi"].gain(
        distance, None, los, scenario, np
    )
    k = 10**0.9
    assert power[~los].mean() == pytest.approx(1, abs=0.02)
    assert power[~los].var() == pytest.approx(1, abs=0.06)  # of an exponential
    assert power[los].var() == pytest.approx((2 * k + 1) / (k + 1) ** 2, rel=0.1)


def test_site_plan():
    plan = ((0.0, 0.0), (50.0, 50.0), (1.0, 2.0), (3.0, 4.0))
    scenario = PAPER.replace(server_xy=plan, ue_xy=[[5, 6], [7, 8.5]])
    moving = MovingSlots(scenario)
    rng = np.random.default_rng(0)
    cell, _ = moving.first(draw(rng, 3, moving.first_draws))
    other, _ = MovingSlots(PAPER).first(draw(np.random.default_rng(0), 3, moving.first_draws))
    following, _ = moving.next(cell, np.ones(3), draw(rng, 3, moving.next_draws))
    later, _ = moving.next(following, np.full(3, 2), draw(rng, 3, moving.next_draws))
    for state in (cell, following, later):
        assert (state.server_xy == np.array(plan)).all()
        assert (state.ue_xy[:, :2] == np.array([[5, 6], [7, 8.5]])).all()
        assert (state.velocity[:, :2] == 0).all()
    assert (cell.ue_xy[:, 2:] == other.ue_xy[:, 2:]).all()
    assert (later.ue_xy[:, 2:] != cell.ue_xy[:, 2:]).any()


def test_a_site_plan_survives_toml_and_marks_the_hash(tmp_path):
    scenario = PAPER.replace(ue_xy=[[5.0, 6.5]], channel="indoor")
    path = tmp_path / "mine.toml"
    path.write_text(scenario.to_toml())
    assert lambo_env.load_scenario(path) == scenario
    assert scenario.hash != PAPER.hash == PAPER.replace(channel="log-distance", ue_xy=None).hash


@pytest.fixture
def street(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that offers two channels and one that cannot be imported."""
    info = tmp_path / "street-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: street\nVersion: 1\n")
    offered = "far = street_of_a_test:FAR\nodd = street_of_a_test:gain\nlost = no_such_module:ROW\n"
    (info / "entry_points.txt").write_text(f"[lambo.channels]\n{offered}")
    (tmp_path / "street_of_a_test.py").write_text(
        "from lambo_env.cell.propagation import Propagation\n"
        "def gain(distance, shadowing_db, los, scenario, xp):\n"
        "    return scenario.reference_gain * distance**-2.0\n"
        "FAR = Propagation('free space', gain)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    before = dict(CHANNELS)
    yield
    CHANNELS.clear()
    CHANNELS.update(before)
    sys.modules.pop("street_of_a_test", None)


def test_a_scenario_of_the_table_reads_no_metadata(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.metadata, "entry_points", None)
    assert PAPER.replace(channel="indoor").channel == "indoor"


def test_a_package_brings_a_channel(street: None):
    scenario = PAPER.replace(channel="far", shadowing_db=0)
    assert CHANNELS["far"].summary == "free space"
    seen = pickle.dumps(scenario)
    del CHANNELS["far"]  # as in a new process, which gets the scenario without checking it
    drawn = lambo_env.sample_instances(pickle.loads(seen), 2, np.random.default_rng(0))
    assert np.isfinite(drawn.uplink_bps).all() and "far" in CHANNELS


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "near",
            "Scenario.channel is 'near'; allowed: one of log-distance, umi, indoor, far, lost",
        ),
        ("lost", "entry point 'lost' of lambo.channels is 'no_such_module:ROW'; allowed: what can"),
        ("odd", "entry point 'odd' of lambo.channels is 'street_of_a_test:gain'; allowed: a Prop"),
    ],
)
def test_a_channel_that_is_none_is_refused(street: None, name: str, told: str):
    with pytest.raises(ValueError, match=re.escape(told)):
        PAPER.replace(channel=name)
    assert name not in CHANNELS
