"""CuPy's functions of arrays, as many as our kernels use, with CuPy's signatures."""

from __future__ import annotations

from typing import Any

import numpy

from . import _state
from ._array import ndarray, unwrapped


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return ndarray(shape, dtype, order=order)


def empty_like(prototype: ndarray) -> ndarray:
    return ndarray(prototype.shape, prototype.dtype)


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    made = ndarray(shape, dtype, order=order)
    made._host.fill(0)
    return made


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> ndarray:
    return ndarray._of(numpy.full(shape, unwrapped(fill_value), dtype))


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> ndarray:
    return ndarray._of(numpy.arange(start, stop, step, dtype) if stop is not None else numpy.arange(start, dtype=dtype))


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = float, order: str = "C") -> ndarray:
    return ndarray._of(numpy.eye(N, M, k, dtype))


def asarray(a: Any, dtype: Any = None) -> ndarray:
    if isinstance(a, ndarray):
        return a if dtype is None or a.dtype == dtype else a.astype(dtype)
    if hasattr(a, "__cuda_array_interface__"):
        from .cuda.memory import MemoryPointer, UnownedMemory

        found = a.__cuda_array_interface__
        kind = numpy.dtype(found["typestr"])
        size = int(numpy.prod(found["shape"])) * kind.itemsize
        pointer = MemoryPointer(UnownedMemory(found["data"][0], size, a, _state.device), 0)
        return ndarray(found["shape"], kind, pointer, found.get("strides"))
    return ndarray._of(numpy.asarray(a, dtype))


def ascontiguousarray(a: ndarray, dtype: Any = None) -> ndarray:
    unwrapped(a)
    return a if a._host.flags.c_contiguous else ndarray._of(a._host.copy())


def asnumpy(a: ndarray) -> Any:
    return a.get()


def concatenate(tup: Any, axis: int = 0, out: None = None, *, dtype: Any = None, casting: str = "same_kind") -> ndarray:
    if not tup:
        raise ValueError("need at least one array to concatenate")
    return ndarray._of(numpy.concatenate([unwrapped(a) for a in tup], axis, dtype=dtype, casting=casting))


def broadcast_to(array: ndarray, shape: Any) -> ndarray:
    found = numpy.broadcast_to(array._host, shape)
    host = numpy.ndarray(
        found.shape, found.dtype, array.data.mem.buffer, array.data.ptr - array.data.mem.ptr, found.strides
    )
    return array._seen(host)


def from_dlpack(array: Any) -> ndarray:
    if isinstance(array, ndarray):
        return array.view()
    raise BufferError("not an array of a device")


def take_along_axis(a: ndarray, indices: ndarray, axis: int) -> ndarray:
    return ndarray._of(numpy.take_along_axis(unwrapped(a), unwrapped(indices), axis))


def where(condition: ndarray, x: Any = None, y: Any = None) -> ndarray:
    return ndarray._of(numpy.where(unwrapped(condition), unwrapped(x), unwrapped(y)))


def round(a: ndarray, decimals: int = 0, out: None = None) -> ndarray:
    return ndarray._of(numpy.round(unwrapped(a), decimals))


def matmul(x1: ndarray, x2: ndarray) -> ndarray:
    return ndarray._of(numpy.matmul(unwrapped(x1), unwrapped(x2)))


def cumsum(a: ndarray, axis: int | None = None, dtype: Any = None, out: None = None) -> ndarray:
    return ndarray._of(numpy.cumsum(unwrapped(a), axis, dtype))


def cumprod(a: ndarray, axis: int | None = None, dtype: Any = None, out: None = None) -> ndarray:
    return ndarray._of(numpy.cumprod(unwrapped(a), axis, dtype))


class _Pool:
    def free_all_blocks(self) -> None:
        pass

    def used_bytes(self) -> int:
        return 0

    def total_bytes(self) -> int:
        return 0


def get_default_memory_pool() -> _Pool:
    return _Pool()


def get_default_pinned_memory_pool() -> _Pool:
    return _Pool()


def failing(function: Any, error_as: Any) -> Any:
    """A function of ``linalg``: its LinAlgErrors are raised only where ``cupyx.errstate`` asks for them."""

    def run(*args: Any, **kwargs: Any) -> Any:
        host = [unwrapped(a) if isinstance(a, ndarray) else a for a in args]
        if _state.linalg == "raise":
            _state.wait()  # to look for errors
        try:
            found = function(*host, **kwargs)
        except numpy.linalg.LinAlgError:
            if _state.linalg == "raise":
                raise
            found = error_as(*host)
        return tuple(ndarray._of(f) for f in found) if isinstance(found, tuple) else ndarray._of(found)

    return run
