"""Kernels of our own: compiling, launching, and what they find wrong.

Launches are asynchronous; only reading a value waits for the device. What a kernel itself finds wrong, an index out of
bounds, it notes in a few words of device memory, and the next read raises it (as CUDA's assertions do in PyTorch, but
the device stays usable): asking after each kernel would make every indexing wait.
"""

from __future__ import annotations

import hashlib
import threading
from functools import cache
from typing import Any

import cupy
import numpy

from flambeau_cupy.elements import PRELUDE

#: Threads of a block of kernels that do not care.
BLOCK = 256

#: How the C++ types of kernel arguments that are numbers look to NumPy.
SCALARS: dict[str, Any] = {
    "int": numpy.int32,
    "long long": numpy.int64,
    "unsigned long long": numpy.uint64,
    "float": numpy.float32,
    "double": numpy.float64,
}

# What a kernel may complain of; an index out of bounds is 1.
_DIVISION_ERROR = 2

#: The function by which a kernel complains. The first one wins.
COMPLAIN = r"""
static __device__ void complain(long long *words, int kind, long long who, long long index, long long size) {
    if (atomicCAS((int *)words, 0, kind) == 0) { words[1] = who; words[2] = index; words[3] = size; }
}
"""


def kernel_name(prefix: str, key: Any) -> str:
    """A C identifier for a kernel: readable, and different for different keys."""
    return f"{prefix}_{hashlib.blake2b(repr(key).encode(), digest_size=4).hexdigest()}"


def compiled(name: str, source: str, contracts: bool = True) -> Any:
    """The kernel ``name`` of a source, compiled when it is first launched on a device.

    With ``contracts`` a product and a sum may become one instruction, which rounds once.

    The prelude of :mod:`flambeau_cupy.elements` is put before the source.
    """
    options = ("-std=c++14",) if contracts else ("-std=c++14", "--fmad=false")
    return cupy.RawModule(code=PRELUDE + source, options=options).get_function(name)


def blocks(count: int, block: int = BLOCK) -> tuple[int]:
    """The grid of blocks that has at least ``count`` threads."""
    return (-(-count // block),)


class Complaints:
    """The words in which the kernels of one device complain, and the names of the ops that may have."""

    def __init__(self) -> None:
        self.words = cupy.zeros(4, numpy.int64)
        self._names: list[str] = []
        self._lock = threading.Lock()

    def number(self, op: str) -> Any:
        """The number under which a kernel that is about to run may complain; ``op`` begins the message."""
        with self._lock:
            if op not in self._names:
                self._names.append(op)
            return numpy.int64(self._names.index(op))

    def raise_first(self) -> None:
        """Raise the first complaint of the kernels that ran since the last call; waits for the device.

        Raises:
            IndexError: an index was out of bounds.
            RuntimeError: an integer was divided by zero.
        """
        if not self._names:
            return
        kind, who, index, size = self.words.get().tolist()
        with self._lock:
            names, self._names = self._names, []
        if not kind:
            return
        self.words.fill(0)
        op = names[who] if who < len(names) else "an op"
        if kind == _DIVISION_ERROR:
            raise RuntimeError(f"ZeroDivisionError: {op}: integer division by zero")
        raise IndexError(f"{op}: index {index} is out of bounds for size {size}")


@cache
def _complaints(index: int) -> Complaints:
    with cupy.cuda.Device(index):
        return Complaints()


def complaints(array: Any = None) -> Complaints:
    """Those of the device that holds ``array``, by default of the current one."""
    return _complaints(cupy.cuda.runtime.getDevice() if array is None else array.device.id)
