"""Write `docs/ops.md`, the list of ops, from their declarations.

python tools/make_reference.py            write the file
python tools/make_reference.py --check    exit with 1 when it is out of date
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "core"))

import flambeau  # noqa: E402
from docstring_markdown import inline  # noqa: E402
from flambeau.ops.declare import OPS, Op  # noqa: E402

PAGE = ROOT / "docs" / "ops.md"
INTRODUCTION = """\
# Ops

Written by `tools/make_reference.py` from the declarations in `core/flambeau/ops/`; `tox -e fix` writes it anew.

There are {total} ops. The {primitives} **primitives** are what a [backend](plugins/backend.md#what-a-backend-must-have)
must have kernels for; every other op is computed from them, unless a plugin has a kernel for it. *Inline* ones are
always computed from others. *View* means that the result shares the input's memory, *in place* that there is a form
with a trailing underscore as well, *internal* that the op is not a public function: other ops call it.
"""


def reference() -> str:
    """The page."""
    themes: dict[str, list[Op]] = {}
    for op in OPS.values():
        if op.body.__module__.startswith("flambeau."):  # not what a plugin of this machine has declared
            themes.setdefault(op.body.__module__, []).append(op)
    ops = [op for found in themes.values() for op in found]
    # `to_device` is between backends: the core does it, by way of the host.
    primitives = sorted(op.name for op in ops if op.primitive and op.name != "to_device")
    parts = [INTRODUCTION.format(total=len(ops), primitives=len(primitives))]
    parts.append("## The primitives\n\n" + _wrapped([f"`{name}`" for name in primitives]) + "\n")
    for module, found in sorted(themes.items()):
        parts.append(f"## {_title(module)}\n\n" + "\n".join(_entry(op) for op in found) + "\n")
    return "\n".join(parts)


def _title(module: str) -> str:
    doc = importlib.import_module(module).__doc__ or ""
    theme = module.rpartition(".")[2]
    first = inline(" ".join(doc.strip().split("\n\n")[0].split()).rstrip("."))
    return f"{theme}: {first}" if first else theme


def _entry(op: Op) -> str:
    kind = "**primitive**" if op.primitive else "composite"
    marks = [kind]
    marks += ["inline"] if op.inline else []
    marks += ["view"] if op.view else []
    marks += ["in place"] if op.inplace else []
    marks += [] if _is_public(op) else ["internal"]
    summary = inline(" ".join(inspect.cleandoc(op.doc).split("\n\n")[0].split()))
    return f"* `{op.name}{op.signature()}`  \n  {', '.join(marks)}. {summary}".rstrip()


def _is_public(op: Op) -> bool:
    """Whether users have it: under its own name, or as a function that calls it."""
    return bool(op.public) or hasattr(flambeau, op.name) or hasattr(flambeau.nn.functional, op.name)


def _wrapped(words: list[str], width: int = 110) -> str:
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Write or check the page; returns the exit status."""
    if argv not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    text = reference()
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    if argv:
        print("docs/ops.md is out of date; `tox -e fix` writes it anew")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    print("wrote docs/ops.md")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
