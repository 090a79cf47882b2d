"""Memory without a name that processes share: what :meth:`flambeau.Tensor.share_memory_` moves a tensor to."""

from __future__ import annotations

import mmap
import os
from typing import Any

import numpy


class Segment(mmap.mmap):
    """A piece of memory without a name, and the descriptor by which another process can have it."""

    descriptor: int

    @classmethod
    def over(cls, descriptor: int) -> Segment:
        """The memory behind a descriptor, which belongs to the segment from now on."""
        segment = cls(descriptor, os.fstat(descriptor).st_size)
        segment.descriptor = descriptor
        return segment

    def __del__(self) -> None:
        os.close(self.descriptor)


def segment_of(array: Any) -> Segment | None:
    """The shared memory that an array looks into, None when it is elsewhere."""
    owner = array
    while isinstance(owner, numpy.ndarray):
        owner = owner.base
    return owner if isinstance(owner, Segment) else None


def shared_copy(array: Any) -> Any:
    """A C-contiguous copy of an array in shared memory.

    Raises:
        NotImplementedError: where the operating system hands no descriptors to other processes.
    """
    if os.name != "posix":
        raise NotImplementedError("share_memory_: this operating system does not share memory without a name")
    from flambeau.utils.data.shared_memory import anonymous_file

    segment = Segment.over(anonymous_file(max(array.nbytes, 1)))
    copied: Any = numpy.ndarray(array.shape, array.dtype, buffer=segment)
    copied[...] = array
    return copied
