"""Trainings of several processes: equal to one, ended together, resumed by another number."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lambo_agents.acl import processes
from lambo_agents.acl import run as acl_run
from lambo_agents.acl.ahead import drawing
from lambo_agents.acl.config import Recipe
from lambo_agents.acl.flop import counted
from lambo_agents.acl.processes import ALONE, LostProcessError, Processes, joined, launch
from lambo_agents.acl.trainer import Trainer, flushed
from lambo_agents.network import checkpoint
from lambo_agents.registry import make_agent
from lambo_env.utils.runs import Stopped

READING = {"phase": "reading", "updates": 1, "texts": 16}
STEADY = {"phase": "imitation", "updates": 2, "instances": 8, "final_rate": 1e-3}
GRADIENT = {"phase": "policy_gradient", "updates": 2, "instances": 8, "rollouts": 2}
# The norm of a gradient in parts is summed otherwise; of weights that only shift all logits alike,
# rounding is all the gradient there is, and Adam makes whole steps of it.
IN_PARTS, SHIFTS = 5e-5, ("prior.bias", "heads.bias")
ENDED_S = 30.0  # the others end within this, once one has: on a busy machine


def tiny(*phases: dict[str, Any], **fields: Any) -> Recipe:
    network = {"encoder_layers": 1}
    given = {"preset": "lambo_xs", "network": network, "scenario": "tiny", "shards": 2} | fields
    return Recipe(
        phases=phases, worlds=({"scenario": "tiny"},), validation_instances=2,
        validate_every=100, checkpoint_every=1, **given,
    )  # fmt: skip


def quiet(row: dict[str, Any]) -> None:
    assert row["step"]


def options(recipe: Recipe, folder: Path) -> list[str]:
    """Return what ``python -m lambo_agents.acl`` is told."""
    phases, worlds = (recipe.to_dict()[name] for name in ("phases", "worlds"))
    text = "\n".join(
        f"{name} = {json.dumps(value)}"
        for name, value in recipe.to_dict().items()
        if name not in ("phases", "worlds", "network", "start")
    )
    for name, tables in (("phases", phases), ("worlds", worlds)):
        for table in tables:
            known = {key: value for key, value in table.items() if value is not None}
            lines = (f"{key} = {json.dumps(value)}" for key, value in known.items())
            text += f"\n[[{name}]]\n" + "\n".join(lines)
    text += "\n[network]\n" + "\n".join(f"{k} = {v}" for k, v in recipe.network.items())
    path = folder.with_suffix(".toml")
    path.write_text(text)
    return ["--recipe", str(path), "--out", str(folder)]


def last(folder: Path) -> checkpoint.Weights:
    return checkpoint.load(folder / "last.safetensors")


def same(one: Path, two: Path, atol: float = 1e-6, but: tuple[str, ...] = ()) -> None:
    """Hold that two trainings ended alike to rounding; weights whose names end in ``but`` aside."""
    a, b = last(one), last(two)
    assert a.meta["clock"] == b.meta["clock"]
    assert set(a.tensors) == set(b.tensors)
    for name, weight in a.tensors.items():
        if not name.endswith(but):
            torch.testing.assert_close(weight, b.tensors[name], rtol=1e-4, atol=atol)


def test_a_training_goes_on_with_two_processes_and_with_one_again(tmp_path: Path) -> None:
    """The second stretch has two, the third reads: all kinds of updates but that one run in two."""
    first, second = tiny(READING, STEADY), tiny(READING, STEADY, STEADY, GRADIENT)
    third = tiny(READING, STEADY, STEADY, GRADIENT, READING)
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    acl_run.train(first, parts, report=quiet)
    launch("lambo_agents.acl", options(second, parts), 2)
    assert last(parts).meta["clock"]["step"] == second.updates
    assert last(parts).meta["clock"]["rollouts"] > 0
    acl_run.train(third, parts, report=quiet)
    acl_run.train(third, whole, report=quiet)
    same(parts, whole)
    log = (parts / "train.log").read_text()
    assert "rollouts/s" in log
    assert "MFU" in log


def test_a_network_in_parts_trains_and_goes_on_as_a_whole_one(tmp_path: Path) -> None:
    """The critic is spread, too; among the sizes are some that two do not divide."""
    network = {"d_model": 25, "num_heads": 5, "encoder_layers": 2, "encoder_ff": 31}
    told = {"network": network, "baseline": "both", "preset": "lambo_xs"}
    half, all_of_it = (STEADY, GRADIENT), (STEADY, GRADIENT, READING, STEADY)
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    launch("lambo_agents.acl", options(tiny(*half, **told, fully_shard=True), parts), 2)
    acl_run.train(tiny(*all_of_it, **told), parts, report=quiet)
    acl_run.train(tiny(*all_of_it, **told), whole, report=quiet)
    same(parts, whole, IN_PARTS, SHIFTS)


@pytest.mark.slow
def test_a_network_in_parts_computes_again_and_resumes_from_one_process(tmp_path: Path) -> None:
    told = {"preset": "lambo_m", "recompute": True, "fully_shard": True}
    told["network"] = {"d_model": 8, "num_heads": 2, "encoder_layers": 2, "decoder_layers": 1}
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    acl_run.train(tiny(STEADY, **told), parts, report=quiet)
    launch("lambo_agents.acl", options(tiny(STEADY, GRADIENT, **told), parts), 2)
    acl_run.train(tiny(STEADY, GRADIENT, **told), whole, report=quiet)
    same(parts, whole, IN_PARTS, SHIFTS)


@pytest.mark.slow
def test_each_process_holds_its_part_alone(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from lambo_agents.acl.config import Recipe
from lambo_agents.acl.processes import joined
from lambo_agents.acl.trainer import Trainer
from lambo_agents.network.spread import is_spread
from lambo_agents.registry import make_agent
with joined("cpu") as processes:
    recipe = Recipe.load(sys.argv[1], fully_shard=True)
    trainer = Trainer(recipe, make_agent("local-search"), processes)
    trainer.update()
    encoder = {id(p) for p in trainer.actor.encoder.parameters()}
    layers = [(p, h) for p, h in zip(trainer.parameters, trainer.held) if id(p) in encoder]
    assert all(is_spread(p) for p, _ in layers) and len(layers) == len(encoder)
    held = sum(h.numel() for _, h in layers)
    moments = sum(trainer.optimizer.state[h]["exp_avg"].numel() for _, h in layers)
    assert held == moments
    text = f"{held} {sum(p.numel() for p, _ in layers)}"
    Path(sys.argv[2], str(processes.rank)).write_text(text)
"""
    (tmp_path / "its_part.py").write_text(code)
    recipe = options(tiny(STEADY), tmp_path / "run")[1]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(tmp_path))
        launch("its_part", [recipe, str(tmp_path)], 2)
    found = [[int(n) for n in (tmp_path / str(rank)).read_text().split()] for rank in (0, 1)]
    assert found[0][0] + found[1][0] == found[0][1]
    assert abs(found[0][0] - found[1][0]) <= 0.02 * found[0][1]


