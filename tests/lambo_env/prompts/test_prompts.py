"""Prompts: what is understood, what is refused, what is drawn, and the batch that carries it."""

import hashlib
import string

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lambo_env.prompts import catalogue, grammar
from lambo_env.prompts import prompts as prompt
from lambo_env.prompts.arguments import as_prompts
from lambo_env.prompts.grammar import parse_weights
from lambo_env.prompts.objectives import PAIR, kinds
from lambo_env.prompts.prompts import (
    Prompts,
    env_prompts,
)
from lambo_env.prompts.tokenizer import encode_text

ALL_WORDINGS = [(split, w) for split in catalogue.SPLITS for w in grammar.wordings(split)]
PURE = [(split, kind) for split in catalogue.SPLITS for kind in PAIR]


def latency_weight(text):
    """Return the weight of latency in a text that asks for nothing but latency and energy."""
    weights = parse_weights(text)
    assert set(weights) <= set(PAIR) and sum(weights.values()) == pytest.approx(1, abs=1e-15)
    return weights.get("latency", 0.0)


def weighted_texts(split):
    """Return all texts of a split with their latency weights."""
    rows = (row for kind in kinds() for row in grammar.catalogue(split, kind))
    return {(text, weights.get("latency", 0.0)) for text, weights in rows}


def texts_of(split, kind):
    return [text for text, _ in grammar.catalogue(split, kind)]


# ---- the catalogue -------------------------------------------------------------------------------


def test_catalogue_is_large_and_has_no_phrase_twice():
    for split, kind in PURE:
        texts = texts_of(split, kind)
        assert len({grammar.normalise(text) for text in texts}) == len(texts)
        assert len(texts) >= (60 if split == "train" else 15)
    assert {"Minimum latency"} <= set(texts_of("train", "latency"))
    assert {"Minimum energy"} <= set(texts_of("train", "energy"))


def test_splits_and_objectives_share_no_phrase():
    keys = [{grammar.normalise(text) for text in texts_of(split, kind)} for split, kind in PURE]
    assert len(set.union(*keys)) == sum(map(len, keys))


def test_held_out_words_differ_from_training():
    """A held-out pure phrase shares at most half its words with any one training phrase."""
    for kind in ("latency", "energy"):
        known = [set(grammar.normalise(text).split()) for text in texts_of("train", kind)]
        for text in texts_of("held_out", kind):
            words = set(grammar.normalise(text).split())
            assert max(len(words & other) / len(words | other) for other in known) <= 0.5, text


def test_wordings_are_told_apart_and_name_first_the_first():
    signatures = [grammar._signature(w.say("latency", "energy", 60))[0] for _, w in ALL_WORDINGS]
    assert len(set(signatures)) == len(
        signatures
    )  # so no held-out mix is a training mix with other numbers
    for _, w in ALL_WORDINGS:
        assert w.template.index("{A}") < w.template.index("{B}")
        assert grammar._signature(w.say("latency", "energy", 60))[2] == ["latency", "energy"]


def test_every_catalogue_text_parses_to_its_weight_and_encodes():
    for split in catalogue.SPLITS:
        for kind in kinds():
            for text, weights in grammar.catalogue(split, kind):
                assert parse_weights(text) == weights
                assert bytes(encode_text(text)).rstrip(b"\0").decode() == text.lower()


def test_objectives_lists_the_catalogue():
    rows = {row[0]: row[3:] for row in grammar.objectives()}
    assert list(rows) == ["latency", "energy", "mix"]
    assert (
        rows["latency"][0]
        == len(grammar.catalogue("train", "latency"))
        > 10 * len(catalogue.lines("held_out", "latency"))
    )
    assert rows["energy"][1] == len(catalogue.lines("held_out", "energy"))
    assert rows["mix"][0] >= 60 and rows["mix"][1] >= 15
    assert [latency_weight(row[2][0]) for row in rows.values()] == [1.0, 0.0, 0.7]


