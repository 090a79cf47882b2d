"""``cupy.cuda``."""

from __future__ import annotations

from .. import _state
from .._array import MemoryPointer as MemoryPointer
from .._state import Device as Device
from . import memory as memory
from . import nvtx as nvtx
from . import runtime as runtime
from . import stream as stream
from .memory import Memory as Memory
from .memory import MemoryPool as MemoryPool
from .memory import UnownedMemory as UnownedMemory
from .memory import set_allocator as set_allocator
from .pinned_memory import PinnedMemoryPointer as PinnedMemoryPointer
from .pinned_memory import alloc_pinned_memory as alloc_pinned_memory
from .stream import Event as Event
from .stream import Stream as Stream
from .stream import get_current_stream as get_current_stream
from .stream import get_elapsed_time as get_elapsed_time


def get_device_id() -> int:
    return _state.device


def get_cublas_handle() -> int:
    return 1