@pytest.mark.skipif(sys.platform == "win32", reason="a process ends otherwise there")
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_processes_end_together_and_the_same_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """One is killed by the system, or whoever started them is asked to stop."""
    recipe = tiny(STEADY | {"updates": 40})
    started: list[subprocess.Popen[bytes]] = []
    ended_s: list[float] = []

    class Recorded(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            started.append(self)

    def end() -> None:
        while not (tmp_path / "run" / "last.safetensors").exists():
            time.sleep(0.01)
        ended_s.append(time.monotonic())
        os.kill(started[1].pid if number == signal.SIGKILL else os.getpid(), number)

    monkeypatch.setattr(processes.subprocess, "Popen", Recorded)
    killer = threading.Thread(target=end, daemon=True)
    killer.start()
    expected = LostProcessError if number == signal.SIGKILL else Stopped
    with pytest.raises(expected, match="process 1 of 2 was ended by SIGKILL|SIGTERM"):
        launch("lambo_agents.acl", options(recipe, tmp_path / "run"), 2)
    killer.join(1.0)
    assert ended_s, "a signal from elsewhere"
    assert time.monotonic() - ended_s[0] < ENDED_S
    assert all(process.poll() is not None for process in started)
    assert 0 < last(tmp_path / "run").meta["clock"]["step"] < recipe.updates
    if number == signal.SIGKILL:
        acl_run.train(recipe, tmp_path / "run", report=quiet)
        acl_run.train(recipe, tmp_path / "whole", report=quiet)
        same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ({"WORLD_SIZE": "2"}, "RANK is None; allowed: 0 .. 1"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK is '2'"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'; allowed: a whole number"),
    ],
)
def test_half_of_an_environment_is_refused(
    told: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=named), joined("cpu"):
        pass


@pytest.mark.parametrize("shards", [1, 3])
def test_pieces_that_processes_cannot_share_are_refused(tmp_path: Path, shards: int) -> None:
    recipe = tiny(STEADY | {"instances": 12}, shards=shards)
    allowed = f"Recipe.shards is {shards}; allowed: a multiple of 2, the processes"
    with pytest.raises(ValueError, match=allowed):
        acl_run.train(recipe, tmp_path / "run", processes=Processes(count=2))
    assert not (tmp_path / "run").exists()


