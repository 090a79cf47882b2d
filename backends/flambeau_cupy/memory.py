"""The memory of CUDA devices: CuPy's pool, with every piece counted, and kept while a stream uses it.

CuPy asks for memory through one function. Ours takes it from a pool and hands it on as memory with an owner; the owner
counts it, and dies with the last array that has it. That costs a microsecond an array, and CuPy's own hooks, which
would see as much, hold for one thread only.

With ``FLAMBEAU_NO_CUDA_MEMORY_CACHING=1`` there is no pool: every array has its own piece of the device, which is slow,
and lets ``compute-sanitizer`` see a kernel that leaves its array.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

import cupy
from cupy.cuda import runtime as cuda

from flambeau.device_runtime import MemoryCounts
from flambeau.devices import OutOfMemoryError


class _Block:
    """What owns the memory of an array: a piece of a pool.

    Attributes:
        piece: the pool's own object for it.
        pool: kept, since CuPy's pieces do not keep theirs.
        streams: those that use it beside the one it was made on.
    """

    __slots__ = ("index", "memory", "piece", "pool", "requested", "streams", "taken")

    def __init__(self, memory: Memory, index: int, piece: Any, pool: Any, requested: int) -> None:
        self.memory, self.index, self.piece, self.pool = memory, index, piece, pool
        self.requested, self.taken = requested, piece.mem.size
        self.streams: list[Any] = []

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.memory.give_back(self)


class _Segment:
    """What owns memory that a pool has from the device."""

    __slots__ = ("counts", "memory")

    def __init__(self, counts: MemoryCounts, memory: Any) -> None:
        self.counts, self.memory = counts, memory

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.counts.release(self.memory.size)


class _NoPool:
    """What takes the place of the pool where nothing is to be kept for reuse."""

    def __init__(self, segment: Callable[[int], Any]) -> None:
        self.malloc = segment

    def free_all_blocks(self) -> None:
        """Nothing: nothing is kept."""

    def set_limit(self, size: int) -> None:
        """Nothing: who looks for errors of kernels has no limit."""


class _Taken(threading.local):
    """The pool that memory of a device comes from in this thread, while it captures a graph."""

    def __init__(self) -> None:
        self.pools: dict[int, Any] = {}


class Memory:
    """The memory of every CUDA device of this process.

    Attributes:
        pool: where arrays get it.
        limits: the part of a device's memory that arrays may take, where that is limited.
    """

    def __init__(self) -> None:
        self.pool = self.new_pool()
        self.limits: dict[int, float] = {}
        self._counts: defaultdict[int, MemoryCounts] = defaultdict(MemoryCounts)
        self._taken = _Taken()
        # Pieces whose arrays are gone, with the events of the streams that still use them.
        self._waiting: deque[tuple[list[Any], Any, Any]] = deque()

    def install(self) -> None:
        """Have CuPy take memory from here."""
        cupy.cuda.set_allocator(self.allocate)

    def counts_of(self, index: int) -> MemoryCounts:
        """The counts of a device's memory."""
        return self._counts[index]

    # -- giving out --------------------------------------------------------------------------------------------------

    def allocate(self, size: int) -> Any:
        """Memory of the current device; what CuPy calls.

        Raises:
            OutOfMemoryError: when there is none left, with what is in use.
        """
        index = cupy.cuda.get_device_id()
        pool = self._taken.pools.get(index) or self.pool
        if self._waiting:
            self._let_go()
        try:
            piece = pool.malloc(size)
        except cupy.cuda.memory.OutOfMemoryError:
            piece = self._second_try(index, pool, size)
        block = _Block(self, index, piece, pool, size)
        self._counts[index].allocate(size, block.taken)
        return cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(piece.ptr, size, block, index), 0)

    def _second_try(self, index: int, pool: Any, size: int) -> Any:
        """Memory when the pool had none: what only waits for a stream comes back first."""
        counts = self._counts[index]
        if self._waiting:
            counts.num_alloc_retries += 1
            self._let_go(wait=True)
            try:
                return pool.malloc(size)
            except cupy.cuda.memory.OutOfMemoryError:
                pass
        counts.num_ooms += 1
        free, total = cuda.memGetInfo()
        limit = f", limited to {self.limits[index]:.0%}" if index in self.limits else ""
        raise OutOfMemoryError(
            f"cuda:{index}: out of memory: tried to allocate {size} bytes while arrays hold "
            f"{counts.allocated_bytes.current} and the pool {counts.reserved_bytes.current}, of {total} on the device "
            f"({free} free{limit})"
        ) from None

    def give_back(self, block: _Block) -> None:
        """The last array that had the block is gone."""
        self._counts[block.index].free(block.requested, block.taken)
        if block.streams:
            with cupy.cuda.Device(block.index):
                events = [stream.record(cupy.cuda.Event(disable_timing=True)) for stream in block.streams]
            self._waiting.append((events, block.piece, block.pool))

    def keep_for(self, array: Any, stream: Any) -> None:
        """Do not use the memory of an array again before a stream is done with what it has been given by then."""
        block = getattr(array.data.mem, "_owner", None)
        if isinstance(block, _Block) and stream not in block.streams:
            block.streams.append(stream)

    def _let_go(self, wait: bool = False) -> None:
        while self._waiting and (wait or all(event.done for event in self._waiting[0][0])):
            for event in self._waiting.popleft()[0]:
                event.synchronize()

    # -- pools -------------------------------------------------------------------------------------------------------

    def new_pool(self) -> Any:
        """A pool beside the others; graphs have their own."""
        if os.environ.get("FLAMBEAU_NO_CUDA_MEMORY_CACHING", "0") not in ("", "0"):
            return _NoPool(self._segment)
        return cupy.cuda.MemoryPool(self._segment)

    def _segment(self, size: int) -> Any:
        """Memory from the device; what a pool calls when it has none."""
        counts = self._counts[cupy.cuda.get_device_id()]
        try:
            memory = cupy.cuda.Memory(size)
        except cuda.CUDARuntimeError:
            counts.num_alloc_retries += 1  # the pool gives back what it can, and asks again
            raise
        counts.reserve(memory.size)
        owned = cupy.cuda.UnownedMemory(memory.ptr, size, _Segment(counts, memory), memory.device_id)
        return cupy.cuda.MemoryPointer(owned, 0)

    def take_from(self, index: int, pool: Any) -> None:
        """Have memory of a device come from a pool in this thread; None for the usual one."""
        if pool is None:
            self._taken.pools.pop(index, None)
        else:
            self._taken.pools[index] = pool

    def taken_from(self, index: int) -> Any:
        """The pool that :meth:`take_from` has chosen."""
        return self._taken.pools.get(index)

    def release(self) -> None:
        """Give what the pool keeps for reuse back to the devices."""
        self._let_go()
        for index in list(self._counts):
            with cupy.cuda.Device(index):
                self.pool.free_all_blocks()

    def limit(self, index: int, fraction: float) -> None:
        """Allow arrays a part of a device's memory, between 0 and 1."""
        with cupy.cuda.Device(index):
            # No bytes at all would mean no limit to CuPy.
            size = max(int(fraction * cuda.memGetInfo()[1]), 1) if fraction < 1 else 0
            self.pool.set_limit(size=size)
        if fraction < 1:
            self.limits[index] = fraction
        else:
            self.limits.pop(index, None)
