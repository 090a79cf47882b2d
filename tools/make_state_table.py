"""Write `docs/pytorch.md`: which of PyTorch's names Flambeau has, as what, and why not the others.

    python tools/make_state_table.py            writes the page
    python tools/make_state_table.py --check    says whether it is out of date (exit status 1)

PyTorch's names are in `docs/pytorch_names.tsv` (written by `tools/list_pytorch_names.py`), the reasons for what is left
out in `tools/pytorch_exclusions.txt`.
"""

from __future__ import annotations

import csv
import importlib
import sys
import types
import warnings
from collections import Counter, defaultdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

import flambeau
from make_reference import _wrapped as wrapped

ROOT = Path(__file__).resolve().parents[1]
NAMES = ROOT / "docs" / "pytorch_names.tsv"
EXCLUSIONS = ROOT / "tools" / "pytorch_exclusions.txt"
PAGE = ROOT / "docs" / "pytorch.md"

INTRODUCTION = """# PyTorch's names

Written by `tools/make_state_table.py` from what the package has and `docs/pytorch_names.tsv`, which lists the
documented names of {version}; `tox -e fix` writes it anew. {there} of {total} names are there. *Primitives* and
*composites* are [ops](ops.md), on every device; functions are made of ops. What is *left out* says why; what is not
there and ought to be is *missing*.
"""

#: How the reason of what is missing begins; every other reason is one to leave a name out.
NOT_YET = "not there yet: "

KINDS = ("primitive", "composite", "function", "method", "class", "attribute")


class Name(NamedTuple):
    """A name of PyTorch, and its state: one of KINDS where it is there, else ``"missing"`` or ``"left out"``."""

    group: str
    name: str
    programs: int
    state: str
    reason: str


def found(name: str) -> Any:
    """What Flambeau has under a name of PyTorch.

    Raises:
        AttributeError: when there is nothing.
    """
    head, *parts = name.split(".")
    value: Any = flambeau if head == "torch" else flambeau.Tensor
    path = "flambeau"
    for part in parts:
        path += f".{part}"
        try:
            value = getattr(value, part)
        except AttributeError:
            if not isinstance(value, types.ModuleType):
                raise
            try:
                value = importlib.import_module(path)
            except ImportError:
                raise AttributeError(name) from None
    return value


def state_of(name: str, value: Any) -> str:
    op = getattr(value, "op", None)
    if op is not None and callable(value):
        return "primitive" if op.primitive else "composite"
    if isinstance(value, type):
        return "class"
    if callable(value):
        return "method" if name.startswith("Tensor.") else "function"
    return "attribute"


def exclusions() -> list[tuple[str, str]]:
    lines = [line for line in EXCLUSIONS.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    return [(pattern, reason) for pattern, reason in (line.split(": ", 1) for line in lines)]


def names() -> list[Name]:
    """Every name with its state."""
    patterns = exclusions()
    result = []
    with open(NAMES, encoding="utf-8") as file:
        next(file)
        for row in csv.DictReader(file, delimiter="\t"):
            name, reason = row["name"], ""
            try:
                state = state_of(name, found(name))
            except AttributeError:
                reason = next((why for pattern, why in patterns if fnmatchcase(name, pattern)), "")
                state = "missing" if reason.startswith(NOT_YET) or not reason else "left out"
                reason = reason.removeprefix(NOT_YET)
            result.append(Name(row["group"], name, int(row["programs"]), state, reason))
    return result


def wanted_and_missing(listed: list[Name], programs: int = 2) -> dict[str, list[Name]]:
    """The names that so many programs use and that are not there though nothing excludes them, by what is missing."""
    chosen = [name for name in listed if name.state == "missing" and name.programs >= programs]
    by_reason: dict[str, list[Name]] = defaultdict(list)
    for name in sorted(chosen, key=lambda name: (-name.programs, name.name)):
        by_reason[name.reason].append(name)
    return by_reason


def page() -> str:
    warnings.simplefilter("ignore")
    listed = names()
    version = NAMES.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").partition(";")[0]
    there = sum(name.state in KINDS for name in listed)
    groups: dict[str, list[Name]] = defaultdict(list)
    for name in listed:
        groups[name.group].append(name)
    parts = [INTRODUCTION.format(version=version, there=there, total=len(listed)), _summary(groups)]
    missing = wanted_and_missing(listed)
    used = sum(name.programs >= 2 for name in listed)
    parts.append(
        f"Of the {used} names that at least two of the 22 programs of our census use, "
        f"{sum(map(len, missing.values()))} are missing:\n"
    )
    for reason, chosen in sorted(missing.items()):
        parts.append(wrapped([f"* {reason or 'other'}:", *[f"`{name.name}`" for name in chosen]]))
    parts.append("")
    parts += [_group(group, members) for group, members in groups.items()]
    return "\n".join(parts)


def _title(group: str) -> str:
    return group if group in ("torch", "Tensor") else f"torch.{group}"


def _summary(groups: dict[str, list[Name]]) -> str:
    lines = ["| group | there | left out | missing |", "|---|---:|---:|---:|"]
    for group, members in groups.items():
        count = Counter("there" if name.state in KINDS else name.state for name in members)
        anchor = _title(group).lower().replace(".", "")
        lines.append(f"| [{_title(group)}](#{anchor}) | {count['there']} | {count['left out']} | {count['missing']} |")
    return "\n".join(lines) + "\n"


def _group(group: str, members: list[Name]) -> str:
    prefix = f"{_title(group)}."

    def words(chosen: list[Name]) -> str:
        return wrapped([f"`{name.name.removeprefix(prefix)}`" for name in chosen])

    parts = [f"## {_title(group)}\n"]
    labels = {"class": "classes"}
    for kind in KINDS:
        chosen = [name for name in members if name.state == kind]
        if chosen:
            parts.append(f"**{labels.get(kind, kind + 's').capitalize()}:**\n{words(chosen)}\n")
    for state, label in (("left out", "Left out"), ("missing", "Missing")):
        reasons: dict[str, list[Name]] = defaultdict(list)
        for name in members:
            if name.state == state:
                reasons[name.reason].append(name)
        for reason, chosen in sorted(reasons.items()):
            parts.append(f"**{label}{f' ({reason})' if reason else ''}:**\n{words(chosen)}\n")
    return "\n".join(parts)


def main(argv: list[str]) -> int:
    """Write or check the page; returns the exit status."""
    if argv not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    text = page()
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    if argv:
        print("docs/pytorch.md is out of date; `tox -e fix` writes it anew")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    print("wrote docs/pytorch.md")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