def test_a_batch_that_pieces_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match=r"instances is 8; allowed: a multiple of Recipe.shards"):
        tiny(STEADY, shards=3)


def test_pieces_are_drawn_apart_and_weigh_alike() -> None:
    """The gradient of two pieces is the mean of each piece's own."""
    recipe = tiny(STEADY, clip=1e9)
    grads = []
    for mine in ([0], [1], [0, 1]):
        trainer = Trainer(recipe, make_agent("local-search"))
        drawn, draw = [], trainer.draw
        trainer.draw = lambda step, piece, draw=draw, drawn=drawn: (
            drawn.append(piece) or draw(step, piece)
        )
        trainer.processes = Shown(mine)
        trainer.update()
        assert drawn == mine
        grads.append(
            torch.cat([p.grad.flatten() for p in trainer.parameters if p.grad is not None])
        )
    torch.testing.assert_close(grads[0] + grads[1], grads[2])
    assert not torch.allclose(grads[0], grads[1])


class Shown(Processes):
    """One process that takes the pieces it is told."""

    def __init__(self, pieces: list[int]) -> None:
        super().__init__()
        object.__setattr__(self, "pieces", pieces)

    def share(self, shards: int) -> Any:
        return self.pieces  # type: ignore[attr-defined]


def test_workers_that_run_ahead_draw_the_same(tmp_path: Path) -> None:
    recipe = tiny(READING, STEADY, GRADIENT | {"include_teacher": True}, shards=1)
    ends = []
    for workers in (0, 1):
        with flushed(), drawing(recipe.replace(workers=workers), ALONE) as draw:
            trainer = Trainer(recipe, make_agent("local-search"), draw=draw)
            for _ in range(recipe.updates):
                trainer.update()
            ends.append((trainer.labels, trainer.mean))
    assert ends[0][0] == ends[1][0] > 0
    assert all(torch.equal(ends[0][1][name], weight) for name, weight in ends[1][1].items())


@pytest.mark.skipif(sys.platform == "win32", reason="processes have no groups there")
def test_a_worker_hears_no_signal_of_its_group_and_one_that_is_gone_is_told() -> None:
    """It is gone between two updates, when nobody waits for what it draws."""
    with drawing(tiny(STEADY | {"updates": 99}, shards=1, workers=1), ALONE) as draw:
        assert draw is not None
        draw(0, 0)
        (worker,) = multiprocessing.active_children()
        assert worker.pid is not None
        assert os.getpgid(worker.pid) != os.getpgid(0)
        os.kill(worker.pid, signal.SIGKILL)
        while multiprocessing.active_children():
            time.sleep(0.01)
        with pytest.raises(LostProcessError, match="a worker process is gone"):
            draw(1, 0)


@pytest.mark.parametrize("preset", ["lambo_xs", "lambo_m"])
def test_what_is_computed_again_changes_no_gradient(preset: str) -> None:
    """Neither do the FLOP that count as the model's."""
    network = {"d_model": 8, "num_heads": 2, "encoder_layers": 2, "decoder_layers": 1}
    grads, flop = [], []
    for recompute in (False, True):
        recipe = tiny(
            STEADY, preset=preset, network=network, recompute=recompute, baseline="both", shards=1
        )
        trainer = Trainer(recipe, make_agent("local-search"))
        trainer.update()
        grads.append([p.grad for p in trainer.parameters if p.grad is not None])
        flop.append(trainer.flop)
    torch.testing.assert_close(*grads)
    assert flop[0] == flop[1] > 0


def test_model_flop_are_those_of_the_matrix_products() -> None:
    layer, x, found = torch.nn.Linear(8, 16), torch.ones(4, 8), {}
    with counted(found, 0, shards=2):
        layer(x).sum()
        with torch.no_grad():
            layer(x)
    assert found == {0: 2 * (2 * 4 * 8 * 16) * (3 + 1)}
    q = torch.ones(2, 3, 5, 4)
    with counted(found, 1, shards=1), torch.no_grad():
        torch.nn.functional.scaled_dot_product_attention(q, q, q)
    assert found[1] == 2 * (2 * 3 * 5 * 5 * 4) * 2
    assert np.isfinite(list(found.values())).all()


def test_a_recipe_of_one_core_takes_no_spread_network(tmp_path: Path) -> None:
    from benchmarks.commands.train.lambo import train

    with pytest.raises(ValueError, match="fully_shard is True; allowed: left out for this recipe"):
        train(recipe="lambo-q", out=str(tmp_path / "run"), fully_shard=True)
    assert not (tmp_path / "run").exists()
