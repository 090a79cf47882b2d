"""The documentation site: its navigation, and the reference pages that are made of signatures and docstrings."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import flambeau

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LISTED = re.findall(r"^ +- .*?: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
TARGETS = [page.removeprefix("reference/").removesuffix(".md") for page in LISTED if page.startswith("reference/")]


@pytest.fixture(scope="module")
def tools() -> ModuleType:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import api_pages
    finally:
        sys.path.remove(str(ROOT / "tools"))
    return api_pages


@pytest.fixture(scope="module")
def reference(tools: ModuleType) -> dict[str, str]:
    return tools.pages(TARGETS)


# -- navigation --------------------------------------------------------------------------------------------------------


def test_every_page_is_in_the_navigation_once() -> None:
    pages = sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
    brought = re.findall(r'^ +"(\S+\.md)": "', (ROOT / "tools" / "docs_hooks.py").read_text(), re.MULTILINE)
    written = [f"reference/{target}.md" for target in TARGETS]
    assert sorted(LISTED) == sorted([*pages, *brought, *written]), "mkdocs.yml: `nav` and docs/ differ"


def test_what_is_brought_exists() -> None:
    source = (ROOT / "tools" / "docs_hooks.py").read_text()
    found = re.findall(r'^ +"\S+\.md": "(\S+)",', source, re.MULTILINE)
    assert found
    for path in found:
        assert (ROOT / path).exists(), path


# -- the reference -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [target for target in TARGETS if target not in ("flambeau", "flambeau.Tensor")])
def test_reference_has_every_public_name(target: str, tools: ModuleType, reference: dict[str, str]) -> None:
    page = reference[f"{target}.md"]
    places = tools.Page(target).anchors()
    names = [name for name, _ in tools._public(sys.modules[target])]
    assert names
    for name in names:
        place = places[f"{target}.{name}"]
        assert f"{{ #{place.partition('#')[2]} }}\n" in page, f"{target}.md has no entry for {name}"


def test_reference_has_every_op_function_and_method(tools: ModuleType) -> None:
    functions, methods = tools.Page("flambeau").anchors(), tools.Page("flambeau.Tensor").anchors()
    for name in ("relu", "relu_", "absolute", "abs", "max", "save", "no_grad", "tensor"):
        assert f"flambeau.{name}" in functions
    for name in ("relu", "relu_", "absolute", "backward", "grad", "reshape"):
        assert f"flambeau.Tensor.{name}" in methods
    ops = {
        name for name in dir(flambeau) if getattr(getattr(flambeau, name), "op", None) is not None and name[0] != "_"
    }
    assert sorted(name for name in ops if f"flambeau.{name}" not in functions) == []


def test_every_entry_says_what_it_is(reference: dict[str, str]) -> None:
    for name, page in reference.items():
        for entry in re.split(r"^#{2,3} (?=.* \{ #)", page, flags=re.MULTILINE)[1:]:
            heading, _, rest = entry.partition("\n")
            text = re.sub(r"```.*?```", "", rest, count=1, flags=re.DOTALL)
            assert text.strip(), f"{name}: {heading} has no docstring"


def test_links_of_the_reference_lead_somewhere(reference: dict[str, str]) -> None:
    links = 0
    for name, page in reference.items():
        prose = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
        assert not re.search(r":(func|class|meth|mod):`", prose), f"{name} has a role that is not Markdown"
        for file, anchor in re.findall(r"\]\(([^)#\s]*\.md)?#([^)\s]+)\)", prose):
            links += 1
            assert f"{{ #{anchor} }}" in reference[file or name], f"{name} links to {file}#{anchor}"
    assert links > 100


def test_signatures_are_written_as_in_a_stub(tools: ModuleType) -> None:
    def given(first: int, /, input: flambeau.Tensor, *rest, flag=True, device: object = object(), **more) -> None: ...

    expected = "(first: int, /, input: flambeau.Tensor, *rest, flag=True, device: object = ..., **more) -> None"
    assert tools.signature(given) == expected
    assert tools.signature(flambeau.relu) == "(input: Tensor) -> Tensor"
    numbers = "input: Tensor | Number, other: Tensor | Number"
    assert tools.signature(flambeau.add) == f"({numbers}, *, alpha: Number = 1) -> Tensor"
    assert tools.signature(flambeau.nn.ReLU) == "(inplace: bool = False)"
    assert tools.signature(ArithmeticError("no call")) is None


def test_long_signatures_have_a_line_a_parameter(tools: ModuleType) -> None:
    call = "f(" + ", ".join(f"argument_{i}: tuple[int, int] = (1, 2)" for i in range(3)) + ") -> Tensor"
    lines = [f"    argument_{i}: tuple[int, int] = (1, 2)," for i in range(3)]
    assert tools._folded(call) == "\n".join(["f(", *lines, ") -> Tensor"])
    assert tools._folded("f(a, b)") == "f(a, b)"


# -- docstrings --------------------------------------------------------------------------------------------------------

DOCSTRING = """\
Return ``a * b``, see :func:`~module.mul`; a value in (0, 1] or x * y.

The rule::

    v = v * beta + g^2

Cases:
* one
  that goes on
* two, :class:`Known`

    print(1)

Args:
    a, b: two numbers
        that are added.
    **options: the rest.

Raises:
    ValueError: when a < b.
"""

MARKDOWN = """\
Return ``a * b``, see `module.mul`; a value in (0, 1\\] or x \\* y.

The rule:

```text
v = v * beta + g^2
```

Cases:

* one that goes on
* two, [Known](#known)

```python
print(1)
```

**Arguments**

* `a`, `b`: two numbers that are added.
* `**options`: the rest.

**Raises**

* `ValueError`: when a &lt; b."""


def test_docstrings_become_markdown(tools: ModuleType) -> None:
    def resolve(name: str) -> str:
        return "[Known](#known)" if name == "Known" else f"`{name.removeprefix('~')}`"

    assert tools.markdown(DOCSTRING, resolve) == MARKDOWN
