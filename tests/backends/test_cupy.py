"""The CUDA backend on a machine without a GPU.

What asking for it says, and, in processes of their own, its kernels: a stand-in for CuPy (``cupy_on_cpu``) compiles
them with g++ and runs them with real barriers between threads. ``tox -e cuda-compile`` shows them to NVIDIA's compiler.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import flambeau
from flambeau_cupy import backend as backend_module
from flambeau_cupy.backend import CupyBackend

HERE = Path(__file__).parent
STAND_IN = HERE / "cupy_on_cpu"

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed here")


def python(*arguments: str, path: Path = STAND_IN, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python where the stand-in is what ``import cupy`` finds."""
    paths = os.pathsep.join([str(path), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, **variables}
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, cwd=HERE)


def check(*arguments: str, **variables: str) -> str:
    """Run pytest there; fail with its output if anything fails, or nothing was run."""
    made = python("-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, **variables)
    assert made.returncode == 0, made.stdout[-6000:] + made.stderr[-2000:]
    return made.stdout


ASK = "import flambeau; print(flambeau.cuda.is_available()); flambeau.ones(1, device='cuda')"


def refusal(**options: str) -> str:
    """What asking for the device says."""
    made = python("-c", ASK, **options)
    assert made.stdout == "False\n"
    return made.stderr.strip().rsplit("\n", 1)[-1]


# -- what is missing ---------------------------------------------------------------------------------------------------


def test_without_cupy_the_message_has_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "find_spec", lambda name: None)
    backend = CupyBackend()
    assert not backend.is_available()
    assert backend.install == "CUDA needs the package cupy: pip install 'flambeau[cuda]' (for a driver of CUDA 12)"


def test_a_driver_that_is_missing_is_named() -> None:
    said = refusal(CUPY_ON_CPU_ERROR="cudaErrorInsufficientDriver: CUDA driver version is insufficient")
    assert said.startswith("RuntimeError: device 'cuda:0' is not available here; available are: ")
    assert said.endswith(
        "CuPy finds no usable NVIDIA driver (CUDARuntimeError: cudaErrorInsufficientDriver: CUDA driver version is "
        "insufficient). Install the driver for your GPU (nvidia-smi shows its version), at least the one of CUDA 12; "
        "CuPy and CUDA's libraries come with pip install 'flambeau[cuda]'"
    )


def test_a_device_that_is_missing_is_named() -> None:
    said = refusal(CUPY_ON_CPU_ERROR="cudaErrorNoDevice: no CUDA-capable device is detected")
    assert said.endswith(
        "there is a driver, but no CUDA device (CUDARuntimeError: cudaErrorNoDevice: no CUDA-capable device is "
        "detected): nvidia-smi lists none, or CUDA_VISIBLE_DEVICES hides them"
    )
    assert refusal(CUPY_ON_CPU_DEVICES="0").endswith(
        "CuPy finds no CUDA device: nvidia-smi lists none, or CUDA_VISIBLE_DEVICES hides them"
    )


def test_a_cupy_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    (tmp_path / "cupy.py").write_text("raise ImportError('libcudart.so.12: cannot open shared object file')")
    made = python("-c", ASK, path=tmp_path)
    assert made.stdout == "False\n"
    assert made.stderr.rstrip().endswith(
        "CuPy cannot be imported: ImportError: libcudart.so.12: cannot open shared object file. To install it anew: "
        "pip install 'flambeau[cuda]'"
    )


def test_importing_flambeau_does_not_import_cupy() -> None:
    made = python("-c", "import flambeau, sys; flambeau.ones(1) + 1; assert 'cupy' not in sys.modules")
    assert made.returncode == 0, made.stderr


def test_devices_that_are_not_there_are_refused() -> None:
    made = python("-c", "import flambeau; flambeau.ones(1, device='cuda:1')")
    assert made.stderr.rstrip().endswith("device 'cuda:1': there are only 1 devices of the type 'cuda'")


def test_the_backend_is_registered() -> None:
    from flambeau.dispatch import backends

    assert isinstance(backends()["cuda"][0], CupyBackend)
    assert backends()["cuda"][0].dlpack_type == 2
    assert flambeau.device("cuda").type == "cuda"


