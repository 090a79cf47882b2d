"""Streams and events: queues, and places in them."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau
from flambeau import accelerator, cuda


def test_work_goes_to_the_current_stream(toy: Any) -> None:
    x = flambeau.ones(3, device="cuda")
    side, default = cuda.Stream(), cuda.default_stream()
    assert cuda.current_stream() == default and side != default
    before = toy.default_stream(0).given
    with cuda.stream(side):
        assert cuda.current_stream() == side
        y = x + 1
    assert cuda.current_stream() == default and toy.default_stream(0).given == before
    assert not side.query()
    side.synchronize()
    assert side.query()
    assert y.tolist() == [2, 2, 2]


def test_a_stream_brings_its_device(toy: Any) -> None:
    there = cuda.Stream("cuda:1")
    assert (there.device, there.device_index) == (flambeau.device("cuda:1"), 1)
    with there:
        assert cuda.current_device() == 1 and cuda.current_stream() == there
        with cuda.Stream(0):
            assert cuda.current_device() == 0
        assert cuda.current_device() == 1
    assert cuda.current_device() == 0 and cuda.current_stream(1) == cuda.default_stream(1)
    cuda.set_stream(there)
    assert cuda.current_device() == 1 and cuda.current_stream() == there
    cuda.set_stream(cuda.default_stream(1))
    cuda.set_stream(None)


def test_what_a_stream_is(toy: Any) -> None:
    urgent = cuda.Stream(priority=-2)
    assert urgent.priority == -2 and cuda.Stream.priority_range() == (0, -3)
    assert urgent.cuda_stream == urgent.stream_id == urgent.native_handle == urgent.__cuda_stream__()[1]
    assert isinstance(urgent, flambeau.Stream) and repr(urgent) == (
        f"<flambeau.cuda.Stream device=cuda:0 stream_id={urgent.cuda_stream:#x}>"
    )
    again = cuda.ExternalStream(cuda.default_stream().cuda_stream)
    assert again == cuda.default_stream() and hash(again) == hash(cuda.default_stream())
    assert cuda.get_stream_from_external(again.cuda_stream) == again
    with pytest.raises(ValueError, match="Stream: expected a device of the type 'cuda', got 'cpu'"):
        cuda.Stream("cpu")


def test_events_mark_places(toy: Any) -> None:
    x = flambeau.ones(3, device="cuda")
    side = cuda.Stream()
    never = cuda.Event()
    assert never.query() and never.event_id == 0
    never.synchronize()
    side.wait_event(never)
    with side:
        x + 1
        middle = side.record_event()
        x + 2
    assert not middle.query() and middle.cuda_event
    middle.synchronize()
    assert middle.query() and not side.query()
    other = cuda.Stream()
    other.wait_stream(side)
    other.synchronize()
    assert side.query()
    cuda.current_stream().wait_event(middle)
    assert toy.default_stream(0).waits_for[-1] is middle._raw
    middle.wait(other)
    middle.wait()
    assert toy.default_stream(0).waits_for[-1] is middle._raw


def test_times(toy: Any) -> None:
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    start.record()
    with pytest.raises(ValueError, match="elapsed_time: end_event has not been recorded"):
        start.elapsed_time(end)
    end.record()
    assert start.elapsed_time(end) == 1.5
    with pytest.raises(ValueError, match="elapsed_time: this event keeps no time; make it with enable_timing=True"):
        cuda.Event().elapsed_time(end)


def test_events_belong_to_a_device(toy: Any) -> None:
    event = cuda.Event(blocking=True, interprocess=True)
    event.record(cuda.Stream(1))
    assert event.device is flambeau.device("cuda:1") and event._raw.options == (False, True, True)
    with pytest.raises(RuntimeError, match="record: the event belongs to cuda:1, and the stream to cuda:0"):
        event.record(cuda.default_stream(0))
    event.record()
    with pytest.raises(NotImplementedError, match="Event: graphs do not wait for events outside of them"):
        cuda.Event(external=True)


def test_streams_of_any_accelerator(toy: Any) -> None:
    plain = flambeau.Stream()
    assert plain.device is flambeau.device("cuda:0") and repr(plain).startswith("<flambeau.Stream device=cuda:0")
    assert accelerator.current_stream() == cuda.current_stream()
    with flambeau.Stream("cuda:1", priority=-1) as stream:
        assert accelerator.current_stream() == stream and stream.priority == -1
    accelerator.set_stream(plain)
    assert cuda.current_stream() == plain
    event = plain.record_event()
    assert type(event) is flambeau.Event and event.device is plain.device
    event.synchronize()
    timed = flambeau.Event("cuda", enable_timing=True)
    timed.record()
    assert timed.elapsed_time(timed) == 0
    accelerator.set_stream(accelerator.current_stream())
    accelerator.synchronize()


def test_ranges_for_profilers(toy: Any) -> None:
    with cuda.nvtx.range("step {}", 3):
        cuda.nvtx.mark("here")
    assert toy.ranges == ["push step 3", "mark here", "pop"]
    with pytest.raises(NotImplementedError, match="profiler: the backend for 'cuda' has no profiler of its own"):
        cuda.profiler.start()
