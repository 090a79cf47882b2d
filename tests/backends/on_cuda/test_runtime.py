"""CUDA devices through CuPy: streams, memory, copies, graphs. On a GPU; without one, on the stand-in for CuPy.

`test_cupy.py` runs this in a process with the stand-in, in which every stream is done at once and a captured
graph only counts its launches.
"""

from __future__ import annotations

import gc
from typing import Any

import numpy
import pytest
from training_models import MODELS, Training

import flambeau
from flambeau import cuda

pytestmark = pytest.mark.skipif(not cuda.is_available(), reason="there is no CUDA device here")

if cuda.is_available():
    import cupy

    STAND_IN = hasattr(cupy, "_state")  # which counts how often somebody waits
    only_on_a_gpu = pytest.mark.skipif(STAND_IN, reason="what streams do by and by, the stand-in does at once")
    several = pytest.mark.skipif(cuda.device_count() < 2, reason="needs two devices")
else:
    STAND_IN = False
    only_on_a_gpu = several = pytest.mark.skip


# -- devices, streams, events ----------------------------------------------------------------------------------------


def test_properties() -> None:
    found = cuda.get_device_properties()
    assert found.name == cuda.get_device_name() and found.warp_size == 32
    assert (found.major, found.minor) == cuda.get_device_capability() >= (3, 0)
    free, total = cuda.mem_get_info()
    assert 0 < free <= total and found.total_memory >= total > 0
    assert f"sm_{found.major}{found.minor}" in cuda.get_arch_list()


def test_streams_order_work() -> None:
    x = flambeau.arange(1000.0, device="cuda")
    side = cuda.Stream(priority=-1)
    assert side.priority == -1 and side != cuda.current_stream() == cuda.default_stream()
    side.wait_stream(cuda.current_stream())
    with cuda.stream(side):
        assert cuda.current_stream() == side
        y = x * 2
        x.record_stream(side)
        done = side.record_event()
    cuda.current_stream().wait_event(done)
    assert (y + 1).sum().item() == 1000 * 999 + 1000
    side.synchronize()
    assert side.query() and done.query() and cuda.current_stream() == cuda.default_stream()
    cuda.synchronize()


def test_streams_of_other_libraries() -> None:
    theirs = cupy.cuda.Stream(non_blocking=True)
    ours = cuda.ExternalStream(theirs.ptr)
    with cuda.stream(ours):
        assert cupy.cuda.get_current_stream().ptr == theirs.ptr
        assert flambeau.ones(3, device="cuda").sum().item() == 3
    assert cupy.cuda.get_current_stream().ptr == 0


def test_times() -> None:
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    start.record()
    x = flambeau.ones(1000, device="cuda") * 2
    end.record()
    end.synchronize()
    assert start.elapsed_time(end) > 0 and x.numel() == 1000


@several
def test_two_devices() -> None:
    x = flambeau.arange(6.0, device="cuda:0").reshape(2, 3)
    for moved in (x.to("cuda:1"), x.t().to("cuda:1").t(), x[1:].to("cuda:1").cpu().new_tensor(x.tolist()).to("cuda:1")):
        assert moved.device is flambeau.device("cuda:1") and moved.tolist() == x.tolist()
    assert flambeau.tensor(3.0, device="cuda:0").to("cuda:1").shape == ()
    with cuda.device(1), cuda.Stream() as stream:
        assert stream.device_index == cuda.current_device() == 1
        y = flambeau.ones(2, device="cuda") + x.to("cuda")[0, :2]
        assert y.device is flambeau.device("cuda:1") and y.tolist() == [1, 2]
    assert cuda.current_device() == 0 and (x + 1).sum().item() == 21
    assert isinstance(cuda.can_device_access_peer(0, 1), bool) and not cuda.can_device_access_peer(1, 1)


# -- memory ----------------------------------------------------------------------------------------------------------


