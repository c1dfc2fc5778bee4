"""The texts that teach reading: sentences composed of the catalogue's words, and typing errors.

A text asks for less of something with a latency weight, for nothing that is known ("none"), or for
more of what should be small ("more"). Held-out phrases are never drawn.
"""

from __future__ import annotations

import functools
import re
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lambo_env.prompts.catalogue import lexicon, lines, nouns, phrases, words
from lambo_env.prompts.grammar import Wording, mixture, normalise
from lambo_env.prompts.objectives import PAIR
from lambo_env.prompts.prompts import MAX_CHARS, Prompts

LESS, NONE, MORE = range(3)  # what a text asks for, as ``prompt_encoder.ASKS``
_ASKS = {"none": NONE, "more": MORE}  # of the files of phrases/spoken/; of others less
_SPOKEN = {"latency": 0.4, "energy": 0.4, "none": 0.15, "more": 0.05}  # how often each is drawn
_KINDS = ("bad", "good", "adjective", "adverb", "clause")
# kinds of texts and how often each is drawn
_DRAWN = {
    "catalogue": 8, "composed": 10, "one": 16, "contrast": 26, "even": 5, "times": 5, "parts": 7,
    "ratio": 3, "mixture": 12, "degree": 1.5, "lean": 1, "more": 1.5, "none": 20, "more_of": 10,
    "spoken": 30,
}  # fmt: skip
_DISMISS = 0.2  # share of composed texts that also dismiss the other quantity
_AROUND = 0.35  # chance of words before, and of words after
_SLIP = 0.3  # share of the texts without numbers that have an error
_CONTRACTED = 0.5  # of "do not" and the like
_TURNS = 5  # times that a half of an uneven wording is used
_LEVELS = {"even": 0.5, "degree": 0.8, "lean": 0.6, "more": 0.7}  # latency weights of words
_OTHERS = dict(zip(PAIR, reversed(PAIR), strict=True))
_SHORT = {
    "do not": ("don't", "dont"), "does not": ("doesn't", "doesnt"), "is not": ("isn't", "isnt"),
    "should not": ("shouldn't",), "it is": ("it's", "its"), "i am": ("i'm",), "let us": ("let's",),
    "we are": ("we're",), "that is": ("that's",), "what is": ("what's",), "can not": ("can't",),
    "are not": ("aren't",), "there is": ("there's",), "i would": ("i'd",), "nobody": ("no one",),
}  # fmt: skip
_TIMES = {"twice": 2, "two times": 2, "double": 2, "three times": 3, "thrice": 3, "four times": 4,
          "3 times": 3, "2x": 2, "4 times": 4, "five times": 5, "half": 0.5, "3x": 3}  # fmt: skip
_PARTS = {"half": 0.5, "a half": 0.5, "a third": 1 / 3, "one third": 1 / 3, "two thirds": 2 / 3,
          "a quarter": 0.25, "one quarter": 0.25, "three quarters": 0.75, "a fifth": 0.2,
          "one fifth": 0.2, "four fifths": 0.8, "two fifths": 0.4, "a tenth": 0.1}  # fmt: skip
_TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety hundred".split()  # noqa: SIM905
_FORMS = ("{p}%", "{p} %", "{p} percent", "{f:g}", "{p}", "{w} percent")
_ONES = "zero one two three four five six seven eight nine ten".split()  # noqa: SIM905


class Texts(NamedTuple):
    """Texts of an update and what they ask for."""

    prompts: Prompts  # latency_weight is 0.5 where nothing is asked for
    latency_first: NDArray[np.bool_]  # names latency first, or alone
    asks: NDArray[np.int64]  # LESS, NONE or MORE


@functools.cache
def _held_out() -> frozenset[str]:
    return frozenset(normalise(text) for name in PAIR for text in phrases("held_out", name))


@functools.cache
def _wordings() -> tuple[Wording, ...]:
    """Return further wordings of mixes.

    Of those that only say how little the lesser quantity gets, each half with a few of the others.
    """
    lists, half = words("common"), Fraction(1, 2)
    most, little = lists["most"], lists["little"]
    pairs = [
        (most[k], little[(7 * k + 5 * turn) % len(little)])
        for turn in range(_TURNS)
        for k in range(len(most))
    ]
    uneven = [
        Wording(f"{head}{(', ', ' ')[k % 2]}{tail}", half) for k, (head, tail) in enumerate(pairs)
    ]
    return (
        *map(Wording, lists["mix"]),
        *(Wording(text, half, half) for text in lists["even"]),
        *uneven,
    )


@functools.cache
def _context() -> tuple[str, ...]:
    return tuple(word for line in lines("lexicon", "context") for word in line.split())


def _pick(lists: dict[str, tuple[str, ...]], key: str, rng: np.random.Generator) -> str:
    options = lists[key]
    return options[int(rng.random() * len(options))]


