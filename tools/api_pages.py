"""The API reference: a page of Markdown a module, from its signatures and docstrings.

`tools/docs_hooks.py` hands the pages to MkDocs while it builds the site. They are no files of the repository, so that
nothing has to be written anew when a docstring changes.

    python tools/api_pages.py flambeau.nn      shows a page
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import types
from dataclasses import dataclass
from typing import Any

import flambeau
from docstring_markdown import Resolve, inline, markdown


@dataclass
class Entry:
    """What one heading of a page describes."""

    name: str
    value: Any
    aliases: list[str]
    inplace: list[str]


class Page:
    """The public names of a module, or of a class whose methods deserve a page of their own."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.holder = _found(target)
        self.entries = _entries(self.holder)

    @property
    def file(self) -> str:
        return f"{self.target}.md"

    def anchors(self) -> dict[str, str]:
        """Where each dotted name of this page is."""
        found = {self.target: self.file}
        for entry in self.entries:
            place = f"{self.file}#{self.target}.{entry.name}"
            for name in [entry.name, *entry.aliases, *entry.inplace]:
                found[f"{self.target}.{name}"] = place
            if isinstance(entry.value, type):
                for name, _ in _own_members(entry.value):
                    found[f"{self.target}.{entry.name}.{name}"] = place
        return found

    def text(self, places: dict[str, str]) -> str:
        """The page, with links to what ``places`` (the anchors of all pages) has."""

        def resolver(*scopes: str) -> Resolve:
            return lambda name: _link(name, places, self.file, scopes)

        about = resolver(self.target, "flambeau")
        parts = [f"# {self.target}", markdown(inspect.getdoc(self.holder) or "", about)]
        groups: dict[str, list[Entry]] = {}
        for entry in self.entries:
            groups.setdefault(_theme(entry.value), []).append(entry)
        # With one theme, or a file a name, themes would say everything twice.
        if len(groups) == 1 or len(self.entries) < 2 * len(groups):
            groups = {"": self.entries}
        for theme, entries in sorted(groups.items()):
            parts += [f"## {inline(theme, about)}"] if theme else []
            for entry in entries:
                scope = f"{self.target}.{entry.name}"
                parts.append(self._entry(entry, "###" if theme else "##", resolver(scope, self.target, "flambeau")))
        return "\n\n".join(filter(None, parts)) + "\n"

    def _entry(self, entry: Entry, level: str, resolve: Resolve) -> str:
        path = self.target.removeprefix("flambeau.")
        parts = [f"{level} {entry.name} {{ #{self.target}.{entry.name} }}"]
        call = signature(entry.value)
        if call is not None:
            keyword = "class " if isinstance(entry.value, type) else ""
            parts.append(f"```python\n{_folded(f'{keyword}{path}.{entry.name}{call}')}\n```")
        parts.append(markdown(inspect.getdoc(entry.value) or "", resolve))
        for label, names in (("Also called", entry.aliases), ("In place:", entry.inplace)):
            parts += [f"{label} {', '.join(f'`{name}`' for name in names)}."] if names else []
        if isinstance(entry.value, type):
            for name, member in _own_members(entry.value):
                call = signature(member) or ""  # none: a property
                parts.append(f"```python\n{_folded(f'{entry.name}.{name}{call}')}\n```")
                parts.append(markdown(inspect.getdoc(member) or "", resolve))
        return "\n\n".join(parts)


def pages(targets: list[str]) -> dict[str, str]:
    """The pages of these modules and classes, by file name, with links among them."""
    made = [Page(target) for target in targets]
    places: dict[str, str] = {}
    for page in made:
        places |= page.anchors()
    return {page.file: page.text(places) for page in made}


# -- what is public ----------------------------------------------------------------------------------------------------


def _found(target: str) -> Any:
    try:
        return importlib.import_module(target)
    except ModuleNotFoundError:
        module, _, name = target.rpartition(".")
        return getattr(importlib.import_module(module), name)


def _entries(holder: Any) -> list[Entry]:
    """The names of a module or class, those of one op together."""
    members = dict(_own_members(holder) if isinstance(holder, type) else _public(holder))
    forms: dict[Any, list[str]] = {}
    for name, value in members.items():
        op = _op(value)
        if op is not None and name.endswith("_") and name[:-1] in members:
            op = _op(members[name[:-1]]) or name[:-1]
        forms.setdefault(op or name, []).append(name)
    entries = []
    for op, names in forms.items():
        plain = [name for name in names if not name.endswith("_")] or names
        main = op if isinstance(op, str) else op.name if op.name in plain else plain[0]
        aliases = [name for name in plain if name != main]
        entries.append(Entry(main, members[main], aliases, [name for name in names if name not in plain]))
    return entries


