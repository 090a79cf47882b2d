"""What `on_cuda/test_runtime.py` says of CUDA devices, on the stand-in for CuPy: in a process that has it for CuPy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_the_runtime_on_the_stand_in() -> None:
    path = os.pathsep.join([str(HERE / "cupy_on_cpu"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rs",
            "-p",
            "no:cacheprovider",
            str(HERE / "on_cuda" / "test_runtime.py"),
        ],
        env={**os.environ, "PYTHONPATH": path, "CUPY_ON_CPU_DEVICES": "2"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = done.stdout.count("SKIPPED")
    assert skipped == 2, "only what needs a GPU is skipped: " + done.stdout
