"""Sentences by rules: what they are read as, what is refused, and none as its opposite.

``tests/data/prompts.jsonl`` was written before the rules, the others after them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
    for name in ("", "-fresh", "-third", "-fourth", "-fifth", "-sixth", "-seventh")
    for line in (DATA / f"prompts{name}.jsonl").read_text(encoding="utf-8").splitlines()
]
PROPER = [row for row in ROWS if row["latency_weight"] is not None]
WORDY = [  # without numbers: a slip may turn "eighty" into "eight"
    row
    for row in PROPER
    if not any(char.isdigit() for char in row["text"]) and row["latency_weight"] in (0, 0.5, 1)
]


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
        ("make sure users do not notice lag, and save power", {None, 0.5}),
        ("let users not see any delay", {None, 1.0}),
        ("rather wait than burn power", {0.0}),
        ("rather some delay than wasted energy", {0.0}),
        ("rather dead batteries than delays", {1.0}),
        ("rather delay than energy", {None}),
        ("rather use energy than latency", {None}),
        ("rather spend power than time", {1.0}),
        ("spend time instead of energy", {0.0}),
        ("delays rather than burning power", {None, 0.0}),
        ("we would rather burn a few joules than keep users waiting", {1.0}),
        ("use more battery", {None}),
        ("take less time, use more battery", {None, 1.0}),
        ("latency can be as low as you want", {None, 1.0}),
        ("either latency or energy should dominate", {None}),
        ("don't let latency dominate", {None, 0.0}),
        ("treat both users the same", {None}),
        ("balance both", {None}),
        ("latency is more important than energy, and latency is irrelevant", {None}),
        ("not 70% latency, 30% energy", {None}),
        ("1:4 in favour of delay", {None}),
        ("consume as little bandwidth as possible", {None}),
        ("improve the QoE by lowering jitter", {None}),
        ("infinite latency", {None}),
        ("th egoal is low ping", {None, 1.0}),
        ("prioritise sped over battery life", {None, 1.0}),
        ("make the phone batteries last onger", {None, 0.0}),
        ("infinite battery life", {None, 0.0}),
        ("n need to hurry", {0.0}),
        ("on need to save energy", {1.0}),
        ("prioritise dela yover energy", {1.0}),
        ("do not sacrifice atency for energy", {1.0}),
        ("I don'tc are about energy", {1.0}),
        ("offload whateve rsaves the handsets energy", {0.0}),
        ("offload whatever foobars the handsets energy", {None}),
        ("be as economical with energy as possible", {0.0}),
        ("beas economical with energy as possible", {0.0}),
        ("Energy is no concern of ours delay is.", {1.0}),
        ("latency first last and always", {1.0}),
        ("under no circumstances slow down a task to spare the battery", {1.0}),
        ("earlier we tuned for battery life; now switch to response time", {None, 1.0}),
        ("my son worries about ping; I worry about the foobar", {None, 0.0}),
        ("pour joules down the drain", {None}),
        ("be wasteful with power", {None}),
        ("I solely want slowness", {None}),
        ("is energy counted at the device?", {None}),
        ("he works for a battery maker", {None}),
        ("delay is unimportant and so is power", {None}),
        ("split it 70/70 between delay and power", {None}),
        ("65-55 latency to energy, in percent", {None}),
        ("latency 90%, 10% energy", {0.9}),
        ("only latency matters and only energy matters", {None}),
        ("high power draw is acceptable as long as the drones respond fast", {1.0}),
        (
            "nurses want results, but the sensors run on cells: 65% for latency, 35% for energy",
            {0.65},
        ),
        ("cost = 0.3 x latency + 0.7 x energy", {0.3}),
        ("delay is four times less important than energy", {None}),
        ("same latency, less energy", {None, 0.0}),
        ("keep energy the same and reduce latency", {None, 1.0}),
        ("if you have to choose between latency and energy, choose energy", {None, 0.0}),
        ("we had a balance of latency and energy, now only latency", {None, 1.0}),
        ("even at night we need to save energy", {None, 0.0}),
        ("even the fastest phone needs battery, so save it", {None, 0.0}),
        ("the latency is good, the energy is not", {None}),
        ("we are fast but not frugal", {None}),
        ("latency vs energy: energy", {None, 0.0}),
        ("use as much power as possible", {None, 1.0}),
        ("turn off low power mode", {None}),
        ("delay the replies", {None}),
        ("delay tolerant networking is a field", {None}),
        ("cost = 0.7 latency - 0.3 energy", {None}),
        ("maximise 70% latency and 30% energy", {None}),
        ("minimise latency and cost", {None}),
        ("reduce delay by 30% and energy by 70%", {None}),
        ("30% less delay and 70% less energy", {None}),
        ("the ratio of latency to energy was 3:1", {None}),
        ("70% of the energy goes to the radio", {None}),
        ("energy consultant", {None}),
        ("latency was reduced", {None}),
        ("the baseline minimises energy", {None}),
        ("an allocation that saves energy", {None, 0.0}),
        ("how to save energy?", {None}),
        ("is the latency low?", {None}),
        ("energy is ot be minimised, delay is not", {None, 0.0}),
        ("spend energy ot save time", {None, 1.0}),
        ("startt saving power", {None, 0.0}),
        ("what we nneed is less energy", {None, 0.0}),
        ("minimise delay and not eenergy", {None, 1.0}),
        ("sto saving power", {None}),
        ("noo compromise on energy", {None, 0.0}),
        ("latency is tree times as important as energy", {None, 0.75}),
        ("even f it takes longer, save energy", {None, 0.0}),
        ("prefer lowenergy to low latency", {None, 0.0}),
        ("spend energy to save tme", {None, 1.0}),
        ("not 50/50 but 70/30 towards delay", {None, 0.7}),
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
        "users don't notice the {1}, they notice the {0}",
        "they notice the {0}, they don't notice the {1}",
        "{0} matters more than {1}, which is irrelevant",
        "{1}, which does not matter, may rise; cut the {0}",
        "{0} >> {1}, {1} has zero weight",
        "{1} doesn't count; {0} is more important than {1}",
        "{0} matters more than anything else, {1} counts for nothing",
        "no compromise on {0}; {1} doesn't count",
        "{1} can be as high as you want, keep {0} down",
        "do not waste {0}; {1} may be wasted",
        "I would trade any {1} for lower {0}",
        "never trade {0} for lower {1}",
        "{1} isn't what I'm after, {0} is",
        "rather spend {1} than {0}",
        "I'd sooner waste {1} than {0}",
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
        ("{0} weight 0.9", 0.9),
        ("weight of {0} is 15 %", 0.15),
        ("give {0} a weight of 3/4", 0.75),
        ("4:1 in favour of {0}", 0.8),
        ("80% in favour of {0}", 0.8),
        ("{0} gets 80%", 0.8),
        ("not 50/50: 80% {0} and 20% {1}", 0.8),
        ("not 70% {1} but 70% {0}, the rest {1}", 0.7),
        ("for every point {1} gets, {0} should get three", 0.75),
        ("for each unit of {1} put four on {0}", 0.8),
        ("as much weight on {0} as on {1}", 0.5),
        ("neither {0} nor {1} should dominate", 0.5),
        ("neither of the two, {0} and {1}, should be favoured", 0.5),
        ("I don't want either favoured, {0} and {1} count the same", 0.5),
        ("treat both objectives alike, {0} and {1}", 0.5),
    ],
)
def test_numbers_in_digits_and_words_are_shares(text: str, share: float) -> None:
    for first, second in (PAIR, PAIR[::-1]):
        assert parse_weights(text.format(first, second)) == pytest.approx(
            {first: share, second: 1 - share}, abs=1e-12
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("weight of {0} = 1", {0: 1.0}),
        ("{0} with a weight of 0", {1: 1.0}),
        ("{0} has zero weight", {1: 1.0}),
    ],
)
def test_a_weight_of_one_or_zero_is_for_one_alone(text: str, expected: dict[int, float]) -> None:
    for pair in (PAIR, PAIR[::-1]):
        answer = {pair[place]: share for place, share in expected.items()}
        assert parse_weights(text.format(pair[0])) == answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("weigh both objectives the same", 0.5),
        ("the two goals have equal importance", 0.5),
        ("players shouldn't see any lag", 1.0),
        ("we want to see fast responses", 1.0),
        ("users report lag", 1.0),
        ("use as little of the battery as you can", 0.0),
        ("don't use much battery", 0.0),
        ("let the devices draw as little as possible", 0.0),
        ("our phones die by noon", 0.0),
        ("I don't mind waiting as long as the phones last", 0.0),
        ("my phone is at 5 %, save power", 0.0),
        ("my phone is at 80%, be quick", 1.0),
        ("plug-in devices, so be fast", 1.0),
        ("QoE: cut the lag", 1.0),
        ("improve the QoS by using less energy", 0.0),
        ("we run a trading floor, minimise latency", 1.0),
        ("latency budget is what limits us, so go as low as you can on it", 1.0),
    ],
)
def test_a_kind_of_sentence_is_read(text: str, expected: float) -> None:
    assert weight(text) == expected


@pytest.mark.parametrize("word", ["latency", "delay", "energy", "battery", "power", "joules"])
def test_two_letters_in_the_wrong_order_change_nothing(word: str) -> None:
    expected = parse_weights(f"{word} matters")
    for k in range(len(word) - 1):
        swapped = word[:k] + word[k + 1] + word[k] + word[k + 2 :]
        assert parse_weights(f"{swapped} matters") == expected, swapped


@pytest.mark.parametrize("first", PAIR)
@pytest.mark.parametrize(
    "text",
    [
        "{1} isnot a concern",
        "{1} is nota concern",
        "{1} is nt a concern",
        "{0} at any {1}cost",
        "minimise {0}instead of {1}",
        "ignore {1}and minimise {0}",
        "dno't ignore the {0}, it is the only thing that counts",
    ],
)
def test_a_lost_space_turns_no_meaning_round(text: str, first: str) -> None:
    assert parse_weights(text.format(first, PAIR[first == PAIR[0]])) == {first: 1.0}


@pytest.mark.parametrize("text", ["reduce manpower", "powerpoint please", "breakfast is ready"])
def test_a_word_that_only_holds_an_objective_is_none(text: str) -> None:
    assert weight(text) is None


@pytest.mark.parametrize("slip", ["don'", "do't", "do'nt", "dont'", "don 't", "dont", "do nto"])
def test_a_misspelt_negation_stays_one(slip: str) -> None:
    assert parse_weights(f"I {slip} care about latency") == {"energy": 1.0}
    assert parse_weights(f"{slip} save energy, save time") == {"latency": 1.0}


def check_slips(row: dict[str, Any], at: int) -> None:
    """Check a text with the letter before a place lost, and with the two around it swapped."""
    text = row["text"]
    for slipped in (
        text[: at - 1] + text[at:],
        text[: at - 1] + text[at] + text[at - 1] + text[at + 1 :],
    ):
        found = weight(slipped) if slipped.strip() else None
        assert found is None or (found - 0.5) * (row["latency_weight"] - 0.5) >= 0, slipped


@given(st.integers(0, 2**32 - 1))
def test_a_slip_of_the_keyboard_turns_no_meaning_round(seed: int) -> None:
    rng = np.random.default_rng(seed)
    row = WORDY[int(rng.integers(len(WORDY)))]
    check_slips(row, int(rng.integers(1, len(row["text"]))))


@pytest.mark.slow
def test_no_slip_of_the_keyboard_turns_any_meaning_round() -> None:
    for row in WORDY:
        for at in range(1, len(row["text"])):
            check_slips(row, at)


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
