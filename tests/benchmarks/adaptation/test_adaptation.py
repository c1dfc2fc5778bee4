"""``lambo adapt``: drifting streams are played, continued, reported, and refused in one line."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks import cli
from benchmarks.adaptation import report as adapt_report
from benchmarks.adaptation import runner as adapt
from benchmarks.adaptation.plan import METHODS, Adaptation, load_plan
from benchmarks.report.statistics import seeds_interval
from lambo_agents import registry
from lambo_agents.network import checkpoint
from lambo_agents.network.aed import AED
from lambo_agents.network.config import AEDConfig
from lambo_env.offloading import physics
from lambo_env.offloading.instances import Decision

QUICK = {"steps": 2, "batch": 4}
LEARNS = {"name": "learns", "agent": "lambo-s+alef", "kwargs": {"update": QUICK}}
SMALL = {
    "drifts": ("capacity-abrupt",),
    "seeds": 1,
    "scenario": "tiny",
    "batch": 4,
    "stride": 10,
    "labels": 4,
    "labels_per_slot": 2,
}


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """Weights of a small random network."""
    config = AEDConfig(
        d_model=16, num_heads=2, encoder_layers=1, decoder_layers=1, encoder_ff=16, decoder_ff=16
    )
    torch.manual_seed(0)
    path = tmp_path / "small.safetensors"
    checkpoint.save(path, AED(config).state_dict(), config)
    return str(path)


def plan_of(weights: str, *methods, **fields) -> Adaptation:
    return Adaptation(
        **{
            **SMALL,
            "methods": methods or ("frozen", LEARNS, "greedy"),
            "weights": weights,
            **fields,
        }
    )


class Asked:
    """An expert that notes each question: everything stays local."""

    def __init__(self, note: str, pause_s: float = 0.0) -> None:
        self.note, self.pause_s = note, pause_s

    def decide(self, instances, prompts, rng):
        """Write a line, wait, answer."""
        with Path(self.note).open("a") as file:
            file.write(f"{instances.cycles.sum()}\n")
        time.sleep(self.pause_s)
        place = np.zeros(instances.cycles.shape, dtype=np.int64)
        return Decision(place, physics.allocate(instances, place))


def test_a_plan_is_played_reported_and_kept(tmp_path, weights):
    told = []
    plan = plan_of(weights)
    rows = adapt.adapt(plan, tmp_path / "out", 1, told.append)
    assert [row["method"] for row in rows] == ["frozen", "learns", "greedy"] and len(told) == 3
    frozen, learns, greedy = rows
    assert [row["slot"] for row in learns["rows"]] == list(range(0, 100, 10))
    assert [row["labels"] for row in learns["rows"]] == [
        0,
        0,
        0,
        2,
        *[4] * 6,
    ]  # asked after slots 20 and 30
    assert (frozen["labels"], learns["labels"]) == (0, 4) and learns["num_trainable"] < learns[
        "num_parameters"
    ]
    assert [row["gap"] for row in frozen["rows"][:3]] == [row["gap"] for row in learns["rows"][:3]]
    assert all(row["gap"] >= -1e-6 for row in greedy["rows"])
    assert not list((tmp_path / "out" / "work").iterdir())
    assert (
        adapt.adapt(plan, tmp_path / "out", 1, told.append) == rows and len(told) == 3
    )  # nothing is played again
    written = adapt_report.write(rows, tmp_path / "out", draw=False)
    assert "| capacity-abrupt | learns" in written[0].read_text().replace("  ", " ")


def test_other_weights_are_another_cell_and_refused_in_the_same_folder(tmp_path, weights):
    first = adapt.adapt(plan_of(weights, "frozen"), tmp_path / "out", 1)
    aed = checkpoint.load_network(Path(weights))[0]
    with torch.no_grad():
        next(aed.parameters()).add_(1.0)
    with pytest.raises(ValueError, match="weights is 'other.safetensors'; allowed: "):
        adapt.adapt(plan_of("other.safetensors", "frozen"), tmp_path / "out", 1)
    checkpoint.save(tmp_path / "other.safetensors", aed.state_dict(), aed.config)
    plan = plan_of(str(tmp_path / "other.safetensors"), "frozen")
    assert plan.cells()[0].hash != first[0]["hash"]
    plan = plan_of(weights, "frozen")
    (tmp_path / "out" / "cells" / "capacity-abrupt--frozen--0.json").write_text("{")
    assert len(adapt.adapt(plan, tmp_path / "out", 1)[0]["rows"]) == 10  # damaged: played anew


def test_any_registered_agent_that_adapts_is_played(tmp_path, weights):
    row = adapt.adapt(
        plan_of(weights, {"agent": "droo-60fc"}, num_slots=11, scenario="paper"),
        tmp_path / "out",
        1,
    )[0]
    assert row["method"] == "droo-60fc" and len(row["rows"]) == 2


SCRIPT = """
import sys; sys.path.insert(0, {tests!r})
import test_adaptation as t
from lambo_agents import registry
registry.register_agent("asked", "test_adaptation:Asked", note={note!r}, pause_s=0.05)
t.adapt.adapt(t.plan_of({weights!r}, t.LEARNS, expert="asked", labels=8), t.Path({folder!r}), 1)
"""


def test_a_killed_run_goes_on_and_asks_no_question_twice(tmp_path, weights):
    note, folder = tmp_path / "asked", tmp_path / "out"
    code = SCRIPT.format(
        tests=str(Path(__file__).parent), note=str(note), weights=weights, folder=str(folder)
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while (
        not note.exists() or len(note.read_text().splitlines()) < 3
    ):  # killed in the second round's questions
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    registry.register_agent("asked", f"{__name__}:Asked", note=str(note))
    adapt.adapt(plan_of(weights, LEARNS, expert="asked", labels=8), folder, 1)
    questions = note.read_text().split()
    assert (
        len(set(questions)) == 8 and len(questions) <= 9
    )  # one may have been under way when it was killed
    kept = adapt.read(next((folder / "cells").iterdir()))
    registry.register_agent("asked-now", f"{__name__}:Asked", note=str(tmp_path / "again"))
    plan = plan_of(weights, LEARNS, expert="asked-now", labels=8)
    whole = adapt.adapt(plan, tmp_path / "whole", 1)[0]
    for name in ("gap", "evaluations"):
        assert [row[name] for row in kept["rows"]] == [row[name] for row in whole["rows"]]


def test_what_a_killed_stream_has_scored_is_counted_once(tmp_path: Path) -> None:
    rows = adapt._Rows(tmp_path / "rows.jsonl")
    for slot in (0, 10, 20):
        rows.add({"slot": slot, "evaluations": slot + 1})
    assert rows.evaluations(range(0, 20, 10)) == 12
    assert rows.evaluations(range(0)) == 0
    rows.close()


def test_a_plan_is_read_from_toml(tmp_path, weights):
    path = tmp_path / "plan.toml"
    path.write_text(
        'drifts = ["data-cyclic"]\nlabels = 8\n'
        'methods = ["alef-margin", {name = "mine", agent = "lambo-s+alef", '
        'kwargs = {expert = "exact", labels_per_slot = 3}}]\n'
    )
    plan = load_plan(path, seeds=2, weights=weights)
    assert (plan.drifts, plan.labels, plan.seeds) == (("data-cyclic",), 8, 2)
    assert plan.methods[0] == METHODS["alef-margin"]
    mine = plan.cells()[1].kwargs(Path("work"))
    assert (mine["expert"], mine["labels_per_slot"], mine["budget"]) == ("exact", 3, 8)
    assert mine["start_slot"] == 5  # of those that are played: slot 25
    assert mine["folder"] == "work" and plan.methods[1].name == "mine"


def test_labels_of_a_gradual_drift_are_spread_up_to_its_end():
    plan = Adaptation(drifts=("data-gradual",), methods=("greedy",))
    rhythm = plan.rhythm("data-gradual")
    asked = [plan.stride * (rhythm["start_slot"] + k * rhythm["every"]) for k in range(4)]
    assert asked == [30, 40, 50, 60] and plan.labels == 4 * plan.labels_per_slot


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"drifts": ("capacity-abrubt",)}, "did you mean 'capacity-abrupt'"),
        ({"methods": ("frosen",)}, "did you mean 'frozen'"),
        ({"methods": ()}, "Adaptation.methods is"),
        ({"methods": ("greedy", "greedy")}, "one or more, each once"),
        ({"methods": ({"agent": "gredy"},)}, "did you mean 'greedy'"),
        ({"methods": ({"agent": "greedy", "name": "a/b"},)}, "a text without / and"),
        ({"methods": ({"agent": "greedy", "kwarg": {}},)}, "did you mean 'kwargs'"),
        ({"expert": "exakt"}, "did you mean 'exact'"),
        ({"labels": 0}, "Adaptation.labels is 0; allowed: an integer >= 1"),
        ({"labels_per_slot": -1}, "Adaptation.labels_per_slot is -1"),
        ({"seeds": 0}, "Adaptation.seeds is 0"),
        ({"stride": 0}, "Adaptation.stride is 0"),
        ({"weights": "lambo-z"}, "unknown weights 'lambo-z'"),
        ({"scenario": "papr"}, "did you mean 'paper'"),
    ],
)
def test_bad_plans_are_refused(tmp_path, weights, fields, text):
    with pytest.raises(ValueError, match=text):
        adapt.adapt(
            Adaptation(**{**SMALL, "methods": ("frozen",), "weights": weights, **fields}),
            tmp_path,
            1,
        )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("labels = ", "valid TOML"),
        ("lables = 3", "did you mean 'labels'"),
        ('drifts = "x"', "allowed: a list"),
    ],
)
def test_bad_plan_files_are_refused(tmp_path, content, text):
    path = tmp_path / "plan.toml"
    path.write_text(content)
    with pytest.raises(ValueError, match=text):
        load_plan(path)
    with pytest.raises(ValueError, match=r"existing \.toml file"):
        load_plan(tmp_path / "none.toml")


def line(
    method: str,
    gaps: list[list[float]],
    drift: str = "data-abrupt",
    labels: list[int] | None = None,
) -> list[dict]:
    """Cells of a method: one row of gaps per seed, slots 0, 20, 40, 60, 80 (cyclic: every 25th)."""
    step = 25 if drift.endswith("cyclic") else 20
    paid = labels or [0] * len(gaps[0])
    return [
        {
            "drift": drift,
            "method": method,
            "seed": seed,
            "batch": 4,
            "stride": step,
            "weights_sha256": "0" * 64,
            "expert": "exact",
        }
        | {"labels": paid[-1], "update_s": 1.0, "expert_s": 2.0}
        | {"rows": [{"slot": step * k, "gap": gap, "labels": paid[k]} for k, gap in enumerate(row)]}
        for seed, row in enumerate(gaps)
    ]


def test_what_is_recovered_is_by_hand():
    """Frozen 1 -> 5 and 2 -> 6.

    A method that ends at 2 and 3 wins back 75 % of 4 lost points, on both seeds.
    """
    cells = line("frozen", [[1, 5, 5, 5, 5], [2, 6, 6, 6, 6]]) + line(
        "alef-entropy", [[1, 5, 3, 2, 2], [2, 6, 4, 3, 3]]
    )
    frozen, mine = adapt_report.curves_of(cells)
    won = adapt_report.recovered(mine, frozen)
    assert (won.mean, won.low, won.high) == pytest.approx((75, 75, 75))
    calm = adapt_report.curves_of(line("frozen", [[1, 1.5, 1.5, 1.5, 1.5]]))[0]
    assert adapt_report.recovered(mine, calm) is None
    cyclic = adapt_report.curves_of(line("frozen", [[2, 6, 3, 5]], "data-cyclic"))[0]
    assert (cyclic.before, cyclic.returned, cyclic.after) == ([2], [1.5], [5])
    interval = seeds_interval(np.array([1.0, 3.0]))
    assert interval.high == pytest.approx(
        2 + 12.7062
    )  # Student's t with one degree of freedom, spread sqrt(2) / sqrt(2)


def test_labels_to_a_gap_are_by_hand():
    """Over the frozen network's 9: random is left 1, 2/3, 1/3 after 0, 4, 8 labels.

    Nine tenths of that are 0.4, after 7.2 labels.

    The clever one is at 4 of 9 after 4 labels and at 3 after 8: 0.4 after 5.6.
    """
    random = line("alef-random", [[1, 9, 6, 3, 3]], labels=[0, 0, 4, 8, 8])
    clever = line("alef-entropy", [[1, 9, 4, 3, 3]], labels=[0, 0, 4, 8, 8])
    cells = line("frozen", [[1, 9, 9, 9, 9]]) + random + clever
    assert adapt_report.queries(adapt_report.curves_of(cells), cells) == [
        ("data-abrupt", "alef-entropy", "0.400", "5.60", "7.20", "0.778")
    ]


def test_the_summary_has_a_row_a_drift():
    cells = line("frozen", [[1, 5, 5, 5, 5], [2, 6, 6, 6, 6]]) + line(
        "alef-entropy", [[1, 5, 3, 2, 2], [2, 6, 4, 3, 3]], labels=[0, 0, 2, 4, 4]
    )
    header, rows = adapt_report.overview(adapt_report.curves_of(cells))
    assert header == ["drift", "before", "frozen", "alef-entropy", "alef-entropy recovers %"]
    assert [row[0] for row in rows] == ["data-abrupt"] and rows[0][-1] == "75.0 [75, 75]"
    assert rows[0][2].startswith("5.50 [")


def test_the_command_plays_and_draws(tmp_path, weights, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    fields = {**SMALL, "methods": ["frozen"], "drifts": ["data-cyclic"]}
    Path("plan.toml").write_text(
        "\n".join(f"{key} = {json.dumps(value)}" for key, value in fields.items())
    )
    assert (
        cli.main(
            [
                "adapt",
                "plan.toml",
                "--weights",
                weights,
                "--methods",
                "frozen, greedy",
                "--jobs",
                "1",
                "--out",
                "a",
            ]
        )
        == 0
    )
    assert "data-cyclic greedy seed 0: last gap" in capsys.readouterr().out
    text = Path("a/report.md").read_text()
    assert text.count("![") == 1 and "![data-cyclic-wide](figures/data-cyclic-wide.png)" in text
    for name, inches in (("data-cyclic", 3.5), ("data-cyclic-wide", 7.0)):
        assert Path(f"a/figures/{name}.png").read_bytes().startswith(b"\x89PNG")
        assert Path(f"a/figures/{name}.pdf").read_bytes().startswith(b"%PDF")
        width_pt = float(
            re.search(r'width="([\d.]+)pt"', Path(f"a/figures/{name}.svg").read_text())[1]
        )
        assert abs(width_pt / 72 - inches) < 0.2, name
    assert cli.main(["adapt", "--drifts", "data", "--out", "a"]) == 2
    assert "did you mean 'data-" in capsys.readouterr().err
    assert cli.main(["list", "drifts"]) == 0
    assert "crowd-gradual" in capsys.readouterr().out


def test_short_streams_have_a_report_and_folders_of_sweeps_are_refused(
    tmp_path: Path, weights: str
) -> None:
    pytest.importorskip("matplotlib")
    plan = plan_of(weights, "frozen", "local", num_slots=2, stride=1)
    assert all(
        path.exists() for path in adapt_report.write(adapt.adapt(plan, tmp_path, 1), tmp_path)
    )
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match="--out is .*allowed: a folder without a sweep"):
        adapt.adapt(plan, tmp_path, 1)


def test_options_that_nobody_takes_are_named(tmp_path: Path, weights: str) -> None:
    odd = {"name": "odd", "agent": "lambo-s+alef", "kwargs": {"foo": 1}}
    with pytest.raises(ValueError, match="ALEF.foo: unknown field"):
        adapt.adapt(plan_of(weights, odd), tmp_path, 1)


def test_a_method_that_fails_ends_no_other(
    tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = {"name": "odd", "agent": "lambo-s+alef", "kwargs": {"foo": 1}}
    told: list[dict[str, object]] = []
    rows = adapt.adapt(plan_of(weights, odd, "greedy"), tmp_path, 1, told.append)
    assert [row["method"] for row in rows] == ["greedy"]
    assert "ALEF.foo: unknown field" in str({row["method"]: row for row in told}["odd"]["failed"])
