"""Shared by the test files: a generator, a small batch, and the data that lies beside the repository."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from lambo_env.instances import Instances
from lambo_env.scenario import load_scenario
from lambo_env.world import sample_instances

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

# The same examples on every machine, and no time limit that a busy one would miss.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


def shared_data(name: str) -> Path:
    """Path of a data file beside the repository; skips the calling test where the file is absent."""
    path = SHARED_DATA / name
    if not path.is_file():
        pytest.skip(f"needs the data file {name} in {SHARED_DATA}, which is not there")
    return path


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("needs an accelerator that torch can use")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def tiny(rng: np.random.Generator) -> Instances:
    """Eight instances of the preset `tiny`: 6 UEs, 4 servers, every association can be listed."""
    return sample_instances(load_scenario("tiny"), 8, rng)