def test_what_arrays_hold_is_counted() -> None:
    gc.collect()
    before = cuda.memory_allocated()
    x = flambeau.zeros(1000, device="cuda")
    assert x.untyped_storage().nbytes() == 4000
    assert before + 4000 <= cuda.memory_allocated() <= before + 4608 <= cuda.memory_reserved() + 4608
    view = x[10:20]
    del x
    assert cuda.memory_allocated() > before  # the view holds the memory
    del view
    assert cuda.memory_allocated() == before
    cuda.reset_peak_memory_stats()
    assert cuda.max_memory_allocated() == before
    flambeau.zeros(1 << 20, device="cuda")
    assert cuda.max_memory_allocated() >= before + (4 << 20)
    cuda.empty_cache()
    assert cuda.memory_reserved() >= cuda.memory_allocated() == before
    assert cuda.memory_stats()["num_device_free"] > 0 and "Allocated memory" in cuda.memory_summary()


def test_memory_that_runs_out_is_named_and_can_be_used_again() -> None:
    kept = flambeau.arange(10, device="cuda")
    cuda.empty_cache()
    ooms = cuda.memory_stats()["num_ooms"]
    total = cuda.mem_get_info()[1]
    cuda.set_per_process_memory_fraction(0.5)
    try:
        assert cuda.get_per_process_memory_fraction() == 0.5
        with pytest.raises(
            flambeau.OutOfMemoryError, match=r"cuda:0: out of memory: tried to allocate \d+ bytes while"
        ):
            flambeau.empty(int(total * 0.6), dtype=flambeau.uint8, device="cuda")
    finally:
        cuda.set_per_process_memory_fraction(1.0)
    assert cuda.memory_stats()["num_ooms"] == ooms + 1
    assert kept.sum().item() == 45 and flambeau.ones(100, device="cuda").sum().item() == 100


@pytest.mark.parametrize("name", ["lenet", "transformer"])
def test_steps_leave_no_memory(name: str) -> None:
    training = Training(name, "cuda")
    training.losses(2)
    gc.collect()
    held = cuda.memory_allocated()
    gc.disable()  # memory goes with the last reference, not with the collector
    try:
        for _ in range(3):
            training.step()
        # The optimizer keeps its last tables of addresses; an activation is larger.
        assert cuda.memory_allocated() <= held + 3 * 2048
    finally:
        gc.enable()


def test_memory_in_use_by_a_stream_is_not_given_out() -> None:
    side = cuda.Stream()
    x = flambeau.ones(5000, device="cuda")
    place = x.data_ptr()
    x.record_stream(side)
    x.record_stream(side)
    runtime: Any = flambeau.device("cuda:0").backend.runtime  # type: ignore[union-attr]
    del x
    assert len(runtime._memory._waiting) == 1
    other = flambeau.ones(5000, device="cuda")  # by now the stream is done
    cuda.synchronize()
    flambeau.ones(1, device="cuda")
    assert not runtime._memory._waiting and (STAND_IN is False or other.data_ptr() == place)


# -- copies ----------------------------------------------------------------------------------------------------------


def test_pinned_memory_and_copies_that_nobody_waits_for() -> None:
    x = flambeau.randn(3, 4)
    pinned = x.pin_memory()
    assert pinned.is_pinned() and not x.is_pinned() and pinned[1].is_pinned() and flambeau.equal(x, pinned)
    cuda.set_sync_debug_mode("error")
    try:
        there = [
            pinned.to("cuda", non_blocking=True), x.to("cuda"), pinned.t().to("cuda", non_blocking=True).t(),
            flambeau.zeros(3, 4, device="cuda").copy_(pinned, non_blocking=True),
        ]  # fmt: skip
        back = there[0].to("cpu", non_blocking=True)
    finally:
        cuda.set_sync_debug_mode(0)
    cuda.synchronize()
    assert back.is_pinned() and flambeau.equal(back, x)
    assert all(flambeau.equal(moved.cpu(), x) for moved in there)
    copied = pinned.cuda()
    pinned.zero_()  # a copy that was waited for does not see it
    assert flambeau.equal(copied.cpu(), x)
    flambeau.accelerator.empty_host_cache()
    for kind in (flambeau.bool, flambeau.int64, flambeau.float16, flambeau.complex64):
        assert flambeau.ones(2, dtype=kind).pin_memory().cuda(non_blocking=True).dtype is kind
    assert flambeau.ones(0).pin_memory().cuda(non_blocking=True).shape == (0,)


