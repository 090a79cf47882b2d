"""Every Python example of the documentation runs, and prints what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = "reference/"  # pages that `tools/api_pages.py` writes when the site is built
RUNNER = Path(__file__).with_name("run_page.py")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def can_run(page: Path) -> bool:
    """Whether a page has examples, and the package that it belongs to is there (`tox -e plugins` has them all)."""
    package = page.parent.name if page.parent.parent == ROOT / "examples" / "plugins" else "flambeau"
    return "```python" in page.read_text() and bool(find_spec(package.replace("-", "_")))


@pytest.mark.parametrize("page", [page for page in PAGES if can_run(page)], ids=name_of)
def test_examples_run(page: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(RUNNER), str(page)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr or done.stdout
    assert int(done.stdout.splitlines()[-1]) == page.read_text().count("```python\n")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file and, in a page, to one of its headings."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", text):
        if target.startswith(("http", REFERENCE, f"../{REFERENCE}")):  # those pages are tried in test_site.py
            continue
        file = page.parent / target if target else page
        assert file.exists(), f"{page.name} links to {target}, which is not there"
        if anchor:
            assert anchor in headings(file), f"{page.name} links to {target}#{anchor}: no such heading"


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_runner_compares_output(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```output\n2\n```\n")
    done = subprocess.run([sys.executable, str(RUNNER), str(page)], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{page}:6: the example prints something else" in done.stderr


def test_every_hook_is_in_the_guide() -> None:
    from flambeau import hookspec

    guide = (ROOT / "docs" / "plugins" / "contract.md").read_text()
    hooks = [name for name in vars(hookspec) if name.startswith("flambeau_")]
    assert hooks
    for name in hooks:
        assert f"| `{name}(" in guide, f"docs/plugins/contract.md does not list the hook {name}"


@pytest.mark.parametrize("page", ["README.md", "docs/settings.md"])
def test_every_extra_is_listed(page: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = (ROOT / page).read_text()
    for extra in set(extras) - {"test", "lint", "types", "docs"}:  # parts of `dev`
        assert f"`{extra}`" in text, f"{page} does not mention the extra {extra!r}"


def test_every_package_is_in_the_architecture() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    for where in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"][
        "where"
    ]:
        for package in (ROOT / where).glob("flambeau*/__init__.py"):
            folder = package.parent.relative_to(ROOT)
            assert f"| `{folder}` |" in text, f"docs/architecture.md does not say what {folder} holds"


def test_every_environment_variable_is_listed() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    sources = [source for where in ("core", "backends", "plugins") for source in (ROOT / where).rglob("*.py")]
    named = {name for source in sources for name in re.findall(r'"(FLAMBEAU_[A-Z_]+)"', source.read_text())}
    assert {"FLAMBEAU_DEVICE", "FLAMBEAU_OPENCL_PLATFORM"} <= named
    for name in named - {"FLAMBEAU_PLUGIN_API"}:  # a constant of plugins
        assert f"| `{name}` |" in text, f"docs/settings.md does not list {name}"
