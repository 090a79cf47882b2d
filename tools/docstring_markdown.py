"""Docstrings as Markdown: sections, lists, code and roles, as this project writes them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable

#: What the name in a role (``:func:`relu```) becomes in Markdown: a link, or code.
Resolve = Callable[[str], str]

_SECTIONS = {"Args": "Arguments", "Attributes": "Attributes", "Raises": "Raises", "Returns": "Returns"}
_ROLE_OR_CODE = re.compile(r":(?:func|class|meth|mod|data|attr|exc):`([^`]+)`|(``.+?``|`[^`]+`)")
_ENTRY = re.compile(r"([\w*][\w*.]*(?:, [\w*][\w*.]*)*): +(.*)", re.DOTALL)


def code(name: str) -> str:
    """A role without a link."""
    return f"`{name.removeprefix('~')}`"


def inline(text: str, resolve: Resolve = code) -> str:
    """A paragraph, with roles as what ``resolve`` makes of their names and everything else as it reads."""
    parts = []
    end = 0
    for match in _ROLE_OR_CODE.finditer(text):
        parts.append(_plain(text[end : match.start()]))
        parts.append(resolve(match[1]) if match[1] else match[2])
        end = match.end()
    return "".join([*parts, _plain(text[end:])])


def markdown(doc: str, resolve: Resolve = code) -> str:
    """A docstring whose indentation has been taken off."""
    parts: list[str] = []
    for block in _blocks(doc):
        first, _, rest = block.partition("\n")
        if first.startswith("    "):
            parts.append(_code_block(block))
        elif first.removesuffix(":") in _SECTIONS and first.endswith(":"):
            parts.append(_section(_SECTIONS[first[:-1]], textwrap.dedent(rest), resolve))
        elif first.startswith(">>>"):
            parts.append(f"```pycon\n{block}\n```")
        else:
            parts.append(_paragraph(block, resolve))
    return "\n\n".join(filter(None, parts))


def _plain(text: str) -> str:
    return re.sub(r"([*\[\]])", r"\\\1", text).replace("<", "&lt;")


def _blocks(doc: str) -> list[str]:
    """What blank lines separate; indented blocks in a row, and what a section holds, are one."""
    blocks: list[str] = []
    for block in re.split(r"\n[ \t]*\n", doc.strip("\n")):
        if blocks and block.startswith("    "):
            before = blocks[-1]
            if before.startswith("    ") or before.partition("\n")[0].removesuffix(":") in _SECTIONS:
                blocks[-1] = f"{before}\n\n{block}"
                continue
        # A list may follow its sentence at once.
        blocks += [part for part in re.split(r"\n(?=\* )", block, maxsplit=1) if not block.startswith("* ")] or [block]
    return blocks


def _code_block(block: str) -> str:
    source = textwrap.dedent(block)
    if source.startswith(">>>"):
        return f"```pycon\n{source}\n```"
    try:
        compile(source, "docstring", "exec")
        language = "text" if "^" in source else "python"  # x^2 is a formula
    except SyntaxError:
        language = "text"
    return f"```{language}\n{source}\n```"


def _section(title: str, text: str, resolve: Resolve) -> str:
    lines = []
    for item in re.split(r"\n(?=\S)", text):
        joined = " ".join(item.split())
        match = _ENTRY.fullmatch(joined)
        if match is None or title == "Returns":
            lines.append(f"* {inline(joined, resolve)}")
        else:
            names = ", ".join(resolve(name) for name in match[1].split(", "))
            lines.append(f"* {names}: {inline(match[2], resolve)}")
    return f"**{title}**\n\n" + "\n".join(lines)


def _paragraph(block: str, resolve: Resolve) -> str:
    if block.startswith(("* ", "- ")):
        items = re.split(r"\n(?=[*-] )", block)
        return "\n".join(f"* {inline(' '.join(item[2:].split()), resolve)}" for item in items)
    text = " ".join(block.split())
    if text == "::":
        return ""
    text = text[:-1] if text.endswith("::") else text
    return inline(text, resolve)
