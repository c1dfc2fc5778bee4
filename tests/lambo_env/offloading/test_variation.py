"""Relatives of a scenario: the ranges, no draw without a range, bad input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambo_env.offloading.variation import Variation


@given(seed=st.integers(0, 2**32), servers=st.sampled_from([None, (2, 16)]))
def test_relatives_keep_to_the_ranges(seed: int, servers: tuple[int, int] | None) -> None:
    ranges = Variation(servers=servers, cycles_scale=(0.5, 2.0))
    base = ranges.base
    found = ranges.relative(base, np.random.default_rng(seed))
    assert 6 <= found.num_ues <= 200
    count = len(found.server_cpu_hz)
    assert count == 4 if servers is None else 2 <= count <= 16
    assert 0.6 <= found.data_bits[0] / base.data_bits[0] <= 1.7
    assert 0.5 <= found.bandwidth_hz / base.bandwidth_hz <= 1.3
    assert 0.5 <= found.cycles[0] / base.cycles[0] <= 2.0
    assert found.deadline_s == base.deadline_s


def test_a_share_of_batches_is_varied_and_holds_about_as_many_decisions(rng) -> None:
    ranges = Variation(varied=0.3)
    drawn = [ranges.draw(64, rng) for _ in range(300)]
    plain = [size for scenario, size in drawn if scenario == ranges.base]
    assert 180 < len(plain) < 240
    assert set(plain) == {64}
    for scenario, size in drawn:
        assert scenario == ranges.base or 8 <= size <= 128
        assert scenario.num_ues > 60 or size * scenario.num_ues <= 64 * 60


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"varied": 1.2}, "Variation.varied is 1.2"),
        ({"num_ues": (20, 10)}, r"Variation.num_ues is \(20, 10\); allowed: \(low, high\)"),
        ({"servers": (0, 4)}, r"Variation.servers is \(0, 4\)"),
        ({"others": ("paper", "hetreo")}, "unknown scenario 'hetreo'"),
        ({"data_scale": (1.0,)}, r"Variation.data_scale is \(1.0,\)"),
    ],
)
def test_bad_ranges_are_named(fields, text) -> None:
    with pytest.raises(ValueError, match=text):
        Variation(**fields)
