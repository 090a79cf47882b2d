"""A device type ``cuda`` on the CPU: NumPy's kernels behind the whole of the protocol of `flambeau.device_runtime`.

Kernels run when they are launched; what a stream has "done" is only what somebody waited for. What is launched while a
stream captures is noted, and a replay runs it again on the same arrays.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy

from flambeau import devices
from flambeau.device_runtime import DeviceProperties, DeviceRuntime, MemoryCounts
from flambeau.devices import OutOfMemoryError, device
from flambeau.dispatch import Backend, load
from flambeau.sync_debug import waits
from flambeau_numpy.backend import NumpyBackend
from flambeau_numpy.shape import owner

DEVICES = 2
MEMORY = 1 << 24


class Array(numpy.ndarray):
    """An array of a device, which it knows."""

    index = 0

    def __array_finalize__(self, other: Any) -> None:
        self.index = getattr(other, "index", 0)


class Pinned(numpy.ndarray):
    """An array of the host in pinned memory."""


class Stream:
    def __init__(self, index: int, priority: int = 0) -> None:
        self.index, self.priority = index, priority
        self.given = self.done = 0  # how much
        self.waits_for: list[Event] = []
        self.noted: list[Callable[[], None]] | None = None


class Event:
    def __init__(self, options: tuple[bool, ...]) -> None:
        self.options = options
        self.stream: Stream | None = None
        self.place = 0


class Runtime(DeviceRuntime):
    pins = True

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.used: list[int] = []  # every device that was made current
        self.counts = [MemoryCounts() for _ in range(DEVICES)]
        self.limits = [1.0] * DEVICES
        self.defaults = [Stream(index) for index in range(DEVICES)]
        self.streams = list(self.defaults)
        self.kept: list[tuple[Any, Stream]] = []
        self.copies: list[tuple[str, bool]] = []  # direction, whether nobody waited
        self.ranges: list[str] = []
        self.time = 0.0

    def use_device(self, index: int) -> None:
        self.used.append(index)

    def properties(self, index: int) -> DeviceProperties:
        return DeviceProperties(f"Toy {index}", 9, 0, MEMORY, 4, {"warp_size": 32})

    def can_access_peer(self, index: int, peer: int) -> bool:
        return index != peer

    def architectures(self) -> list[str]:
        return ["sm_90"]

    def new_stream(self, index: int, priority: int) -> Stream:
        return Stream(index, priority)

    def external_stream(self, index: int, pointer: int) -> Any:
        return next(stream for stream in self.defaults if id(stream) == pointer)

    def default_stream(self, index: int) -> Stream:
        return self.defaults[index]

    def current_stream(self, index: int) -> Stream:
        return self.streams[index]

    def use_stream(self, index: int, stream: Stream) -> None:
        assert stream.index == index
        self.streams[index] = stream

    def priority_range(self) -> tuple[int, int]:
        return 0, -3

    def stream_priority(self, stream: Stream) -> int:
        return stream.priority

    def stream_pointer(self, stream: Stream) -> int:
        return id(stream)

    def stream_done(self, stream: Stream) -> bool:
        return stream.done == stream.given

    def wait_for_stream(self, stream: Stream) -> None:
        for event in stream.waits_for:
            self.wait_for_event(event)
        stream.done = stream.given

    def new_event(self, index: int, *options: bool) -> Event:
        return Event(options)

    def record(self, event: Event, stream: Stream) -> None:
        event.stream, event.place = stream, stream.given
        self.time += 1.5
        event.time = self.time  # type: ignore[attr-defined]

    def stream_waits(self, stream: Stream, event: Event) -> None:
        stream.waits_for.append(event)

    def event_pointer(self, event: Event) -> int:
        return id(event)

    def event_done(self, event: Event) -> bool:
        return event.stream is None or event.stream.done >= event.place

    def wait_for_event(self, event: Event) -> None:
        if event.stream is not None:
            event.stream.done = max(event.stream.done, event.place)

    def elapsed(self, start: Any, end: Any) -> float:
        return end.time - start.time

    def memory(self, index: int) -> MemoryCounts:
        return self.counts[index]

    def memory_info(self, index: int) -> tuple[int, int]:
        return MEMORY - self.counts[index].allocated_bytes.current, MEMORY

    def empty_cache(self) -> None:
        for counts in self.counts:
            counts.release(0)

    def limit_memory(self, index: int, fraction: float) -> None:
        self.limits[index] = fraction

    def memory_limit(self, index: int) -> float:
        return self.limits[index]

    def keep_for(self, array: Any, stream: Stream) -> None:
        self.kept.append((array, stream))

    def pin(self, array: Any) -> Any:
        return numpy.array(array, copy=True).view(Pinned)

    def is_pinned(self, array: Any) -> bool:
        while array is not None:
            if isinstance(array, Pinned):
                return True
            array = getattr(array, "base", None)
        return False

    def to_device(self, array: Any, target: device, non_blocking: bool) -> Any:
        self.copies.append(("to_device", non_blocking and self.is_pinned(array)))
        return self.backend.from_numpy(array, target)

    def to_host(self, array: Any, non_blocking: bool) -> Any:
        self.copies.append(("to_host", non_blocking))
        host = numpy.array(array.view(numpy.ndarray))
        return self.pin(host) if non_blocking else self.backend.to_numpy(array)

    def between_devices(self, array: Any, target: device) -> Any:
        self.copies.append(("between", True))
        return self.backend.from_numpy(array.view(numpy.ndarray), target)

    def from_array_interface(self, data: Any) -> Any:
        assert data.__cuda_array_interface__["version"] == 3
        return self.wrapped(data.owner.view(numpy.ndarray), 0)

    def new_pool(self) -> Any:
        return object()

    def begin_capture(self, index: int, stream: Stream, pool: Any, mode: str) -> None:
        stream.noted = []

    def end_capture(self, index: int, stream: Stream) -> Any:
        noted, stream.noted = stream.noted, None
        return noted

    def replay(self, graph: Any, stream: Stream) -> None:
        for call in graph:
            call()
        stream.given += 1

    def is_capturing(self, stream: Stream) -> bool:
        return stream.noted is not None

    def push_range(self, message: str) -> None:
        self.ranges.append(f"push {message}")

    def pop_range(self) -> None:
        self.ranges.append("pop")

    def mark(self, message: str) -> None:
        self.ranges.append(f"mark {message}")

    # -- what the backend is made of ---------------------------------------------------------------------------------

    def wrapped(self, value: Any, index: int) -> Array:
        """A NumPy array as one of a device, counted when its memory is new."""
        host = numpy.asarray(value)
        array = host.view(Array)
        array.index = index
        if host.flags.owndata and not isinstance(value, Array):
            counts, size = self.counts[index], host.nbytes
            if counts.allocated_bytes.current + size > self.limits[index] * MEMORY:
                counts.num_ooms += 1
                raise OutOfMemoryError(f"cuda:{index}: out of memory: tried to allocate {size} bytes")
            counts.allocate(size, size)
            weakref.finalize(owner(host), counts.free, size, size).atexit = False
        return array

    def launching(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        """A kernel of NumPy as one of a device, on the current stream."""

        def launch(*args: Any, **kwargs: Any) -> Any:
            index = _index_of(args)
            plain = _plain(args)
            made = kernel(*plain, **kwargs)
            several = isinstance(made, (tuple, list))
            hosts = [None if one is None else numpy.asarray(one) for one in (made if several else [made])]
            stream = self.streams[index]
            stream.given += 1
            if stream.noted is not None:

                def again() -> None:
                    fresh = kernel(*plain, **kwargs)
                    for old, new in zip(hosts, fresh if several else [fresh], strict=True):
                        if old is not None and not numpy.shares_memory(old, new):
                            numpy.copyto(old, new)

                stream.noted.append(again)
            results = [None if host is None else self.wrapped(host, index) for host in hosts]
            return tuple(results) if several else results[0]

        return launch


def _index_of(args: Any) -> int:
    for value in args:
        if isinstance(value, Array):
            return value.index
        if isinstance(value, device):
            return value.index or 0
        if isinstance(value, (list, tuple)) and any(isinstance(one, Array) for one in value):
            return _index_of(value)
    return devices.current_index("cuda")


def _plain(value: Any) -> Any:
    if isinstance(value, Array):
        return value.view(numpy.ndarray)
    if type(value) in (list, tuple):
        return type(value)([_plain(one) for one in value])
    return value


class ToyBackend(NumpyBackend):
    name = "cuda"
    array_type = Array
    dlpack_type = 2
    synchronizing = frozenset({"nonzero"})

    def __init__(self) -> None:
        super().__init__()
        self.runtime: Runtime = Runtime(self)  # type: ignore[assignment]

    def device_count(self) -> int:
        return DEVICES

    def device_name(self, index: int) -> str:
        return f"Toy {index}"

    def kernels(self) -> Mapping[str, Callable[..., Any]]:
        return {name: self.runtime.launching(kernel) for name, kernel in super().kernels().items()}

    def as_array(self, value: Any) -> Any:
        return self.runtime.wrapped(value, getattr(value, "index", devices.current_index(self.name)))

    def device_of(self, array: Any) -> device:
        return load(device(self.name, array.index))

    def from_numpy(self, array: Any, device: device) -> Any:
        return self.runtime.wrapped(numpy.array(array), device.index or 0)

    def to_numpy(self, array: Any) -> Any:
        waits("a copy to the host")
        if self.runtime.is_capturing(self.runtime.streams[array.index]):
            raise RuntimeError("operation not permitted when stream is capturing")
        self.runtime.wait_for_stream(self.runtime.streams[array.index])
        return numpy.array(array.view(numpy.ndarray))

    def synchronize(self, device: device) -> None:
        for stream in self.runtime.streams:
            self.runtime.wait_for_stream(stream)
