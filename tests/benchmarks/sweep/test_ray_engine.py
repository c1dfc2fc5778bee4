"""Cells on a Ray cluster: the same table as here, also where a node is lost; clear words else."""

from __future__ import annotations

import socket
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.sweep.config import load_sweep
from benchmarks.sweep.engines import ray as ray_engine
from benchmarks.sweep.engines.choice import EngineChoice
from benchmarks.sweep.engines.engine import NodeLacksError
from benchmarks.sweep.results import CellResult
from benchmarks.sweep.runner import run_sweep

_CLOCK = ("single_ms", "batched_ms", "seconds", "finished")


def _table(folder: Path) -> dict[str, dict[str, Any]]:
    """Return a folder's rows by cell, without what a clock says; no cell has two."""
    rows = [
        CellResult.from_json(line) for line in (folder / "results.jsonl").read_bytes().splitlines()
    ]
    assert len({row.cell for row in rows}) == len(rows)
    return {r.cell: {k: v for k, v in vars(r).items() if k not in _CLOCK} for r in rows}


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:", "127.0.0.1:port"])
def test_an_address_of_no_form_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"--address is .*; allowed: host:port"):
        ray_engine._reach(address)


def test_a_cluster_that_cannot_be_reached_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(OSError, match=f"no Ray cluster answers at '{address}'"):
        ray_engine._reach(address)


@pytest.mark.parametrize(
    ("address", "told"),
    [(None, "could be started on this machine"), ("auto", "answers at 'auto'")],
)
def test_what_ray_raises_at_its_start_is_one_clear_error(address: str | None, told: str) -> None:
    """Of a node that does not come up in time it says so by a plain Exception."""
    with (
        pytest.raises(OSError, match=rf"no Ray cluster {told}.*timed out"),
        ray_engine._in_time(address),
    ):
        raise Exception("The current node timed out\nduring startup.")


def test_a_cluster_that_says_nothing_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr(ray_engine, "_SILENT_S", 0.1)
    with pytest.raises(OSError, match=r"silent for 0\.1 s"), ray_engine._in_time("auto"):
        time.sleep(30.0)


def test_an_address_needs_the_engine() -> None:
    with pytest.raises(ValueError, match=r"--address is 'auto'; allowed: nothing without"):
        EngineChoice("joblib", "auto")


def test_a_missing_engine_names_its_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    choice = EngineChoice("ray")
    with pytest.raises(ImportError, match=r"lambo-mec\[ray\]"), choice.start(1):
        pass


def slow_square(number: int) -> int:
    time.sleep(0.5)
    return number * number


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="the engine needs ray")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.slow
def test_a_lost_node_costs_no_task(cluster: Any) -> None:
    node, answers = cluster.add_node(num_cpus=1), {}
    with EngineChoice("ray", cluster.address).start(12) as engine:
        for key, answer in engine(slow_square, [(k, (k,)) for k in range(12)]):
            assert key not in answers
            answers[key] = answer
            if len(answers) == 3:
                cluster.remove_node(node, allow_graceful=False)
    assert answers == {k: k * k for k in range(12)}


@pytest.mark.slow
def test_a_node_that_lacks_a_module_is_told(cluster: Any) -> None:
    """Of a function that is sent by its name, as the suite's own are."""
    gone = types.ModuleType("only_here")
    exec("def answer(number): return number", vars(gone))
    sys.modules["only_here"] = gone
    try:
        with (
            EngineChoice("ray", cluster.address).start(1) as engine,
            pytest.raises(NodeLacksError, match="No module named 'only_here'") as raised,
        ):
            list(engine(vars(gone)["answer"], [(0, (0,))]))
        assert "on every node" in raised.value.way_out
    finally:
        del sys.modules["only_here"]


@pytest.mark.slow
def test_a_sweep_on_two_nodes_has_the_table_of_one_machine(cluster: Any, tmp_path: Path) -> None:
    """One of the nodes is killed in the middle: what was written down is not played again."""
    node = cluster.add_node(num_cpus=1)
    sweep = load_sweep("quick")
    run_sweep(sweep, tmp_path / "here", jobs=1)
    choice, written = EngineChoice("ray", cluster.address), []
    path = tmp_path / "there" / "results.jsonl"

    def kill(progress: Any) -> None:
        if not written and path.exists() and path.read_bytes().count(b"\n") >= 3:
            written.append(path.read_bytes())
            cluster.remove_node(node, allow_graceful=False)

    summary = run_sweep(sweep, tmp_path / "there", engine=choice, on_progress=kill)
    assert path.read_bytes().startswith(written[0])
    assert written[0].count(b"\n") < summary.played, "nothing was left to play"
    assert summary.played == len(_table(tmp_path / "here"))
    assert _table(tmp_path / "there") == _table(tmp_path / "here")
    assert run_sweep(sweep, tmp_path / "there", engine=choice).played == 0


@pytest.mark.slow
def test_both_engines_are_timed_on_the_same_cells() -> None:
    pytest.importorskip("ray", reason="the engine needs ray")
    from benchmarks.speed.engines import engine_speeds

    speeds = engine_speeds("tiny", cell_s=0.05, rounds=2)
    assert [speed.name for speed in speeds] == ["joblib", "ray"]
    assert all(len(speed.round_s) == 2 and min(speed.round_s) > 0 for speed in speeds)
