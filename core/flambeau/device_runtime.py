"""What a device type has beside arrays and kernels: several devices, streams, events, memory, graphs.

A backend that has any of it gives an instance of a subclass of :class:`DeviceRuntime` as its ``runtime``.
:mod:`flambeau.cuda`, :mod:`flambeau.accelerator`, :class:`flambeau.Stream` and :class:`flambeau.Event` are written over
it, and over nothing else: a backend that has streams gets these with no other change.

Every method is optional; one that is left out says that the device type has no such thing. Devices are given by their
index. Streams, events, graphs and pools are whatever the backend makes them: the core only hands them back.
"""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy

if TYPE_CHECKING:
    from flambeau.devices import device
    from flambeau.dispatch import Backend

__all__ = ["Count", "DeviceProperties", "DeviceRuntime", "MemoryCounts"]


@dataclass(frozen=True)
class DeviceProperties:
    """What is known of a device (``torch.cuda.get_device_properties``).

    Attributes:
        name: for people.
        major, minor: the compute capability.
        total_memory: bytes.
        multi_processor_count: how many multiprocessors.
        details: what else the driver says, by its own names; they are attributes too.
    """

    name: str
    major: int = 0
    minor: int = 0
    total_memory: int = 0
    multi_processor_count: int = 0
    details: dict[str, Any] = field(default_factory=dict, repr=False)

    def __getattr__(self, name: str) -> Any:
        details = self.__dict__.get("details", {})
        if name in details:
            return details[name]
        raise AttributeError(f"DeviceProperties has no attribute {name!r}; there are: {', '.join(sorted(details))}")


@dataclass
class Count:
    """How much there is of something: now, at most, and all that ever came and went."""

    current: int = 0
    peak: int = 0
    allocated: int = 0
    freed: int = 0

    def add(self, amount: int) -> None:
        """So much more."""
        self.allocated += amount
        self.current += amount
        self.peak = max(self.peak, self.current)

    def remove(self, amount: int) -> None:
        """So much less."""
        self.freed += amount
        self.current -= amount


class MemoryCounts:
    """The memory of one device, counted by its backend, which calls the methods.

    Attributes:
        allocation, allocated_bytes, requested_bytes: what arrays hold, and how much they asked for.
        segment, reserved_bytes: what the backend's pool holds of the device's memory, used or not.
        num_ooms: how often memory has run out.
        num_alloc_retries: how often the pool had to give memory back to the device before there was enough.
    """

    def __init__(self) -> None:
        # Memory goes back wherever the last reference does, in a collection inside of `allocate` too.
        self._lock = threading.RLock()
        self.allocation, self.allocated_bytes, self.requested_bytes = Count(), Count(), Count()
        self.segment, self.reserved_bytes = Count(), Count()
        self.num_ooms = self.num_alloc_retries = 0

    def allocate(self, requested: int, taken: int) -> None:
        """An array takes memory: what it asked for and what it got, in bytes."""
        with self._lock:
            self.allocation.add(1)
            self.requested_bytes.add(requested)
            self.allocated_bytes.add(taken)

    def free(self, requested: int, taken: int) -> None:
        """An array's memory goes back to the pool."""
        with self._lock:
            self.allocation.remove(1)
            self.requested_bytes.remove(requested)
            self.allocated_bytes.remove(taken)

    def reserve(self, taken: int) -> None:
        """The pool takes bytes of the device."""
        with self._lock:
            self.segment.add(1)
            self.reserved_bytes.add(taken)

    def release(self, taken: int) -> None:
        """The pool gives bytes back to the device."""
        with self._lock:
            self.segment.remove(1)
            self.reserved_bytes.remove(taken)

    def reset_peaks(self) -> None:
        """Count what is most from here on."""
        with self._lock:
            for count in self._counts().values():
                count.peak = count.current

    def reset_totals(self) -> None:
        """Count what comes and goes from here on."""
        with self._lock:
            for count in self._counts().values():
                count.allocated = count.freed = 0
            self.num_ooms = self.num_alloc_retries = 0

    def as_dict(self) -> dict[str, Any]:
        """The counts under PyTorch's names, nested. Its two pools by size are one here."""
        with self._lock:
            found: dict[str, Any] = {name: {"all": asdict(count)} for name, count in self._counts().items()}
            found["active"], found["active_bytes"] = found["allocation"], found["allocated_bytes"]
            found["num_ooms"], found["num_alloc_retries"] = self.num_ooms, self.num_alloc_retries
            found["num_device_alloc"], found["num_device_free"] = self.segment.allocated, self.segment.freed
        return found

    def _counts(self) -> dict[str, Count]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Count)}


