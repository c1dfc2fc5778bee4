"""A sweep.

The same instances for all, cells found again after kill -9, foreign files refused, reasons for
empty cells.
"""

import contextlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor

from benchmarks.sweep import bounds
from benchmarks.sweep.config import AgentEntry, Sweep, list_sweeps, load_sweep, sweep_from
from benchmarks.sweep.engines.engine import WorkerDiedError
from benchmarks.sweep.instance_sources import file_source, scenario_source
from benchmarks.sweep.results import MANIFEST, RESULTS, opened, parse_results
from benchmarks.sweep.runner import run_sweep
from lambo_agents import registry
from lambo_env.offloading.instances import Decision
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances

ROOT = Path(__file__).resolve().parents[3]
FIELDS = {
    "agents": ["local", "random"],
    "scenarios": ["tiny"],
    "prompts": ["minimum latency", "minimum energy"],
    "seeds": [0, 1],
    "instances": 4,
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBO_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def in_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what a test registers."""
    monkeypatch.setattr(registry, "_in_code", {})


def tiny_sweep(**fields: object) -> Sweep:
    return sweep_from({**FIELDS, **fields}, "test")


class Seen:
    """Keeps the instances and generators that it is handed, and plays local."""

    rows: ClassVar[list[tuple[bytes, float]]] = []

    def decide(self, instances, prompts, rng):
        if instances.batch_size > 1:
            self.rows.append((instances.uplink_bps.tobytes(), rng.random()))
        shape = instances.cycles.shape
        return Decision(np.zeros(shape, dtype=np.int64), np.zeros(shape))


class Broken:
    def decide(self, instances, prompts, rng):
        raise ZeroDivisionError("planted")


class Overdrawn:
    def decide(self, instances, prompts, rng):
        shape = instances.cycles.shape
        return Decision(np.ones(shape, dtype=np.int64), np.full(shape, 1e12))


class Picky:
    def supports(self, instances):
        return "plays whist only"

    def decide(self, instances, prompts, rng):
        raise AssertionError("asked all the same")


class Scaler:
    """Writes to what it was handed."""

    def decide(self, instances, prompts, rng):
        shape, cycles = instances.cycles.shape, instances.cycles
        cycles /= cycles.mean() * 1e-9
        return Decision(np.zeros(shape, dtype=np.int64), np.zeros(shape))


# ---- what a sweep plays --------------------------------------------------------------------------


@pytest.mark.parametrize("name", list_sweeps())
def test_shipped_sweeps_load(name: str):
    sweep = load_sweep(name)
    assert len(sweep.cells({})) >= len(sweep.agents)


def test_every_agent_gets_the_same_instances_and_generator(tmp_path: Path, in_code: None):
    registry.register_agent("seen-a", f"{__name__}:Seen")
    registry.register_agent("seen-b", f"{__name__}:Seen")
    Seen.rows.clear()
    sweep = tiny_sweep(agents=["seen-a", "seen-b"], prompts=["minimum latency"])
    run_sweep(sweep, tmp_path, jobs=1)
    first = list(dict.fromkeys(Seen.rows))
    assert len({links for links, _ in Seen.rows}) == 2  # two blocks, whoever asks
    blocks = [
        sample.uplink_bps.tobytes()
        for sample in (sweep.scenarios[0].load(0, block, 4) for block in (0, 1))
    ]
    assert {links for links, _ in first} == set(blocks)
    draws = [draw for links, draw in Seen.rows if links == blocks[0]]
    assert draws.count(draws[0]) >= 2  # both agents decide with the same generator


def test_rows_say_everything(tmp_path: Path):
    run_sweep(tiny_sweep(), tmp_path, jobs=1)
    rows, _ = parse_results(tmp_path / RESULTS)
    assert len(rows) == 8
    row = rows[0]
    assert row.scenario_hash == load_scenario("tiny").hash
    assert row.agent == "local" and row.latency_weight == 1.0 and row.instances == 4
    assert row.threads == 1 and row.single_ms > 0 and row.batched_ms > 0
    np.testing.assert_allclose(row.cost, row.latency_s, rtol=1e-9)  # nothing is late on tiny
    assert {
        "parameters",
        "labels_used",
        "evaluator_in_loop",
        "version",
        "root",
        "block",
    } <= vars(row).keys()
    energy = next(row for row in rows if row.latency_weight == 0.0)
    np.testing.assert_allclose(energy.cost, energy.energy_j, rtol=1e-9)


def test_the_manifest_tells_how_it_was_made(tmp_path: Path):
    run_sweep(tiny_sweep(), tmp_path, jobs=1)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    run = manifest["runs"][0]
    assert {
        "command",
        "versions",
        "machine",
        "commit",
        "started",
        "finished",
        "jobs",
        "threads_a_job",
    } <= run.keys()
    assert run["versions"]["numpy"] == np.__version__
    assert manifest["sweep"]["scenarios"]["tiny"]["hash"] == load_scenario("tiny").hash
    assert manifest["sweep"]["scenarios"]["tiny"]["fields"]["num_ues"] == 6


def test_workers_give_the_same_numbers_as_this_process(tmp_path: Path):
    for jobs in (1, 2):
        run_sweep(tiny_sweep(), tmp_path / str(jobs), jobs=jobs)
    here, there = (
        {row.cell: row.cost for row in parse_results(tmp_path / str(jobs) / RESULTS)[0]}
        for jobs in (1, 2)
    )
    assert here == there


def test_instances_from_a_file_are_cut_into_blocks_that_cover_it(tmp_path: Path):
    instances = sample_instances(load_scenario("tiny"), 10, np.random.default_rng(0))
    instances.save(tmp_path / "mine.npz")
    source = file_source(str(tmp_path / "mine.npz"))
    sweep = tiny_sweep().replace(scenarios=(source,))
    run_sweep(sweep, tmp_path / "out", jobs=1)
    rows, _ = parse_results(tmp_path / "out" / RESULTS)
    sizes = [row.instances for row in rows if row.agent == "local" and row.latency_weight == 1]
    assert sorted(sizes) == [2, 4, 4]
    assert {row.scenario for row in rows} == {"mine"}


# ---- resuming ------------------------------------------------------------------------------------


def test_a_second_run_plays_nothing_and_changes_nothing(tmp_path: Path):
    first = run_sweep(tiny_sweep(), tmp_path, jobs=1)
    before = (tmp_path / RESULTS).read_bytes()
    second = run_sweep(tiny_sweep(), tmp_path, jobs=1)
    assert (first.played, second.played, second.cached) == (8, 0, 8)
    assert (tmp_path / RESULTS).read_bytes() == before


def test_an_agent_more_plays_only_its_own_cells(tmp_path: Path):
    run_sweep(tiny_sweep(), tmp_path, jobs=1)
    more = run_sweep(tiny_sweep(agents=["local", "greedy", "random"]), tmp_path, jobs=1)
    assert (more.played, more.cached) == (4, 8)


def test_fresh_plays_the_chosen_cells_again_and_keeps_the_others(tmp_path: Path):
    run_sweep(tiny_sweep(), tmp_path, jobs=1)
    again = run_sweep(tiny_sweep().with_agents(["random"]), tmp_path, jobs=1, fresh=True)
    rows, _ = parse_results(tmp_path / RESULTS)
    assert again.played == 4
    assert sorted(row.agent for row in rows) == ["local"] * 4 + ["random"] * 4


def test_other_arguments_of_an_agent_are_another_cell(tmp_path: Path):
    run_sweep(tiny_sweep(agents=["random"]), tmp_path, jobs=1)
    other = tiny_sweep(
        agents=[{"name": "random", "kwargs": {"feasible": False}, "label": "random-all"}]
    )
    assert run_sweep(other, tmp_path, jobs=1).played == 4


KILLED = """
    import pathlib, sys
    from benchmarks.sweep.config import sweep_from
    from benchmarks.sweep.runner import run_sweep
    from lambo_agents.registry import register_agent

    if __name__ == "__main__":
        register_agent("slow", "slow_agent:Slow")
        sweep = sweep_from({"agents": ["slow", "local"], "scenarios": ["tiny"],
                            "prompts": ["minimum latency"], "seeds": list(range(12)),
                            "instances": 2}, "killed")
        print(run_sweep(sweep, pathlib.Path(sys.argv[1]), jobs=2).played)
"""
SLOW = """
    import time
    import numpy as np
    from lambo_env.offloading.instances import Decision

    class Slow:
        def decide(self, instances, prompts, rng):
            time.sleep(0.06)
            shape = instances.cycles.shape
            return Decision(np.zeros(shape, dtype=np.int64), np.zeros(shape))
"""


def test_a_killed_sweep_continues_without_repeating_or_losing_a_cell(tmp_path: Path):
    (tmp_path / "killed.py").write_text(textwrap.dedent(KILLED))
    (tmp_path / "slow_agent.py").write_text(textwrap.dedent(SLOW))
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "OMP_NUM_THREADS": "1",
    }
    out = tmp_path / "out"
    line = [sys.executable, str(tmp_path / "killed.py"), str(out)]

    first = subprocess.Popen(
        line, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        for _ in range(600):
            if (out / RESULTS).is_file() and (out / RESULTS).read_bytes().count(b"\n") >= 4:
                break
            time.sleep(0.05)
        first.send_signal(signal.SIGKILL)
        first.wait(timeout=30)
    finally:
        _end_group(first.pid)
    kept = (out / RESULTS).read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    done = kept.count(b"\n")
    assert 4 <= done < 24, "the sweep was to be killed half-way"
    with (out / RESULTS).open("ab") as file:
        file.write(b'{"format":1,"cell":"torn')  # as if killed while writing

    second = subprocess.run(
        line, env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    rows, _ = parse_results(out / RESULTS)
    assert int(second.stdout) == 24 - done  # nothing repeated
    assert len({row.cell for row in rows}) == len(rows) == 24  # nothing lost, nothing twice
    assert (out / RESULTS).read_bytes().startswith(kept)
    assert not list(out.rglob("*.part"))


def _end_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # the workers went with their parent
        os.killpg(group, signal.SIGKILL)


def test_two_runs_in_one_folder_are_refused(tmp_path: Path):
    with (
        opened(tmp_path),
        pytest.raises(ValueError, match="no other run is writing"),
        opened(tmp_path),
    ):
        pass


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        b"hello\n",
        b"{}\n",
        b"[1]\n",
        b'{"format": 99}\n',
        b'{"format": 1, "cell": 3}\n',
        b"\xff\xfe\x00\n",
        b"null\n",
    ],
)
def test_a_foreign_results_file_is_refused_and_left_alone(tmp_path: Path, damage: bytes):
    run_sweep(tiny_sweep(), tmp_path, jobs=1)
    path = tmp_path / RESULTS
    path.write_bytes(path.read_bytes() + damage)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="line 9 is damaged or foreign"):
        run_sweep(tiny_sweep(), tmp_path, jobs=1)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 99}', '{"format": 1}', '{"format": 1, "sweep": 3}']
)
def test_a_foreign_manifest_is_refused(tmp_path: Path, text: str):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ValueError, match="manifest is"):
        run_sweep(tiny_sweep(), tmp_path, jobs=1)
    assert not (tmp_path / RESULTS).exists()


def test_another_world_under_the_same_name_is_refused(tmp_path: Path):
    run_sweep(tiny_sweep(scenarios=[{"name": "mine", "base": "tiny"}]), tmp_path, jobs=1)
    other = tiny_sweep(scenarios=[{"name": "mine", "base": "tiny", "side_m": 60.0}])
    with pytest.raises(ValueError, match="hash of scenario 'mine'"):
        run_sweep(other, tmp_path, jobs=1)


@pytest.mark.parametrize(("key", "value"), [("instances", 5), ("root", 1), ("bound_gap", 0.01)])
def test_another_evaluation_set_in_one_folder_is_refused(tmp_path: Path, key: str, value: float):
    run_sweep(tiny_sweep(), tmp_path, jobs=1)
    with pytest.raises(ValueError, match=f"Sweep.{key} is {value}.*choose another --out"):
        run_sweep(tiny_sweep(**{key: value}), tmp_path, jobs=1)


BAD_FIELDS = {
    "agents": [
        [],
        "local",
        [3],
        [{"label": "x"}],
        [{"name": "random", "kwarg": {}}],
        ["local", "local"],
    ],
    "scenarios": [
        [],
        "tiny",
        ["tinny"],
        [{"num_ues": 3}],
        [{"name": "x", "num_uess": 3}],
        ["gone.toml"],
    ],
    "prompts": [
        [],
        "minimum latency",
        ["sing about it"],
        [""],
        [7],
        ["minimum latency", "minimum latency"],
    ],
    "seeds": [[], 0, [-1], ["0"], [0.5], [1, 1]],
    "instances": [0, -1, 2.5, "4", True],
    "root": [-1, 0.5, "0", True, [0]],
    "bound_gap": [0, -1.0, float("nan"), "small", float("inf")],
    "bound_limit_s": [0, -1.0, float("nan"), "long", float("inf")],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in BAD_FIELDS.items() for value in values]
)
def test_a_bad_field_is_refused_with_its_name(key: str, value: object):
    with pytest.raises(ValueError, match=r"allowed|unknown|did you mean|known"):
        tiny_sweep(**{key: value})


def test_an_unknown_key_names_the_closest_one():
    with pytest.raises(ValueError, match="Sweep.instancs: unknown field; did you mean 'instances'"):
        tiny_sweep(instancs=3)


def test_a_bad_argument_of_an_agent_is_refused_before_anything_runs(tmp_path: Path):
    with pytest.raises(ValueError, match="feasable: unknown field; did you mean 'feasible'"):
        run_sweep(
            tiny_sweep(agents=["local", {"name": "random", "kwargs": {"feasable": 1}}]),
            tmp_path / "out",
        )
    assert not (tmp_path / "out").exists()


def test_a_missing_and_a_broken_file_of_instances_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="an existing"):
        file_source(str(tmp_path / "gone.npz"))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(ValueError, match="a whole .npz of Instances"):
        file_source(str(tmp_path / "broken.npz"))
    with pytest.raises(ValueError, match="are:PATH, WORLD:PATH or FILE.npz"):
        file_source("csv:x")


# ---- empty and failed cells ----------------------------------------------------------------------


def test_agents_without_result_have_a_reason_and_harm_nobody(tmp_path: Path, in_code: None):
    for kind in (Broken, Overdrawn, Picky):
        registry.register_agent(kind.__name__, f"{__name__}:{kind.__name__}")
    registry.register_agent("absent", "no_such_module:Agent")
    names = ["Broken", "Overdrawn", "Picky", "absent", "locall", "local"]
    done = run_sweep(tiny_sweep(agents=names), tmp_path, jobs=1)
    assert done.played == 4
    assert done.failed["Broken on tiny"] == "ZeroDivisionError: planted"
    assert "at most server_cpu_hz" in done.failed["Overdrawn on tiny"]
    assert done.empty["Picky on tiny"] == "plays whist only"
    assert "no_such_module" in done.empty["absent"]
    assert "did you mean 'local'" in done.empty["locall"]
    assert json.loads((tmp_path / MANIFEST).read_text())["empty"] == done.empty


DYING = """
    import os

    class Dying:
        def decide(self, instances, prompts, rng):
            os._exit(3)
"""


def test_a_worker_that_dies_ends_the_run_and_keeps_what_is_finished(
    tmp_path: Path, in_code: None, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "dying_agent.py").write_text(textwrap.dedent(DYING))
    monkeypatch.syspath_prepend(tmp_path)
    registry.register_agent("dying", "dying_agent:Dying")
    out = tmp_path / "out"
    run_sweep(tiny_sweep(agents=["local"]), out, jobs=1)
    get_reusable_executor().shutdown(
        wait=True
    )  # workers left by an earlier test would not find the agent's module
    with pytest.raises(WorkerDiedError, match="what is finished is kept"):
        run_sweep(tiny_sweep(agents=["local", "dying"]), out, jobs=2)
    assert len(parse_results(out / RESULTS)[0]) == 4
    assert run_sweep(tiny_sweep(agents=["local", "random"]), out, jobs=1).cached == 4


# ---- bounds --------------------------------------------------------------------------------------


def test_kept_bounds_are_found_only_for_their_own_instances(tmp_path: Path):
    tiny = scenario_source("tiny")
    mine, other = (tiny.load(0, block, 3) for block in (0, 1))
    kept = bounds.Bounds(np.array([1.0, 2.0, 3.0]), np.array([True, True, False]))
    bounds.write("key", kept, mine, tmp_path)
    found = bounds.find("key", mine, tmp_path)
    np.testing.assert_array_equal(found.lower, kept.lower)
    np.testing.assert_array_equal(found.proven, kept.proven)
    assert bounds.find("key", other, tmp_path) is None
    assert bounds.find("another", mine, tmp_path) is None
    assert (
        bounds.find("key", mine, tmp_path, limit_s=5.0) is None
    )  # one is not proven: more time may do it


def test_a_damaged_file_of_bounds_is_proven_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAMBO_CACHE", str(tmp_path / "cache"))
    instances = scenario_source("tiny").load(0, 0, 2)
    bounds.write("key", bounds.Bounds(np.ones(2), np.ones(2, dtype=bool)), instances, tmp_path)
    for path in (tmp_path / "key.npz", tmp_path / "cache" / "bounds" / "key.npz"):
        path.write_bytes(path.read_bytes()[:100])
    assert bounds.find("key", instances, tmp_path) is None


def test_bounds_are_below_every_agent_and_shared_by_all(tmp_path: Path):
    sweep = tiny_sweep(agents=["local", "greedy", "local-search", "exact"], bound_gap=1e-4)
    run_sweep(sweep, tmp_path, jobs=1)
    rows, _ = parse_results(tmp_path / RESULTS)
    by_task: dict[tuple[str, int], set[tuple[float, ...]]] = {}
    for row in rows:
        assert np.all(np.array(row.cost) >= np.array(row.bound) * (1 - 1e-5))
        by_task.setdefault((row.prompt, row.block), set()).add(tuple(row.bound))
        if row.agent == "exact":
            np.testing.assert_allclose(row.cost, row.bound, rtol=2e-3)
    assert all(len(found) == 1 for found in by_task.values())
    assert all(all(row.proven) for row in rows)


def test_bounds_need_no_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node of a cluster may have the code and not be installed."""
    none = importlib.metadata.EntryPoints(())
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **group: none)
    instances = scenario_source("tiny").load(0, 0, 2)
    found = bounds.prove(instances, "minimum latency", 1e-2, 10.0)
    assert found.reason is None and found.proven.all()


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_agent_that_writes_to_its_instances_fails_and_spoils_no_other_row(
    tmp_path: Path, in_code: None, jobs: int
):
    registry.register_agent("scaler", f"{__name__}:Scaler")
    alone = tiny_sweep(agents=["local", "greedy"])
    run_sweep(alone, tmp_path / "alone", jobs=1)
    summary = run_sweep(
        tiny_sweep(agents=["scaler", "local", "greedy"]), tmp_path / "together", jobs=jobs
    )
    assert "read-only" in summary.failed["scaler on tiny"]
    costs = [
        sorted((r.agent, r.prompt, r.block, r.cost) for r in parse_results(folder / RESULTS)[0])
        for folder in (tmp_path / "alone", tmp_path / "together")
    ]
    assert costs[0] == costs[1]


