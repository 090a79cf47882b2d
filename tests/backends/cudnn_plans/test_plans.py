"""cuDNN itself accepts every graph that we build, for GPUs that are not here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BACKENDS = Path(__file__).parents[1]
HERE = BACKENDS / "cudnn_plans"

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


def run(*command: object, **variables: str) -> str:
    """What a command prints; fail with its complaints."""
    environment = {**os.environ, **variables}
    made = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout[-4000:] + made.stderr[-4000:]
    return made.stdout


def test_cudnn_takes_every_graph(tmp_path: Path) -> None:
    stand_ins = os.pathsep.join(
        [*(str(BACKENDS / name) for name in ("cupy_on_cpu", "cudnn_on_cpu")), os.environ.get("PYTHONPATH", "")]
    )
    run(sys.executable, HERE / "collect_problems.py", tmp_path / "problems", PYTHONPATH=stand_ins)
    for name in ("libcuda.so.1", "libcudart-none.so"):
        run("cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", HERE / "no_driver.c", "-o", tmp_path / name)
    said = run(
        sys.executable, HERE / "check_plans.py", tmp_path / "libcuda.so.1", tmp_path / "libcudart-none.so",
        tmp_path / "problems",
    )  # fmt: skip
    *refused, last = said.splitlines()
    assert refused == [], refused
    assert last.startswith("graphs") and int(last.split()[1]) > 200
