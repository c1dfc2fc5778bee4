"""What setup.cfg cannot say: links of the package's page, once the source has a public address.

``LAMBO_URL`` is that address, ``LAMBO_REF`` the branch or tag that links lead to. Without an
address README.md goes into the metadata as it is, and there are no project URLs.
"""

import os
import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^]]*)\]\((?P<path>[^)#\s]+)(?P<rest>#[^)\s]*)?\)")


def metadata(url: str, ref: str) -> dict[str, object]:
    """Return the metadata that an address adds: the long description and the project URLs.

    Args:
        url: of the source, such as https://HOST/OWNER/NAME, whose files are at URL/blob/REF/PATH
            and, as they are, at URL/raw/REF/PATH; "" for none.
        ref: branch or tag.

    Raises:
        ValueError: no such address, or an empty ref.
    """
    if not url:
        return {}
    if not re.fullmatch(r"https://[^\s/]+/\S+", url):
        raise ValueError(f"LAMBO_URL is {url!r}; allowed: https://HOST/PATH, the source's address")
    if not re.fullmatch(r"[\w./-]+", ref):
        raise ValueError(f"LAMBO_REF is {ref!r}; allowed: the name of a branch or a tag")
    url = url.rstrip("/")
    pages = f"{url}/blob/{ref}"
    return {
        "long_description": absolute((ROOT / "README.md").read_text(encoding="utf-8"), url, ref),
        "project_urls": {
            "Source": url,
            "Documentation": f"{pages}/docs/index.md",
            "Changelog": f"{pages}/CHANGELOG.md",
            "Issues": f"{url}/issues",
        },
    }


def absolute(text: str, url: str, ref: str) -> str:
    """Return Markdown whose links to files of this tree lead to them at ``url``."""

    def link(match: re.Match[str]) -> str:
        if not (ROOT / match["path"]).exists():
            return match[0]
        kind, rest = ("raw" if match["picture"] else "blob"), match["rest"] or ""
        target = f"{url}/{kind}/{ref}/{match['path']}{rest}"
        return f"{match['picture']}[{match['text']}]({target})"

    return LINK.sub(link, text)


if __name__ == "__main__":
    setup(**metadata(os.environ.get("LAMBO_URL", ""), os.environ.get("LAMBO_REF") or "main"))
