"""Exported networks: the same decisions without torch, and clear words where something is off."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lambo_env
from lambo_agents.export.agent import OnnxAgent, OnnxReader
from lambo_agents.export.folder import GRAPHS, MANIFEST, Exported, check_folder, sha256
from lambo_agents.testing import check_agent
from lambo_env import Prompts, load_scenario, sample_instances

_WITHOUT_TORCH = """
import sys
import numpy as np
from lambo_agents.export.agent import OnnxAgent
from lambo_agents.testing import check_agent
from lambo_env import Prompts, load_scenario, sample_instances
agent = OnnxAgent(sys.argv[1])
rng = np.random.default_rng(0)
instances = sample_instances(load_scenario("tiny"), 3, rng)
texts = ["minimum latency", "please spare my battery today, thanks", "30% latency, 70% energy"]
agent.decide(instances, Prompts(texts, 0.5), rng)
assert not {"torch", "safetensors", "onnx"} & set(sys.modules)
"""


def _folder(path: Path, target: str = "onnx") -> Path:
    """Write a folder whose graphs are no graphs, but those of its manifest."""
    path.mkdir()
    for name in GRAPHS:
        (path / f"{name}.{target}").write_bytes(name.encode())
    digests = {name: sha256(path / f"{name}.{target}") for name in GRAPHS}
    Exported(target, "fp32", "lambo-s", 21, 1, 2, digests).write(path)
    return path


def test_without_a_network_the_agent_supports_nothing_and_says_why(rng) -> None:
    instances = sample_instances(load_scenario("tiny"), 1, rng)
    agent = OnnxAgent()
    assert "lambo export" in str(agent.supports(instances))
    with pytest.raises(ValueError, match=r"weights=DIR"):
        agent.decide(instances, Prompts.of("minimum latency", 1), rng)


def test_a_folder_without_a_manifest_is_no_network(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"manifest\.json is missing"):
        OnnxAgent(tmp_path)


def test_a_graph_of_another_network_is_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "one")
    assert Exported.read(folder, "onnx").labels == 2
    (folder / "encode.onnx").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"encode\.onnx'; allowed: the graph of this network"):
        Exported.read(folder, "onnx")


def test_another_targets_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"target is 'pt2'; allowed: onnx"):
        OnnxAgent(_folder(tmp_path / "one", "pt2"))


@pytest.mark.parametrize("damage", ["{", '{"format": 3}', "[]"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, damage: str) -> None:
    folder = _folder(tmp_path / "one")
    (folder / MANIFEST).write_text(damage)
    with pytest.raises(ValueError, match=r"manifest\.json"):
        Exported.read(folder, "onnx")


def test_a_folder_with_other_things_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"of an earlier export"):
        check_folder(tmp_path)
    assert check_folder(_folder(tmp_path / "one")).is_dir()


def test_a_target_or_network_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="export needs torch")
    from lambo_agents.export import export, graphs
    from lambo_agents.network.config import preset

    with pytest.raises(ValueError, match=r"unknown export target 'onx'; did you mean 'onnx'"):
        export.export("lambo-s", "onx", tmp_path / "out")
    with pytest.raises(ValueError, match=r"precision is 'int8'; allowed: fp32 for pt2"):
        export.export("lambo-s", "pt2", tmp_path / "out", "int8")
    with pytest.raises(ValueError, match=r"AEDConfig\.servers is 'linear'; allowed: 'pointer'"):
        graphs.check_config(preset("lambo_m"), "onnx")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("weights", ["lambo-q", "droo", "maskable-ppo", "lambo-m"])
def test_an_agent_that_has_no_graphs_is_refused(tmp_path: Path, weights: str) -> None:
    pytest.importorskip("torch", reason="export needs torch")
    from lambo_agents.export.export import export

    with pytest.raises(ValueError, match=rf"{weights}.*; graphs are made of lambo-s, lambo-xs and"):
        export(weights, "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_that_was_killed_is_no_network_and_may_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="export needs torch")
    from lambo_agents.export import export

    def killed(graph: Any, name: str) -> bytes:
        if name == GRAPHS[1]:
            raise KeyboardInterrupt
        return b"a graph"

    monkeypatch.setattr(export, "_writer", lambda target, precision: killed)
    with pytest.raises(KeyboardInterrupt):
        export.export("lambo-xs", "pt2", tmp_path)
    assert (tmp_path / "read.pt2").exists()
    with pytest.raises(ValueError, match=r"an export that did not end is to be run again"):
        Exported.read(tmp_path, "pt2")
    monkeypatch.setattr(export, "_writer", lambda target, precision: lambda graph, name: b"graph")
    assert export.export("lambo-xs", "pt2", tmp_path) == Exported.read(tmp_path, "pt2")


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    for module in ("torch", "onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module, reason=f"ONNX export needs {module}")
    from lambo_agents.export.export import export

    folder = tmp_path_factory.mktemp("export") / "lambo-s"
    export("lambo-s", "onnx", folder)
    return folder


@pytest.mark.slow
def test_onnx_decides_as_torch_does(exported: Path) -> None:
    from lambo_agents.agent import LamboAgent

    onnx, torch, rng = OnnxAgent(exported), LamboAgent(), np.random.default_rng(0)
    texts = ["minimum latency", "minimum energy", "30% latency, 70% energy", "save some battery"]
    for name, count in (("paper", 1000), ("hetero", 100), ("tiny", 100), ("wide", 20)):
        instances = sample_instances(load_scenario(name), count, rng)
        prompts = Prompts.of([texts[k % 4] for k in range(count)])
        ours, theirs = (agent.decide(instances, prompts, rng) for agent in (onnx, torch))
        assert (ours.place == theirs.place).mean() >= 0.999, name
    assert pickle.loads(pickle.dumps(onnx)).exported == onnx.exported
    check_agent(onnx, "tiny", torch_device="cpu")


@pytest.mark.slow
def test_windows_of_many_ues_go_on_from_each_other(exported: Path) -> None:
    from lambo_agents.agent import LamboAgent

    rng = np.random.default_rng(0)
    instances = sample_instances(load_scenario("wide").replace(num_ues=300), 4, rng)
    prompts = Prompts.of("minimum latency", 4)
    places = [
        agent.decide(instances, prompts, rng).place for agent in (OnnxAgent(exported), LamboAgent())
    ]
    assert (places[0] == places[1]).mean() >= 0.999


@pytest.mark.slow
def test_it_runs_without_torch(exported: Path) -> None:
    subprocess.run([sys.executable, "-c", _WITHOUT_TORCH, str(exported)], check=True)


@pytest.mark.slow
def test_a_graph_swapped_with_another_exports_is_refused(exported: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    (copy / "decide.onnx").write_bytes((exported / "plan.onnx").read_bytes())
    with pytest.raises(ValueError, match=r"decide\.onnx"):
        OnnxAgent(copy)
    assert json.loads((copy / MANIFEST).read_text())["weights"] == "lambo-s"


@pytest.mark.slow
def test_int8_costs_next_to_nothing(tmp_path: Path, exported: Path) -> None:
    from lambo_agents.export.export import export

    export("lambo-s", "onnx", tmp_path / "small", "int8")
    rng = np.random.default_rng(0)
    instances = sample_instances(load_scenario("paper"), 1000, rng)
    prompts = Prompts.of("minimum latency", 1000)
    costs = []
    for folder in (exported, tmp_path / "small"):
        decision = OnnxAgent(folder).decide(instances, prompts, rng)
        costs.append(lambo_env.evaluate(instances, decision, prompts.objective(instances)).cost)
    assert 100 * (costs[1].mean() / costs[0].mean() - 1) <= 0.02


@pytest.mark.slow
def test_programs_of_torch_decide_as_the_network_does(tmp_path: Path) -> None:
    """The same decisions of 1,000 instances by the four programs, each run as it was written."""
    torch = pytest.importorskip("torch", reason="export needs torch")
    from lambo_agents.agent import LamboAgent
    from lambo_agents.export.export import export
    from lambo_agents.export.folder import graph_path
    from lambo_agents.export.graphs import ENCODED, PLANNED
    from lambo_agents.network.decoding import rules

    export("lambo-s", "pt2", tmp_path / "programs")

    class Programs(OnnxAgent):
        """The agent without a runtime, its graphs those of ``torch.export``."""

        def __init__(self) -> None:
            super().__init__()
            self.exported = Exported.read(tmp_path / "programs", "pt2")
            self.played = {
                name: torch.export.load(graph_path(tmp_path / "programs", name, "pt2")).module()
                for name in GRAPHS
            }
            reader: Any = self
            self.reader = OnnxReader((reader, ["meaning", "asks"]))

        def run(self, names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            return self.outputs("read", *inputs.values())

        def outputs(self, graph: str, *inputs: Any) -> list[np.ndarray]:
            with torch.no_grad():
                found = self.played[graph](*map(torch.as_tensor, inputs))
            return [part.numpy() for part in (found if isinstance(found, tuple) else (found,))]

        def _run(self, graph: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
            if graph != "decide":
                names = PLANNED if graph == "plan" else (*ENCODED, "order", *PLANNED)
                return dict(zip(names, self.outputs(graph, *inputs.values()), strict=True))
            plan = [inputs[name] for name in (*PLANNED, "left", "memory")]
            need = torch.as_tensor(inputs["need"])
            floor, take, fallback = rules(need[:, 0])
            place = torch.where(need <= 1, torch.as_tensor(inputs["prior"]), fallback).argmax(-1)
            for _ in range(need.shape[-2] + 1):
                (now,) = self.outputs("decide", *plan, floor, take, fallback, place)
                if (now == place.numpy()).all():
                    break
                place = torch.as_tensor(now)
            return {"decided": place.numpy()}

    rng = np.random.default_rng(0)
    texts = ["minimum latency", "minimum energy", "30% latency, 70% energy", "save some battery"]
    instances = sample_instances(load_scenario("paper"), 1000, rng)
    prompts = Prompts.of([texts[k % 4] for k in range(1000)])
    ours, theirs = (agent.decide(instances, prompts, rng) for agent in (Programs(), LamboAgent()))
    same = float((ours.place == theirs.place).mean())
    print(f"{same:.5f} of the places")
    assert same >= 0.999
