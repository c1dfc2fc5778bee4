"""Who hears of a training: its log, TensorBoard and Weights & Biases, as the command asks."""

import functools
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from data_files import shared_data

from benchmarks import cli
from benchmarks.commands.train import linear_rule, telling
from benchmarks.commands.train.telling import Telling, told

CONFIG = {"slots": 3}


class Run:
    """A run of Weights & Biases that keeps what it is told."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.finished = False

    def log(self, row: dict[str, float], step: int) -> None:
        self.rows.append((step, row))

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module: Any = types.ModuleType("wandb")
    module.runs, module.made = [], []

    def init(**kwargs: Any) -> Run:
        module.made.append(kwargs)
        module.runs.append(Run())
        return module.runs[-1]

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    heard: list[Any] = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            heard.append(("open", purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            heard.append((name, value, step))

        def close(self) -> None:
            heard.append("closed")

    module: Any = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    return heard


def test_both_get_every_number_of_every_row(tmp_path: Path, wandb: Any, board: list[Any]):
    chosen = Telling(tensorboard=True, track=True)
    with told(chosen, tmp_path / "run", tmp_path / "run.log", "mine", CONFIG) as tell:
        for step in (5, 6):
            tell({"what": "update", "step": step, "of": 6, "loss": step / 2})
    (made,), (run,) = wandb.made, wandb.runs
    assert (made["project"], made["name"], made["config"]) == ("lambo", "mine", CONFIG)
    assert made["dir"] == str(tmp_path / "run")
    assert run.rows == [(5, {"loss": 2.5}), (6, {"loss": 3.0})] and run.finished
    assert board == [("open", 5), ("loss", 2.5, 5), ("loss", 3.0, 6), "closed"]


def test_the_log_has_a_line_every_half_minute_and_at_each_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    clock = [0.0]
    monkeypatch.setattr(telling.time, "monotonic", lambda: clock[0])
    log = tmp_path / "deep" / "run.log"
    with told(Telling(), tmp_path, log, "mine", CONFIG) as tell:
        for step in range(1, 72):  # a row per second
            row = {"what": "update", "step": step, "of": 71, "loss": 0.123456789}
            tell({**row, "scored": True} if step == 5 else row)
            clock[0] += 1.0
        many = {f"a rather long name {k}": k / 7 for k in range(9)}
        tell({"step": 72, "scored": True, **many})
    lines = log.read_text().splitlines()
    steps = [line.split(",")[0] for line in lines if not line.startswith(" ")]
    assert steps == [f"update {k}/71" for k in (1, 5, 35, 65)] + ["step 72"]
    assert lines[0] == "update 1/71, loss 0.1235"
    assert max(map(len, lines)) <= 80 < sum(map(len, lines[4:]))
    assert capsys.readouterr().out == log.read_text()


def test_a_training_is_tracked_by_its_command(
    tmp_path: Path, wandb: Any, board: list[Any], monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    words = (
        "train droo out.safetensors --scenario tiny --slots 64 --measured 0 --track --tensorboard"
    )
    assert cli.main(words.split()) == 0
    (run,), (made,) = wandb.runs, wandb.made
    assert made["name"] == "out" and made["config"]["slots"] == 64
    assert run.finished and run.rows[0][0] == 1
    assert {"cost_over_local_cost", "cpu_s"} == set(run.rows[0][1])
    assert ("cost_over_local_cost", run.rows[0][1]["cost_over_local_cost"], 1) in board
    assert (tmp_path / "out.log").read_text().startswith("update 1/")


def test_the_tuning_of_the_linear_rule_is_logged_and_tracked(
    tmp_path: Path, wandb: Any, board: list[Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    small = functools.partial(linear_rule.LinearTuning, pool=2)
    monkeypatch.setattr(linear_rule, "LinearTuning", small)
    words = "tune linear-rule rule --scenarios queue-light --generations 1 --population 4"
    assert cli.main([*words.split(), "--episodes", "1", "--track", "--tensorboard"]) == 0
    (run,), (made,) = wandb.runs, wandb.made
    assert made["name"] == "rule" and made["config"]["population"] == 4
    assert [step for step, _ in run.rows] == [1, 2, 3] and run.finished
    assert [row["latency_weight"] for _, row in run.rows] == [1.0, 0.5, 0.0]
    assert all(0 < row["best_over_rule"] <= row["mean_over_rule"] for _, row in run.rows)
    assert ("best_over_rule", run.rows[0][1]["best_over_rule"], 1) in board
    text = (tmp_path / "rule" / "train.log").read_text()
    assert text.startswith("generation 1/3, latency_weight 1, best_over_rule ")
    assert max(map(len, text.splitlines())) <= 80


def test_the_training_of_ares_small_network_is_logged_and_tracked(
    tmp_path: Path, wandb: Any, board: list[Any], monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("torch")
    data = str(shared_data("are-Data1.mat"))
    out = tmp_path / "small.safetensors"
    words = ["train", "are-small", data, str(out), "--scenarios", "2", "--track", "--tensorboard"]
    assert cli.main(words) == 0
    (run,), (made,) = wandb.runs, wandb.made
    assert made["name"] == "small" and made["config"]["scenarios"] == 2
    assert [step for step, _ in run.rows] == list(range(1, 501)) and run.finished
    assert run.rows[-1][1]["loss"] < run.rows[0][1]["loss"]
    assert ("loss", run.rows[0][1]["loss"], 1) in board
    assert out.with_suffix(".log").read_text().startswith("epoch 1/500, loss ")


@pytest.mark.parametrize(
    ("flag", "module", "extra"),
    [("--track", "wandb", "track"), ("--tensorboard", "torch.utils.tensorboard", "torch")],
)
@pytest.mark.parametrize("what", ["lambo --recipe lambo-s --out run", "sb3 --out run", "droo run"])
def test_a_missing_extra_is_named_and_nothing_is_left(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: str,
    flag: str,
    module: str,
    extra: str,
):
    pytest.importorskip("stable_baselines3")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    assert cli.main(["train", *what.split(), flag]) == 2
    assert f'pip install "lambo-mec[{extra}]"' in capsys.readouterr().err
    assert list(tmp_path.rglob("*.safetensors")) == []
