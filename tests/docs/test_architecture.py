"""The page of the rooms and its picture are what the imports say."""

import importlib.util
from types import ModuleType

import pytest
from doc_blocks import ROOT


@pytest.fixture(scope="module")
def architecture() -> ModuleType:
    path = ROOT / "docs" / "architecture.py"
    spec = importlib.util.spec_from_file_location("architecture", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_and_picture_of_the_rooms_are_the_generated_ones(architecture: ModuleType):
    found = architecture.rooms()
    hint = "run python docs/architecture.py"
    assert architecture.PAGE.read_text(encoding="utf-8") == architecture.page(found), hint
    assert architecture.PICTURE.read_text(encoding="utf-8") == architecture.picture(found), hint


def test_every_room_says_what_it_holds(architecture: ModuleType):
    homes = {architecture.ROOT / floor / folder for floor, folder in architecture.rooms()}
    assert [home for home in sorted(homes) if not architecture._summary(home)] == []
