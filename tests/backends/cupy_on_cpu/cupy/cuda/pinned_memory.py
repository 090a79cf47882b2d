"""``cupy.cuda.pinned_memory``."""

from __future__ import annotations

from typing import Any


class PinnedMemoryPointer(bytearray):
    """See ``cupy.cuda.PinnedMemoryPointer``: a buffer."""


def alloc_pinned_memory(size: int) -> Any:
    return PinnedMemoryPointer(size)
