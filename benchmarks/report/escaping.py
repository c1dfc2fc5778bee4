"""Texts of others (labels, prompts, errors) where they would mean more than their letters.

One function per place that reads marks: terminals, Markdown (and the HTML made of it), and an
encoding with few characters. rich gets ``Text``, and figures are drawn without mathtext.
"""

from __future__ import annotations

import codecs
import re
import sys
import unicodedata

_SIMPLE = dict(zip(map(ord, "“”„‘’–—−×·…±µ"), '"""\'\'---x..+u', strict=True))  # noqa: RUF001
_MARKS = re.compile(r"[\\`*~<|$]|(?<!\w)_|_(?!\w)|\](?=[(\[:])|&(?=#?\w+;)|^(?=[#>+-] )")


def plain(text: object) -> str:
    """Return a text in one line without control characters, which a terminal would obey."""
    return "".join(
        character if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else mark
        for character in str(text)
        for mark in (" " if character in "\n\r\t" else f"\\x{ord(character):02x}",)
    )


def markdown(text: object) -> str:
    """Return a text that Markdown shows as it is."""
    return _MARKS.sub(lambda match: "\\" + match[0], plain(text))


def tell(text: object, *, error: bool = False) -> None:
    """Print a line at once, on the error stream if so."""
    print(plain(text), file=sys.stderr if error else sys.stdout, flush=True)


def accept_any_encoding() -> None:
    """Let the standard streams print what their encoding lacks as the nearest plain ASCII."""
    codecs.register_error("lambo-plain", _nearest)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="lambo-plain")


def _nearest(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end].translate(_SIMPLE)
    ascii_only = "".join(
        unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"
        for character in lost
    )
    return ascii_only, error.end
