"""Every block of the README works; see doc_blocks for what is run and what is only checked."""

import sys
from pathlib import Path

import pytest
from doc_blocks import ROOT, Block, Page, blocks, check_command, commands

README = ROOT / "README.md"


def test_readme_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LAMBO_CACHE", str(tmp_path / "cache"))
    Page(README, tmp_path).run()


def test_readme_shows_code_and_commands():
    found = blocks(README.read_text(encoding="utf-8"))
    assert [block for block in found if block.kind == "python" and not block.left_out]
    assert [
        words for block in found if block.kind in ("console", "bash") for words in commands(block)
    ]


PAGE = """
```python
x = 1
print(x + 1)
```

```text
2
```

<!-- not run: shows a mistake -->
```python
raise SystemExit
```

<!-- test -->
```console
$ lambo list sweeps  # what ships
paper quick
```
"""


def _page(tmp_path: Path, text: str) -> Page:
    path = tmp_path / "page.md"
    path.write_text(text)
    return Page(path, tmp_path)


def test_a_page_that_keeps_its_word_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    page = _page(tmp_path, PAGE)
    page.run()
    assert page.namespace["x"] == 1
    assert "quick" in capsys.readouterr().out


def test_modules_of_a_page_end_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A page's `my_rule` once stayed imported; a later `lambo new-agent my_rule` found it taken."""
    monkeypatch.syspath_prepend(tmp_path)
    page = _page(
        tmp_path,
        "```python\n# file: mine_of_a_page.py\nx = 1\n```\n```python\nimport mine_of_a_page\n```\n",
    )
    page.run()
    assert page.namespace["mine_of_a_page"].x == 1
    assert "mine_of_a_page" not in sys.modules


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("x + 1", "x + 2", AssertionError),  # another output than the page shows
        ("x = 1", "x = y", NameError),
        ("raise SystemExit", "raise System Exit", SyntaxError),
        ("not run: shows a mistake", "hidden", SystemExit),  # a reason is asked for
        ("list sweeps", "list sweps", AssertionError),
    ],
)
def test_a_page_that_does_not_is_found_out(
    tmp_path: Path, old: str, new: str, error: type[BaseException]
):
    with pytest.raises(error):
        _page(tmp_path, PAGE.replace(old, new)).run()


@pytest.mark.parametrize("words", ["bench quick --agent greedy", "scenario chek", "evaluate"])
def test_commands_that_are_not_run_are_still_read(words: str):
    with pytest.raises(AssertionError):
        check_command(words.split(), "here")


def test_a_command_line_is_cut_into_words():
    block = Block(
        "bash", "pip install -e . && lambo scenario show \\\n  paper > mine.toml  # a copy\n", 1, ""
    )
    assert list(commands(block)) == [
        ["pip", "install", "-e", "."],
        ["lambo", "scenario", "show", "paper"],
    ]
