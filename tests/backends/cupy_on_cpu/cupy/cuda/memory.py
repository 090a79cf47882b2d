"""``cupy.cuda.memory``: pools, and memory that others own."""

from __future__ import annotations

import os
import weakref
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from .. import _array, _state
from .._array import MemoryPointer
from .runtime import CUDARuntimeError

#: Bytes of each "device", and those that are taken.
total = int(os.environ.get("CUPY_ON_CPU_MEMORY", str(1 << 28)))
taken: defaultdict[int, int] = defaultdict(int)

_by_address: weakref.WeakValueDictionary[int, Memory] = weakref.WeakValueDictionary()


class OutOfMemoryError(MemoryError):
    """What a pool raises."""


class Memory(_array.Memory):
    """See ``cupy.cuda.Memory``."""

    def __init__(self, size: int) -> None:
        if taken[_state.device] + size > total:
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
        super().__init__(size, _state.device)
        taken[self.device_id] += self.size
        _by_address[self.ptr] = self

    def __del__(self) -> None:
        if hasattr(self, "_asked"):
            taken[self.device_id] -= self.size


class UnownedMemory:
    """See ``cupy.cuda.UnownedMemory``: only of memory that begins where one of ours does."""

    def __init__(self, ptr: int, size: int, owner: Any, device_id: int = -1) -> None:
        self.ptr, self.size, self._owner, self.device_id = ptr, size, owner, device_id
        self._memory = _by_address[ptr]

    @property
    def buffer(self) -> Any:
        return self._memory.buffer

    def check(self, who: str) -> None:
        self._memory.check(who)


class _Pooled:
    """``PooledMemory``: goes back to its pool, which has the memory meanwhile."""

    def __init__(self, memory: Any, pool: MemoryPool, key: Any) -> None:
        self.ptr, self.size, self.device_id = memory.ptr, memory.size, memory.device_id
        self._pool, self._key = weakref.ref(pool), key
        pool._in_use[self.ptr] = memory

    def __del__(self) -> None:
        pool = self._pool()
        if pool is not None:
            pool._free[self._key].append(pool._in_use.pop(self.ptr))


class MemoryPool:
    """See ``cupy.cuda.MemoryPool``. Blocks are reused whole, by size and stream."""

    def __init__(self, allocator: Callable[[int], Any] | None = None) -> None:
        self._allocator = allocator or (lambda size: MemoryPointer(Memory(size), 0))
        self._free: defaultdict[Any, list[Any]] = defaultdict(list)
        self._in_use: dict[int, Any] = {}
        self._limits: dict[int, int] = {}

    def malloc(self, size: int) -> MemoryPointer:
        from .stream import get_current_stream

        rounded = max(-(-size // 512) * 512, 512)
        key = (_state.device, get_current_stream().ptr, rounded)
        if self._free[key]:
            memory = self._free[key].pop()
        else:
            limit = self._limits.get(_state.device, 0)
            if limit and taken[_state.device] + rounded > limit:
                raise OutOfMemoryError(f"Out of memory allocating {rounded:,} bytes")
            try:
                memory = self._allocator(rounded).mem
            except CUDARuntimeError:
                self.free_all_blocks()
                try:
                    memory = self._allocator(rounded).mem
                except CUDARuntimeError:
                    raise OutOfMemoryError(f"Out of memory allocating {rounded:,} bytes") from None
        _by_address[memory.ptr].hand_out(size)
        return MemoryPointer(_Pooled(memory, self, key), 0)

    def free_all_blocks(self, stream: Any = None) -> None:
        for key in list(self._free):
            if key[0] == _state.device:
                del self._free[key]

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        self._limits[_state.device] = size or 0


def set_allocator(allocator: Any = None) -> None:
    _array.allocator[0] = allocator
