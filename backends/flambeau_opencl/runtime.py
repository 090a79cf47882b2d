"""An OpenCL device as this backend uses it: context, in-order queue, memory pool, compiled programs, errors.

The queue runs asynchronously; only reading a value waits for it. What a kernel itself finds wrong, an index out of
bounds, it notes in a few words of device memory, and the next wait raises it (as CUDA's assertions do in PyTorch):
asking after each kernel would make every indexing wait.
"""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy
import pyopencl as cl
import pyopencl.tools

from flambeau.devices import OutOfMemoryError, current_index, device
from flambeau_opencl.inlined import inlined, standard

#: Chooses platforms by a part of their names, without regard to case: ``FLAMBEAU_OPENCL_PLATFORM=pocl``.
PLATFORM_VARIABLE = "FLAMBEAU_OPENCL_PLATFORM"

#: Bytes behind the last element that kernels may read: so the last columns of a matrix can be read as a whole vector.
SPARE = 128

# What a kernel may complain of; an index out of bounds is 1.
_DIVISION_ERROR = 2


@lru_cache(maxsize=1)
def devices() -> tuple[Any, ...]:
    """Every OpenCL device, GPUs before other accelerators before CPUs."""
    wanted = os.environ.get(PLATFORM_VARIABLE, "").lower()
    if wanted == "pocl":
        wanted = "portable computing language"
    found = []
    for platform in cl.get_platforms():
        if wanted in platform.name.lower():
            found += platform.get_devices()
    order = {cl.device_type.GPU: 0, cl.device_type.ACCELERATOR: 1}
    return tuple(sorted(found, key=lambda d: order.get(d.type, 2)))


