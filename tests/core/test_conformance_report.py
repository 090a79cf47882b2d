"""The report of the conformance kit: what holds, what is missing, what is slow, what to do next."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flambeau.ops.declare import OPS
from flambeau.ops.parts import parts_of, primitives_of
from flambeau.testing.report import as_text, describe, is_slow, uses_of_ops
from flambeau.testing.report_html import as_html

KIT = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "flambeau.testing"]


def run(*options: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*KIT, *map(str, options)], capture_output=True, text=True)


def test_uses_are_of_ops_and_the_commonest_are_there() -> None:
    uses = uses_of_ops()
    assert sorted(set(uses) - set(OPS)) == []
    assert uses["linear"] > uses["softmax"] > 0


def test_parts_of_an_op() -> None:
    assert "matmul" in parts_of(OPS["linear"])
    assert primitives_of(OPS["exp"]) == {"exp"}
    assert {"exp", "sum"} <= primitives_of(OPS["cross_entropy"])
    assert all(OPS[name].primitive for name in primitives_of(OPS["cross_entropy"]))


OUTCOMES = [
    ("flambeau/testing/test_values.py::test_op_agrees_with_numpy[exp-float32]", "passed", ""),
    ("flambeau/testing/test_values.py::test_op_agrees_with_numpy[exp-float64]", "failed", "exp(...) differs"),
    ("flambeau/testing/test_values.py::test_op_agrees_with_numpy[softmax-float32]", "passed", ""),
    ("flambeau/testing/test_errors.py::test_wrong_call[a size that does not fit]", "failed", "nothing raised"),
]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return describe("cpu", OUTCOMES, quick=True, measure=True)


def test_outcomes_are_by_op(found: dict[str, Any]) -> None:
    assert found["ops"]["exp"]["checks"] == {
        "test_values.test_op_agrees_with_numpy": {"passed": 1, "failed": 1, "skipped": 0}
    }
    assert found["ops"]["exp"]["failures"] == [
        {"check": "test_values.test_op_agrees_with_numpy", "dtype": "float64", "message": "exp(...) differs"}
    ]
    assert found["others"] == [
        {"test": "test_errors.test_wrong_call", "outcome": "failed", "message": "nothing raised"}
    ]
    assert found["next"][0] == {
        "op": "exp", "uses": uses_of_ops()["exp"], "why": "fails test_values.test_op_agrees_with_numpy"
    }  # fmt: skip


def test_kernels_are_timed_beside_their_decompositions(found: dict[str, Any]) -> None:
    assert found["ops"]["exp"]["time"] is None  # a primitive
    time = found["ops"]["softmax"]["time"]
    assert 0 < time["kernel"] < 10
    assert 0 < time["decomposition"] < 10


def test_slow_is_clearly_slower() -> None:
    def op(kernel: float, decomposition: float) -> dict[str, Any]:
        return {"time": {"kernel": kernel, "decomposition": decomposition}}

    assert is_slow(op(3e-4, 1e-4))
    assert not is_slow(op(1.2e-4, 1e-4))
    assert not is_slow(op(3e-6, 2e-6))  # microseconds are noise
    assert not is_slow({"time": None})


def test_missing_primitive_that_most_programs_need_comes_first() -> None:
    found = describe("cpu", OUTCOMES[2:3], quick=True, measure=False)
    from flambeau.testing import report

    ops = found["ops"]
    ops["matmul"]["kernel"] = ops["erf"]["kernel"] = "missing"
    for name in ("linear", "gelu"):
        ops[name]["kernel"] = "decomposition"
    first, second = report._next(ops)[:2]
    assert first == {
        "op": "matmul", "uses": first["uses"], "why": "primitive without a kernel"
    }  # fmt: skip
    assert first["uses"] >= ops["matmul"]["uses"] + ops["linear"]["uses"]
    assert second["op"] == "erf"


def test_text_and_page_say_the_same(found: dict[str, Any]) -> None:
    text = "\n".join(as_text(found))
    assert "holds    1 of 2 ops tried" in text
    assert "fails    exp: test_op_agrees_with_numpy float64" in text
    assert "fails    test_errors.test_wrong_call" in text
    assert "next 1.  exp: fails" in text
    page = as_html(found)
    assert page.startswith("<!doctype html>")
    assert "fails    exp: test_op_agrees_with_numpy float64" in page
    assert '<td class="fails">fails</td>' in page


def test_message_is_escaped() -> None:
    outcomes = [("test_values.py::test_op[exp-float32]", "failed", "<script>alert(1)</script>")]
    assert "<script>" not in as_html(describe("cpu", outcomes, quick=True, measure=False))


def test_run_writes_the_report(tmp_path: Path) -> None:
    options = ("--quick", "--op", "exp,softmax", "-k", "values or overrides or gradient")
    done = run(*options, "--report", tmp_path / "report.json")
    assert done.returncode == 0, done.stdout
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["device"] == "cpu"
    assert found["quick"]
    tried = {name for name, op in found["ops"].items() if op["checks"]}
    assert tried == {"exp", "softmax"}
    checks = found["ops"]["softmax"]["checks"]
    assert "test_gradients.test_gradient" in checks
    assert "test_gradients.test_second_gradient" not in checks  # takes long
    assert sum(checks["test_values.test_op_agrees_with_numpy"].values()) == 1  # one dtype
    assert "conformance of 'cpu'" in done.stdout
    assert f"The whole report is in {tmp_path / 'report.json'}" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_report_of_parallel_processes(tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    done = run("--op", "exp", "-k", "numpy", "-n", "2", "--report", tmp_path / "report.html")
    assert done.returncode == 0, done.stdout
    assert "holds    1 of 1 ops tried" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("path", "message"),
    [("report.txt", "--report: the file is named *.html or *.json"), ("absent/report.json", "--report: there is no f")],
)
def test_wrong_path_is_said_before_the_run(path: str, message: str, tmp_path: Path) -> None:
    done = run("--op", "exp", "--report", tmp_path / path)
    assert done.returncode == 4
    assert message in done.stdout + done.stderr


def test_samples_of_a_module_that_is_not_there() -> None:
    done = run("--samples", "absent_module")
    assert done.returncode != 0
    assert "No module named 'absent_module'" in done.stdout + done.stderr
