"""The raw array: a strided window on a piece of device memory, as NumPy's on host memory."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy

from flambeau.dtypes import dtype, float64, from_numpy_dtype
from flambeau.striding import contiguous_strides, is_contiguous
from flambeau_opencl.elements import ELEMENTS
from flambeau_opencl.runtime import Runtime


class Storage:
    """Device memory that arrays share. It goes back to the pool with the last of them."""

    __slots__ = ("buffer", "nbytes", "runtime")

    def __init__(self, runtime: Runtime, nbytes: int) -> None:
        self.runtime = runtime
        self.nbytes = nbytes
        self.buffer = runtime.allocate(nbytes)


class Array:
    """An array on an OpenCL device.

    Attributes:
        shape, strides, offset: in elements; the offset is from the start of the storage.
        is_view: whether it was made from another array, whose memory it shares.
    """

    __slots__ = ("__weakref__", "_contiguous", "dtype", "is_view", "offset", "shape", "size", "storage", "strides")

    def __init__(
        self, storage: Storage, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, dtype: dtype,
        is_view: bool = True,
    ) -> None:  # fmt: skip
        self.storage = storage
        self.shape = shape
        self.strides = strides
        self.offset = offset
        self.dtype = dtype
        self.size = prod(shape)
        self.is_view = is_view
        self._contiguous: bool | None = None if is_view else True

    @property
    def runtime(self) -> Runtime:
        return self.storage.runtime

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie one after the other in row-major order."""
        if self._contiguous is None:
            self._contiguous = is_contiguous(self.shape, self.strides)
        return self._contiguous

    def window(self, shape: Sequence[int], strides: Sequence[int], offset: int, kind: dtype | None = None) -> Array:
        """Another array over the same memory; shape, strides and offset in elements of ``kind``."""
        return Array(self.storage, tuple(shape), tuple(strides), offset, kind or self.dtype)

    def reshaped(self, *shape: int) -> Array:
        """A contiguous array under another shape of the same size."""
        return Array(self.storage, shape, contiguous_strides(shape), self.offset, self.dtype)

    def __repr__(self) -> str:
        return f"Array({list(self.shape)}, {self.dtype}, strides={list(self.strides)}, device={self.runtime.device})"


def empty(runtime: Runtime, shape: Sequence[int], dtype: dtype) -> Array:
    """A new array whose values are not set.

    Raises:
        RuntimeError: where the device has no double precision and the dtype needs it, and for the 8-bit floats.
    """
    if dtype not in ELEMENTS:
        raise RuntimeError(
            f"{runtime.device}: {dtype.name} is not held on OpenCL devices; convert it first, to float16 for instance"
        )
    if not runtime.has_double and dtype.to_real() is float64:
        raise RuntimeError(
            f"{runtime.device}: {dtype.name} needs double precision, which {runtime.hardware.name.strip()} does not "
            f"have (extension cl_khr_fp64); use {'complex64' if dtype.is_complex else 'float32'}"
        )
    shape = tuple(shape)
    storage = Storage(runtime, prod(shape) * dtype.itemsize)
    return Array(storage, shape, contiguous_strides(shape), 0, dtype, is_view=False)


def from_host(runtime: Runtime, host: Any) -> Array:
    """A new array with the values of a ``numpy.ndarray``."""
    dtype = from_numpy_dtype(host.dtype)
    result = empty(runtime, host.shape, dtype)
    if host.size:
        contiguous = numpy.ascontiguousarray(host, host.dtype.newbyteorder("="))
        runtime.write(result.storage.buffer, contiguous.reshape(-1).view(numpy.uint8))
    return result


class _Mapping:
    """The memory of a storage as bytes of the host. NumPy's arrays hold it, and so the storage."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.host = storage.runtime.map(storage.buffer, storage.nbytes)
        self.__array_interface__ = self.host.__array_interface__


def mapped(array: Array) -> Any:
    """A ``numpy.ndarray`` over the array's own memory, which has to be the host's; waits for the device.

    Raises:
        BufferError: where the device has memory of its own.
    """
    if not array.runtime.is_cpu:
        raise BufferError(f"{array.runtime.device}: arrays of a device with memory of its own cannot be exported")
    if not array.size:
        return numpy.empty(array.shape, array.dtype.numpy)
    memory = numpy.asarray(_Mapping(array.storage))
    itemsize = array.dtype.itemsize
    strides = [itemsize * step for step in array.strides]
    return numpy.ndarray(array.shape, array.dtype.numpy, memory, itemsize * array.offset, strides)


def to_host(array: Array) -> Any:
    """A ``numpy.ndarray`` with the values; waits for the device."""
    host = numpy.empty(array.shape, array.dtype.numpy)
    if array.size:
        if not array.contiguous:
            from flambeau_opencl.creation import clone

            array = clone(array)
        offset = array.offset * array.dtype.itemsize
        array.runtime.read(array.storage.buffer, host.reshape(-1).view(numpy.uint8), offset)
    return host
