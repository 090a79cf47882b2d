"""What CUDA devices have beside kernels, through CuPy: streams, events, copies, graphs. Memory is in `memory.py`."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import cupy
import cupyx
import numpy
from cupy.cuda import runtime as cuda

from flambeau.device_runtime import DeviceProperties, DeviceRuntime, MemoryCounts
from flambeau.devices import device
from flambeau.dispatch import Backend
from flambeau_cupy.memory import Memory

#: PyTorch's names of what the driver says of a device.
DETAILS = {
    "warp_size": "warpSize",
    "max_threads_per_block": "maxThreadsPerBlock",
    "max_threads_per_multi_processor": "maxThreadsPerMultiProcessor",
    "regs_per_multiprocessor": "regsPerMultiprocessor",
    "shared_memory_per_block": "sharedMemPerBlock",
    "shared_memory_per_block_optin": "sharedMemPerBlockOptin",
    "shared_memory_per_multiprocessor": "sharedMemPerMultiprocessor",
    "L2_cache_size": "l2CacheSize",
    "is_integrated": "integrated",
    "is_multi_gpu_board": "isMultiGpuBoard",
    "clock_rate": "clockRate",
    "memory_clock_rate": "memoryClockRate",
    "memory_bus_width": "memoryBusWidth",
    "pci_bus_id": "pciBusID",
    "pci_device_id": "pciDeviceID",
    "pci_domain_id": "pciDomainID",
}


class _Foreign(NamedTuple):
    """Another library's stream, as the protocol between libraries has it."""

    pointer: int

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.pointer


class _Graph(NamedTuple):
    """A graph, and the pool that its arrays live in."""

    graph: Any
    pool: Any