def test_cached_bounds_that_a_cost_undercuts_are_proven_again(tmp_path: Path):
    sweep = tiny_sweep(agents=["exact"])
    run_sweep(sweep, tmp_path / "first", jobs=1)
    for path in bounds.cache_folder().glob("*.npz"):
        with np.load(path) as kept:
            wrong = {**kept, "lower": kept["lower"] * 1.2}
        np.savez(path, **wrong)
    run_sweep(sweep, tmp_path / "second", jobs=1)
    rows = [parse_results(tmp_path / name / RESULTS)[0] for name in ("first", "second")]
    assert [row.bound for row in rows[0]] == [row.bound for row in rows[1]]


def test_a_cost_below_its_bound_is_an_error_that_names_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    prove = bounds.prove

    def too_high(*args: object) -> bounds.Bounds:
        found = prove(*args)
        return bounds.Bounds(found.lower * np.array([1, 1, 3, 1]), found.proven)

    monkeypatch.setattr(bounds, "prove", too_high)
    summary = run_sweep(tiny_sweep(agents=["greedy"]), tmp_path, jobs=1)
    assert summary.played == 0
    reason = summary.failed["greedy on tiny"]
    assert "greedy on tiny under 'minimum" in reason
    assert "instance 2 is" in reason
    assert "certified bound" in reason


def test_agent_entries_read_names_and_tables():
    assert AgentEntry.read("local") == AgentEntry("local", {}, "local")
    entry = AgentEntry.read({"name": "random", "label": "r", "kwargs": {"feasible": False}})
    assert (entry.label, entry.kwargs) == ("r", {"feasible": False})
