"""The built site in a browser."""

import subprocess
import sys
from pathlib import Path

import browser
import pytest

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 1400  # of a window, in pixels
TOO_WIDE = """
return [...document.querySelectorAll(".table-wrapper")]
    .filter((table) => table.scrollWidth > table.clientWidth)
    .map((table) => table.querySelector("tr").textContent.trim().replace(/\\s+/g, " "));
"""


@pytest.mark.slow
@pytest.mark.skipif(browser.found() is None, reason=browser.MISSING)
def test_no_table_scrolls_in_a_window_of_common_width(tmp_path: Path):
    pytest.importorskip("sphinx")
    build = [sys.executable, "-m", "sphinx", "-q", "-b", "html"]
    subprocess.run([*build, str(ROOT / "docs"), str(tmp_path)], check=True)
    pages = [page for page in sorted(tmp_path.rglob("*.html")) if "_modules" not in page.parts]
    assert len(pages) > 30
    wide = {}
    with browser.started() as window:
        for page in pages:
            window.open(page, WIDTH)
            if found := window.run(TOO_WIDE):
                wide[str(page.relative_to(tmp_path))] = found
    assert wide == {}
