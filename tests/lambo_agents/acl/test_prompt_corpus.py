"""Texts that teach reading: what they are made of, and that no held-out phrasing is among them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="LAMBO needs torch")

import torch

from lambo_agents.acl import prompt_corpus, reading
from lambo_agents.network.config import lambo_xs
from lambo_agents.network.prompt_encoder import PromptSummary
from lambo_env.prompts import catalogue, grammar
from lambo_env.prompts.prompts import Prompts


def test_composed_texts_are_prompts_and_never_hold_a_held_out_phrasing() -> None:
    rng = np.random.default_rng(0)
    held_out = {
        grammar.normalise(text)
        for kind in ("latency", "energy")
        for text in catalogue.phrases("held_out", kind)
    }
    for quantity in ("latency", "energy"):
        for _ in range(4000):
            text = prompt_corpus.compose(quantity, rng)
            grammar.check_text(text)
            assert not any(known in grammar.normalise(text) for known in held_out), text


def test_the_same_generator_gives_the_same_texts() -> None:
    first, second = (prompt_corpus.sample(60, np.random.default_rng(7)) for _ in range(2))
    assert first.prompts == second.prompts
    assert np.array_equal(first.latency_first, second.latency_first)
    assert np.array_equal(first.asks, second.asks)


def test_texts_ask_for_less_for_nothing_and_for_more() -> None:
    texts = prompt_corpus.sample(2000, np.random.default_rng(5))
    shares = np.bincount(texts.asks, minlength=3) / 2000
    assert shares.min() > 0.03
    assert 0.6 < shares[prompt_corpus.LESS] < 0.95
    less = texts.asks == prompt_corpus.LESS
    weights = texts.prompts.latency_weight[less]
    assert min(np.mean(weights == 0), np.mean(weights == 1)) > 0.25
    assert np.mean((weights > 0) & (weights < 1)) > 0.2
    for text in texts.prompts.texts:
        grammar.check_text(text)


def test_rules_and_texts_seldom_disagree() -> None:
    """Both are made of the lexicon, but one reads and the other speaks."""
    rng, met, against = np.random.default_rng(9), 0, []
    for kind in ("one", "contrast", "even", "times", "parts", "ratio"):
        for _ in range(60):
            text, weight, _, _ = prompt_corpus.sentence(kind, rng)
            try:
                found = grammar.understood(text[: grammar.MAX_CHARS]).get("latency", 0.0)
            except ValueError:
                continue
            met += 1
            if abs(found - weight) > 0.05:
                against.append((text, weight, found))
    assert met > 250
    assert len(against) <= 0.02 * met, against


def test_no_sentence_of_the_tests_teaches() -> None:
    data = Path(__file__).parents[2] / "data"
    rows = [
        json.loads(line)["text"]
        for path in data.glob("prompts*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    whole = {
        grammar.normalise(text)
        for name in ("latency", "energy", "none", "more")
        for text in catalogue.lines("spoken", name)
    }
    assert len(whole) > 3000
    assert not whole & {grammar.normalise(text) for text in rows}
    # short ones and mixes in numbers are composed by chance
    long = (text for text in rows if len(text.split()) > 7 and not re.search(r"\d", text))
    asked = {grammar.normalise(text) for text in long}
    assert len(asked) > 200
    texts = prompt_corpus.sample(4000, np.random.default_rng(2)).prompts.texts
    assert not asked & {grammar.normalise(text) for text in texts}


def test_mixtures_are_what_parsing_them_says() -> None:
    rng = np.random.default_rng(1)
    for split in catalogue.SPLITS:
        for _ in range(500):
            text, weight, latency_first = grammar.mixture(split, rng)
            assert grammar.parse_weights(text)["latency"] == pytest.approx(weight, abs=1e-12), text
            assert 0 < weight < 1
            assert latency_first in (True, False)


def test_a_slip_changes_little_and_stays_a_text() -> None:
    rng = np.random.default_rng(2)
    for _ in range(500):
        slipped = prompt_corpus.slip("keep the energy of all users low", rng)
        grammar.check_text(slipped)
        assert len(slipped) >= len("keep the of all users low")


def test_padding_changes_no_meaning() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        summary = PromptSummary(lambo_xs()).eval()
    texts = ("minimum energy", "90% latency, 10% energy", "hurry")
    long = torch.from_numpy(Prompts(texts, 0.5).tokens.copy())
    whole = summary.read(long).meaning
    for row, text in enumerate(texts):
        alone = summary.read(long[row : row + 1, : len(text)]).meaning
        assert torch.allclose(alone[0], whole[row], atol=1e-5)
    assert torch.allclose(whole.exp().sum(-1), torch.ones(3), atol=1e-5)


def test_an_update_of_reading_lowers_its_loss() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        summary = PromptSummary(lambo_xs()).eval()
    texts, rng = prompt_corpus.sample(32, np.random.default_rng(4)), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(summary.reader.parameters(), lr=1e-2)
    lost = []
    for _ in range(30):
        total, numbers = reading.loss(summary, texts, rng)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        lost.append(float(total.detach()))
    assert lost[-1] < 0.5 * lost[0]
    assert 0 <= numbers["misread"] <= 1