class DeviceRuntime:
    """The optional half of a backend.

    Raises:
        NotImplementedError: from every method that the backend does not have.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def _lacks(self, method: str, what: str) -> NotImplementedError:
        return NotImplementedError(f"{method}: the backend for {self.backend.name!r} has no {what}")

    # -- devices -----------------------------------------------------------------------------------------------------

    def use_device(self, index: int) -> None:
        """The device has become the current one of this thread (:func:`flambeau.devices.current_index`)."""

    def properties(self, index: int) -> DeviceProperties:
        """What is known of a device."""
        raise self._lacks("properties", "properties of devices")

    def can_access_peer(self, index: int, peer: int) -> bool:
        """Whether a device reads another's memory directly."""
        return False

    def architectures(self) -> list[str]:
        """The architectures that kernels are compiled for (``["sm_90"]``)."""
        return []

    # -- streams -----------------------------------------------------------------------------------------------------

    def new_stream(self, index: int, priority: int) -> Any:
        """A stream beside the default one; lower numbers go first."""
        raise self._lacks("Stream", "streams")

    def external_stream(self, index: int, pointer: int) -> Any:
        """A stream that another library has made, by its address."""
        raise self._lacks("ExternalStream", "streams of other libraries")

    def default_stream(self, index: int) -> Any:
        """The stream that is current until another is chosen."""
        raise self._lacks("default_stream", "streams")

    def current_stream(self, index: int) -> Any:
        """The stream that kernels of a device go to, in this thread."""
        raise self._lacks("current_stream", "streams")

    def use_stream(self, index: int, stream: Any) -> None:
        """Have kernels of a device go to a stream, in this thread."""
        raise self._lacks("set_stream", "streams")

    def priority_range(self) -> tuple[int, int]:
        """The least and the greatest priority of streams, ``(0, -5)`` say."""
        return 0, 0

    def stream_priority(self, stream: Any) -> int:
        """The priority of a stream."""
        return 0

    def stream_pointer(self, stream: Any) -> int:
        """The address of a stream, by which it is compared."""
        raise self._lacks("stream_pointer", "streams")

    def stream_done(self, stream: Any) -> bool:
        """Whether all work of a stream is done."""
        raise self._lacks("query", "streams")

    def wait_for_stream(self, stream: Any) -> None:
        """Wait until all work of a stream is done."""
        raise self._lacks("synchronize", "streams")

    # -- events ------------------------------------------------------------------------------------------------------

    def new_event(self, index: int, timing: bool, blocking: bool, interprocess: bool) -> Any:
        """An event, not recorded yet.

        Args:
            timing: keep the time of what is recorded.
            blocking: who waits for it sleeps, instead of asking all the time.
            interprocess: other processes may see it.
        """
        raise self._lacks("Event", "events")

    def record(self, event: Any, stream: Any) -> None:
        """Have the event stand for what a stream has been given so far."""
        raise self._lacks("record", "events")

    def stream_waits(self, stream: Any, event: Any) -> None:
        """Have what a stream is given from here on wait for an event; the host goes on."""
        raise self._lacks("wait_event", "events")

    def event_pointer(self, event: Any) -> int:
        """The address of an event."""
        raise self._lacks("event_pointer", "events")

    def event_done(self, event: Any) -> bool:
        """Whether the work that the event stands for is done."""
        raise self._lacks("query", "events")

    def wait_for_event(self, event: Any) -> None:
        """Wait until the work that the event stands for is done."""
        raise self._lacks("synchronize", "events")

    def elapsed(self, start: Any, end: Any) -> float:
        """The milliseconds between two events that keep the time and are done."""
        raise self._lacks("elapsed_time", "events that keep the time")

    # -- memory ------------------------------------------------------------------------------------------------------

    def memory(self, index: int) -> MemoryCounts:
        """The counts of a device's memory, the same object every time."""
        raise self._lacks("memory_stats", "counts of its memory")

    def memory_info(self, index: int) -> tuple[int, int]:
        """How many bytes of the device are free, whoever uses the others, and how many there are."""
        raise self._lacks("mem_get_info", "figures of its memory")

    def empty_cache(self) -> None:
        """Give memory that is kept for reuse back to the devices."""

    def limit_memory(self, index: int, fraction: float) -> None:
        """Allow arrays a part of a device's memory, between 0 and 1."""
        raise self._lacks("set_per_process_memory_fraction", "limit of its memory")

    def memory_limit(self, index: int) -> float:
        """The part of a device's memory that arrays may take."""
        return 1.0

    def keep_for(self, array: Any, stream: Any) -> None:
        """Do not use the memory of an array again before what a stream has been given up to its end is done."""

    # -- the host's memory, copies -----------------------------------------------------------------------------------

    #: Whether there is pinned memory: :meth:`pin`, :meth:`is_pinned`.
    pins = False

    def pin(self, array: Any) -> Any:
        """A ``numpy.ndarray`` with the contents of another, in memory that the device reads by itself."""
        raise self._lacks("pin_memory", "pinned memory")

    def is_pinned(self, array: Any) -> bool:
        """Whether the memory of a ``numpy.ndarray`` came from :meth:`pin`."""
        return False

    def empty_host_cache(self) -> None:
        """Give pinned memory that is kept for reuse back to the system."""

    def to_device(self, array: Any, target: device, non_blocking: bool) -> Any:
        """A raw array with the contents of a ``numpy.ndarray``, on the current stream.

        Args:
            non_blocking: return before the copy is made, where ``array`` is pinned.
        """
        return self.backend.from_numpy(array, target)

    def to_host(self, array: Any, non_blocking: bool) -> Any:
        """A ``numpy.ndarray`` with the contents of a raw array, in memory of its own.

        Args:
            non_blocking: return before the copy is made; what comes is pinned, and right when the stream has been
                waited for.
        """
        return numpy.array(self.backend.to_numpy(array))

    def between_devices(self, array: Any, target: device) -> Any:
        """A raw array with the contents of one of another device of this type."""
        return self.backend.from_numpy(self.backend.to_numpy(array), target)

    def from_array_interface(self, data: Any) -> Any:
        """A raw array over the memory of an object with ``__cuda_array_interface__``; the object is kept.

        The current stream waits for the one that the object names.
        """
        raise self._lacks("as_tensor", "use for the memory of other libraries")

    # -- graphs ------------------------------------------------------------------------------------------------------

    def new_pool(self) -> Any:
        """Memory that graphs share: what their arrays are given while they are captured stays theirs."""
        raise self._lacks("CUDAGraph", "graphs")

    def begin_capture(self, index: int, stream: Any, pool: Any, mode: str) -> None:
        """Note what a stream is given, without doing it, with memory from ``pool``.

        Args:
            mode: what of this process is an error meanwhile: ``"global"``, ``"thread_local"``, ``"relaxed"``.
        """
        raise self._lacks("CUDAGraph", "graphs")

    def end_capture(self, index: int, stream: Any) -> Any:
        """What was noted, as a graph."""
        raise self._lacks("CUDAGraph", "graphs")

    def replay(self, graph: Any, stream: Any) -> None:
        """Give a stream the work of a graph."""
        raise self._lacks("CUDAGraph", "graphs")

    def is_capturing(self, stream: Any) -> bool:
        """Whether what a stream is given is noted for a graph."""
        return False

    # -- for profilers -----------------------------------------------------------------------------------------------

    def push_range(self, message: str) -> None:
        """Begin a range, inside of the last one."""
        raise self._lacks("nvtx", "ranges for profilers")

    def pop_range(self) -> None:
        """End the range that began last."""
        raise self._lacks("nvtx", "ranges for profilers")

    def mark(self, message: str) -> None:
        """Note a point in time."""
        raise self._lacks("nvtx", "ranges for profilers")

    def start_profiler(self) -> None:
        """Have the vendor's profiler record from here on."""
        raise self._lacks("profiler", "profiler of its own")

    def stop_profiler(self) -> None:
        """Have the vendor's profiler record no more."""
        raise self._lacks("profiler", "profiler of its own")
