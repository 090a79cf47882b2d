"""``cupy.ndarray`` over host memory: NumPy computes, and what CuPy refuses is refused."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy

from . import _state

_CANARY = 64
_MARK = 0xA5


class Memory:
    """A piece of "device" memory, with marked bytes around it that no kernel may touch."""

    def __init__(self, size: int, device_id: int) -> None:
        self.size = -(-size // 512) * 512
        self.device_id = device_id
        self._bytes = numpy.empty(self.size + 2 * _CANARY, numpy.uint8)
        self.ptr = self._bytes.ctypes.data + _CANARY
        self.hand_out(size)

    def hand_out(self, size: int) -> None:
        """Begin anew, for an array of so many bytes."""
        self._asked = size
        self._bytes[:] = _MARK
        # What is not written yet should not look like zeros.
        self._bytes[_CANARY : _CANARY + size] = 0x7F

    @property
    def buffer(self) -> Any:
        return self._bytes[_CANARY : _CANARY + self.size]

    def check(self, who: str) -> None:
        """Fail if something wrote before or behind the array."""
        around = self._bytes[:_CANARY], self._bytes[_CANARY + self._asked :]
        assert all((part == _MARK).all() for part in around), f"{who} has written outside of an array"


class MemoryPointer:
    """A place in a piece of memory."""

    def __init__(self, mem: Any, offset: int) -> None:
        self.mem = mem
        self.ptr = mem.ptr + offset
        self.device_id = mem.device_id

    def _bytes(self, size: int) -> Any:
        start = self.ptr - self.mem.ptr
        assert start + size <= self.mem.buffer.size
        return self.mem.buffer[start : start + size]

    def copy_from_host_async(self, mem: int, size: int, stream: Any = None) -> None:
        self._bytes(size)[:] = numpy.frombuffer((ctypes.c_char * size).from_address(mem), numpy.uint8)

    def copy_from_device_async(self, src: MemoryPointer, size: int, stream: Any = None) -> None:
        self._bytes(size)[:] = src._bytes(size)


#: What gives memory to arrays: `cupy.cuda.set_allocator` changes it.
allocator: list[Any] = [lambda size: MemoryPointer(Memory(size, _state.device), 0)]


def unwrapped(value: Any) -> Any:
    """The host array of an array, a number as it is; what CuPy refuses is refused."""
    if isinstance(value, ndarray):
        if value.data.device_id != _state.device:
            raise RuntimeError(f"an array of device {value.data.device_id} is used on device {_state.device}")
        return value._host
    if isinstance(value, numpy.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if not isinstance(value, (bool, int, float, complex, numpy.generic)):
        raise TypeError(f"Unsupported type {type(value)}")
    return value


class ndarray:
    """See ``cupy.ndarray``."""

    __array_priority__ = 100

    def __init__(
        self, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None, order: str = "C"
    ) -> None:
        dtype = numpy.dtype(dtype)
        if dtype.char not in "?bBhHiIlLqQeEfdFD":
            raise ValueError(f"Unsupported dtype {dtype}")
        shape = (shape,) if isinstance(shape, (int, numpy.integer)) else tuple(int(n) for n in shape)
        if memptr is None:
            size = int(numpy.prod(shape, dtype=numpy.int64)) * dtype.itemsize
            memptr = allocator[0](size)
        self.data = memptr
        self.base: ndarray | None = None
        offset = memptr.ptr - memptr.mem.ptr
        self._host = numpy.ndarray(shape, dtype, memptr.mem.buffer, offset, strides, order)

    @classmethod
    def _of(cls, host: Any, order: str = "C") -> ndarray:
        """A new array with the values of a host array or scalar."""
        host = numpy.asarray(host)
        strides = None if order == "C" else host.strides if host.size and min(host.strides, default=1) > 0 else None
        made = cls(host.shape, host.dtype)
        if strides is not None and host.flags.f_contiguous:
            made = cls(host.shape, host.dtype, made.data, host.strides)
        made._host[...] = host
        return made

    def _seen(self, host: Any) -> ndarray:
        """A view of this array's memory."""
        made = object.__new__(ndarray)
        address = host.ctypes.data if host.size else self.data.ptr
        made.data = MemoryPointer(self.data.mem, address - self.data.mem.ptr)
        made.base = self if self.base is None else self.base
        made._host = host
        return made

    # -- what it is --------------------------------------------------------------------------------------------------

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    strides = property(lambda self: self._host.strides)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    T = property(lambda self: self._seen(self._host.T))
    device = property(lambda self: _state.Device(self.data.device_id))

    @property
    def flags(self) -> Any:
        own = self._host.flags
        return SimpleNamespace(c_contiguous=own.c_contiguous, f_contiguous=own.f_contiguous, owndata=self.base is None)

    @property
    def real(self) -> ndarray:
        return self if self.dtype.kind != "c" else self._seen(self._host.real)

    @real.setter
    def real(self, value: Any) -> None:
        self._host.real = unwrapped(value)

    @property
    def imag(self) -> ndarray:
        return ndarray._of(numpy.zeros_like(self._host)) if self.dtype.kind != "c" else self._seen(self._host.imag)

    @imag.setter
    def imag(self, value: Any) -> None:
        self._host.imag = unwrapped(value)

    def __len__(self) -> int:
        return len(self._host)

    def __repr__(self) -> str:
        return f"cupy on cpu: {self._host!r}"

    # -- to the host -------------------------------------------------------------------------------------------------

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly."
        )

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> Any:
        _state.wait() if blocking else None
        if out is None:
            return numpy.array(self._host)
        out[...] = self._host
        return out

    def item(self) -> Any:
        _state.wait()
        return self._host.item()

    def __bool__(self) -> bool:
        _state.wait()
        return bool(self._host)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        own = self._host.__array_interface__
        return {"shape": self.shape, "typestr": own["typestr"], "data": (self.data.ptr, False), "version": 3,
                "strides": None if self._host.flags.c_contiguous else self.strides, "stream": 1}  # fmt: skip

    def __dlpack__(self, **options: Any) -> Any:
        return self._host.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.data.device_id

    # -- views and copies --------------------------------------------------------------------------------------------

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> ndarray:
        shape = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        try:
            return self._seen(self._host.reshape(shape, copy=False))
        except ValueError:
            if copy is False:
                raise
        return ndarray._of(self._host.reshape(shape))

    def transpose(self, *axes: Any) -> ndarray:
        return self._seen(self._host.transpose(*axes))

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return self._seen(self._host.swapaxes(axis1, axis2))

    def conj(self) -> ndarray:
        return ndarray._of(self._host.conj())

    def view(self, dtype: Any = None) -> ndarray:
        return self._seen(self._host.view() if dtype is None else self._host.view(dtype))

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> ndarray:
        found = self._host.diagonal(offset, axis1, axis2)
        found.flags.writeable = True
        return self._seen(found)

    def astype(
        self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None, copy: bool = True
    ) -> ndarray:
        if not copy and self.dtype == dtype:
            return self
        host = unwrapped(self)
        if host.dtype.kind == "c" and numpy.dtype(dtype).kind not in "c?":
            raise numpy.exceptions.ComplexWarning("Casting complex values to real discards the imaginary part")
        with numpy.errstate(all="ignore"):
            return ndarray._of(host.astype(dtype), order)

    def copy(self, order: str = "C") -> ndarray:
        return ndarray._of(self._host.copy(order), order)

    def fill(self, value: Any) -> None:
        self._host.fill(unwrapped(value) if not isinstance(value, ndarray) else value._host[()])

    def argsort(self, axis: int = -1, kind: Any = None) -> ndarray:
        if kind not in (None, "stable"):
            raise ValueError("kind can only be None or 'stable'")
        if self.dtype.char in "?E":
            raise NotImplementedError(f"Sorting arrays with dtype '{self.dtype}' is not supported")
        return ndarray._of(unwrapped(self).argsort(axis, "stable"))

    def nonzero(self) -> tuple[ndarray, ...]:
        _state.wait()
        return tuple(ndarray._of(found) for found in unwrapped(self).nonzero())

    # -- indexing ----------------------------------------------------------------------------------------------------

    def _index(self, index: Any) -> tuple[Any, bool]:
        """The index for the host array, and whether it makes a view."""
        parts = index if isinstance(index, tuple) else (index,)
        basic = all(isinstance(p, (int, numpy.integer, slice, type(None), type(Ellipsis))) for p in parts)
        if not basic:
            for part in parts:
                if isinstance(part, (numpy.ndarray, list)):
                    raise IndexError(f"Unsupported type {type(part)}")
        return tuple(unwrapped(p) if isinstance(p, ndarray) else p for p in parts), basic

    def __getitem__(self, index: Any) -> ndarray:
        own, basic = self._index(index)
        if not basic:
            return ndarray._of(unwrapped(self)[own])
        if Ellipsis not in own:
            own = (*own, Ellipsis)
        return self._seen(self._host[own])

    def __setitem__(self, index: Any, value: Any) -> None:
        own, _ = self._index(index)
        with numpy.errstate(all="ignore"):
            host = unwrapped(value)
            if isinstance(host, numpy.ndarray) and host.dtype.kind == "c" and self.dtype.kind != "c":
                raise TypeError(f"Cannot cast from {host.dtype} to {self.dtype}")
            unwrapped(self)[own] = host


def _operator(name: str, reflected: bool = False) -> Any:
    def operate(self: ndarray, *others: Any) -> Any:
        import cupy

        ufunc = getattr(cupy, name)
        return ufunc(*others, self) if reflected else ufunc(self, *others)

    return operate


for _name, _theirs in {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "and": "bitwise_and",
    "or": "bitwise_or",
}.items():  # fmt: skip
    setattr(ndarray, f"__{_name}__", _operator(_theirs))
    setattr(ndarray, f"__r{_name}__", _operator(_theirs, True))
for _name, _theirs in {
    "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal",
    "neg": "negative", "invert": "invert",
}.items():  # fmt: skip
    setattr(ndarray, f"__{_name}__", _operator(_theirs))
ndarray.__hash__ = None  # type: ignore[assignment]