def test_arrays_of_other_libraries_are_shared() -> None:
    theirs = cupy.arange(6, dtype=numpy.float32).reshape(2, 3)
    for ours in (flambeau.as_tensor(theirs), flambeau.from_dlpack(theirs)):
        assert ours.is_cuda and ours.data_ptr() == theirs.data.ptr and ours.tolist() == [[0, 1, 2], [3, 4, 5]]
    ours = flambeau.as_tensor(theirs)
    ours += 1
    assert theirs.get()[0, 0] == 1
    again = cupy.asarray(ours.t())
    assert again.data.ptr == ours.data_ptr() and again.get().tolist() == [[1, 4], [2, 5], [3, 6]]
    copied = flambeau.tensor(theirs)
    assert copied.is_cuda and copied.data_ptr() != ours.data_ptr()


@only_on_a_gpu
def test_arrays_of_pytorch_are_shared() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch has no CUDA here")
    theirs = torch.arange(6.0, device="cuda").reshape(2, 3)
    for ours in (flambeau.as_tensor(theirs), flambeau.from_dlpack(theirs)):
        assert ours.data_ptr() == theirs.data_ptr()
    ours = flambeau.arange(6.0, device="cuda")
    for again in (torch.as_tensor(ours, device="cuda"), torch.from_dlpack(ours)):
        assert again.data_ptr() == ours.data_ptr() and again.tolist() == ours.tolist()


# -- waiting ---------------------------------------------------------------------------------------------------------


# ResNet's convolutions take the stand-in a minute.
@pytest.mark.parametrize("name", [name for name in MODELS if name != "resnet18" or not STAND_IN])
def test_a_training_step_waits_for_nothing(name: str) -> None:
    training = Training(name, "cuda")
    training.pin()
    training.step()  # compiles kernels, makes the optimizer's state
    if STAND_IN:
        cupy._state.waits = 0
    cuda.set_sync_debug_mode("error")
    try:
        loss = training.step()
    finally:
        cuda.set_sync_debug_mode(0)
    if STAND_IN:  # which sees every wait, told of or not
        assert cupy._state.waits == 0
    assert numpy.isfinite(loss.item())


def test_reading_a_value_is_told() -> None:
    x = flambeau.arange(3, device="cuda")
    cuda.set_sync_debug_mode("error")
    try:
        for wait in (lambda: x.sum().item(), lambda: x.nonzero(), lambda: x[x > 0], lambda: x.tolist()):
            with pytest.raises(RuntimeError, match="called a synchronizing operation: .* waits for the device"):
                wait()
    finally:
        cuda.set_sync_debug_mode(0)


@pytest.mark.skipif(not STAND_IN, reason="only the stand-in sees every wait")
def test_no_op_waits_unsaid() -> None:
    """Every op, with its first samples of the conformance kit: it says that it waits, or does not."""
    from flambeau.dtypes import DTYPES
    from flambeau.ops.call import TENSORS
    from flambeau.testing.database import load_samples

    held = flambeau.device("cuda:0").backend.dtypes  # type: ignore[union-attr]
    unsaid, told, ran = [], set(), 0
    for name, case in load_samples().items():
        kind = next((kind for kind in ("float32", "int64", "complex64", "bool") if kind in case.dtypes), "")
        if case.steps or kind not in held:
            continue
        for sample in case.samples("cuda", DTYPES[kind])[:2]:
            before = cupy._state.waits
            cuda.set_sync_debug_mode("error")
            try:
                getattr(TENSORS, name)(*sample.args, **sample.kwargs)
                ran += 1
            except RuntimeError as error:
                assert "called a synchronizing operation" in str(error), name
                told.add(name)
            finally:
                cuda.set_sync_debug_mode(0)
            if cupy._state.waits != before:
                unsaid.append(name)
    assert unsaid == [] and ran > 500
    assert {"nonzero", "linalg_inv", "linalg_svd", "matrix_exp"} <= told
    assert not {"add", "softmax", "conv2d", "embedding", "gather", "cross_entropy", "sort", "matmul"} & told


