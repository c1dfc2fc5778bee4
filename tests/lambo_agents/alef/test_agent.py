"""ALEF as an agent: budgets, arguments, and a folder that is gone on with."""

import copy
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import alef_cases
from alef_cases import LINEAR, POINTER, TEXTS, equal, make, network, play, slot, weights_of

from lambo_agents.agent import LamboAgent
from lambo_agents.testing.agent_checks import check_agent
from lambo_env.offloading.drift import stream
from lambo_env.offloading.scenario import load_scenario
from lambo_env.offloading.slots import sample_instances
from lambo_env.prompts.prompts import Prompts


def test_budget_start_and_rhythm():
    agent = make(labels_per_slot=2, budget=5, start_slot=1, every=2)
    used = [play(agent, *slot(seed=k), seed=k) for k in range(8)]
    assert used == [0, 2, 0, 2, 0, 1, 0, 0] and agent.labels_used == 5


def test_it_is_a_good_agent():
    check_agent(make(weights=network(LINEAR)))
    assert not make().evaluator_in_loop and make(decoding="sample").evaluator_in_loop


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"labels_per_slot": 0}, "ALEF.labels_per_slot is 0; allowed: an integer >= 1"),
        ({"labels_per_slot": -3}, "ALEF.labels_per_slot is -3"),
        ({"budget": 0}, "ALEF.budget is 0"),
        ({"budget": -8}, "ALEF.budget is -8"),
        ({"fallback": 1}, "ALEF.fallback is 1"),
        ({"every": 0}, "ALEF.every is 0"),
        ({"query": "entropie"}, "did you mean 'entropy'"),
        ({"expert": "locl-search"}, "did you mean 'local-search'"),
        ({"expert": None}, "ALEF.expert is None; allowed: a registered agent's name"),
        ({"update": {"update_params": "encoder"}}, "unknown UpdateConfig.update_params 'encoder'"),
        ({"update": {"replay": 2}}, "UpdateConfig.replay is 2.0; allowed: a number in"),
        ({"allocation": "fair"}, "unknown allocation 'fair'"),
    ],
)
def test_bad_arguments_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        make(**options)


@pytest.mark.parametrize(
    ("fields", "sizes"),
    [({"num_ues": 7}, r"\(7, 4\)"), ({"server_cpu_hz": (3e10, 5e10)}, r"\(6, 2\)")],
)
def test_a_stream_that_changes_size_is_refused(fields, sizes):
    agent = make()
    instances, prompts = slot()
    play(agent, instances, prompts)
    before = weights_of(agent)
    other = sample_instances(load_scenario("tiny").replace(**fields), 6, np.random.default_rng(0))
    with pytest.raises(ValueError, match=rf"is {sizes}; allowed: \(6, 4\), as before"):
        play(agent, other, prompts)
    assert len(equal(before, weights_of(agent))) == len(before) and agent.slot == 1


def test_the_given_network_is_copied():
    aed = network()
    before = copy.deepcopy(aed.state_dict())
    play(make(weights=aed), *slot())
    assert len(equal(before, aed.state_dict())) == len(before)


def test_a_guarded_adaptation_is_gone_on_with(tmp_path):
    whole = make(fallback=True)
    for k in range(3):
        play(whole, *slot(seed=k), seed=k)
    for k in range(3):
        part = make(fallback=True, folder=tmp_path)
        play(part, *slot(seed=k), seed=k)
    assert (
        part.fallback.at_home == whole.fallback.at_home
        and part.replay_buffer.offered == whole.replay_buffer.offered
    )
    assert part.evaluations == whole.evaluations > 0
    for mine, theirs in (
        (part.fallback.learned, whole.fallback.learned),
        (weights_of(part), weights_of(whole)),
    ):
        assert len(equal(mine, theirs)) == len(theirs)


def test_a_folder_is_gone_on_with(tmp_path):
    whole = make()
    for k in range(3):
        play(whole, *slot(seed=k), seed=k)
    first = make(folder=tmp_path)
    play(first, *slot(seed=0), seed=0)
    second = make(folder=tmp_path)
    assert (second.slot, second.labels_used) == (1, 2)
    for k in (1, 2):
        play(second, *slot(seed=k), seed=k)
    assert len(equal(weights_of(whole), weights_of(second))) == len(weights_of(whole))
    with pytest.raises(ValueError, match="labels_per_slot is 2; allowed: 3 here"):
        make(folder=tmp_path, labels_per_slot=3)
    with pytest.raises(ValueError, match="servers.fixed.weight"):
        make(folder=tmp_path, weights=network(dataclasses.replace(POINTER, memory_width=5)))


def test_the_adapted_network_is_exported(tmp_path):
    agent = make()
    instances, prompts = slot()
    play(agent, instances, prompts)
    agent.export(tmp_path / "adapted.safetensors")
    rng = np.random.default_rng(0)
    other = LamboAgent(tmp_path / "adapted.safetensors").decide(instances, prompts, rng)
    assert np.array_equal(agent.decide(instances, prompts, rng).place, other.place)


SCRIPT = """
import sys; sys.path.insert(0, {tests!r})
import alef_cases as t
import time
from pathlib import Path
class Slow(t.Nearest):
    def decide(self, instances, prompts, rng):
        with Path({asked!r}).open("a") as file:
            file.write(f"{{instances.cycles.sum()}}\\n")
        time.sleep(0.05)
        return super().decide(instances, prompts, rng)
agent = t.make(expert=Slow(), folder={folder!r})
for k in range(agent.slot, 4):
    t.play(agent, *t.slot(seed=k), seed=k)
print("done", agent.labels_used)
"""


def test_a_killed_adaptation_asks_no_question_twice(tmp_path, capsys, monkeypatch):
    asked, folder = tmp_path / "asked", tmp_path / "folder"
    code = SCRIPT.format(
        tests=str(Path(alef_cases.__file__).parent), asked=str(asked), folder=str(folder)
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while (
        not asked.exists() or len(asked.read_text().splitlines()) < 3
    ):  # killed in the second slot's questions
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    monkeypatch.setattr(sys, "path", list(sys.path))  # what the script adds ends with the test
    exec(code, {})
    assert capsys.readouterr().out.split() == ["done", "8"]
    questions = asked.read_text().split()
    assert (
        len(set(questions)) == 8 and len(questions) <= 9
    )  # one may have been under way when it was killed


def test_it_plays_a_stream():
    agent = make(labels_per_slot=1, budget=2)
    for _, instances in stream("capacity-abrupt", 2, 0, load_scenario("tiny"), num_slots=4):
        assert play(agent, instances, Prompts.of(TEXTS)) <= 1
    assert agent.labels_used == 2
