"""``cupy.cuda.stream``: what is given to a stream is done at once."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

from .. import _state
from .runtime import CUDARuntimeError

_numbers = itertools.count(0x1000)


class _Current(threading.local):
    def __init__(self) -> None:
        self.streams: dict[int, Any] = {}


_current = _Current()


class Graph:
    """See ``cupy.cuda.Graph``: counts its launches. What was captured was done then."""

    launches = 0

    def launch(self, stream: Any = None) -> None:
        self.launches += 1


class Stream:
    """See ``cupy.cuda.Stream``."""

    null: Stream

    def __init__(
        self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: int | None = None
    ) -> None:
        self.ptr = 0 if null else next(_numbers)
        self.device_id = -1 if null else _state.device
        self.priority = priority or 0
        self.is_non_blocking = non_blocking

    @classmethod
    def from_external(cls, obj: Any) -> Stream:
        version, pointer = obj.__cuda_stream__()
        assert version == 0
        made = cls(null=True)
        made.ptr = pointer
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.ptr == other.ptr

    def __hash__(self) -> int:
        return self.ptr

    def use(self) -> Stream:
        if self.device_id not in (-1, _state.device):
            raise RuntimeError(
                f"The device that the stream is created on ({self.device_id}) does not match with the current device "
                f"({_state.device})"
            )
        _current.streams[_state.device] = self
        return self

    @property
    def done(self) -> bool:
        return True

    def synchronize(self) -> None:
        _state.wait()

    def record(self, event: Any = None) -> Any:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Any) -> None:
        assert event._time is not None, "nobody has recorded the event"

    def begin_capture(self, mode: int | None = None) -> None:
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        _state.capturing.add(self.ptr)

    def end_capture(self) -> Graph:
        _state.capturing.remove(self.ptr)
        return Graph()

    def is_capturing(self) -> bool:
        return self.ptr in _state.capturing


Stream.null = Stream(null=True)


class Event:
    """See ``cupy.cuda.Event``."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        if interprocess and not disable_timing:
            raise ValueError("Timing must be disabled for interprocess events")
        self.ptr = next(_numbers)
        self._device = _state.device
        self._timed = not disable_timing
        self._time: float | None = None

    @property
    def done(self) -> bool:
        return True

    def record(self, stream: Any = None) -> None:
        if stream is not None and stream.device_id not in (-1, self._device):
            raise CUDARuntimeError("cudaErrorInvalidResourceHandle: an event and a stream of two devices")
        self._time = time.perf_counter()

    def synchronize(self) -> None:
        _state.wait()


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    if not (start_event._timed and end_event._timed):
        raise CUDARuntimeError("cudaErrorInvalidResourceHandle: the events keep no time")
    return (end_event._time - start_event._time) * 1e3  # type: ignore[operator]


def get_current_stream(device_id: int = -1) -> Stream:
    return _current.streams.get(_state.device if device_id == -1 else device_id, Stream.null)
