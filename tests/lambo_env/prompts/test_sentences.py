"""Sentences by rules: what they are read as, what is refused, and none as its opposite.

``tests/data/prompts.jsonl`` was written before the rules, the other two after them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambo_env.prompts import catalogue, lexicon, rewriting
from lambo_env.prompts.grammar import parse_weights
from lambo_env.prompts.objectives import OBJECTIVES, PAIR, ObjectiveKind, register_objective

DATA = Path(__file__).parents[2] / "data"
ROWS = [
    json.loads(line)
    for name in ("prompts.jsonl", "prompts-fresh.jsonl", "prompts-third.jsonl")
    for line in (DATA / name).read_text(encoding="utf-8").splitlines()
]
PROPER = [row for row in ROWS if row["latency_weight"] is not None]


def weight(text: str) -> float | None:
    """Return the latency weight of a text, or None where it is refused."""
    try:
        return parse_weights(text).get(PAIR[0], 0.0)
    except ValueError:
        return None


def test_sentences_are_answered_rightly_or_refused() -> None:
    answers = [weight(row["text"]) for row in PROPER]
    answered = [(a, row) for a, row in zip(answers, PROPER, strict=True) if a is not None]
    assert len(answered) >= 0.8 * len(PROPER)
    opposite = [row["text"] for a, row in answered if (a - 0.5) * (row["latency_weight"] - 0.5) < 0]
    assert opposite == []
    wrong = [
        row["text"] for a, row in answered if abs(a - row["latency_weight"]) > row["tolerance"]
    ]
    assert len(wrong) <= 0.01 * len(PROPER), wrong


def test_texts_without_an_objective_are_refused() -> None:
    texts = [row["text"] for row in ROWS if row["latency_weight"] is None]
    read = [text for text in texts if weight(text) is not None]
    assert len(texts) > 60 and len(read) <= 0.05 * len(texts), read


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("we hate low latency", {None}),
        ("latency must not be reduced", {None}),
        ("not everybody cares about energy", {None, 0.0}),
        ("don't save energy", {None, 1.0}),
        ("lag is fine", {None, 0.0}),
        ("battery drain is fine", {None, 1.0}),
        ("slow everything down", {None}),
        ("trade energy for latency", {1.0}),
        ("reduce energy at the expense of latency", {0.0}),
        ("don't stop saving energy", {None, 0.0}),
        ("I am not waiting all day", {None, 1.0}),
        ("nobody is waiting, so save power", {0.0}),
        ("energy is cheap here but time is not", {1.0}),
        ("neither latency nor energy matters", {None}),
        ("not only latency but also energy", {0.5}),
        ("accept more latency to save energy", {0.0}),
        ("the quick brown fox jumps over the lazy dog", {None}),
        ("who would want low energy", {None, 1.0}),
        ("offload whatever saves the handsets energy", {0.0}),
        ("pick whatever is fastest", {1.0}),
        ("be quick, whatever power that uses", {1.0}),
        ("energy whatever, just be quick", {1.0}),
        ("all but latency is irrelevant", {None, 1.0}),
        ("I'd rather recharge than wait", {None, 1.0}),
        ("rather wait than charge the phone", {None, 0.0}),
        ("rather zorb than wait", {None, 1.0}),
        ("turn off energy saving", {None, 1.0}),
        ("turn off low latency mode", {None, 0.0}),
        ("latency is not the only problem, energy is too", {None, 0.5}),
    ],
)
def test_a_trap_is_never_read_as_its_opposite(text: str, expected: set[float | None]) -> None:
    assert weight(text) in expected


@pytest.mark.parametrize("first", ["latency", "energy"])
@pytest.mark.parametrize(
    "text",
    [
        "I care about {0}, not {1}",
        "rather {0} than {1}",
        "{1} is no concern",
        "never mind the {1}",
        "don't minimise {1}, minimise {0}",
        "minimise {0} instead of {1}",
        "{0} over {1}",
        "it's not about {1}, it's about {0}",
        "{1} is irrelevant, so reduce the {0}",
        "lower {0} at any {1} cost",
        "not {1}. {0}.",
        "keep the {0} low; {1} does not count",
        "{1} may go up as long as {0} goes down",
    ],
)
def test_contrasts_hold_both_ways_round(text: str, first: str) -> None:
    second = PAIR[first == PAIR[0]]
    assert parse_weights(text.format(first, second)) == {first: 1.0}


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("{0} is three times as important as {1}", 0.75),
        ("{0} twice as important as {1}", 2 / 3),
        ("{1} is half as important as {0}", 2 / 3),
        ("nine to one for {0} against {1}", 0.9),
        ("two thirds {0}, one third {1}", 2 / 3),
        ("2/3 {0}, 1/3 {1}", 2 / 3),
        ("80% {0}, the rest for {1}", 0.8),
        ("seventy-five percent {0}, twenty-five percent {1}", 0.75),
        ("3 parts {0}, 2 parts {1}", 0.6),
        ("half of the weight on {0}, the other half on {1}", 0.5),
        ("mostly {0}, a bit of {1}", 0.8),
        ("slightly more {0} than {1}", 0.6),
        ("don't forget {1}: 70% {0}, 30% {1}", 0.7),
    ],
)
def test_numbers_in_digits_and_words_are_shares(text: str, share: float) -> None:
    for first, second in (PAIR, PAIR[::-1]):
        assert parse_weights(text.format(first, second)) == pytest.approx(
            {first: share, second: 1 - share}, abs=1e-12
        )


@given(st.integers(0, 2**32 - 1))
def test_a_slip_of_the_keyboard_turns_no_meaning_round(seed: int) -> None:
    rng = np.random.default_rng(seed)
    row = PROPER[int(rng.integers(len(PROPER)))]
    text, at = row["text"], int(rng.integers(1, len(row["text"])))
    slips = (text[:at] + text[at + 1 :], text[: at - 1] + text[at] + text[at - 1] + text[at + 1 :])
    for slipped in slips:
        if any(char.isdigit() for char in text) or not slipped.strip():
            continue
        found = weight(slipped)
        assert found is None or (found - 0.5) * (row["latency_weight"] - 0.5) >= 0, slipped


def test_the_files_of_the_lexicon_are_whole() -> None:
    kinds = {symbol.kind for symbol in lexicon.lexicon().phrases.values()}
    made = {kind for rule in rewriting.rules() for kind, _ in rule.right if kind}
    known = kinds | made | {"loose", "aside", "sooner_than"}
    for rule in rewriting.rules():
        assert set().union(*rule.left) <= known, rule
    for name in (*PAIR, "common"):
        for key, entries in catalogue.lexicon(name).items():
            for entry in entries:
                assert entry == lexicon.folded(entry), (name, key, entry)
                assert entry.count("(") == entry.count(")") <= 6, (name, key, entry)


def test_a_third_objective_brings_its_own_words() -> None:
    row = ObjectiveKind(
        name="money",
        unit="EUR",
        measure="what is paid",
        prompt="minimum money",
        quantity=lambda instances: instances.cycles[..., None],
        train=("minimum money",),
        words=(("cost", ("money", "euros", "fee(s|)")), ("good", ("cheap", "inexpensive"))),
    )
    register_objective(row)
    try:
        assert parse_weights("please keep the fees as low as possible") == {"money": 1.0}
        assert parse_weights("save money, latency does not matter") == {"money": 1.0}
        assert parse_weights("60% fees, 40% latency") == {"latency": 0.4, "money": 0.6}
        assert parse_weights("reduce the lag") == {"latency": 1.0}
    finally:
        del OBJECTIVES[row.name]
    assert weight("please keep the fees as low as possible") is None
