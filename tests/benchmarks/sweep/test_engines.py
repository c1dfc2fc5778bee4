"""Where tasks run: a short sweep in this process, what is left of a long one in workers."""

import os

import pytest

from benchmarks.sweep.engines import joblib


def process_of(number: int) -> int:
    return os.getpid()


def processes(jobs: int) -> list[int]:
    with joblib.start_engine(jobs, 4) as engine:
        return [who for _, who in engine(process_of, [(k, (k,)) for k in range(4)])]


def test_no_worker_is_started_for_tasks_that_are_done_before_it_would_be(monkeypatch):
    pytest.importorskip("joblib")
    monkeypatch.setattr(joblib, "default_jobs", lambda: 2)
    assert set(processes(0)) == {os.getpid()}
    assert os.getpid() not in processes(2)
    monkeypatch.setattr(joblib, "WORKER_START_S", 0.0)
    assert os.getpid() not in processes(0)
