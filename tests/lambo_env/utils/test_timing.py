"""``lambo_env.utils.timing``: seconds of calls, one thread."""

import itertools

import pytest

from lambo_env.utils.timing import measure, one_thread


def test_every_call_is_timed_and_the_last_result_is_returned():
    timing = measure(itertools.count().__next__, 3)
    assert timing.result == 2
    assert timing.wall_s.shape == timing.cpu_s.shape == (3,)
    assert (timing.wall_s >= 0).all() and (timing.cpu_s >= 0).all()


def test_one_thread_ends_with_its_block():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
