"""Texts that teach reading: what they are made of, and that no held-out phrasing is among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="LAMBO needs torch")

import torch

from lambo_agents.acl import prompt_corpus
from lambo_agents.network import checkpoint, decoding
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
    assert first[0] == second[0] and np.array_equal(first[1], second[1])


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
    whole = summary.read(long)[0]
    for row, text in enumerate(texts):
        alone = summary.read(long[row : row + 1, : len(text)])[0]
        assert torch.allclose(alone[0], whole[row], atol=1e-5)
    assert torch.allclose(whole.exp().sum(-1), torch.ones(3), atol=1e-5)


def test_the_shipped_network_reads_phrasings_that_it_never_saw() -> None:
    lines = (
        (Path(__file__).parents[2] / "data" / "phrasings.tsv")
        .read_text(encoding="ascii")
        .splitlines()[1:]
    )
    weights, texts = zip(*(line.split("\t") for line in lines), strict=True)
    prompts = Prompts(texts, np.asarray(weights, dtype=float))
    aed = checkpoint.load_network(checkpoint.weights_path("lambo-s"))[0]
    tokens, text = decoding.distinct_texts(prompts.tokens)
    meaning = aed.prompt.read(tokens)[0].exp()[text] @ torch.linspace(0, 1, aed.config.prompt_bins)  # type: ignore[operator]
    wrong = np.abs(meaning.detach().numpy() - prompts.latency_weight)
    assert (wrong > 0.5).mean() < 0.1, [texts[k] for k in np.flatnonzero(wrong > 0.5)]
    assert (wrong > 0.05).mean() < 0.25


def test_the_shipped_network_reads_the_numbers_of_mixes() -> None:
    rng = np.random.default_rng(3)
    rows = [grammar.mixture("train", rng) for _ in range(300)]
    prompts = Prompts(tuple(row[0] for row in rows), np.asarray([row[1] for row in rows]))
    aed = checkpoint.load_network(checkpoint.weights_path("lambo-s"))[0]
    tokens, text = decoding.distinct_texts(prompts.tokens)
    meaning = aed.prompt.read(tokens)[0].exp()[text] @ torch.linspace(0, 1, aed.config.prompt_bins)  # type: ignore[operator]
    assert np.abs(meaning.detach().numpy() - prompts.latency_weight).mean() < 0.02
