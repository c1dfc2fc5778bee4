"""report.html: the report's tables for every reader, and above them what a script draws."""

from __future__ import annotations

import functools
import html
from pathlib import Path

_FILES = Path(__file__).parent
# nothing is fetched, whatever stands in the texts of others
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def html_page(markdown: str, data: str) -> str:
    """Return a report as a page that stands alone.

    Texts are escaped: of Markdown's marks only those that reports use mean anything.

    Args:
        markdown: begins with its title; its pictures are left out, the script draws its own.
        data: what ``page_json`` makes.
    """
    from markdown_it import MarkdownIt

    reader = MarkdownIt("zero").enable(
        ["heading", "table", "list", "blockquote", "image", "backticks", "escape"]
    )
    reader.add_render_rule("image", lambda *_: "")
    parts = {
        "title": html.escape(markdown.partition("\n")[0].removeprefix("# ")),
        "policy": _POLICY,
        "style": _file("style.css"),
        "tables": reader.render(markdown.partition("\n")[2]).replace("<p></p>\n", ""),
        "data": data,
        "script": _file("script.js"),
    }
    page = _file("page.html")
    before, *rest = page.split("[[")
    texts = [part.partition("]]") for part in rest]
    return before + "".join(parts[name] + after for name, _, after in texts)


@functools.cache
def _file(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")
