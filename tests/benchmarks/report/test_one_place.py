"""``lambo evaluate`` says so where a policy sends everything to one place."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import cli
from lambo_agents import registry
from lambo_env import Decision
from lambo_env.offloading.physics import allocate


class Stuck:
    """Everything to one place, whatever the prompt."""

    world = ("offloading", "queueing")

    def __init__(self, place: int = 2, others: int = 0) -> None:
        self.place, self.others = place, others

    def decide(self, instances, prompts, rng):
        if not hasattr(instances, "cycles"):  # tasks that wait
            return Decision(
                np.full(instances.has_task.shape, self.place), np.zeros(instances.has_task.shape)
            )
        place = np.full(instances.cycles.shape, self.place)
        place[:, : self.others] = 1
        return Decision(place, allocate(instances, place))


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBO_CACHE", str(tmp_path))
    monkeypatch.setattr(registry, "_in_code", {})
    for name, kwargs in {"stuck": {}, "home": {"place": 0}, "mixed": {"others": 1}}.items():
        registry.register_agent(name, f"{__name__}:Stuck", **kwargs)


def warnings(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert cli.main(["evaluate", *words, "--instances", "2"]) == 0
    return [line for line in capsys.readouterr().err.splitlines() if "warning" in line]


@pytest.mark.parametrize("bound", ["--bound", "--no-bound"])
def test_the_place_and_the_prompt_are_named(capsys: pytest.CaptureFixture[str], bound: str):
    said = warnings(capsys, "stuck", "--scenario", "tiny", bound)
    assert [line.split(":")[1] for line in said] == [
        " stuck sends every task to server 2 under the prompt 'minimum latency'",
        " stuck sends every task to server 2 under the prompt 'minimum energy'",
    ]


def test_a_policy_that_leaves_everything_local_is_named(capsys: pytest.CaptureFixture[str]):
    (said,) = warnings(
        capsys, "home", "--scenario", "tiny", "--no-bound", "--prompt", "minimum energy"
    )
    assert "home runs every task where it arises (place 0, local)" in said


@pytest.mark.parametrize("agent", ["mixed", "local", "greedy"])
def test_others_are_not(capsys: pytest.CaptureFixture[str], agent: str):
    assert warnings(capsys, agent, "--scenario", "tiny", "--no-bound") == []


def test_nor_where_one_place_is_best(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """A link that carries nothing: all local is the optimum."""
    (tmp_path / "deaf.toml").write_text("num_ues = 6\nbandwidth_hz = 1.0\n")
    assert warnings(capsys, "home", "--scenario", str(tmp_path / "deaf.toml")) == []


def test_tasks_that_wait_are_watched_too(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    path = tmp_path / "small.toml"
    path.write_text('world = "queueing"\nnum_ues = 3\nnum_slots = 4\n')
    said = warnings(
        capsys, "home", "--scenario", str(path), "--prompt", "minimum latency", "--no-bound"
    )
    assert len(said) == 1 and "home runs every task where it arises" in said[0]