# ---- parse ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("Minimum latency", 1.0),
        ("minimum energy", 0.0),
        ("  MINIMIZE   the latency!! ", 1.0),
        ("Be as energy efficient as possible.", 0.0),
        ("70% latency, 30% energy", 0.7),
        ("70 % latency and 30 % energy", 0.7),
        ("70 percent latency, and 30 per cent energy", 0.7),
        ("70%latency,30%energy", 0.7),
        ("latency 70%, energy 30%", 0.7),
        ("latency 70, energy 30", 0.7),
        ("30% energy & 70% latency", 0.7),
        ("62.5% delay, 37.5% energy use", 0.625),
        ("weigh latency 0.7 and energy 0.3", 0.7),
        ("weigh the latency .7 and the energy .3", 0.7),
        ("weigh energy 70% and latency 30%", 0.3),
        ("3:1 latency to energy", 0.75),
        ("3 to 1 energy to latency", 0.25),
        ("50/50 latency/energy", 0.5),
        ("equal weight to latency and energy", 0.5),
        ("balance energy and latency", 0.5),
        ("Fifty-fifty latency and energy", 0.5),
        ("mostly latency with 20% energy", 0.8),
        ("mainly energy, 20% latency", 0.2),
        ("70% latency, rest energy", 0.7),
        ("20% energy, the rest latency", 0.8),
        ("100% latency", 1.0),
        ("100% energy", 0.0),
        ("100% latency, 0% energy", 1.0),
        ("0% latency, 100% energy", 0.0),
        ("1:0 latency to energy", 1.0),
        ("latency", 1.0),
        ("energy", 0.0),
        ("minimum latncy", 1.0),
        ("!minimum latency", 1.0),
        ("minimum latency, not minimum energy", 1.0),
        ("ignore latency", 0.0),
        ("minimise latency and energy", 0.5),
        ("25% latency", 0.25),
        ("don\u2019t save power, save time", 1.0),
        ("Minim\u00edse l\u00e4tency", 1.0),
        ("1/4 latency, 3/4 energy", 0.25),
        ("never sacrifice speed for energy", 1.0),
    ],
)
def test_parse_understands(text, weight):
    assert latency_weight(text) == weight


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not blank"),
        (" \t ", "printable ASCII"),
        ("   ", "not blank"),
        ("minimum latency\n", "printable ASCII"),
        ("minimum latenc\u20ac", r"'\\u20ac'"),
        ("a" * 161, "161 characters"),
        ("the weather", "names an objective"),
        ("maximum latency", "did you mean 'minimum latency', which is 1 latency"),
        ("do not minimise latency", "minimum latency"),
        ("do not save energy", r"give the weight too, as in \('do not save energy', 0.7\)"),
        ("minimum cost", "minimum latency"),
        ("minimise and maximise latency", "less latency, not more"),
        ("mostly latency", "mix"),
        ("0% latency", "the other objective's share"),
        ("my battery is at 5%", "the other objective's share"),
        ("energy below 2 J", "'2 j' is a limit"),
        ("minimise latency and fairness", "'fairness' is none"),
        ("latency is more important than energy", "how much more"),
        ("70% latency, 40% energy", "sum to 110%"),
        ("33% latency and 66% energy", "sum to 99%"),
        ("weigh latency 0.7 and energy 0.4", "sum to 1.1"),
        ("weigh latency 3 and energy 1", "sum to 4"),
        ("-70% latency, 170% energy", "mix"),
        ("120% latency, rest energy", "0% to 100%"),
        ("150% latency", "0% to 100%; 150% is none"),
        ("-10% latency, 110% energy please", "0% to 100%; '-10%' is none"),
        ("1/0 latency, the rest energy please", "0% to 100%, not both of them 0"),
        ("below 2 J", "'2 j' is a limit"),
        ("10 ms", "'10 ms' is a limit"),
        ("latency is less important than energy", "how much less"),
        ("70 latency, rest energy", "0% to 100%"),
        ("50% latency, 50% latency", "twice"),
        ("balance latency and delay", "twice"),
        ("mostly latency with 80% energy", "more than half"),
        ("mostly latency with 50% energy", "more than half"),
        ("0:0 latency to energy", "0:0"),
        ("70%:30 latency to energy", "ratio"),
        ("99.99999999999999999999% latency, rest energy", "1e-15"),
        ("70% latency, 30% cost", "mix"),
    ],
)
def test_parse_refuses(text, said):
    with pytest.raises(ValueError, match=said) as error:
        parse_weights(text)
    assert str(error.value).startswith(f"prompt is {text!r}"[:60])


@pytest.mark.parametrize("text", [None, 3, b"minimum latency", ["minimum latency"], np.nan])
def test_a_prompt_is_a_str(text):
    for function in (parse_weights, encode_text):
        with pytest.raises(ValueError, match="prompt is .*; allowed: a str"):
            function(text)


