"""NVIDIA's compiler takes every kernel, for old GPUs and new ones; that needs no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

BACKENDS = Path(__file__).parents[1]
#: The architecture for which up to :data:`MANY` sources of a kind are compiled (of other dtypes and ranks), and those
#: for which one is.
MAIN, OTHERS = "compute_80", ("compute_70", "compute_90")
MANY = 8
#: Ours, and those that CuPy adds.
OPTIONS = ("-std=c++14", "-ftz=true", "--device-as-default-execution-space")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The sources of the kernels, a file each."""
    folder = tmp_path_factory.mktemp("sources")
    path = os.pathsep.join([str(BACKENDS / "cupy_on_cpu"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "CUPY_ON_CPU_SOURCES": str(folder)}
    made = subprocess.run(
        [sys.executable, str(BACKENDS / "cuda_compile" / "collect_sources.py")],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return sorted(folder.glob("*.cu"))


def compile_to_ptx(task: tuple[Path, str]) -> str:
    """What the compiler complains of."""
    from cupy_backends.cuda.libs import nvrtc

    path, architecture = task
    program = nvrtc.createProgram(path.read_text(), path.name, (), ())
    try:
        nvrtc.compileProgram(program, (f"--gpu-architecture={architecture}", *OPTIONS))
    except nvrtc.NVRTCError:
        return f"{path.name} for {architecture}: {nvrtc.getProgramLog(program)}"
    finally:
        nvrtc.destroyProgram(program)
    return ""


def test_every_kernel_compiles(sources: list[Path]) -> None:
    kinds: dict[str, list[Path]] = {}
    for path in sources:
        kinds.setdefault(path.name.rsplit("_", 1)[0], []).append(path)
    assert (
        len(sources) > 500
        and {"softmax", "layer_norm", "columns", "adam_step", "philox", "index", "chain"} <= kinds.keys()
    )
    tasks = [(path, MAIN) for paths in kinds.values() for path in paths[:: -(-len(paths) // MANY)]]
    tasks += [(paths[0], architecture) for paths in kinds.values() for architecture in OTHERS]
    with ProcessPoolExecutor() as pool:
        complaints = [complaint for complaint in pool.map(compile_to_ptx, tasks, chunksize=16) if complaint]
    assert complaints == []
