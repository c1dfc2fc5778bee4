"""Who hears of a training: its log, TensorBoard and Weights & Biases, as the command asks."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cli
from benchmarks.commands.train import telling
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
