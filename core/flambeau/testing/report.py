"""What a run of the conformance kit found, op by op: as plain data, on the terminal, as JSON or HTML.

``pytest --pyargs flambeau.testing --device NAME --report FILE.html`` (or ``.json``) writes it. It says what holds, what
is missing, what is slow, and which op to do next, by how often programs use it (``op_uses.tsv``: uses in a census of
open-source PyTorch programs).
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

import pytest

import flambeau
from flambeau import dispatch
from flambeau.devices import device as device_class
from flambeau.ops.declare import OPS
from flambeau.ops.parts import primitives_of
from flambeau.testing.timing import time_kernels

# A kernel that takes so much more than the decomposition, and so many seconds more, is called slow.
_SLOW = 1.25
_SLOW_SECONDS = 2e-6
_MESSAGE = 300  # characters of a failure's message that the report keeps


def uses_of_ops() -> dict[str, int]:
    """How often programs use each op by name; ops that they never name are left out."""
    text = (resources.files("flambeau.testing") / "op_uses.tsv").read_text(encoding="utf-8")
    return {row["op"]: int(row["uses"]) for row in csv.DictReader(text.splitlines(), delimiter="\t")}


class Report:
    """A pytest plugin that gathers the outcomes of the kit's tests."""

    def __init__(self, device: str, path: str, quick: bool) -> None:
        if path and not path.endswith((".html", ".json")):
            raise pytest.UsageError(f"--report: the file is named *.html or *.json, not {path!r}")
        folder = os.path.dirname(os.path.abspath(path))
        if path and not os.path.isdir(folder):
            raise pytest.UsageError(f"--report: there is no folder {folder}")
        self.device, self.path, self.quick = device, path, quick
        self.outcomes: list[tuple[str, str, str]] = []
        self.found: dict[str, Any] | None = None

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the outcome of a test; of setup and teardown only what went wrong."""
        if report.when == "call" or (report.when == "setup" and not report.passed) or report.failed:
            message = report.longrepr.reprcrash.message if hasattr(report.longrepr, "reprcrash") else ""
            self.outcomes.append((report.nodeid, report.outcome, str(message)[:_MESSAGE]))

    def pytest_sessionfinish(self, session: Any) -> None:
        """Write the report, before the summary of the terminal."""
        if not self.outcomes:
            return
        self.found = describe(self.device, self.outcomes, self.quick, measure=bool(self.path))
        if self.path.endswith(".json"):
            _write(self.path, json.dumps(self.found, indent=2) + "\n")
        elif self.path:
            from flambeau.testing.report_html import as_html

            _write(self.path, as_html(self.found))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print it."""
        if self.found is not None:
            terminalreporter.section(f"conformance of {self.device!r}")
            for line in as_text(self.found):
                terminalreporter.write_line(line)
            if self.path:
                terminalreporter.write_line(f"The whole report is in {self.path}")


