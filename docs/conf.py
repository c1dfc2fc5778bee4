"""Sphinx: MyST Markdown, furo, the API from the docstrings.

`make docs` turns every warning into an error.
"""

import sys
from pathlib import Path

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
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "templates", "examples"]
nitpicky = False  # array aliases are no targets
html_theme = "furo"
html_title = f"LAMBO suite {release}"
html_static_path: list[str] = []
templates_path: list[str] = []

myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "attrs_inline"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": False}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
