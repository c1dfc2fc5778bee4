"""The tokenizer of prompts: a token is one byte of 7-bit ASCII."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lambo_env.prompts import grammar
from lambo_env.prompts.grammar import MAX_CHARS

Tokens = NDArray[np.uint8]


def encode_text(text: str, field: str = "prompt") -> Tokens:
    """Return the tokens of a text: uint8 [160], its lower-cased ASCII bytes, then zeros.

    Raises:
        ValueError: if it is no str, blank, longer than 160 characters, or not printable 7-bit
            ASCII.

    >>> encode_text("Hi")[:3].tolist()
    [104, 105, 0]
    """
    data = grammar.check_text(text, field).lower().encode("ascii")
    return np.frombuffer(data.ljust(MAX_CHARS, b"\0"), dtype=np.uint8).copy()
