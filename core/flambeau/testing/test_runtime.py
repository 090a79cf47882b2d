"""Streams, events, counts of memory, pinned copies: what a backend's ``runtime`` says that it has, it does.

What the backend does not have is skipped: every method of :class:`flambeau.device_runtime.DeviceRuntime` is optional.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import flambeau
from flambeau import device_memory, streams
from flambeau.device_runtime import DeviceRuntime
from flambeau.devices import device as Device
from flambeau.dispatch import load
from flambeau.testing.comparison import host


@pytest.fixture
def where(device: str) -> Device:
    return load(Device(device))


@pytest.fixture
def runtime(where: Device) -> DeviceRuntime:
    found: DeviceRuntime | None = where.backend.runtime  # type: ignore[union-attr]
    if found is None:
        pytest.skip("the backend has no runtime")
    return found


def offered(call: Callable[[], Any]) -> Any:
    """What a call gives; the test is skipped where the backend does not have it."""
    try:
        return call()
    except NotImplementedError as error:
        pytest.skip(str(error))


def current(runtime: DeviceRuntime, where: Device) -> Any:
    return streams.Stream._of(where, runtime.current_stream(where.index or 0), "current_stream")


def test_work_on_two_streams_is_ordered_by_an_event(runtime: DeviceRuntime, where: Device) -> None:
    side = offered(lambda: flambeau.Stream(where))
    main = current(runtime, where)
    assert side != main and side.device is where and hash(main) == hash(current(runtime, where))
    x = flambeau.arange(4096, device=where)
    side.wait_stream(main)
    with side:
        assert current(runtime, where) == side
        for _ in range(20):
            x = x + 1
        done = side.record_event()
    assert current(runtime, where) == main
    main.wait_event(done)
    assert host(x.sum()).item() == 4096 * 4095 // 2 + 20 * 4096
    side.synchronize()
    assert side.query() and done.query()


def test_a_stream_is_left_after_an_error(runtime: DeviceRuntime, where: Device) -> None:
    side = offered(lambda: flambeau.Stream(where))
    main = current(runtime, where)
    with pytest.raises(ZeroDivisionError), side:
        raise ZeroDivisionError
    assert current(runtime, where) == main


def test_events_keep_the_time(runtime: DeviceRuntime, where: Device) -> None:
    start, end = (flambeau.Event(where, enable_timing=True) for _ in range(2))
    assert start.query()
    offered(start.record)
    flambeau.ones(64, 64, device=where) @ flambeau.ones(64, 64, device=where)
    end.record()
    end.synchronize()
    assert end.query() and offered(lambda: start.elapsed_time(end)) >= 0


def test_memory_is_counted(runtime: DeviceRuntime, where: Device) -> None:
    counts = offered(lambda: device_memory.counts(where.type, where, "memory_stats"))
    gc.collect()
    before = counts.allocated_bytes.current
    x = flambeau.zeros(1 << 16, device=where)
    assert counts.allocated_bytes.current - before >= x.nbytes
    view = x[10:]
    del x
    assert counts.allocated_bytes.current > before, "a view does not hold the memory"
    del view
    assert counts.allocated_bytes.current == before
    counts.reset_peaks()
    flambeau.zeros(1 << 16, device=where)
    assert counts.allocated_bytes.peak - before >= 4 << 16
    free, total = offered(lambda: runtime.memory_info(where.index or 0))
    assert 0 <= free <= total
    runtime.empty_cache()


def test_copies_from_and_to_pinned_memory(runtime: DeviceRuntime, where: Device) -> None:
    if not runtime.pins:
        pytest.skip("the backend pins no memory")
    x = flambeau.arange(12.0).reshape(3, 4)
    pinned = x.pin_memory(where)
    assert pinned.is_pinned(where) and not x.is_pinned(where) and flambeau.equal(pinned, x)
    there = pinned.to(where, non_blocking=True)
    back = there.to("cpu", non_blocking=True)
    where.backend.synchronize(where)  # type: ignore[union-attr]
    assert flambeau.equal(back, x)
    waited = pinned.t().to(where)
    pinned.zero_()
    assert flambeau.equal(waited.cpu(), x.t())


def test_a_copy_to_the_host_has_memory_of_its_own(runtime: DeviceRuntime, where: Device) -> None:
    x = flambeau.ones(3, device=where)
    here = x.cpu()
    here[0] = 5
    assert host(x).tolist() == [1, 1, 1]


def test_a_tensor_in_use_by_a_stream_keeps_its_memory(runtime: DeviceRuntime, where: Device) -> None:
    side = offered(lambda: flambeau.Stream(where))
    x = flambeau.full((1 << 14,), 3.0, device=where)
    offered(partial(x.record_stream, side))
    side.wait_stream(current(runtime, where))
    with side:
        y = x * 2
    del x
    others = [flambeau.zeros(1 << 14, device=where) for _ in range(4)]
    side.synchronize()
    assert host(y).sum() == 6 << 14 and not any(host(other).any() for other in others)
