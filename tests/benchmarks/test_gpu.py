"""`benchmarks/gpu.sh`, which is for a machine with a GPU, runs to its end on this one, with tiny sizes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"


def run(*command: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable, **more}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=BENCHMARKS, timeout=900)


def test_every_workload_runs() -> None:
    script = """
import json, gpu, gpu_workloads
print(json.dumps({name: gpu.serve("flambeau", name, "cpu", True) for name in gpu_workloads.WORKLOADS}))
"""
    done = run(sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {"ResNet-50 training, bf16", "BERT-base training, tf32", "GPT-2-small training, bf16"} < set(rows)
    for name, row in rows.items():
        assert row["milliseconds"] >= row["of these in Python"] > 0 and row["operations"] > 0, name
    product = 2 * 64**3
    assert rows["matrix product of 8192, tf32"]["operations"] == product


def test_the_whole_of_it_on_the_cpu(tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    options = ["--device", "cpu", "--tiny", "--vs", "none", "--only", "demo,steps,kit,sanitizer", "--match", "product"]
    done = run(sys.executable, "gpu.py", *options, "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(file.read_text())
    assert [found[part]["status"] for part in ("demo", "kit")] == [0, 0]
    assert found["sanitizer"]["status"].startswith("left out: ")
    assert set(found["steps"]["rows"]) == {"matrix product of 8192, bf16", "matrix product of 8192, tf32"}
    assert {"device", "python", "numpy"} <= set(found["machine"])
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++, which compiles kernels there, is not installed here")
def test_the_script_on_the_stand_in_for_a_gpu(tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    options = ["--tiny", "--vs", "none", "--only", "tests,steps", "--match", "lstm", "--json", str(file)]
    done = run("./gpu.sh", *options, PYTHONPATH=str(ROOT / "tests" / "backends" / "cupy_on_cpu"))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(file.read_text())
    assert found["tests"]["status"] == 0 and found["machine"]["device"] == "CuPy on a CPU"
    (row,) = found["steps"]["rows"].values()
    assert row["flambeau"]["waits in a step"] == 0
    assert row["flambeau"]["reserved MB"] >= row["flambeau"]["peak MB"] > 0


def test_parts_that_there_are_not() -> None:
    done = run(sys.executable, "gpu.py", "--only", "steps,tea")
    assert (
        done.returncode == 2 and "--only: expected some of tests,demo,steps,kit,sanitizer, got steps,tea" in done.stderr
    )


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # no packages
    python.chmod(0o755)
    done = run("./gpu.sh", PYTHON=str(python), PYTHONPATH="")
    assert done.returncode == 2 and "lacks: numpy pluggy cupy pytest setuptools; run: " in done.stderr