class Runtime:
    """One device.

    Attributes:
        device: the Flambeau device.
        is_cpu: whether work-items are loop iterations of a CPU's threads, so that sharing through local memory costs
            and wide vectors pay.
        inlines: whether functions of our own replace the compiler's (see :mod:`flambeau_opencl.inlined`).
        local_size: the work-group size of kernels that do not care.
        workers: the threads of a CPU, or the multiprocessors of a GPU.
        local_memory: bytes that a work-group may share.
        units: how many work-items keep the device busy.
        kernels, ready: what was compiled, and kernels with all that a call needs besides places in memory.
        largest: bytes that one array may take.
        memory: bytes that all arrays may take. Drivers of CPUs go on past what they say that they have, until the
            system ends the process.
    """

    def __init__(self, target: device) -> None:
        self.device = target
        self.hardware = devices()[target.index or 0]
        self.context = cl.Context([self.hardware])
        self.queue = cl.CommandQueue(self.context)
        self.memory = int(self.hardware.global_mem_size)
        self.largest = int(self.hardware.max_mem_alloc_size)
        self.pool = pyopencl.tools.MemoryPool(pyopencl.tools.ImmediateAllocator(self.queue))
        self.lock = threading.Lock()
        self.kernels: dict[Any, Any] = {}
        self.ready: dict[Any, Any] = {}
        self.is_cpu = bool(self.hardware.type & cl.device_type.CPU)
        self.inlines = "portable computing language" in self.hardware.platform.name.lower()
        self.local_size = min(256 if self.is_cpu else 128, self.hardware.max_work_group_size)
        self.workers = int(self.hardware.max_compute_units)
        self.local_memory = int(self.hardware.local_mem_size)
        self.units = self.workers * (4 if self.is_cpu else 1024)
        extensions = set(self.hardware.extensions.split())
        self.has_double = "cl_khr_fp64" in extensions
        self.has_long_atomics = "cl_khr_int64_base_atomics" in extensions
        self.complaint = cl.Buffer(self.context, cl.mem_flags.READ_WRITE, 32)
        cl.enqueue_fill_buffer(self.queue, self.complaint, numpy.int64(0), 0, 32)
        self.unchecked: list[str] = []
        self.transfers = {"to_device": 0, "to_host": 0}

    # -- memory ------------------------------------------------------------------------------------------------------

    def allocate(self, nbytes: int) -> Any:
        """A buffer from the pool.

        Raises:
            OutOfMemoryError: when there is no such piece of memory.
        """
        if nbytes + SPARE > self.largest:
            raise OutOfMemoryError(
                f"{self.device}: an array of {nbytes} bytes is larger than the device allows for one buffer "
                f"({self.largest} bytes)"
            )
        if self.pool.managed_bytes + nbytes > self.memory:
            self.pool.free_held()
            if self.pool.managed_bytes + nbytes > self.memory:
                raise self._out_of_memory(nbytes)
        try:
            return self.pool.allocate(nbytes + SPARE)
        except (cl.Error, MemoryError) as error:
            raise self._out_of_memory(nbytes, f" ({error})") from None

    def _out_of_memory(self, nbytes: int, reason: str = "") -> OutOfMemoryError:
        return OutOfMemoryError(
            f"{self.device}: out of memory: tried to allocate {nbytes} bytes while {self.pool.active_bytes} are in "
            f"use, of {self.memory} on {self.hardware.name.strip()}{reason}"
        )

    def write(self, buffer: Any, host: numpy.ndarray[Any, Any]) -> None:
        """Copy a contiguous host array into the start of a buffer."""
        self.transfers["to_device"] += 1
        self._guarded("write", cl.enqueue_copy, self.queue, buffer, host, is_blocking=True)

    def read(self, buffer: Any, host: numpy.ndarray[Any, Any], offset: int) -> None:
        """Copy from ``offset`` bytes on into a contiguous host array, then raise what kernels have found wrong."""
        self.transfers["to_host"] += 1
        self._guarded("read", cl.enqueue_copy, self.queue, host, buffer, src_offset=offset, is_blocking=True)
        self.raise_complaints()

    def map(self, buffer: Any, nbytes: int) -> Any:
        """The first bytes of a buffer as a host array, which they are as long as it lives; waits for the device."""
        flags = cl.map_flags.READ | cl.map_flags.WRITE
        host = self._guarded("map", cl.enqueue_map_buffer, self.queue, buffer, flags, 0, nbytes, numpy.uint8)[0]
        self.raise_complaints()
        return host

    def synchronize(self) -> None:
        """Wait until all work is done, then raise what kernels have found wrong."""
        self._guarded("synchronize", self.queue.finish)
        self.raise_complaints()

    # -- programs ----------------------------------------------------------------------------------------------------

    def build(self, name: str, source: str, scalars: Sequence[Any]) -> Any:
        """Compile a kernel; PyOpenCL keeps binaries on disk by device, driver and source.

        Args:
            scalars: the argument types: a NumPy type for each number, None for each buffer.

        Raises:
            RuntimeError: with the kernel's name and the build log.
        """
        source = inlined(source) if self.inlines else standard(source)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # drivers have remarks, whatever the options
            try:
                program = cl.Program(self.context, source).build(["-w"])
                kernel = cl.Kernel(program, name)
            except cl.Error as error:
                raise RuntimeError(f"{self.device}: the kernel {name!r} does not build: {error}\n{source}") from None
        kernel.set_scalar_arg_dtypes(list(scalars))
        return kernel

    def launch(self, name: str, kernel: Any, sizes: tuple[int, ...], local: tuple[int, ...] | None, args: Any) -> None:
        """Enqueue a kernel over ``sizes`` work-items, rounded up to whole work-groups."""
        self.enqueue(name, kernel, sizes if local is None else rounded(sizes, local), local, args)

    def enqueue(self, name: str, kernel: Any, sizes: tuple[int, ...], local: tuple[int, ...] | None, args: Any) -> None:
        """:meth:`launch` of whole work-groups."""
        try:
            with self.lock:  # a kernel object holds its arguments
                kernel(self.queue, sizes, local, *args)
        except cl.Error as error:
            raise self._failed(name, error) from None

    def _guarded(self, name: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except cl.Error as error:
            raise self._failed(name, error) from None

    def _failed(self, name: str, error: cl.Error) -> RuntimeError:
        if error.code in (cl.status_code.MEM_OBJECT_ALLOCATION_FAILURE, cl.status_code.OUT_OF_RESOURCES):
            return OutOfMemoryError(f"{self.device}: {name}: out of memory: {error}")
        return RuntimeError(f"{self.device}: {name} failed on {self.hardware.name.strip()}: {error}")

    # -- what kernels find wrong -------------------------------------------------------------------------------------

    def checked(self, what: str) -> int:
        """The number under which a kernel that is about to run may complain.

        Args:
            what: the op, with which the message begins; or the message, with ``{index}`` and ``{size}``.
        """
        if what not in self.unchecked:
            self.unchecked.append(what)
        return self.unchecked.index(what)

    def raise_complaints(self) -> None:
        """Raise the first complaint of the kernels that ran since the last call.

        Raises:
            IndexError: an index was out of bounds.
            RuntimeError: an integer was divided by zero.
        """
        if not self.unchecked:
            return
        host = numpy.zeros(4, numpy.int64)
        cl.enqueue_copy(self.queue, host, self.complaint, is_blocking=True)
        names, self.unchecked = self.unchecked, []
        kind, who, index, size = host.tolist()
        if not kind:
            return
        cl.enqueue_fill_buffer(self.queue, self.complaint, numpy.int64(0), 0, 32)
        op = names[who] if who < len(names) else "an op"
        if kind == _DIVISION_ERROR:
            raise RuntimeError(f"ZeroDivisionError: {op}: integer division by zero")
        message = op if "{index}" in op else op + ": index {index} is out of bounds for size {size}"
        raise IndexError(message.format(index=index, size=size))


#: The function by which a kernel complains. The first one wins.
COMPLAIN = """
void complain(volatile __global long *words, long kind, long who, long index, long size) {
    if (atomic_cmpxchg((volatile __global int *)words, 0, (int)kind) == 0) {
        words[1] = who; words[2] = index; words[3] = size;
    }
}
"""


@cache
def _runtime(index: int) -> Runtime:
    return Runtime(device("opencl", index))


def runtime(target: Any) -> Runtime:
    """The runtime of a device, made at first use; without an index, or None, that of the current one."""
    index = None if target is None else target.index
    return _runtime(current_index("opencl") if index is None else index)


def rounded(sizes: tuple[int, ...], local: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes, rounded up to whole work-groups."""
    return tuple([-(-n // group) * group for n, group in zip(sizes, local, strict=True)])


def kernel_name(prefix: str, key: Any) -> str:
    """A C identifier for a kernel: readable, and different for different keys."""
    return f"{prefix}_{hashlib.blake2b(repr(key).encode(), digest_size=4).hexdigest()}"
