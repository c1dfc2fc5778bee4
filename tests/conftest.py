"""Shared by the test files: a generator and a small batch."""

import signal

import numpy as np
import pytest
from hypothesis import settings

from lambo_agents import registry
from lambo_env.offloading.instances import Instances
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances

# A shell's background jobs ignore Ctrl-C, and so would all that the tests start and interrupt
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# The same examples on every machine, and no time limit that a busy one would miss.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("needs an accelerator that torch can use")


@pytest.fixture(autouse=True)
def _own_registrations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents that a test registers are gone after it."""
    monkeypatch.setattr(registry, "_in_code", dict(registry._in_code))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def tiny(rng: np.random.Generator) -> Instances:
    """Eight instances of the preset `tiny`: 6 UEs, 4 servers, every association can be listed."""
    return sample_instances(load_scenario("tiny"), 8, rng)
