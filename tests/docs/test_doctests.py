"""The examples in docstrings do what they say."""

import doctest
import importlib

import pytest
from doc_blocks import ROOT

PACKAGES = ("lambo_env", "lambo_agents", "baselines", "benchmarks")
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if "templates" not in path.parts and ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_of_the_module_run(name: str):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried > 0
    assert failed == 0, "the examples that fail are printed above"


def test_there_are_examples():
    assert MODULES
