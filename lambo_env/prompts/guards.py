"""What is refused before a sentence is read, whatever its words: questions, accounts, slips.

A text that is refused is left to who can read more into it: a refusal is never the wrong weight.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from lambo_env.prompts import lexicon, spelling
from lambo_env.prompts.number_words import Symbol
from lambo_env.prompts.shares import RefusedError

# what says of an unknown thing that it counts, or that it does not
_JUDGING = {
    *("about", "matter", "moot", "like", "dismiss", "fine", "complain", "not", "no", "avoid"),
    *("reduce", "raise", "save", "waste", "sell"),
}
_SO = ("so", ":")  # after a clause that only gives a reason
_QUESTION = re.compile(
    r"^\W*((who|when|where|does|do (you|we|they|i)|did|is|are|was|were|has|had|have (you|we|they)|"
    r"how (many|much|long|fast|is|are|does|do))\b(?!.*\b(possible|way)\b).*\?|"
    r"((tell|show) me )?how to\b)",
    re.IGNORECASE,
)
_VERBS = "minimi[sz]|reduc|lower|sav|improv|decreas|shorten|optimi[sz]|conserv"
_TOLD = re.compile(rf"\b({_VERBS})e?s\b(?! (of|in|on))", re.IGNORECASE)  # "the agent saves energy"
_THAT = re.compile(
    r"\b(that|which|what|whatever|whichever|if|when|where|who|whoever|so|need|needs|want|wants)\b",
    re.IGNORECASE,
)
_PAST = re.compile(rf"\b({_VERBS})e?d\b", re.IGNORECASE)  # "latency was reduced"
_WISH = re.compile(
    r"\b(be|should|must|wants?|needs?|like|please|get|keep|have|wish|(is|are) to|has to|could)\b",
    re.IGNORECASE,
)
_STATE = "good|fine|low|short|fast|quick|long|green|frugal|energy[- ]efficient|great"
_COMPLAINT = re.compile(  # "the app is fast but not green"
    rf"(\b(is|are|last)|'s|'re)( already| very| quite)? ({_STATE})\b.*(\bnot\b|n't\b)"
    rf"|(\bnot|n't) ({_STATE})\b.*\b(last|is|are)\b",
    re.IGNORECASE,
)
# numbers that say how much something changed, was, or is a part of, and weigh nothing
_MEASURED = re.compile(
    r"\bby (?:a |about |some )?\d"
    r"|\d ?%? (?:less|lower|higher|more|better|worse|faster|slower|charged)\b"
    r"|\b(?:up|down|fell|rose|increased|decreased|improved|reduces|reduced|dropped|cuts?|saves?|"
    r"saved) (?:by |to )?\d"
    r"|\b(?:reductions?|improvements?|decreases?|increases?|was|were|measurements?|level|log)\b"
    r"|(?:%|percent|half|thirds?|quarters?|fifths?|tenths?) of (?!(?:the |your |my |our |all |its |"
    r"total |overall |it)*(?:weights?|weighting|importance|emphasis|priority|focus|attention|it|"
    r"effort|score|cost|objective|reward|goal|total|whole|value|points?|decision|budget|sum|stress|"
    r"care|concern|credit|interest|shares?)\b)",
    re.IGNORECASE,
)
_MINUS = re.compile(r"[=*].* - |\d [a-z ]+ - 0?\.\d", re.IGNORECASE)


def refuse_unclear(row: Sequence[Symbol], text: str) -> None:
    """Refuse a sentence that may not ask for anything, or have a slip that turns it round.

    Raises:
        RefusedError: a question, a complaint, an account of what was done, an unknown word that may
            be a slip, is dismissed or judged.
    """
    if not lexicon.objectives_in(row):
        return
    if _QUESTION.search(text):
        raise RefusedError("a text that asks for less of something, and no other question")
    if _COMPLAINT.search(text):
        raise RefusedError("a text that says what it wants, and not only how things are")
    told = _TOLD.search(text) and not _THAT.search(text)
    if told or (_PAST.search(text) and not _WISH.search(text)):
        raise RefusedError("a text that asks for something, and does not tell what was done")
    _refuse_slips(row)


def _refuse_slips(row: Sequence[Symbol]) -> None:
    known = lexicon.lexicon()
    for one, two in itertools.pairwise(row):
        if one.kind == "dismiss" and two.kind == "unknown":
            raise RefusedError(f"words that are known after '{one.words}'; '{two.words}' is not")
    stops = [k for k, symbol in enumerate(row) if symbol.kind == "stop"]
    for start, end in itertools.pairwise(stops):
        clause = row[start + 1 : end]
        unknown = [symbol.words for symbol in clause if symbol.kind == "unknown"]
        named = lexicon.objectives_in(clause)
        for word in unknown:
            if named and spelling.slipped(word, known):
                raise RefusedError(f"words that are known; '{word}' may be a slip")
        reason = any(symbol.words in _SO for symbol in row[end : end + 2])
        if unknown and not named and not reason and _JUDGING & {s.kind for s in clause}:
            raise RefusedError(f"words that are known where something is judged, as '{unknown[0]}'")


def refuse_measured(row: Sequence[Symbol], text: str) -> None:
    """Refuse numbers that are no weights.

    Raises:
        RefusedError: numbers of a change, of a measurement or of a part of something else, "times
            less", or a mix that is to be maximised.
    """
    if measured := _MEASURED.search(text) or _MINUS.search(text):
        raise RefusedError(f"shares, and no other numbers than weights ('{measured[0]}')")
    if {"times", "lean_less"} <= {symbol.kind for symbol in row}:
        raise RefusedError("how many times more one counts, and not less")
    if any(symbol.kind == "raise" and symbol.words.startswith("maxim") for symbol in row):
        raise RefusedError("shares, and nothing that asks for more of what should be small")
