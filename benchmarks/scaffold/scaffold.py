"""A package of four files whose agent already runs: the start of somebody else's agent."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from lambo_env.utils import files, validate

TEMPLATES = Path(__file__).with_name("templates")
FILES = {  # of a package, by template; @NAME@, @CLASS@ and @DIST@ are filled in
    "pyproject.toml.in": "pyproject.toml",
    "agent.py.in": "@NAME@.py",
    "test_agent.py.in": "test_@NAME@.py",
    "README.md.in": "README.md",
}
RESERVED = ("conftest", "setup")  # pip and pytest would run these files


def new_agent(name: str, folder: Path) -> list[Path]:
    """Write the package of agent ``name`` into ``folder`` and return its files.

    Raises:
        ValueError: a name that cannot be a Python module and an agent at once, or one that is
            taken.
        FileExistsError: the folder holds something already.
    """
    named = re.fullmatch(r"[a-z][a-z0-9_]*", name) is not None and not keyword.iskeyword(name)
    allowed = "a Python module's name: lower-case letters, digits and _, a letter first"
    validate.check("new-agent NAME", name, named, allowed)
    validate.check(
        "new-agent NAME",
        name,
        name not in RESERVED,
        "a name that no tool takes for a file of its own",
    )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} holds something already; choose another folder with --out")
    words = {
        "NAME": name,
        "CLASS": "".join(part.capitalize() for part in name.split("_")),
        "DIST": name.replace("_", "-"),
    }
    texts = {
        _fill(file, words): _fill((TEMPLATES / template).read_text(encoding="utf-8"), words)
        for template, file in FILES.items()
    }
    for file, text in texts.items():
        files.write_text(folder / file, text)
    return [folder / file for file in texts]


def _fill(text: str, words: dict[str, str]) -> str:
    return re.sub("@(NAME|CLASS|DIST)@", lambda match: words[match[1]], text)