# -- graphs ----------------------------------------------------------------------------------------------------------


def test_memory_of_a_graph_is_its_own() -> None:
    x = flambeau.ones(2000, device="cuda")
    (x + 1).sum()  # compiles
    captured = cuda.CUDAGraph()
    with cuda.graph(captured):
        assert cuda.is_current_stream_capturing()
        output = ((x + 1) * 2).sum()
    assert not cuda.is_current_stream_capturing()
    others = [flambeau.zeros(2000, device="cuda") for _ in range(4)]
    for _ in range(2):
        captured.replay()
    cuda.synchronize()
    assert output.item() == 8000 and all(other.sum().item() == 0 for other in others)
    if STAND_IN:
        assert captured._raw.graph.launches == 2
    del captured
    assert output.item() == 8000  # the memory outlives the graph


def test_steps_that_are_counted_on_the_device() -> None:
    """In a graph where there is a GPU; the stand-in takes the steps as they come."""
    parameters = [flambeau.nn.Parameter(flambeau.arange(6.0, device="cuda").reshape(2, 3)) for _ in range(2)]
    optimizers = [flambeau.optim.AdamW([p], lr=0.1, capturable=i == 0) for i, p in enumerate(parameters)]
    for parameter in parameters:
        parameter.grad = flambeau.linspace(-1, 1, 6, device="cuda").reshape(2, 3)
    for optimizer in optimizers:
        optimizer.step()
    captured = cuda.CUDAGraph()
    if not STAND_IN:
        with cuda.graph(captured):
            optimizers[0].step()
    for _ in range(4):
        captured.replay() if not STAND_IN else optimizers[0].step()
        optimizers[1].step()
    numpy.testing.assert_allclose(parameters[0].detach().cpu(), parameters[1].detach().cpu(), rtol=1e-5)
    assert optimizers[0].state[parameters[0]]["step"].item() == 5


def test_what_waits_cannot_be_captured() -> None:
    x = flambeau.ones(3, device="cuda")
    with pytest.raises(RuntimeError, match="[Cc]aptur"), cuda.graph(cuda.CUDAGraph()):
        x.sum().item()
    assert x.sum().item() == 3 and not cuda.is_current_stream_capturing()


@only_on_a_gpu
def test_replays_compute_with_new_values() -> None:
    net = flambeau.nn.Sequential(flambeau.nn.Linear(8, 16), flambeau.nn.ReLU(), flambeau.nn.Linear(16, 4)).cuda()
    twin = flambeau.nn.Sequential(flambeau.nn.Linear(8, 16), flambeau.nn.ReLU(), flambeau.nn.Linear(16, 4)).cuda()
    twin.load_state_dict(net.state_dict())
    cuda.make_graphed_callables(net, (flambeau.randn(5, 8, device="cuda", requires_grad=True),))
    for _ in range(3):
        x = flambeau.randn(5, 8, device="cuda")
        results = []
        for model in (net, twin):
            model.zero_grad()
            output = model(x)
            output.square().sum().backward()
            results.append([output.detach().cpu(), *[p.grad.cpu() for p in model.parameters()]])  # type: ignore[union-attr]
        for mine, other in zip(*results, strict=True):
            numpy.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6)


def test_ranges_for_profilers() -> None:
    with cuda.nvtx.range("step"), cuda.profiler.profile():
        cuda.nvtx.mark("here")
    if STAND_IN:
        assert cupy.cuda.nvtx.ranges == ["step", "here", "pop"]
