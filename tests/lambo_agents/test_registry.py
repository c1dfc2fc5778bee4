"""Agents by name: lazily made, broken plug-ins never fatal, no name with two meanings."""

import importlib.metadata
import pickle
import shutil
import sys
from pathlib import Path

import pytest

import lambo_agents
from baselines.heuristics.greedy import Greedy
from baselines.heuristics.random import Random
from lambo_agents import registry
from lambo_agents.registry import (
    AgentSpec,
    agent_spec,
    agent_specs,
    list_agents,
    make_agent,
    register_agent,
)


@pytest.fixture(autouse=True)
def _forget_registrations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_in_code", {})


class Plugins:
    """Distributions in a folder of the import path, each with entry points and a module."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, distribution: str, entry_points: str, module: str = "", code: str = "") -> None:
        info = self.folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(f"[lambo.agents]\n{entry_points}\n")
        if module:
            (self.folder / f"{module}.py").write_text(code)


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Plugins(tmp_path)
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


GOOD = '''
class Mine:
    """Sends everything to server one.

    More text.
    """

    evaluator_in_loop = True
    labels_used = 7

    def __init__(self, server=1):
        self.server = server

    def decide(self, instances, prompts, rng):
        raise NotImplementedError
'''


def test_the_public_names_are_there():
    assert set(lambo_agents.__all__) <= set(dir(lambo_agents))
    assert lambo_agents.testing.agent_checks.check_agent is not None


def test_own_agents_come_through_entry_points():
    assert {"local", "random", "greedy"} <= set(list_agents())
    assert list_agents() == sorted(list_agents())
    assert isinstance(make_agent("greedy"), Greedy)


def test_overrides_reach_the_class():
    assert make_agent("random", feasible=False, allocation="equal").allocation == "equal"


def test_a_spec_tells_what_the_class_declares():
    spec = agent_spec("greedy")
    assert (spec.origin, spec.evaluator_in_loop, spec.labels_used) == ("lambo-mec", True, 0)
    assert spec.error is None
    assert spec.summary == "UE by UE the place of least marginal cost, in the better of two orders."


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("gredy", "did you mean 'greedy'"),
        ("", "unknown agent ''"),
        (None, "unknown agent None"),
        (3, "agent 3"),
    ],
)
def test_unknown_names_are_refused(name: object, pattern: str):
    with pytest.raises(ValueError, match=pattern):
        make_agent(name)


def test_unknown_arguments_are_refused():
    with pytest.raises(
        ValueError, match=r"make_agent\('random'\).feasable.*did you mean 'feasible'"
    ):
        make_agent("random", feasable=False)


def test_code_registers_with_arguments():
    register_agent("random+equal", "baselines.heuristics.random:Random", allocation="equal")
    agent = make_agent("random+equal", feasible=False)
    assert isinstance(agent, Random)
    assert (agent.allocation, agent.feasible) == ("equal", False)
    assert "random+equal" in list_agents()
    assert agent_spec("random+equal").origin == "in code"


def test_registering_imports_nothing():
    register_agent("later", "a_module_that_is_not_there:Agent")
    assert "No module named 'a_module_that_is_not_there'" in agent_spec("later").error
    with pytest.raises(ImportError, match="a_module_that_is_not_there"):
        make_agent("later")


def test_the_same_registration_twice_changes_nothing():
    for _ in range(2):
        register_agent("mine", "baselines.heuristics.random:Random", feasible=False)
    assert list_agents().count("mine") == 1


@pytest.mark.parametrize("name", ["greedy", "mine"])
def test_a_taken_name_is_refused(name: str):
    register_agent("mine", "baselines.heuristics.random:Random")
    with pytest.raises(ValueError, match=f"agent '{name}' is registered already"):
        register_agent(name, "baselines.heuristics.local:Local")
    assert isinstance(make_agent("mine"), Random)


@pytest.mark.parametrize("name", ["", " a", "a b", "-a", 3, None])
def test_malformed_names_are_refused(name: object):
    with pytest.raises(ValueError, match=r"AgentSpec.name is .*; allowed"):
        register_agent(name, "baselines.heuristics.local:Local")
    assert registry._in_code == {}


@pytest.mark.parametrize(
    "entry_point",
    ["", "baselines.heuristics.random", "a:b:c", "baselines.heuristics.random:", None, Random],
)
def test_malformed_entry_points_are_refused(entry_point: object):
    with pytest.raises(ValueError, match=r"AgentSpec.entry_point is .*; allowed"):
        register_agent("mine", entry_point)
    assert registry._in_code == {}


def test_what_cannot_decide_is_refused():
    register_agent("counter", "collections:Counter")
    with pytest.raises(TypeError, match=r"Counter, which has no decide\(instances, prompts, rng\)"):
        make_agent("counter")
    register_agent("number", "math:pi")
    with pytest.raises(
        ImportError, match="math:pi is a float; allowed: a class, a factory or an AgentSpec"
    ):
        make_agent("number")


def test_a_plugin_is_found_and_described(plugins: Plugins):
    plugins.add("their-agents", "theirs = their_agents:Mine", "their_agents", GOOD)
    spec = agent_spec("theirs")
    assert (spec.origin, spec.summary) == ("their-agents", "Sends everything to server one.")
    assert (spec.evaluator_in_loop, spec.labels_used, spec.error) == (True, 7, None)
    assert make_agent("theirs", server=2).server == 2


def test_listing_imports_no_plugin(plugins: Plugins):
    plugins.add("their-agents", "theirs = their_agents:Mine", "their_agents", GOOD)
    assert "theirs" in list_agents()
    assert "their_agents" not in sys.modules


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import torch_of_nobody", "No module named 'torch_of_nobody'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("1 / 0", "ZeroDivisionError"),
        ("def broken(:", "SyntaxError"),
        ("Mine_ = 1", "has no attribute 'Mine'"),
    ],
)
def test_a_broken_plugin_is_listed_with_its_error(plugins: Plugins, code: str, cause: str):
    plugins.add("broken-agents", "broken = broken_agents:Mine [torch]", "broken_agents", code)
    found = {spec.name: spec for spec in agent_specs()}
    assert cause in found["broken"].error
    assert found["greedy"].error is None
    with pytest.raises(
        ImportError, match=r"agent 'broken' \(broken-agents\) .*\"broken-agents\[torch\]\""
    ):
        make_agent("broken")


@pytest.mark.parametrize("line", ["odd = no colon here", "two words = math:pi", "odd = a:b:c"])
def test_a_malformed_entry_point_is_listed_with_its_error(plugins: Plugins, line: str):
    plugins.add("odd-agents", line)
    name = line.partition(" = ")[0]
    assert "allowed: name = module:Class" in agent_spec(name).error
    with pytest.raises(ImportError, match="odd-agents"):
        make_agent(name)


def test_two_packages_with_one_name_are_refused(plugins: Plugins):
    plugins.add("first", "twice = first_agents:Mine", "first_agents", GOOD)
    plugins.add("second", "twice = second_agents:Mine", "second_agents", GOOD)
    assert list_agents().count("twice") == 1
    with pytest.raises(
        ImportError, match=r"several packages claim the name: first .*, second|second .*, first"
    ):
        make_agent("twice")


def test_several_names_share_a_class_through_spec_constants(plugins: Plugins):
    code = GOOD + (
        "from lambo_agents.registry import AgentSpec\n"
        "BIG = AgentSpec('x', 'sized:Mine', {'server': 4},"
        " extra='torch', labels_used=9, summary='Big.')\n"
        "SMALL = AgentSpec('x', 'sized:Mine', {'server': 1})\n"
    )
    plugins.add("sized-agents", "size-b = sized:BIG\nsize-s+tuned = sized:SMALL", "sized", code)
    assert (make_agent("size-b").server, make_agent("size-s+tuned").server) == (4, 1)
    assert make_agent("size-b", server=3).server == 3
    spec = agent_spec("size-b")
    assert (spec.name, spec.origin, spec.extra) == ("size-b", "sized-agents", "torch")
    assert (spec.labels_used, spec.summary) == (9, "Big.")


def test_a_row_tells_the_facts_of_an_agent_whose_extra_is_missing(plugins: Plugins):
    rows = (
        "from lambo_agents.registry import AgentSpec\n"
        "DEEP = AgentSpec('x', 'deep:Mine', extra='torch', evaluator_in_loop=True, labels_used=9)\n"
    )
    plugins.add("deep-agents", "deep-b = deep_rows:DEEP", "deep_rows", rows)
    (plugins.folder / "deep.py").write_text("import torch_of_nobody")
    spec = agent_spec("deep-b")
    assert (spec.evaluator_in_loop, spec.labels_used, spec.extra) == (True, 9, "torch")
    assert "No module named 'torch_of_nobody'" in spec.error
    with pytest.raises(ImportError, match=r'"deep-agents\[torch\]"'):
        make_agent("deep-b")


def test_what_a_row_leaves_open_is_read_from_its_class(plugins: Plugins):
    code = GOOD + (
        "from lambo_agents.registry import AgentSpec\n"
        "FROZEN = AgentSpec('x', 'open_rows:Mine', {'server': 2}, evaluator_in_loop=False)\n"
    )
    plugins.add("open-agents", "frozen-b = open_rows:FROZEN", "open_rows", code)
    spec = agent_spec("frozen-b")
    assert (spec.evaluator_in_loop, spec.labels_used) == (False, 7)
    assert spec.summary == "Sends everything to server one."


def test_metadata_are_read_once_until_a_package_comes_or_goes(
    plugins: Plugins, monkeypatch: pytest.MonkeyPatch
):
    plugins.add("open-agents", "mine = open_mine:Mine", "open_mine", GOOD)
    assert "mine" in list_agents()
    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "entry_points", None)
        assert "mine" in list_agents() and agent_spec("mine").origin == "open-agents"
    plugins.add("other-agents", "other = open_mine:Mine")
    assert {"mine", "other"} <= set(list_agents())
    shutil.rmtree(plugins.folder / "open_agents-1.0.dist-info")
    assert "mine" not in list_agents() and "other" in list_agents()


def test_a_spec_travels_to_another_process_and_makes_the_agent():
    register_agent("mine", "baselines.heuristics.random:Random", feasible=False)
    spec = pickle.loads(pickle.dumps(agent_spec("mine")))
    assert spec.make().feasible is False


def test_missing_metadata_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: ())
    monkeypatch.setattr(registry, "_read", registry._read.__wrapped__)  # what was read is kept
    with pytest.raises(
        ValueError, match=r"unknown agent 'greedy': .*metadata is missing.*pip install -e"
    ):
        make_agent("greedy")
    with pytest.warns(UserWarning, match="metadata is missing"):
        assert list_agents() == []


def test_a_factory_function_will_do():
    register_agent("made", f"{__name__}:make_random", allocation="equal")
    assert make_agent("made").allocation == "equal"
    assert agent_spec("made").summary == "Any keyword goes through."


def make_random(**kwargs: object) -> Random:
    """Any keyword goes through."""
    return Random(**kwargs)


def test_a_spec_is_a_value():
    assert AgentSpec("a", "m:C", {"k": 1}) == AgentSpec("a", "m:C", {"k": 1})