@given(st.text(max_size=200) | st.text(string.printable, max_size=40))
@example("0.0000000000000000000000001:1 latency to energy")
def test_any_text_is_parsed_or_refused(text):
    try:
        weight = latency_weight(text)
    except ValueError as error:
        assert "allowed: " in str(error)
    else:
        assert 0.0 <= weight <= 1.0
        encode_text(text)


PIECES = [
    "70%",
    "30",
    "0.7",
    "3:1",
    "latency",
    "energy",
    "and",
    "rest",
    "mostly",
    "not",
    "to",
    "minimise",
    ",",
    "the",
    "with",
]


@given(st.lists(st.sampled_from(PIECES), max_size=7).map(" ".join))
def test_texts_of_the_right_words_are_parsed_or_refused(text):
    """What is understood says one thing: with the objectives' names exchanged it is mirrored."""
    try:
        weight = latency_weight(text)
    except ValueError:
        return
    swapped = text.replace("latency", "@").replace("energy", "latency").replace("@", "energy")
    assert latency_weight(swapped) == pytest.approx(1 - weight, abs=1e-15)


@pytest.mark.parametrize(
    ("split", "w"), ALL_WORDINGS, ids=lambda value: getattr(value, "template", value)
)
def test_mix_wordings_round_trip_over_all_weights(split, w):
    said = 0
    for percent in range(1, 100):
        if not w.allows(grammar.Fraction(percent, 100)):
            continue
        for latency, energy in catalogue.pairs(split):
            text = w.say(latency, energy, percent)
            mirrored = w.say(energy, latency, percent)
            assert latency_weight(text) == latency_weight(text.upper() + " .") == percent / 100
            assert latency_weight(mirrored) == (100 - percent) / 100
            assert max(len(text), len(mirrored)) <= prompt.MAX_CHARS
            said += 1
    assert said >= 2


# ---- encode --------------------------------------------------------------------------------------


def test_encode_text_is_padded_lower_case_ascii():
    tokens = encode_text("Minimum LATENCY")
    assert tokens.shape == (160,) and tokens.dtype == np.uint8
    assert tokens.tolist() == [*b"minimum latency", *[0] * 145]
    assert encode_text("x" * 160).min() == ord("x")


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=160))
def test_encode_text_keeps_every_printable_text(text):
    if text.strip():
        assert bytes(encode_text(text)).rstrip(b"\0").decode("ascii") == text.lower()
    else:
        with pytest.raises(ValueError, match="not blank"):
            encode_text(text)


# ---- Prompts -------------------------------------------------------------------------------------


def test_of_parses_and_broadcasts():
    one = Prompts.of("Minimum latency", 3)
    assert one.texts == ("Minimum latency",) * 3
    assert one.latency_weight.dtype == np.float64 and one.latency_weight.tolist() == [1.0] * 3
    assert one.tokens.shape == (3, 160) and one.tokens.dtype == np.uint8
    several = Prompts.of(["minimum energy", "70% latency, 30% energy", "minimum energy"], batch=3)
    assert several.latency_weight.tolist() == [0.0, 0.7, 0.0]
    np.testing.assert_array_equal(several.tokens[0], encode_text("minimum energy"))
    np.testing.assert_array_equal(several.tokens[2], several.tokens[0])


def test_texts_outside_the_catalogue_take_an_explicit_weight():
    prompts = Prompts(["Swift and lean", "Hurry up"], [0.25, 1])
    assert prompts.latency_weight.tolist() == [0.25, 1.0]
    assert Prompts(["a", "b"], 0.5) == Prompts(("a", "b"), [0.5, 0.5])
    assert len(Prompts("just one", 0.5)) == 1


@pytest.mark.parametrize(
    "weight",
    [
        -0.1,
        1.1,
        np.nan,
        np.inf,
        "1",
        None,
        True,
        [0.5],
        [0.5] * 3,
        [[0.5, 0.5]],
        [0.5, -1],
        [[0.5], 1],
    ],
)
def test_bad_weights_are_refused(weight):
    with pytest.raises(
        ValueError, match=r"Prompts\.latency_weight.* is .*; allowed: a number in \[0, 1\]"
    ):
        Prompts(["a", "b"], weight)


@pytest.mark.parametrize("texts", [[], None, 3, b"minimum latency", {"a"}, np.asarray("a")])
def test_bad_collections_of_texts_are_refused(texts):
    for make in (lambda: Prompts(texts, 1.0), lambda: Prompts.of(texts)):
        with pytest.raises(ValueError, match="allowed: a str"):
            make()


