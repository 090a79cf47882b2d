"""Runs the Python examples of a page of documentation: `python run_page.py PAGE`.

The blocks of a page share one namespace. A block of ```output after one of ```python is what that one prints, exactly.
Line numbers in tracebacks are the page's.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Block:
    """A fenced block: its language, the number of its first line, its text."""

    language: str
    line: int
    text: str


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks of a page of Markdown."""
    found: list[Block] = []
    lines: list[str] = []
    current: Block | None = None
    for number, line in enumerate(page.splitlines(), 1):
        if line.startswith("```"):
            if current is None:
                current, lines = Block(line[3:].strip(), number + 1, ""), []
            else:
                current.text = "".join(f"{inner}\n" for inner in lines)
                found.append(current)
                current = None
        elif current is not None:
            lines.append(line)
    if current is not None:
        raise ValueError(f"the block that begins on line {current.line - 1} does not end")
    return found


def run(path: Path) -> int:
    """Run the examples of a page and compare what they print; returns how many blocks ran."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    blocks = blocks_of(path.read_text(encoding="utf-8"))
    ran = 0
    for i, block in enumerate(blocks):
        if block.language != "python":
            continue
        printed = io.StringIO()
        code = compile("\n" * (block.line - 1) + block.text, str(path), "exec")
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
        ran += 1
        following = blocks[i + 1] if i + 1 < len(blocks) else None
        if following is not None and following.language == "output" and printed.getvalue() != following.text:
            difference = difflib.ndiff(following.text.splitlines(), printed.getvalue().splitlines())
            sys.exit(f"{path}:{following.line}: the example prints something else:\n" + "\n".join(difference))
    return ran


if __name__ == "__main__":
    print(run(Path(sys.argv[1])))