def compose(quantity: str, rng: np.random.Generator) -> str:
    """Return a text that asks for one quantity alone, lower case, at most 160 characters."""
    own, common = words(quantity), words("common")
    kind = _KINDS[int(rng.random() * len(_KINDS))]
    text = _pick(own, "clause", rng) if kind == "clause" else _pick(common, kind, rng)
    for slot, key in (
        ("{n}", kind),
        ("{a}", kind),
        ("{d}", kind),
        ("{v}", "do"),
        ("{o}", "object"),
    ):
        if slot in text:
            text = text.replace(slot, _pick(own, key, rng))
    if rng.random() < _DISMISS:
        other = _pick(common, "dismissal", rng).replace(
            "{n}", _pick(words(_OTHERS[quantity]), "bad", rng)
        )
        joint = (", ", " and ", "; ", ", ")[int(rng.random() * 4)]
        text = f"{other}{joint}{text}" if rng.random() < 0.3 else f"{text}{joint}{other}"
    if rng.random() < _AROUND:
        text = f"{_pick(common, 'before', rng)} {text}"
    if rng.random() < _AROUND:
        text = f"{text} {_pick(common, 'after', rng)}"
    text = text[:MAX_CHARS].strip()
    return compose(quantity, rng) if normalise(text) in _held_out() else text


def slip(text: str, rng: np.random.Generator) -> str:
    """Return the text with a letter lost, doubled, swapped or changed."""
    at, kind = int(rng.random() * len(text)), int(rng.random() * 4)
    if kind == 0 and len(text) > 3:
        return (text[:at] + text[at + 1 :]).strip() or text
    if kind == 1:
        return (text[:at] + text[at] + text[at:])[:MAX_CHARS]
    if kind == 2 and at > 0:
        return (text[: at - 1] + text[at] + text[at - 1] + text[at + 1 :]).strip()
    return (text[:at] + chr(97 + int(rng.random() * 26)) + text[at + 1 :]).strip()


# ---- sentences -----------------------------------------------------------------------------------