@pytest.mark.parametrize("text", [None, 3, "", " ", "a\tb", "x" * 161, "caf\u4e2d", ["a"]])
def test_a_bad_text_is_named_by_its_row(text):
    with pytest.raises(ValueError, match=r"Prompts\.texts\[1\] is .*printable ASCII"):
        Prompts(["fine", text], 1.0)
    with pytest.raises(ValueError, match=r"Prompts\.texts\[1\] is .*printable ASCII"):
        Prompts.of(["minimum latency", text])


def test_of_names_the_row_that_is_not_understood():
    with pytest.raises(ValueError, match=r"Prompts\.texts\[1\] is 'maximum latency'"):
        Prompts.of(["minimum latency", "maximum latency"])


@pytest.mark.parametrize("batch", [0, -1, 2.0, True, "3", 5])
def test_of_refuses_a_bad_batch(batch):
    with pytest.raises(ValueError, match=r"Prompts\.of\(batch\) is .*; allowed: "):
        Prompts.of(["minimum latency", "minimum energy"], batch)


def test_prompts_cannot_be_changed():
    prompts = Prompts.of("minimum latency", 2)
    for array in (prompts.tokens, prompts.latency_weight, prompts.take([0]).tokens):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(AttributeError):
        prompts.texts = ("minimum energy",) * 2
    weight = np.asarray([0.5])
    own = Prompts(["a"], weight)
    weight[0] = 1.0
    assert own.latency_weight[0] == 0.5


def test_take_repeat_concat_and_equality():
    prompts = Prompts(["a", "b", "c"], [0.0, 0.5, 1.0])
    assert prompts.take(1) == Prompts("b", 0.5) == prompts.take(np.int64(-2))
    assert prompts.take([2, 0]).texts == ("c", "a") and prompts.take([True, False, True]).texts == (
        "a",
        "c",
    )
    assert prompts.take(slice(1, None)).latency_weight.tolist() == [0.5, 1.0]
    assert len(prompts.take([])) == 0
    twice = prompts.repeat(2)
    assert twice.texts == ("a", "a", "b", "b", "c", "c") and twice.latency_weight.tolist() == [
        0,
        0,
        0.5,
        0.5,
        1,
        1,
    ]
    np.testing.assert_array_equal(twice.tokens, np.repeat(prompts.tokens, 2, axis=0))
    assert Prompts.concat([prompts.take([0]), prompts.take([1, 2])]) == prompts
    assert (
        hash(prompts) == hash(prompts.take([0, 1, 2]))
        and prompts != prompts.take([0, 1])
        and prompts != "a"
    )
    assert Prompts("a", 0.0) != Prompts("a", 1.0)


@pytest.mark.parametrize("rows", [3, -4, [0, 9], 0.5, [0.5], None, "a", True, [[0]], [True]])
def test_take_refuses_rows_that_are_not_there(rows):
    with pytest.raises(ValueError, match=r"Prompts\.take\(rows\) is .*; allowed: rows of 0\.\.2"):
        Prompts(["a", "b", "c"], 1.0).take(rows)


def test_objective_is_that_of_physics(tiny):
    weights = [1.0, 0.0, 0.7, 0.5, 1.0, 0.0, 0.05, 0.95]
    found, expected = (
        Prompts(["x"] * 8, weights).objective(tiny),
        tiny.objective(np.asarray(weights)),
    )
    np.testing.assert_array_equal(found.cost_per_s, expected.cost_per_s)
    np.testing.assert_array_equal(found.cost_per_j, expected.cost_per_j)
    assert (found.cost_per_s[0], found.cost_per_j[0]) == (1, 0) and (
        found.cost_per_s[1],
        found.cost_per_j[1],
    ) == (0, 1)
    with pytest.raises(ValueError, match=r"batch_size is 8; allowed: 3, one per prompt"):
        Prompts.of("minimum latency", 3).objective(tiny)


@pytest.mark.filterwarnings("error")
def test_objective_follows_the_instances_to_torch(tiny):
    torch = pytest.importorskip("torch")
    objective = Prompts.of("70% latency, 30% energy", 8).objective(
        tiny.to(torch, dtype=torch.float32)
    )
    expected = tiny.objective(np.full(8, 0.7))
    assert objective.cost_per_s.dtype == torch.float32
    np.testing.assert_allclose(objective.cost_per_s.numpy(), expected.cost_per_s, rtol=1e-5)
    np.testing.assert_allclose(objective.cost_per_j.numpy(), expected.cost_per_j, rtol=1e-5)


