"""Training on OpenCL: nothing but batch and loss moves, memory stays, faults leave the device usable."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest

pytest.importorskip("pyopencl")

import pyopencl as cl
from training_models import MODELS, Training

import flambeau
from flambeau_opencl.backend import OpenCLBackend
from flambeau_opencl.runtime import Runtime, runtime

pytestmark = pytest.mark.skipif(not OpenCLBackend().is_available(), reason="there is no OpenCL device here")

OPENCL = "opencl"

# -- transfers -----------------------------------------------------------------------------------------------------

_COMPLAINTS = 32  # bytes of the words in which kernels note an index out of bounds; a read asks for them


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[int]]]:
    """The bytes of each copy between host and device, whoever makes it."""
    found: dict[str, list[int]] = {"to_device": [], "to_host": []}
    enqueue_copy = cl.enqueue_copy

    def counted(queue: Any, target: Any, source: Any, **options: Any) -> Any:
        if isinstance(target, numpy.ndarray):
            found["to_host"].append(target.nbytes)
        elif isinstance(source, numpy.ndarray):
            found["to_device"].append(source.nbytes)
        return enqueue_copy(queue, target, source, **options)

    monkeypatch.setattr(cl, "enqueue_copy", counted)
    yield found


@pytest.mark.parametrize("name", MODELS)
def test_only_the_batch_goes_over_and_only_the_loss_comes_back(name: str, moved: dict[str, list[int]]) -> None:
    training = Training(name, OPENCL)
    training.step().item()
    moved["to_device"].clear()
    moved["to_host"].clear()
    training.step().item()
    assert moved["to_device"] == [training.inputs.nbytes, training.targets.nbytes]
    assert moved["to_host"] in ([4], [4, _COMPLAINTS])


# -- memory --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "steps"), [("lenet", 200), ("transformer", 50)])
def test_steps_leak_no_buffers(name: str, steps: int) -> None:
    training = Training(name, OPENCL)
    pool = runtime(None).pool
    training.losses(2)
    gc.collect()
    active, held = pool.active_blocks, pool.managed_bytes
    gc.disable()  # buffers go with the last reference, not with the collector
    try:
        for _ in range(steps):
            training.step()
        assert pool.active_blocks == active
    finally:
        gc.enable()
    runtime(None).synchronize()
    assert pool.managed_bytes <= held * 1.1


def test_a_step_that_fails_leaves_no_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training("lenet", OPENCL)
    training.losses(2)
    gc.collect()
    active = runtime(None).pool.active_blocks
    with monkeypatch.context() as patched:
        patched.setattr(Runtime, "launch", _failing_after(20, Runtime.launch))
        with pytest.raises(flambeau.OutOfMemoryError, match="opencl:0: "):
            training.step()
    training.optimizer.zero_grad()
    gc.collect()
    assert runtime(None).pool.active_blocks <= active
    assert numpy.isfinite(training.losses(1)).all()


def _failing_after(launches: int, launch: Callable[..., None]) -> Callable[..., None]:
    """``launch`` for so many times; then what the driver says when it has no memory for a kernel."""
    left = launches

    def launched(self: Runtime, name: str, kernel: Any, *args: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:

            def kernel(*_: Any) -> None:
                raise cl.MemoryError(cl._cl._ErrorRecord("", cl.status_code.MEM_OBJECT_ALLOCATION_FAILURE, "enqueue"))

        launch(self, name, kernel, *args)

    return launched


# -- faults --------------------------------------------------------------------------------------------------------


def test_memory_that_runs_out_is_named_and_can_be_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    device = runtime(None)
    kept = flambeau.arange(1000, device=OPENCL)
    gc.collect()
    device.pool.free_held()
    monkeypatch.setattr(device, "memory", device.pool.managed_bytes + (8 << 20))
    arrays = []
    with pytest.raises(
        flambeau.OutOfMemoryError, match=r"opencl:0: out of memory: tried to allocate 1048576 bytes while \d+ are"
    ):
        while len(arrays) < 100:
            arrays.append(flambeau.zeros(1 << 18, device=OPENCL))
    assert 1 <= len(arrays) <= 8
    assert kept.sum().item() == 499_500
    assert all(array.sum().item() == 0 for array in arrays)
    arrays.clear()
    assert flambeau.ones(1 << 19, device=OPENCL).sum().item() == 1 << 19  # blocks of another size make room


def test_a_step_without_memory_can_be_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Training("lenet", OPENCL).losses(3)
    training = Training("lenet", OPENCL)
    assert training.losses(1) == expected[:1]
    device = runtime(None)
    with monkeypatch.context() as patched:
        gc.collect()
        device.pool.free_held()
        patched.setattr(device, "memory", device.pool.managed_bytes + (64 << 10))
        with pytest.raises(flambeau.OutOfMemoryError, match="out of memory"):
            training.step()
    assert training.losses(2) == expected[1:]


@pytest.mark.parametrize(
    ("op", "shapes"),
    [("add", ((3,), (4,))), ("matmul", ((2, 3), (4, 5))), ("linear", ((2, 3), (5, 4))), ("where", ((3,), (4,), (3,)))],
)
def test_a_kernel_given_shapes_that_do_not_fit_says_which(op: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    xp = flambeau.zeros(1, device=OPENCL).device.xp
    arrays = [flambeau.ones(*shape, device=OPENCL)._array for shape in shapes]
    with pytest.raises(RuntimeError, match=rf"{op}: .*3.*4"):
        getattr(xp, op)(*arrays)
    assert flambeau.ones(3, device=OPENCL).sum().item() == 3


def test_a_lost_device_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = flambeau.ones(3, device=OPENCL)

    def lost(*_: Any, **__: Any) -> None:
        raise cl.RuntimeError(cl._cl._ErrorRecord("", cl.status_code.DEVICE_NOT_AVAILABLE, "clEnqueueReadBuffer"))

    with monkeypatch.context() as patched:
        patched.setattr(cl, "enqueue_copy", lost)
        with pytest.raises(RuntimeError, match=r"opencl:0: read failed on .*DEVICE_NOT_AVAILABLE"):
            tensor.cpu()
    assert tensor.sum().item() == 3
