"""Files that are replaced, and those that are not; names that come from texts."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambo_env.utils import files


@given(st.text(max_size=300))
def test_every_text_gives_a_name_that_is_one_visible_file_of_its_folder(text: str):
    name = files.safe_name(text)
    assert name and Path(name).name == name and not name.startswith(".") and len(name) < 100
    assert name.isascii() and name.isprintable() and files.safe_name(name) == name


@given(st.text(max_size=5), st.text(max_size=5))
def test_two_texts_give_two_names(one: str, other: str):
    assert (files.safe_name(one) == files.safe_name(other)) == (one == other)


@pytest.mark.parametrize("kind", ["link", "dangling link", "fifo", "folder"])
def test_links_pipes_and_folders_are_not_replaced(kind: str, tmp_path: Path):
    target, victim = tmp_path / "out", tmp_path / "victim"
    victim.write_text("precious")
    if kind == "fifo":
        os.mkfifo(target)
    elif kind == "folder":
        target.mkdir()
    else:
        target.symlink_to(victim if kind == "link" else tmp_path / "gone")
    before = os.lstat(target)
    with pytest.raises(ValueError, match=r"output is '.*out'; allowed: a new file, or a regular"):
        files.write_text(target, "new")
    assert os.lstat(target) == before and victim.read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "victim"]


def test_only_a_file_with_the_mark_is_replaced(tmp_path: Path):
    path = tmp_path / "report.md"
    for text in ("Made by `us`: 1", "Made by `us`: 2"):
        files.write_text(path, text, b"Made by `")
        assert path.read_text() == text
    path.write_text("my own notes")
    with pytest.raises(ValueError, match="this one is another's"):
        files.write_text(path, "Made by `us`: 3", b"Made by `")
    assert path.read_text() == "my own notes"
    path.write_text("")
    files.write_text(path, "Made by `us`: 4", b"Made by `")  # nothing was lost


def test_a_subfolder_that_is_a_link_is_refused(tmp_path: Path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "figures").symlink_to(tmp_path / "victim")
    with pytest.raises(ValueError, match="not a link to one"):
        files.subfolder(tmp_path, "figures")
    assert files.subfolder(tmp_path, "bounds") == tmp_path / "bounds"


def test_a_full_disk_is_told_with_its_path_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device: '.*rows.json'"):
        files.write_text(tmp_path / "rows.json", "{}")
    assert list(tmp_path.iterdir()) == []