# ---- drawing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", catalogue.SPLITS)
def test_sample_draws_kinds_and_weights_evenly(split, rng):
    prompts = Prompts.sample(6000, rng, split)
    weight = prompts.latency_weight
    assert abs(np.mean(weight == 1) - 1 / 3) < 0.03 and abs(np.mean(weight == 0) - 1 / 3) < 0.03
    grid, counts = np.unique(weight[(weight > 0) & (weight < 1)], return_counts=True)
    assert grid.tolist() == [percent / 100 for percent in range(5, 100, 5)]
    assert counts.min() > 0.5 * counts.mean()
    known = weighted_texts(split)
    assert set(zip(prompts.texts, weight.tolist(), strict=True)) <= known
    row = 17
    np.testing.assert_array_equal(prompts.tokens[row], encode_text(prompts.texts[row]))


def test_sample_is_its_generator_alone():
    first, again = (Prompts.sample(20, np.random.default_rng(3)) for _ in range(2))
    assert first == again != Prompts.sample(20, np.random.default_rng(4))


def test_sample_keeps_to_its_kinds(rng):
    assert set(Prompts.sample(50, rng, kinds=("energy",)).latency_weight) == {0.0}
    assert set(Prompts.sample(50, rng, kinds="latency").latency_weight) == {1.0}
    assert set(Prompts.sample(99, rng, kinds=("latency", "energy")).latency_weight) == {0.0, 1.0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": 0},
        {"batch": 1.5},
        {"split": "test"},
        {"kinds": ()},
        {"kinds": ("cost",)},
        {"split": 1},
    ],
)
def test_sample_refuses(wrong, rng):
    with pytest.raises(ValueError, match="allowed|known"):
        Prompts.sample(**{"batch": 2, "rng": rng, **wrong})


def test_env_prompts_hold_as_many_of_each_kind():
    texts, weights = env_prompts().texts, env_prompts().latency_weight
    pure = [int(np.sum(weights == value)) for value in (1.0, 0.0)]
    assert pure[0] == pure[1] == np.sum((weights > 0) & (weights < 1)) == len(env_prompts()) / 3
    assert len(set(texts)) == len(texts)
    assert set(zip(texts, weights.tolist(), strict=True)) <= weighted_texts("train")
    assert set(weights) == {0.0, 1.0, *(percent / 100 for percent in grammar.GRID_PERCENT)}


def test_env_prompts_stay_as_they_are_frozen():
    """The environments' ids hold the order too: they draw by position."""
    rows = zip(env_prompts().texts, env_prompts().latency_weight.tolist(), strict=True)
    frozen = "\n".join(f"{weight!r}\t{text}" for text, weight in rows)
    assert hashlib.sha256(frozen.encode()).hexdigest()[:16] == "57f0f8bfbef910be"


def test_one_uniform_picks_one_prompt():
    u = (np.arange(192) + 0.5) / 192
    assert env_prompts().pick(u).tolist() == list(range(192))
    chosen = Prompts.of(["minimum latency", "minimum energy", "balance latency and energy"])
    index = chosen.pick([0.0, 0.34, 0.999, 0.1])
    assert index.tolist() == [0, 1, 2, 0]
    prompts = chosen.take(index)
    assert prompts == Prompts.of(
        ["minimum latency", "minimum energy", "balance latency and energy", "minimum latency"]
    )
    np.testing.assert_array_equal(prompts.tokens, chosen.tokens[index])
    for u in ([1.0], [-0.1], [np.nan]):
        with pytest.raises(ValueError, match=r"Prompts\.pick\(u\)"):
            chosen.pick(u)


def test_concat_joins_prompts_of_different_tables():
    one, other = Prompts(["a", "b", "a"], [0.0, 0.5, 0.0]), Prompts(["a", "c"], [0.0, 1.0])
    both = Prompts.concat([one.take([2, 1]), other, one.take([])])
    assert both == Prompts(["a", "b", "a", "c"], [0.0, 0.5, 0.0, 1.0])
    np.testing.assert_array_equal(both.tokens, [encode_text(text) for text in "abac"])
    assert Prompts.concat([one, one]).texts == one.texts * 2


@pytest.mark.parametrize("weight", [10**400, -(10**400), ("minimum latency", 10**400)])
def test_a_weight_beyond_the_floats_is_refused(weight: object) -> None:
    with pytest.raises(ValueError, match=r"^prompt is .*allowed: .*a latency weight in \[0, 1\]"):
        as_prompts("prompt", weight)