def _write(path: str, text: str) -> None:
    with open(f"{path}.unfinished", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{path}.unfinished", path)


# -- plain data --------------------------------------------------------------------------------------------------------


def describe(device: str, outcomes: list[tuple[str, str, str]], quick: bool, measure: bool) -> dict[str, Any]:
    """The report as plain data.

    Args:
        outcomes: the id of each test, ``"passed"``, ``"failed"`` or ``"skipped"``, and what went wrong.
        measure: also time the kernels that replace decompositions.
    """
    origins = dispatch.kernel_origins(device_class(device).type)
    uses = uses_of_ops()
    ops: dict[str, dict[str, Any]] = {
        name: {
            "kind": "primitive" if OPS[name].primitive else "composite",
            "kernel": "decomposition" if OPS[name].inline else origin,
            "uses": uses.get(name, 0),
            "checks": {},
            "failures": [],
            "time": None,
        }
        for name, origin in origins.items()
    }
    others = []
    for test, outcome, message in outcomes:
        check, op, kind = _parts_of_id(test)
        if op not in ops:
            others.append({"test": check, "outcome": outcome, "message": message})
            continue
        counts = ops[op]["checks"].setdefault(check, {"passed": 0, "failed": 0, "skipped": 0})
        counts[outcome] += 1
        if outcome == "failed":
            ops[op]["failures"].append({"check": check, "dtype": kind, "message": message})
    if measure:
        tried = [name for name, op in ops.items() if op["checks"] and not op["failures"]]
        for name, seconds in time_kernels(device, tried).items():
            ops[name]["time"] = seconds
    backend, plugin = dispatch.backends()[device_class(device).type]
    return {
        "device": device,
        "plugin": plugin,
        "flambeau": flambeau.__version__,
        "dtypes": sorted(backend.dtypes),
        "quick": quick,
        "ops": ops,
        "others": others,
        "next": _next(ops),
    }


def _parts_of_id(test: str) -> tuple[str, str, str]:
    """``.../test_values.py::test_op[exp-float32]`` as ``("test_values.test_op", "exp", "float32")``."""
    file, _, rest = test.rpartition("::")
    name, _, parameters = rest.partition("[")
    op, _, kind = parameters.rstrip("]").partition("-")
    return f"{os.path.basename(file).removesuffix('.py')}.{name}", op, kind


def _next(ops: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What to do next: failures and missing primitives by the uses that they stand in the way of, then kernels."""
    blocked = {name: op["uses"] for name, op in ops.items()}
    for name, op in ops.items():
        if op["kernel"] == "decomposition" and op["uses"]:
            for primitive in primitives_of(OPS[name]):
                if ops[primitive]["kernel"] == "missing":
                    blocked[primitive] += op["uses"]
    todo = []
    for name, op in ops.items():
        if op["failures"]:
            rank, why = 0, f"fails {op['failures'][0]['check']}"
        elif op["kernel"] == "missing":
            rank, why = 0, "primitive without a kernel"
        elif is_slow(op):
            rank, why = 1, "its kernel is slower than the decomposition"
        elif op["kernel"] == "decomposition" and op["uses"] and not OPS[name].inline and not OPS[name].view:
            rank, why = 2, "composite that runs as its decomposition; a kernel of its own may be faster"
        else:
            continue
        todo.append((rank, -blocked[name], name, why))
    return [{"op": name, "uses": -uses, "why": why} for _, uses, name, why in sorted(todo)]


def is_slow(op: Mapping[str, Any]) -> bool:
    """Whether an op's kernel was measured to be slower than the decomposition."""
    if op["time"] is None:
        return False
    kernel, decomposition = op["time"]["kernel"], op["time"]["decomposition"]
    slower: bool = kernel > _SLOW * decomposition and kernel - decomposition > _SLOW_SECONDS
    return slower


# -- the terminal ------------------------------------------------------------------------------------------------------


def as_text(found: Mapping[str, Any]) -> Iterator[str]:
    """The report in a few lines."""
    ops = found["ops"]
    tried = {name: op for name, op in ops.items() if op["checks"]}
    failing = {name: op for name, op in tried.items() if op["failures"]}
    missing = [name for name, op in ops.items() if op["kernel"] == "missing"]
    slow = [name for name, op in ops.items() if is_slow(op)]
    native = [name for name, op in ops.items() if op["kernel"] not in ("decomposition", "missing")]
    yield f"plugin {found['plugin']}, Flambeau {found['flambeau']}, dtypes {', '.join(found['dtypes'])}"
    yield f"holds    {len(tried) - len(failing)} of {len(tried)} ops tried; {len(native)} ops have kernels of their own"
    for name, op in sorted(failing.items(), key=lambda item: -item[1]["uses"]):
        checks = dict.fromkeys(f"{f['check'].partition('.')[2]} {f['dtype']}" for f in op["failures"])
        yield f"fails    {name}: {', '.join(list(checks)[:4])}{', ...' if len(checks) > 4 else ''}"
    for other in found["others"]:
        if other["outcome"] == "failed":
            yield f"fails    {other['test']}"
    if missing:
        yield f"missing  {len(missing)} primitives: {', '.join(missing)}"
    for name in slow:
        time = ops[name]["time"]
        yield f"slow     {name}: {time['kernel'] * 1e6:.0f} µs, its decomposition {time['decomposition'] * 1e6:.0f} µs"
    for place, item in enumerate(found["next"][:5], 1):
        yield f"next {place}.  {item['op']}: {item['why']} (used {item['uses']} times in the census of programs)"
