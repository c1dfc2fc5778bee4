"""The house rules by room: sizes, prefixes, names, columns."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("lambo_env", "lambo_agents", "baselines", "benchmarks")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
ROOMS = sorted({path.parent for path in MODULES})
PRAGMA = re.compile(r"  # (type: ignore|noqa).*")  # for tools, not for the reader
COLUMNS, MOST_MODULES, MOST_OF_A_PREFIX = 100, 14, 2


def siblings(room: Path) -> list[str]:
    return [path.stem for path in sorted(room.glob("*.py")) if path.name != "__init__.py"]


def test_a_room_has_few_modules():
    large = {str(room): len(siblings(room)) for room in ROOMS if room.name != "commands"}
    assert {room: count for room, count in large.items() if count > MOST_MODULES} == {}


def test_no_prefix_is_shared_by_three_siblings():
    counts = {
        f"{room.relative_to(ROOT)}/{prefix}_*": count
        for room in ROOMS
        for prefix, count in Counter(name.split("_")[0] for name in siblings(room)).items()
    }
    assert {where: count for where, count in counts.items() if count > MOST_OF_A_PREFIX} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_class_name_twice_within_a_package(package: str):
    names = Counter(
        node.name
        for path in MODULES
        if path.relative_to(ROOT).parts[0] == package
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_no_line_is_longer_than_the_page():
    long = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in (*PACKAGES, "tests", "docs")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(PRAGMA.sub("", line)) > COLUMNS
    ]
    assert long == []
