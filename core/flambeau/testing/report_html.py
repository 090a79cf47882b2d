"""The report of the conformance kit as one page of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from flambeau.testing.report import as_text

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222; }
pre { background: #f4f4f4; padding: 1em; overflow-x: auto; white-space: pre-wrap; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .2em .8em .2em 0; border-bottom: 1px solid #ddd; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.fails { color: #b00020; } .missing { color: #a15c00; } .holds { color: #1b6e2f; } .untried { color: #777; }
"""


def as_html(found: Mapping[str, Any]) -> str:
    """The report as HTML."""
    title = escape(f"Conformance of {found['device']!r}")
    return "\n".join(
        [
            f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>',
            f"<style>{_STYLE}</style>\n<h1>{title}</h1>",
            f"<pre>{escape(chr(10).join(as_text(found)))}</pre>",
            "<h2>What to do next</h2>",
            *_table(("op", "uses", "why"), [(i["op"], i["uses"], i["why"]) for i in found["next"]]),
            "<h2>Every op</h2>",
            *_table(
                ("op", "kind", "kernel", "state", "passed", "uses", "kernel µs", "decomposition µs", "what fails"),
                [_row(name, op) for name, op in found["ops"].items()],
            ),
            "<h2>Other checks</h2>",
            *_table(("test", "outcome", "message"), [tuple(other.values()) for other in found["others"]]),
            "</html>\n",
        ]
    )


def _row(name: str, op: Mapping[str, Any]) -> tuple[Any, ...]:
    passed = sum(counts["passed"] for counts in op["checks"].values())
    if op["kernel"] == "missing":
        state = "missing"
    elif op["failures"]:
        state = "fails"
    else:
        state = "holds" if passed else "untried"
    times = [round(op["time"][which] * 1e6) if op["time"] else "" for which in ("kernel", "decomposition")]
    wrong = "; ".join(f"{f['check']} {f['dtype']}: {f['message']}" for f in op["failures"][:3])
    return name, op["kind"], op["kernel"], state, passed, op["uses"], *times, wrong


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Iterator[str]:
    if not rows:
        yield "<p>Nothing.</p>"
        return
    yield "<table>\n<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"
    for row in rows:
        yield "<tr>" + "".join(map(_cell, row)) + "</tr>"
    yield "</table>"


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f'<td class="number">{value}</td>'
    kind = f' class="{value}"' if value in ("holds", "fails", "missing", "untried") else ""
    return f"<td{kind}>{escape(str(value))}</td>"
