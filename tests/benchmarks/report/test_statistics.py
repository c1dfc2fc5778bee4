"""Intervals cover what they should, comparisons are paired, gaps are percents of the bound."""

import math

import numpy as np
import pytest

from benchmarks.report import statistics
from benchmarks.report.statistics import compare, mean_interval
from lambo_env.utils.gaps import gap_percent


def test_the_interval_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(60):
        found = mean_interval(rng.exponential(1.0, 40))
        hits += found.low <= 1.0 <= found.high
    assert 50 <= hits <= 60  # 95 % of 60 is 57; a skewed 40 covers about 93 %


def test_the_interval_is_near_the_normal_one_for_many_values():
    values = np.random.default_rng(2).normal(10, 2, 2000)
    found = mean_interval(values)
    half = 1.96 * values.std(ddof=1) / math.sqrt(values.size)
    assert found.low == pytest.approx(values.mean() - half, abs=0.02)
    assert found.high == pytest.approx(values.mean() + half, abs=0.02)


def test_the_same_values_give_the_same_interval():
    values = np.random.default_rng(3).random(50)
    assert mean_interval(values) == mean_interval(values)


def test_equal_values_have_an_interval_of_a_point_and_one_value_has_none():
    assert mean_interval([2.0] * 5) == mean_interval([2.0] * 9)
    assert (mean_interval([2.0] * 5).low, mean_interval([2.0] * 5).high) == (2.0, 2.0)
    assert math.isnan(mean_interval([2.0]).low)


def test_an_infinite_value_makes_the_mean_infinite_and_leaves_no_interval():
    found = mean_interval([1.0, math.inf])
    assert found.mean == math.inf
    assert math.isnan(found.low)


@pytest.mark.parametrize("values", [[], [[1.0]], 3.0])
def test_values_of_another_shape_are_refused(values: object):
    with pytest.raises(ValueError, match=r"allowed: \[n\], n >= 1"):
        mean_interval(values)


def test_a_paired_comparison_sees_what_an_unpaired_one_cannot():
    rng = np.random.default_rng(4)
    base = rng.normal(100, 20, 60)  # instances differ far more than agents
    better = base - 0.5 + rng.normal(0, 0.2, 60)
    found = compare(better, base)
    assert found.difference.high < 0
    assert found.verdict == "A is lower"
    assert found.wins > 0.9
    unpaired = mean_interval(better), mean_interval(base)
    assert unpaired[0].high > unpaired[1].low


def test_equal_agents_tie():
    values = np.arange(1.0, 9.0)
    found = compare(values, values * (1 + 1e-13))
    assert found.wins == 0.5
    assert found.verdict == "no difference shown"


def test_a_comparison_needs_as_many_values_of_both():
    with pytest.raises(ValueError, match="as many values of A as of B"):
        compare([1.0, 2.0], [1.0])


def test_gap_is_in_percent_of_the_bound():
    np.testing.assert_allclose(gap_percent([2.0, 1.02, 0.0], [1.0, 1.0, 0.0]), [100.0, 2.0, 0.0])
    assert np.isnan(gap_percent([1.0], [np.nan])).all()


def test_intervals_share_their_resamples_and_have_scipys_digits(monkeypatch):
    from scipy.stats import bootstrap

    drawn, generator = [], np.random.default_rng
    monkeypatch.setattr(
        np.random, "default_rng", lambda *seed: drawn.append(seed) or generator(*seed)
    )
    statistics._drawn.cache_clear()
    for values in generator(5).gamma(2.0, size=(4, 60)):
        found, seed = mean_interval(values), generator(statistics._SEED)
        ends = bootstrap((values,), np.mean, n_resamples=statistics.RESAMPLES, rng=seed)
        assert (found.low, found.high) == tuple(ends.confidence_interval)
    assert drawn.count((statistics._SEED,)) == 1
