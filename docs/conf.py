"""Sphinx: MyST Markdown, furo, the API from the docstrings.

`make docs` turns every warning into an error.
"""

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import lambo_env  # noqa: E402 (the tree that is documented, not one that happens to be installed)

project = "LAMBO suite"
author = "LAMBO suite contributors"
copyright = f"2026, {author}"  # noqa: A001 (Sphinx's own name)
release = version = lambo_env.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "templates", "examples", "leaderboard"]
nitpicky = False  # array aliases are no targets
html_theme = "furo"
html_title = f"LAMBO suite {release}"
html_static_path = ["static"]
html_css_files = ["style.css"]
html_math_renderer = "mathml"
templates_path: list[str] = []

myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "attrs_inline"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": False}
napoleon_google_docstring = True
napoleon_numpy_docstring = False


INTERVAL = re.compile(r"(?<=\d) (?=\[)|(?<=,) (?=[^\[\]]*\])")  # of "0.13 [0.11, 0.15]"
LONG_WORD = re.compile(r'<span class="pre">([^<]{16,})</span>')  # of inline code


def _inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _block(writer: Any, node: nodes.math_block) -> None:
    writer.body.append(convert(node.astext(), display="block"))
    raise nodes.SkipNode


def _keep_intervals(app: Sphinx, doctree: nodes.document, name: str) -> None:
    """Let no line of a table end within an interval; five in a row are set smaller."""
    for entry in doctree.findall(nodes.entry):
        for text in list(entry.findall(nodes.Text)):
            kept = INTERVAL.sub("\N{NO-BREAK SPACE}", text)
            text.parent.replace(text, nodes.Text(kept))
    for table in doctree.findall(nodes.table):
        rows = [row.astext().count("[") for row in table.findall(nodes.row)]
        if max(rows) >= 5:
            table["classes"].append("dense")


def _broken(word: re.Match[str]) -> str:
    marks = "[./:]" if "." in word[1] and len(word[1]) <= 40 else "[./:_]"
    parts = re.sub(rf"({marks}+)(?=[a-z])", r"\1<wbr>", word[1])
    return f'<span class="pre long">{parts}</span>'


def _break_names(app: Sphinx, page: str, template: str, context: Any, doctree: Any) -> None:
    """Let a long name in code break after a dot or a slash, and only there."""
    if "body" in context:
        context["body"] = LONG_WORD.sub(_broken, context["body"])


def setup(app: Sphinx) -> None:
    """Show equations as MathML, which browsers draw themselves: nothing is fetched."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("doctree-resolved", _keep_intervals)
    app.connect("html-page-context", _break_names)
