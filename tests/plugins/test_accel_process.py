"""The accelerator in processes of its own: with every call accelerated, with other numbers of threads, left out."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import numpy
import pytest

import flambeau

library = pytest.importorskip("flambeau_accel.library")
if not library.is_installed():
    pytest.skip("oneDNN is not installed", allow_module_level=True)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}


def test_the_kit_holds_with_every_call_accelerated(tmp_path: Path) -> None:
    """The conformance kit with all thresholds at 0, on the ops that the accelerator has kernels for."""
    (tmp_path / "however_small.py").write_text(
        "from flambeau_accel import activation, batch_normalization, convolution, matmul, normalization, pooling\n"
        "for theme in (activation, batch_normalization, matmul, normalization, pooling):\n    theme.WORTHWHILE = 0\n"
        "batch_normalization.LEAST_PLACES = 2\nactivation.LARGE = convolution.LARGE = 0\n"
    )
    names = ["softmax", "gelu", "leaky", "norm", "conv", "pool", "matmul", "linear", "attention", "layer", "relu"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "however_small", "--pyargs", "flambeau.testing"]
    command += ["--device", "cpu", "--dtype", "float32", "-p", "no:cacheprovider", "-k", " or ".join(names)]
    path = ":".join([str(tmp_path), *[p for p in sys.path if p]])
    done = subprocess.run(command, capture_output=True, text=True, env={**_environment(), "PYTHONPATH": path})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_plugins_can_be_left_out() -> None:
    code = "import flambeau, flambeau.dispatch as d; print(d.kernel_origins('cpu')['convolution'])"
    for disabled, origin in (("", "accel"), ("accel", "numpy")):
        environment = {**_environment(), "FLAMBEAU_DISABLE_PLUGINS": disabled}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.stdout.strip() == origin, done.stderr


_TRAINING = """
import sys, flambeau
from flambeau import nn

flambeau.use_deterministic_algorithms(True)
flambeau.manual_seed(0)
# No biases whose gradient is 0 and would be compared as rounding with rounding.
layers = (
    nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.LSTM(64, 64),
    nn.MultiheadAttention(64, 4, bias=False),
)
head, drop = nn.Linear(64, 600), nn.Dropout(0.1)
parameters = [p for layer in (*layers, head) for p in layer.parameters()]
optimizer = flambeau.optim.AdamW(parameters)
x, y = flambeau.randn(32, 3, 32, 32), flambeau.randint(0, 600, (32 * 256,))
for _ in range(2):
    optimizer.zero_grad()
    convolution, norm, recurrent, attention = layers
    rows, _ = recurrent(flambeau.relu(norm(convolution(x))).reshape(256, 32, 64))
    rows, _ = attention(rows, rows, rows, need_weights=False)
    loss = nn.functional.cross_entropy(head(drop(rows)).reshape(-1, 600), y)
    loss.backward()
    optimizer.step()
flambeau.save([loss.detach(), *[p.grad for p in parameters]], sys.argv[1])
"""


def test_training_with_any_number_of_threads(tmp_path: Path) -> None:
    """Two steps with 1, 2 and 4 threads: the same to rounding, and with the same number of threads exactly."""
    found = []
    for number, count in enumerate(("1", "2", "4", "2")):
        path = tmp_path / str(number)
        environment = {**_environment(), "OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count}
        done = subprocess.run([sys.executable, "-c", _TRAINING, path], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        found.append([tensor.numpy() for tensor in flambeau.load(path)])
    for one, two, four, again in zip(*found, strict=True):
        numpy.testing.assert_array_equal(two, again)
        scale = numpy.abs(one).max()
        numpy.testing.assert_allclose(two, one, 0, 1e-4 * scale)
        numpy.testing.assert_allclose(four, one, 0, 1e-4 * scale)


_FORK = """
import os, signal, flambeau

