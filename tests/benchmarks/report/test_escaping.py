"""Labels with marks of rich, Markdown, HTML, mathtext and terminals, everywhere they are shown."""

import html
import io
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from benchmarks.report import figures, report
from benchmarks.report.console import print_table
from benchmarks.report.escaping import markdown, plain
from benchmarks.report.statistics import Interval
from benchmarks.report.tables import AgentLine, Table

EVIL = (
    "[/v2]",
    "[bold red]x",
    "trailing\\",
    r"$\foo{$",
    "a$b",
    "<script>alert(1)</script>",
    "a|b",
    "**bold**",
    "_x_",
    "[link](http://e.com)",
    "![i](x.png)",
    "# title",
    "&lt;",
    "`code",
    "café 日本",
    "x" * 300,
    "two\nlines",
    "\x1b[2J\x1b]0;title\x07",
    "\u202egnp",
)


def table_of(label: str) -> Table:
    line = AgentLine(
        *(label, label, "minimum latency", "s", 1, 8, Interval(1.0, 0.9, 1.1), 0.0, 1.0, 1.0),
        *(Interval(1.0, 0.9, 1.1), 1.0, 0.5, None, 0, False),
    )
    return Table(label, "0" * 16, "minimum latency", "s", [line], 0.9, 0, [f"note on {label}"])


@pytest.mark.parametrize("label", EVIL)
def test_a_terminal_shows_a_label_and_obeys_none(label: str, capsys: pytest.CaptureFixture[str]):
    print_table((label, "b"), [(label, "1")], label)
    shown = capsys.readouterr().out
    assert not any(mark in shown for mark in "\x1b\x07\u202e")
    assert plain(label)[:20] in shown


@pytest.mark.parametrize("label", EVIL)
def test_markdown_and_html_show_a_label_as_it_is(label: str):
    for reader in (MarkdownIt("commonmark"), MarkdownIt("gfm-like", {"linkify": False})):
        shown = reader.renderInline(f"before {markdown(label)}")
        assert shown == html.escape(f"before {plain(label)}", quote=False).replace('"', "&quot;")
    page = report.html_page(
        f"# {markdown(label)}\n\n{report.markdown_table([label], [[label]])}", "{}"
    )
    body = page[page.index("<details") : page.index("</details>")]
    assert body.count("<td") == 1 and body.count("<th") == 2 and page.count("<script") == 2


@pytest.mark.parametrize("label", EVIL[3:5] + EVIL[-3:])
def test_figures_are_drawn_whatever_the_labels(label: str):
    pytest.importorskip("matplotlib")
    drawn = figures.drawn(lambda: figures.pictures([table_of(label)]))
    assert len(drawn) == 2
    assert all(Path(name).name == name and not name.startswith(".") for name in drawn)


def test_labels_that_differ_in_their_marks_alone_have_figures_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(figures, "picture", lambda figure: figures.Picture(b"", "", b""))
    tables = [table_of("a b"), table_of("a-b"), table_of("A/../b")]
    assert len(figures.drawn(lambda: figures.pictures(tables))) == 6


@pytest.mark.parametrize("encoding", ["latin-1", "cp437", "cp850", "ascii", "utf-8"])
def test_a_console_of_few_characters_gets_the_nearest(encoding: str):
    code = (
        "from benchmarks.report.escaping import accept_any_encoding, tell; "
        "from benchmarks.report.console import print_table; accept_any_encoding(); "
        "tell('“café” \xd7 2 \u2013 3 日'); print_table(['“a”', 'b'], [['é', '1']], '“t”')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env={"PYTHONIOENCODING": encoding, "PATH": "", "PYTHONPATH": ":".join(sys.path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    shown = io.TextIOWrapper(io.BytesIO(done.stdout), encoding=encoding).read()
    if encoding == "ascii":
        assert shown.startswith('"cafe" x 2 - 3 ?')
    if encoding == "utf-8":
        assert shown.startswith("“café” \xd7 2 \u2013 3 日")