class Speaker:
    """Fills a template's slots: ``first`` is the objective that it puts first."""

    def __init__(self, first: str, rng: np.random.Generator) -> None:
        self.first, self.rng = first, rng
        self.sentences = words("sentences")

    def _of(self, options: tuple[str, ...]) -> str:
        """Return one of a list's entries, and one reading of its (a|b)."""
        text = options[int(self.rng.random() * len(options))]
        while (found := re.search(r"\(([^()]*)\)", text)) is not None:
            choices = found[1].split("|")
            picked = choices[int(self.rng.random() * len(choices))]
            text = text[: found.start()] + picked + text[found.end() :]
        return " ".join(text.split())

    def name(self, objective: str) -> str:
        """Return what an objective may be called."""
        lists, draw = lexicon(objective), self.rng.random()
        if draw < 0.3:
            return self._of(nouns()[PAIR.index(objective)])
        kind = "cost" if draw < 0.65 else "harm" if draw < 0.75 else "benefit"
        return self._of(lists[kind])

    def clause(self, kind: str, objective: str) -> str:
        """Return a clause of ``sentences.toml``: want, lost or hurt."""
        own, common = lexicon(objective), lexicon("common")

        def filled(found: re.Match[str]) -> str:
            slot = found[1]
            if slot == "n":
                return self._of(self.sentences["names"])
            return self._of(own[slot] if slot in own else common[slot])

        if kind == "want" and self.rng.random() < 0.2:
            return self._of(words(objective)["clause"])
        return re.sub(r"{(\w+)}", filled, self._of(self.sentences[kind]))

    def say(self, template: str, extra: dict[str, str]) -> str:
        """Return the sentence of a template."""
        own, other, say = self.first, _OTHERS[self.first], self.sentences
        fill = {
            "q": lambda: self.name(own), "o": lambda: self.name(other),
            "Q": lambda: self.clause("want", own), "O": lambda: self.clause("want", other),
            "D": lambda: self.clause("lost", other), "E": lambda: self.clause("lost", own),
            "H": lambda: self.clause("hurt", own), "N": lambda: self.clause("hurt", other),
            "c": lambda: self._of(say["contexts"]), "p": lambda: self._of(say["polite"]),
            "a": lambda: self._of(say["after"]), "f": lambda: self._of(say["foreign"]),
            "u": lambda: self._of(say["units"]), "g": self._gibberish, "x": self._aimless,
        }  # fmt: skip
        return re.sub(
            r"{(\w)}",
            lambda found: extra[found[1]] if found[1] in extra else fill[found[1]](),
            template,
        )

    def _gibberish(self) -> str:
        letters = self.rng.integers(97, 123, size=int(self.rng.integers(3, 10)))
        return bytes(letters.tolist()).decode()

    def _aimless(self) -> str:
        """Return words that mean nothing here, in any order."""
        every = _context()
        picked = self.rng.integers(0, len(every), size=int(self.rng.integers(1, 8)))
        return " ".join(every[k] for k in picked)

    def shares(self) -> tuple[dict[str, str], float]:
        """Return two shares that sum to 1 in some form, one that does not, and the first."""
        draw = self.rng.random()
        if draw < 0.25:
            names = list(_PARTS)
            part = names[int(self.rng.random() * len(names))]
            rest = [name for name, value in _PARTS.items() if abs(value + _PARTS[part] - 1) < 1e-9]
            other = self._of(tuple(rest)) if rest else "the rest"
            return {"A": part, "B": other, "W": "five thirds"}, _PARTS[part]
        percent = (
            int(5 * self.rng.integers(1, 20)) if draw < 0.8 else int(self.rng.integers(1, 100))
        )
        wrong = percent + int(self.rng.choice([10, 20, 30, 40, -10, -20]))
        form = _FORMS[int(self.rng.random() * len(_FORMS))]

        def said(share: int) -> str:
            tens = 0 < share < 100 and share % 10 == 0
            return form.format(p=share, f=share / 100, w=_TENS[share // 10] if tens else share)

        return {"A": said(percent), "B": said(100 - percent), "W": said(wrong)}, percent / 100

    def ratio(self) -> tuple[str, float]:
        """Return a ratio and the share of its first part."""
        one, two = int(self.rng.integers(1, 10)), int(self.rng.integers(1, 10))
        form = int(self.rng.random() * 5)
        if form == 4:
            one = int(10 * self.rng.integers(1, 10))
            two = 100 - one
        text = (
            f"{one}:{two}", f"{one} to {two}", f"{_ONES[min(one, 10)]} to {_ONES[min(two, 10)]}",
            f"{one} : {two}", f"{one}/{two}",
        )[form]  # fmt: skip
        return text, one / (one + two)


def sentence(kind: str, rng: np.random.Generator) -> tuple[str, float, bool, int]:
    """Return a sentence of a kind, its latency weight, whether latency is first, what it asks."""
    latency = bool(rng.random() < 0.5)
    speaker = Speaker(PAIR[not latency], rng)
    template = speaker._of(words("sentences")[kind])
    extra, share = speaker.shares()
    extra["r"], ratio = speaker.ratio()
    multiples = list(_TIMES)
    extra["t"] = multiples[int(rng.random() * len(multiples))]
    times = _TIMES[extra["t"]]
    first = {
        "one": 1.0,
        "contrast": 1.0,
        "parts": share,
        "ratio": ratio,
        "times": times / (1 + times),
    }
    level = {**first, **_LEVELS}.get(kind, 0.5)
    asks = {"none": NONE, "more_of": MORE}.get(kind, LESS)
    text = _contracted(speaker.say(template, extra), rng)
    return text, level if latency else 1 - level, latency, asks


def _contracted(text: str, rng: np.random.Generator) -> str:
    for whole, short in _SHORT.items():
        if whole in text and rng.random() < _CONTRACTED:
            text = text.replace(whole, short[int(rng.random() * len(short))])
    return text.replace("minimise", "minimize") if rng.random() < 0.3 else text


def _drawn(kind: str, rng: np.random.Generator) -> tuple[str, float, bool, int]:
    if kind == "mixture":
        return (*mixture("train", rng, _wordings()), LESS)
    if kind == "spoken":
        return _spoken(rng)
    if kind not in ("catalogue", "composed"):
        return sentence(kind, rng)
    latency = bool(rng.random() < 0.5)
    own = PAIR[not latency]
    known = phrases("train", own)
    text = known[int(rng.random() * len(known))] if kind == "catalogue" else compose(own, rng)
    return text, float(latency), latency, LESS


def _spoken(rng: np.random.Generator) -> tuple[str, float, bool, int]:
    """Return a sentence that somebody said as a whole, at times with words around it."""
    common = words("sentences")
    name = list(_SPOKEN)[int(np.searchsorted(np.cumsum(list(_SPOKEN.values())), rng.random()))]
    said = lines("spoken", name)
    text = said[int(rng.random() * len(said))]
    if rng.random() < _AROUND / 2:
        text = f"{_pick(common, 'polite', rng)} {text}"
    if rng.random() < _AROUND / 2:
        text = f"{text} {_pick(common, 'after', rng)}"
    latency = name == PAIR[0] if name in PAIR else bool(rng.random() < 0.5)
    weight = float(latency) if name in PAIR else 0.5
    return text, weight, latency, _ASKS.get(name, LESS)


def sample(count: int, rng: np.random.Generator) -> Texts:
    """Return ``count`` texts and what they ask for: about a fifth ask for nothing, or for more."""
    chances = np.array(list(_DRAWN.values()))
    drawn = rng.choice(len(chances), size=count, p=chances / chances.sum())
    slips = rng.random(count) < _SLIP
    rows = []
    for kind, slipped in zip(drawn, slips, strict=True):
        text, *meaning = _drawn(list(_DRAWN)[kind], rng)
        text = text[:MAX_CHARS].strip() if len(text) > MAX_CHARS else text
        if slipped and not re.search(r"\d", text) and len(text) > 8:
            text = slip(text, rng)
        rows.append((text, *meaning))
    texts, weights, latency, asks = zip(*rows, strict=True)
    prompts = Prompts(texts, np.asarray(weights, dtype=float))
    return Texts(prompts, np.asarray(latency), np.asarray(asks))
