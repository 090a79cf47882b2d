"""What MkDocs does while it builds the documentation besides reading `docs/`; named under `hooks` in `mkdocs.yml`.

* The pages that the navigation has under `reference/` as `MODULE.md` are written by `tools/api_pages.py`.
* The Markdown files in BROUGHT lie elsewhere in the repository. Their links follow them; what they link to that is not
  on the site is plain text there.
"""

from __future__ import annotations

import posixpath
import re
import sys
import warnings
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import api_pages  # noqa: E402

#: Pages of the site that are files of the repository outside of `docs/`.
BROUGHT = {
    "changes.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "examples.md": "examples/README.md",
    "benchmarks.md": "benchmarks/results/README.md",
}
PAGES = {source: page for page, source in BROUGHT.items()}
REFERENCE = "reference/"


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that are not in `docs/`."""
    listed = [page for page in _pages_of(config.nav) if page.startswith(REFERENCE)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = api_pages.pages([page.removeprefix(REFERENCE).removesuffix(".md") for page in listed])
    for name, text in written.items():
        files.append(File.generated(config, REFERENCE + name, content=text))
    there = {f"docs/{file.src_uri}": file.src_uri for file in files} | PAGES
    for place, source in BROUGHT.items():
        text = _relinked((ROOT / source).read_text("utf-8"), source, place, there)
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Lead the links of `docs/` to files that are brought here to the pages that they became."""
    return _relinked(markdown, f"docs/{page.file.src_uri}", page.file.src_uri, PAGES)


def on_post_build(*, config: Any) -> None:
    """Refuse a site that fetches anything from the network to show its pages.

    Raises:
        PluginError: with the page and the address.
    """
    fetching = r"<(?:script|img|iframe|link(?![^>]*rel=\"?(?:canonical|prev|next|alternate)))\b"
    for page in Path(config.site_dir).rglob("*.html"):
        found = re.search(fetching + r"[^>]*(?:src|href)=\"?((?:https?:)?//[^\" >]+)", page.read_text("utf-8"))
        if found:
            raise PluginError(f"{page} fetches {found[1]}; the site has to work from the disk")


def _pages_of(nav: Any) -> list[str]:
    """The paths in a navigation, which is a list of paths and of dictionaries of navigations."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in _pages_of(part)]


def _relinked(text: str, source: str, place: str, there: dict[str, str]) -> str:
    """The text of the file ``source`` of the repository as the page ``place``, linked to the pages that files became.

    What else a page of `docs/` links to is left to MkDocs to judge; what else another file links to is plain text.
    """

    def relinked(match: re.Match[str]) -> str:
        words, target, anchor = match.groups(default="")
        page = there.get(posixpath.normpath(posixpath.join(posixpath.dirname(source), target)))
        if page is not None:
            return f"[{words}]({posixpath.relpath(page, posixpath.dirname(place) or '.')}{anchor})"
        return match[0] if source.startswith("docs/") else words

    return re.sub(r"\[([^\]]+)\]\((?!\w+:)([\w./-]+)(#[^)]*)?\)", relinked, text)