class CupyRuntime(DeviceRuntime):
    """The runtime of the device type ``cuda``. Its memory takes the place of CuPy's own pool."""

    pins = True

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._memory = Memory()
        self._memory.install()
        # Pinned arrays that copies still read: their pool would give them to others.
        self._read: deque[tuple[Any, Any]] = deque()

    # -- devices -----------------------------------------------------------------------------------------------------

    def use_device(self, index: int) -> None:
        cupy.cuda.Device(index).use()

    def properties(self, index: int) -> DeviceProperties:
        found = cuda.getDeviceProperties(index)
        return DeviceProperties(
            found["name"].decode(), found["major"], found["minor"], found["totalGlobalMem"],
            found["multiProcessorCount"], {ours: found[theirs] for ours, theirs in DETAILS.items() if theirs in found},
        )  # fmt: skip

    def can_access_peer(self, index: int, peer: int) -> bool:
        return index != peer and bool(cuda.deviceCanAccessPeer(index, peer))

    def architectures(self) -> list[str]:
        found = [self.properties(index) for index in range(self.backend.device_count())]
        return sorted({f"sm_{one.major}{one.minor}" for one in found})

    # -- streams -----------------------------------------------------------------------------------------------------

    def new_stream(self, index: int, priority: int) -> Any:
        """A stream that does not wait for the default one."""
        with cupy.cuda.Device(index):
            return cupy.cuda.Stream(non_blocking=True, priority=priority)

    def external_stream(self, index: int, pointer: int) -> Any:
        with cupy.cuda.Device(index):
            return cupy.cuda.Stream.from_external(_Foreign(pointer))

    def default_stream(self, index: int) -> Any:
        return cupy.cuda.Stream.null

    def current_stream(self, index: int) -> Any:
        return cupy.cuda.get_current_stream(index)

    def use_stream(self, index: int, stream: Any) -> None:
        with cupy.cuda.Device(index):
            stream.use()

    def priority_range(self) -> tuple[int, int]:
        """What CUDA gives since compute capability 7.0; CuPy has no question for it."""
        return 0, -5

    def stream_priority(self, stream: Any) -> int:
        return int(stream.priority)

    def stream_pointer(self, stream: Any) -> int:
        return int(stream.ptr)

    def stream_done(self, stream: Any) -> bool:
        return bool(stream.done)

    def wait_for_stream(self, stream: Any) -> None:
        stream.synchronize()

    # -- events ------------------------------------------------------------------------------------------------------

    def new_event(self, index: int, timing: bool, blocking: bool, interprocess: bool) -> Any:
        with cupy.cuda.Device(index):
            return cupy.cuda.Event(block=blocking, disable_timing=not timing, interprocess=interprocess)

    def record(self, event: Any, stream: Any) -> None:
        event.record(stream)

    def stream_waits(self, stream: Any, event: Any) -> None:
        stream.wait_event(event)

    def event_pointer(self, event: Any) -> int:
        return int(event.ptr)

    def event_done(self, event: Any) -> bool:
        return bool(event.done)

    def wait_for_event(self, event: Any) -> None:
        event.synchronize()

    def elapsed(self, start: Any, end: Any) -> float:
        return float(cupy.cuda.get_elapsed_time(start, end))

    # -- memory ------------------------------------------------------------------------------------------------------

    def memory(self, index: int) -> MemoryCounts:
        return self._memory.counts_of(index)

    def memory_info(self, index: int) -> tuple[int, int]:
        with cupy.cuda.Device(index):
            free, total = cuda.memGetInfo()
        return int(free), int(total)

    def empty_cache(self) -> None:
        self._memory.release()

    def limit_memory(self, index: int, fraction: float) -> None:
        self._memory.limit(index, fraction)

    def memory_limit(self, index: int) -> float:
        return self._memory.limits.get(index, 1.0)

    def keep_for(self, array: Any, stream: Any) -> None:
        self._memory.keep_for(array, stream)

    # -- the host's memory, copies -----------------------------------------------------------------------------------

    def pin(self, array: Any) -> Any:
        pinned = cupyx.empty_pinned(array.shape, array.dtype)
        pinned[...] = array
        return pinned

    def is_pinned(self, array: Any) -> bool:
        while isinstance(array, numpy.ndarray):
            array = array.base
        return isinstance(array, cupy.cuda.PinnedMemoryPointer)

    def empty_host_cache(self) -> None:
        self._forget_read()
        cupy.get_default_pinned_memory_pool().free_all_blocks()

    def to_device(self, array: Any, target: device, non_blocking: bool) -> Any:
        """A copy on the device's current stream.

        Raises:
            TypeError: when CuPy has no arrays of the dtype.
        """
        if not self.is_pinned(array):
            return self.backend.from_numpy(array, target)  # through pinned memory of CuPy's own: nobody waits
        index = target.index or 0
        with cupy.cuda.Device(index):
            host = array if array.flags.c_contiguous else self.pin(array)
            made = self.backend.from_numpy(numpy.empty(0, host.dtype), target)  # complains of the dtype
            made = cupy.empty(host.shape, made.dtype)
            if host.nbytes:
                stream = cupy.cuda.get_current_stream(index)
                made.data.copy_from_host_async(host.ctypes.data, host.nbytes, stream)
                if non_blocking:
                    self._forget_read()
                    self._read.append((stream.record(cupy.cuda.Event(disable_timing=True)), host))
                else:  # the caller may write to the array as soon as it has its copy
                    stream.synchronize()
        return made

    def _forget_read(self) -> None:
        while self._read and self._read[0][0].done:
            self._read.popleft()

    def to_host(self, array: Any, non_blocking: bool) -> Any:
        if not non_blocking:
            return self.backend.to_numpy(array)
        pinned = cupyx.empty_pinned(array.shape, array.dtype)
        if array.size:
            with array.device:
                array.get(out=pinned, blocking=False)
        return pinned

    def between_devices(self, array: Any, target: device) -> Any:
        """A copy from one device's memory to another's, ordered on the current streams of both."""
        here, there = array.device.id, target.index or 0
        with cupy.cuda.Device(here):
            source = cupy.ascontiguousarray(array)
            giving = cupy.cuda.get_current_stream(here)
            ready = giving.record(cupy.cuda.Event(disable_timing=True))
        with cupy.cuda.Device(there):
            made = cupy.empty(array.shape, array.dtype)
            taking = cupy.cuda.get_current_stream(there)
            taking.wait_event(ready)
            if array.size:
                made.data.copy_from_device_async(source.data, source.nbytes, taking)
            done = taking.record(cupy.cuda.Event(disable_timing=True))
        with cupy.cuda.Device(here):
            giving.wait_event(done)  # before the memory of the source is used again
        return made

    def from_array_interface(self, data: Any) -> Any:
        """An array over the memory; CuPy waits for the stream that the object names."""
        return cupy.asarray(data)

    # -- graphs ------------------------------------------------------------------------------------------------------

    def new_pool(self) -> Any:
        return self._memory.new_pool()

    def begin_capture(self, index: int, stream: Any, pool: Any, mode: str) -> None:
        """Begin, in CUDA's relaxed mode whatever ``mode``: the pool may have to grow meanwhile, and other modes forbid
        that."""
        with cupy.cuda.Device(index):
            self._memory.take_from(index, pool)
            try:
                stream.begin_capture()
            except BaseException:
                self._memory.take_from(index, None)
                raise

    def end_capture(self, index: int, stream: Any) -> Any:
        pool = self._memory.taken_from(index)
        with cupy.cuda.Device(index):
            try:
                return _Graph(stream.end_capture(), pool)
            finally:
                self._memory.take_from(index, None)

    def replay(self, graph: Any, stream: Any) -> None:
        graph.graph.launch(stream)

    def is_capturing(self, stream: Any) -> bool:
        # The default stream cannot, and CUDA takes the question amiss while another one does.
        return bool(stream.ptr) and bool(stream.is_capturing())

    # -- for profilers -----------------------------------------------------------------------------------------------

    def push_range(self, message: str) -> None:
        cupy.cuda.nvtx.RangePush(message)

    def pop_range(self) -> None:
        cupy.cuda.nvtx.RangePop()

    def mark(self, message: str) -> None:
        cupy.cuda.nvtx.Mark(message)

    def start_profiler(self) -> None:
        cuda.profilerStart()

    def stop_profiler(self) -> None:
        cuda.profilerStop()