def _public(module: types.ModuleType) -> list[tuple[str, Any]]:
    """The names of a module's ``__all__``; without one, what it defines and documents."""
    listed = getattr(module, "__all__", None)
    names = sorted(set(listed if listed is not None else dir(module)), key=str.casefold)
    values = [(name, getattr(module, name)) for name in names if not name.startswith("_")]
    if listed is None:
        values = [(name, value) for name, value in values if _belongs(module, value)]
    return [(name, value) for name, value in values if not isinstance(value, types.ModuleType)]


def _belongs(module: types.ModuleType, value: Any) -> bool:
    if not callable(value) or isinstance(value, flambeau.dtype):
        return False
    home = getattr(value, "__module__", None) or ""
    # `flambeau` shows what its modules define; any other module what is its own.
    return home.startswith("flambeau") if module is flambeau else home == module.__name__


def _own_members(cls: type) -> list[tuple[str, Any]]:
    """The documented public methods and properties that a class itself defines."""
    found = []
    for name, member in sorted(vars(cls).items()):
        if isinstance(member, classmethod | staticmethod):
            member = member.__func__
        kind = isinstance(member, types.FunctionType | property)
        if kind and not name.startswith("_") and member.__doc__:
            found.append((name, member))
    return found


def _op(value: Any) -> Any:
    return getattr(value, "op", None) if callable(value) and not isinstance(value, type) else None


def _theme(value: Any) -> str:
    """The first sentence of the docstring of the file that defines something."""
    op = _op(value)
    getter = value.fget if isinstance(value, property) else value
    module = op.body.__module__ if op is not None else getattr(getter, "__module__", None)
    doc = inspect.getdoc(importlib.import_module(module)) if module else None
    return re.split(r"\.(?:\s|$)", " ".join((doc or "Others").split("\n\n")[0].split()))[0]


# -- signatures --------------------------------------------------------------------------------------------------------


def signature(value: Any) -> str | None:
    """The signature as it would be written in a stub, None for what is not called."""
    op = _op(value)
    if op is not None:
        return str(op.signature())
    if isinstance(value, property) or not callable(value):
        return None
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return None
    parts: list[str] = []
    kinds = inspect.Parameter
    before = None
    for p in found.parameters.values():
        if p.name == "self" and not parts:
            continue
        if before is kinds.POSITIONAL_ONLY and p.kind is not kinds.POSITIONAL_ONLY:
            parts.append("/")
        if p.kind is kinds.KEYWORD_ONLY and before not in (kinds.KEYWORD_ONLY, kinds.VAR_POSITIONAL):
            parts.append("*")
        before = p.kind
        stars = {kinds.VAR_POSITIONAL: "*", kinds.VAR_KEYWORD: "**"}.get(p.kind, "")
        kind = _type(p.annotation)
        text = stars + p.name + (f": {kind}" if kind else "")
        if p.default is not kinds.empty:
            default = repr(p.default)
            text += (" = " if kind else "=") + ("..." if default.startswith("<") else default)
        parts.append(text)
    if before is kinds.POSITIONAL_ONLY:
        parts.append("/")
    returned = "" if isinstance(value, type) else _type(found.return_annotation)
    return f"({', '.join(parts)})" + (f" -> {returned}" if returned else "")


def _type(annotation: Any) -> str:
    """An annotation as text; nothing for one that says nothing."""
    if annotation is inspect.Parameter.empty or annotation in ("Any", Any):
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _folded(call: str, width: int = 88) -> str:
    """A call with a line a parameter where it does not fit on one."""
    if len(call) <= width or "(" not in call:
        return call
    start = call.index("(")
    depth, parts, last = 0, [], start + 1
    for i in range(start, len(call)):
        depth += (call[i] in "([{") - (call[i] in ")]}")
        if (depth == 1 and call[i] == ",") or not depth:
            parts.append(call[last:i].strip())
            last = i + 1
        if not depth:
            break
    inner = "".join(f"    {part},\n" for part in parts if part)
    return f"{call[: start + 1]}\n{inner}){call[last:]}"


# -- links -------------------------------------------------------------------------------------------------------------


def _link(name: str, places: dict[str, str], here: str, scopes: tuple[str, ...]) -> str:
    shown = name.removeprefix("~")
    for candidate in (shown, *(f"{scope}.{shown}" for scope in scopes)):
        if candidate in places:
            return f"[`{shown}`]({places[candidate].removeprefix(here) or here})"
    return f"`{shown}`"


if __name__ == "__main__":
    print("\n".join(pages(sys.argv[1:]).values()))
