"""What `on_cuda/test_runtime.py` says of CUDA devices, and programs for them, on the stand-in for CuPy.

Each in a process that has the stand-in for CuPy.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
STAND_IN = os.pathsep.join([str(HERE / "cupy_on_cpu"), os.environ.get("PYTHONPATH", "")])


def test_the_runtime_on_the_stand_in() -> None:
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
        env={**os.environ, "PYTHONPATH": STAND_IN, "CUPY_ON_CPU_DEVICES": "2"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = done.stdout.count("SKIPPED")
    assert skipped == 2, "only what needs a GPU is skipped: " + done.stdout


def test_without_a_pool_every_array_has_its_own_memory() -> None:
    script = """
import flambeau
from flambeau import cuda
x = flambeau.ones(1024, device="cuda")
before = cuda.memory_reserved()
y = x + 1
assert cuda.memory_reserved() == before + 4096 and y.sum().item() == 2048
del x, y
assert cuda.memory_reserved() <= before - 4096 + 512  # a few words in which kernels complain stay
assert flambeau.zeros(0, device="cuda").sum().item() == 0
cuda.empty_cache()
cuda.set_per_process_memory_fraction(0.5)
"""
    environment = {**os.environ, "PYTHONPATH": STAND_IN, "FLAMBEAU_NO_CUDA_MEMORY_CACHING": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["vae.py", "super_resolution.py"])
def test_programs_that_ask_for_a_gpu_use_it(name: str, tmp_path: Path) -> None:
    """Programs for PyTorch with the usual guard: they train there, the first with batches from pinned memory."""
    program = HERE.parent / "core" / "compat" / "programs" / name
    script = f"""
import flambeau
from flambeau.compat import torch
torch.main([{str(program)!r}])
print("held", flambeau.cuda.max_memory_allocated())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, "PYTHONPATH": STAND_IN},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 10_000
