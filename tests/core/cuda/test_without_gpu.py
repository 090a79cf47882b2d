"""`flambeau.cuda` where there is no CUDA device: what PyTorch answers is answered, the rest says what is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest

import flambeau
from flambeau import cuda, dispatch

MISSING = r"device 'cuda:0': no plugin provides the device type 'cuda'; there are: .*cpu.*\. To add it: pip install "
MISSING += r"'flambeau\[cuda\]'$"

pytestmark = pytest.mark.usefixtures("nothing")


def test_what_is_answered() -> None:
    assert not cuda.is_available() and not cuda.is_initialized() and not flambeau.cuda.is_bf16_supported()
    assert not cuda.is_tf32_supported() and not cuda.is_current_stream_capturing()
    assert (cuda.device_count(), cuda.get_arch_list(), cuda.get_gencode_flags()) == (0, [], "")
    figures = (cuda.memory_allocated, cuda.max_memory_allocated, cuda.memory_reserved, cuda.max_memory_reserved)
    assert [figure() for figure in figures] == [0, 0, 0, 0]
    assert cuda.memory_stats() == {} and cuda.memory_stats_as_nested_dict() == {}
    assert cuda.get_rng_state_all() == [] and cuda.default_generators == ()
    assert cuda.get_sync_debug_mode() == 0


def test_what_does_nothing() -> None:
    cuda.empty_cache()
    cuda.reset_peak_memory_stats()
    cuda.reset_accumulated_memory_stats()
    cuda.set_device(-1)
    with cuda.stream(None), cuda.device(None), cuda.device(-1), cuda.device_of(flambeau.ones(1)):
        assert not flambeau.ones(1).is_cuda
    assert not flambeau.ones(1).is_pinned()
    flambeau.ones(1).record_stream(None)
    cuda.manual_seed(3)
    assert cuda.initial_seed() == 3


@pytest.mark.parametrize(
    "call",
    [
        cuda.init, cuda.current_device, cuda.synchronize, cuda.get_device_name, cuda.get_device_properties,
        cuda.get_device_capability, cuda.current_stream, cuda.default_stream, cuda.Stream, cuda.Event, cuda.CUDAGraph,
        cuda.graph_pool_handle, cuda.mem_get_info, cuda.memory_summary, cuda.ipc_collect, cuda.nvtx.range_pop,
        cuda.profiler.start, cuda.get_per_process_memory_fraction, cuda.Stream.priority_range,
        lambda: cuda.set_device(0), lambda: cuda.set_per_process_memory_fraction(0.5), lambda: cuda.ExternalStream(0),
        lambda: cuda.nvtx.range_push("a"), lambda: cuda.nvtx.mark("a"), lambda: flambeau.ones(1).cuda(),
        lambda: flambeau.ones(1).to("cuda"), lambda: flambeau.nn.Linear(1, 1).cuda(), cuda.device(0).__enter__,
        lambda: flambeau.zeros(1, device="cuda"), lambda: cuda.make_graphed_callables(abs, (flambeau.ones(1),)),
    ],
)  # fmt: skip
def test_what_needs_a_device_says_what_is_missing(call: Callable[[], Any]) -> None:
    with pytest.raises(RuntimeError, match=MISSING):
        call()


def test_a_higher_index_is_named() -> None:
    with pytest.raises(RuntimeError, match="device 'cuda:1': no plugin provides the device type 'cuda'"):
        flambeau.ones(1).cuda(1)


def test_pinned_memory_needs_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "available", lambda: ["meta", "cpu"])
    for call in (lambda: flambeau.ones(1).pin_memory(), lambda: flambeau.empty(1, pin_memory=True)):
        with pytest.raises(
            RuntimeError, match="pin_memory: no device here reads pinned memory; available are: meta, cpu"
        ):
            call()


@pytest.mark.skipif(not importlib.util.find_spec("pyopencl"), reason="needs an accelerator without streams")
def test_streams_of_a_backend_without_them() -> None:
    if not flambeau.accelerator.is_available():
        pytest.skip("there is no accelerator here")
    for call in (flambeau.Stream, flambeau.Event, flambeau.accelerator.current_stream):
        with pytest.raises(
            NotImplementedError, match=r": the backend for 'opencl' has nothing of the kind, kernels only"
        ):
            call()


def test_there_is_one_error_for_memory_that_runs_out() -> None:
    assert cuda.OutOfMemoryError is flambeau.OutOfMemoryError is flambeau.devices.OutOfMemoryError
    assert issubclass(flambeau.OutOfMemoryError, RuntimeError)