# -- with the stand-in -------------------------------------------------------------------------------------------------


@needs_compiler
def test_kernels_layouts_training_and_faults() -> None:
    files = [f"on_cuda/test_{name}.py" for name in ("layouts", "faults", "training", "chains")]
    check(*files, "test_training.py", "-k", "not resnet18 and not opencl")


@needs_compiler
def test_what_goes_through_cudnn() -> None:
    paths = os.pathsep.join([str(HERE / "cudnn_on_cpu"), *filter(None, [os.environ.get("PYTHONPATH")])])
    made = check("on_cuda/test_cudnn.py", PYTHONPATH=os.pathsep.join([str(STAND_IN), paths]))
    assert "skipped" not in made


def test_what_is_missing_for_cudnn_is_named() -> None:
    ask = "from flambeau_cupy.cudnn import library; print(library.missing())"
    assert python("-c", ask).stdout == (
        "the package nvidia-cudnn-frontend is not installed: pip install 'flambeau[cudnn]'\n"
    )
    assert python("-c", "import flambeau; print(flambeau.backends.cudnn.version())").stdout == "None\n"


def test_a_cudnn_that_cannot_be_loaded_or_is_another_is_named(tmp_path: Path) -> None:
    ask = "from flambeau_cupy.cudnn import library; print(library.missing())"
    paths = os.pathsep.join([str(STAND_IN), str(tmp_path)])
    module = tmp_path / "cudnn.py"
    for text, said in {
        "raise ImportError('libcudnn.so.9: cannot open')": "cuDNN cannot be loaded (ImportError: libcudnn.so.9: cannot",
        "def backend_version(): return 90800": f"the module cudnn at {module} is not nvidia-cudnn-frontend's",
        "pygraph = None\ndef backend_version(): return 8907": "cuDNN 8907 is too old, 90000 is needed",
    }.items():
        module.write_text(text)
        found = python("-B", "-c", ask, PYTHONPATH=paths).stdout
        assert found.startswith(said) and found.endswith("pip install 'flambeau[cudnn]'\n"), found


@needs_compiler
def test_kernels_on_the_second_of_two_devices() -> None:
    check("on_cuda/test_two_devices.py", CUPY_ON_CPU_DEVICES="2")


@needs_compiler
def test_streams_memory_copies_and_graphs() -> None:
    said = check("on_cuda/test_runtime.py", "-rs", CUPY_ON_CPU_DEVICES="2")
    assert said.count("SKIPPED") == 2, f"two tests need a GPU, no more: {said}"


@needs_compiler
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
    made = python("-c", script, FLAMBEAU_NO_CUDA_MEMORY_CACHING="1")
    assert made.returncode == 0, made.stderr


@needs_compiler
@pytest.mark.parametrize("name", ["vae.py", "super_resolution.py"])
def test_programs_that_ask_for_a_gpu_use_it(name: str) -> None:
    """Programs for PyTorch with the usual guard: they train there, the first with batches from pinned memory."""
    program = HERE.parent / "core" / "compat" / "programs" / name
    script = f"""
import flambeau
from flambeau.compat import torch
torch.main([{str(program)!r}])
print("held", flambeau.cuda.max_memory_allocated())
"""
    made = python("-W", "error", "-c", script)
    assert made.returncode == 0, made.stderr
    assert int(made.stdout.split()[-1]) > 10_000


@needs_compiler
def test_the_page_on_cuda_runs_there_too() -> None:
    root = HERE.parents[1]
    made = python(
        "-W", "error", str(root / "tests/docs/run_page.py"), str(root / "docs/cuda.md"), CUPY_ON_CPU_DEVICES="2"
    )
    assert made.returncode == 0, made.stderr


@needs_compiler
def test_a_part_of_the_conformance_kit() -> None:
    """Kernels against decompositions, refusals, views, in-place forms; the whole kit takes a quarter of an hour."""
    chosen = "test_overrides or test_errors or test_random or test_inplace or test_views or test_runtime"
    check("--quick", "-k", chosen, "--pyargs", "flambeau.testing", "--device", "cuda")
