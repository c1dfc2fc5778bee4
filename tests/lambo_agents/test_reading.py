"""What LAMBO is told: texts by rules and by its network, and what is refused."""

from __future__ import annotations

import copy
import threading
import time

import numpy as np
import pytest

pytest.importorskip("torch", reason="LAMBO needs torch")

import torch

import lambo_agents
from lambo_agents.agent import LamboAgent
from lambo_agents.network import checkpoint
from lambo_agents.reading import TextReader
from lambo_env import Prompts, load_scenario, sample_instances


def test_read_answers_texts_and_refuses_what_is_no_text() -> None:
    found = lambo_agents.read(
        ["bring the RTT down", "energy is no concern", "3:1 energy to latency"]
    )
    assert found.latency_weight.tolist() == [1.0, 1.0, 0.25]
    assert found.confidence.dtype == np.float64
    assert (found.confidence >= 0.5).all()
    assert lambo_agents.read("minimise l\u00e4tency").latency_weight.tolist() == [1.0]
    unclear = ("hello", "maximise latency", "80 % latency, 40 % energy", "energy below 2 J",
               "minimise and maximise latency", "10 ms", "150% latency", "infinite latency",
               "-10% latency, 110% energy", "better SINR", "<p></p>")  # fmt: skip
    assert (lambo_agents.read(unclear).confidence < 0.5).all()
    for text in ("", "x" * 161, "minimum\nlatency", "minimum \u5ef6\u8fdf"):
        with pytest.raises(ValueError, match=r"Prompts\.texts"):
            lambo_agents.read([text])


def test_lambo_refuses_a_text_that_is_not_clear_unless_told_otherwise() -> None:
    rng = np.random.default_rng(0)
    instances = sample_instances(load_scenario("tiny"), 2, rng)
    prompts = Prompts(["minimum latency", "maximise latency"], [1.0, 1.0])
    with pytest.raises(ValueError, match=r"'maximise latency' \(row 1, read with confidence 0\.00"):
        LamboAgent().decide(instances, prompts, rng)
    wrong = Prompts(["minimum latency", "80 % latency, 40 % energy"], [1.0, 1.0])
    with pytest.raises(ValueError, match="by the rules: shares that sum to 100%"):
        LamboAgent().decide(instances, wrong, rng)
    LamboAgent(min_confidence=0).decide(instances, prompts, rng)
    with pytest.raises(ValueError, match="min_confidence"):
        LamboAgent(min_confidence=1.5)


def test_lambo_decides_alike_under_texts_that_mean_the_same() -> None:
    rng = np.random.default_rng(1)
    instances = sample_instances(load_scenario("paper"), 4, rng)
    agent = LamboAgent()
    for plain, texts in {
        "minimum latency": ("energy is not a concern, please bring the RTT down", "hurry up"),
        "minimum energy": ("don't save time, save power", "latency is not a concern"),
        "75% latency, 25% energy": ("latency is three times as important as energy",),
    }.items():
        place = agent.decide(instances, Prompts.of(plain, 4), rng).place
        for text in texts:
            again = agent.decide(instances, Prompts([text] * 4, 0.5), rng).place
            assert np.array_equal(place, again), text


def test_a_text_is_read_once_until_the_weights_change() -> None:
    aed = copy.deepcopy(checkpoint.load_network(checkpoint.weights_path("lambo-s"))[0])
    reader, calls = TextReader(aed.prompt), []
    aed.prompt.reader.register_forward_hook(lambda *_: calls.append(1))  # type: ignore[union-attr]
    texts = [
        "we watch zebras on trains",
        "please hurry",
    ]  # the rules leave the first to the network
    first = reader(texts)
    assert np.array_equal(first, reader(texts))
    assert len(calls) == 1
    with torch.no_grad():
        aed.prompt.reader.out.weight.mul_(2)  # type: ignore[union-attr,operator]
    reader(texts)
    assert len(calls) == 2
    with pytest.raises(ValueError, match="no meanings"):
        TextReader(None)


@pytest.mark.slow
def test_reading_a_text_seen_before_takes_less_than_a_tenth_of_a_millisecond() -> None:
    reader = TextReader(checkpoint.load_network(checkpoint.weights_path("lambo-s"))[0].prompt)
    reader(["please bring the RTT down"])
    start = time.thread_time()
    for _ in range(1000):
        reader(["please bring the RTT down"])
    assert time.thread_time() - start < 0.1


def test_threads_may_share_a_reader() -> None:
    reader = TextReader(checkpoint.load_network(checkpoint.weights_path("lambo-s"))[0].prompt)
    texts = [[f"the {name} must be fast", "save power"] for name in ("car", "drone", "app", "job")]
    alone = [TextReader(reader.summary)(pair) for pair in texts]
    found: dict[int, object] = {}
    threads = [
        threading.Thread(target=lambda k=k: found.update({k: reader(texts[k])})) for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, expected in enumerate(alone):
        np.testing.assert_allclose(found[k], expected, atol=1e-6)