a, x, w = flambeau.randn(256, 256), flambeau.randn(2, 8, 32, 32), flambeau.randn(8, 8, 3, 3)
compute = lambda: [(a @ a).numpy(), flambeau.nn.functional.conv2d(x, w).numpy(), x.softmax(1).numpy()]
before = compute()
if os.fork() == 0:
    signal.alarm(20)  # a process that waits for threads which are not there ends so
    assert all(abs(one - other).max() < 1e-3 for one, other in zip(before, compute()))
    os._exit(17)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_computes_though_the_threads_of_its_parent_are_gone() -> None:
    environment = {**_environment(), "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", _FORK], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "17", done.stderr


_TEAM = """
import os, threading, time
import numpy, flambeau
from flambeau import settings
from flambeau_numpy.threads import PARALLEL, over_parts

xp = flambeau.ones(1).device.xp
assert settings.lent_team() is not None

def parts(rows=8):
    times, seen = numpy.zeros(rows, int), set()
    def work(part):
        times[part] += 1
        seen.add(threading.get_ident())
        time.sleep(0.03)
    over_parts(work, rows, 1, PARALLEL)
    assert (times == 1).all()
    return seen

assert len(parts()) == 2
a = numpy.random.default_rng(0).random((4, 256, 256), numpy.float32)
products, whole = numpy.empty_like(a), xp.matmul(a, a)
def multiply(part):  # a kernel of oneDNN's in a thread of the team
    products[part] = xp.matmul(a[part], a[part])
over_parts(multiply, 4, 1, PARALLEL)
numpy.testing.assert_allclose(products, whole, 1e-5)
numpy.testing.assert_array_equal(xp.matmul(a, a), whole)

caller = threading.get_ident()
def refuse(part):
    time.sleep(0.01)
    if threading.get_ident() != caller:
        raise ValueError("elsewhere")
try:
    over_parts(refuse, 8, 1, PARALLEL)
except ValueError as error:
    assert str(error) == "elsewhere"
else:
    raise AssertionError("nothing was raised")

threads = [threading.Thread(target=parts) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if os.fork() == 0:
    assert settings.lent_team() is None
    parts()
    os._exit(17)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 17
assert len(parts()) == 2
print("done")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="libgomp is Linux's")
def test_kernels_in_python_compute_on_the_threads_of_onednn() -> None:
    environment = {**_environment(), "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", _TEAM], capture_output=True, text=True, env=environment, timeout=120)
    assert done.stdout.strip() == "done", done.stderr


def test_the_number_of_threads_is_that_of_set_num_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """In each thread that computes, and for what has been computed before."""
    count = getattr(library.load(), "omp_get_max_threads", None)
    if count is None:
        pytest.skip("this oneDNN has no OpenMP")
    x = flambeau.randn(128, 128)
    before = count()
    try:
        for number in (2, 1, 3):
            monkeypatch.setattr(flambeau.settings, "_threads", number)
            counts = []

            def compute(counts: list[int] = counts) -> None:
                x @ x
                counts.append(count())

            thread = threading.Thread(target=compute)
            thread.start()
            thread.join()
            compute()
            assert counts == [number, number]
    finally:
        library.set_threads(before)


_FAULTS = """
import resource, flambeau
x = flambeau.ones(12 << 20)
for _ in range(3):
    y = x + 1
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    y = x + 1
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_large_arrays_find_the_memory_of_those_before_them() -> None:
    """20 sums of 48 MB fault a page for each 4 KB (or 2 MB, with huge pages) of them, or hardly any."""
    faults = []
    for keep in ("1", "0"):
        environment = {**_environment(), "FLAMBEAU_KEEP_MEMORY": keep}
        done = subprocess.run([sys.executable, "-c", _FAULTS], capture_output=True, text=True, env=environment)
        faults.append(int(done.stdout))
    assert faults[0] < 20, faults
    assert faults[1] >= 20 * 24, faults


def test_settings_of_the_c_library_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from flambeau_accel import memory

    monkeypatch.setattr(memory.ctypes, "CDLL", None)
    for name, value in (("MALLOC_TRIM_THRESHOLD_", "100"), ("GLIBC_TUNABLES", "x"), ("FLAMBEAU_KEEP_MEMORY", "0")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert memory.keep() is False
