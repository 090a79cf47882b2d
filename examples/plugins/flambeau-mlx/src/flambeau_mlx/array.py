"""The raw array: a strided window on a storage, whose contents are one MLX array.

MLX's arrays do not change, and tensors do. So an array here refers to a :class:`Storage`, which all of its views share,
and writing gives the storage another MLX array. What is copied is copied when it is written: a clone is a new storage
with the same MLX array, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import mlx.core as mx
import numpy
from flambeau.devices import OutOfMemoryError
from flambeau.dtypes import DTYPES, dtype
from flambeau.striding import contiguous_strides, is_contiguous

from flambeau_mlx.evaluation import note

#: Without float64 (and complex128): on Apple's GPUs there is none, and on the CPU MLX computes exp, sin, cos and erf of
#: it in single precision.
HELD = (
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32",
    "complex64",
)  # fmt: skip
TO_MLX: dict[dtype, Any] = {DTYPES[name]: getattr(mx, "bool_" if name == "bool" else name) for name in HELD}
FROM_MLX: dict[Any, dtype] = {own: kind for kind, own in TO_MLX.items()}


def native(kind: dtype) -> Any:
    """MLX's dtype for Flambeau's.

    Raises:
        TypeError: when the device type does not hold it.
    """
    found = TO_MLX.get(kind)
    if found is None:
        smaller = "complex64" if kind.is_complex else "float32"
        raise TypeError(f"the device type 'mlx' does not hold {kind.name}; {smaller} is the nearest that it does")
    return found


class Storage:
    """Memory that arrays share: the elements of ``data``, in row-major order, whatever its shape.

    Attributes:
        version: how often it was written to.
    """

    __slots__ = ("__weakref__", "_flat", "data", "version")

    def __init__(self, data: Any) -> None:
        self.data = data
        self.version = 0
        self._flat: tuple[int, Any] | None = None
        note(self)

    def replace(self, data: Any) -> None:
        """Take ``data``, of the same size and dtype, for the contents."""
        # In this order: a thread that looks meanwhile takes new contents for old ones, and looks again.
        self.data = data
        self.version += 1
        self._flat = None
        note(self)

    def flat(self, kind: dtype) -> Any:
        """The contents as a 1-D MLX array of a dtype, bit by bit."""
        version, flat = self._flat or (-1, None)
        if version != self.version:
            version = self.version
            # Views need the elements in memory in their order, in which MLX leaves not every result.
            flat = mx.contiguous(self.data).reshape(-1)
            self._flat = version, flat
        own = TO_MLX[kind]
        return flat if flat.dtype == own else mx.view(flat, own)


class Array:
    """An array of the device type ``mlx``.

    Attributes:
        shape, offset: the offset is in elements, from the start of the storage.
        is_view: whether it was made from another array, whose memory it shares.
        whole: whether it shows all elements of the storage, in their order and dtype.
    """

    __slots__ = ("_seen", "_strides", "dtype", "is_view", "offset", "shape", "storage", "whole")

    def __init__(
        self, storage: Storage, shape: tuple[int, ...], strides: tuple[int, ...] | None, offset: int, kind: dtype,
        is_view: bool, whole: bool,
    ) -> None:  # fmt: skip
        self.storage = storage
        self.shape = shape
        self.offset = offset
        self.dtype = kind
        self.is_view = is_view
        self.whole = whole
        self._strides = strides
        self._seen: tuple[int, Any] = (-1, None)  # what a view showed, and of which version of the storage

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def strides(self) -> tuple[int, ...]:
        """The distance between neighbours along each dimension, in elements."""
        if self._strides is None:
            self._strides = contiguous_strides(self.shape)
        return self._strides

    @property
    def value(self) -> Any:
        """The elements as an MLX array of this shape, which is not to be changed."""
        storage = self.storage
        if self.whole:
            data = storage.data
            return data if data.shape == self.shape else data.reshape(self.shape)
        version, seen = self._seen
        if version != storage.version:
            version = storage.version
            if 0 in self.shape:
                seen = mx.zeros(self.shape, TO_MLX[self.dtype])
            else:
                seen = mx.as_strided(storage.flat(self.dtype), self.shape, self.strides, self.offset)
            self._seen = version, seen
        return seen

    def write(self, value: Any) -> None:
        """Put an MLX array of this shape and dtype in the place of the elements."""
        storage = self.storage
        if self.whole:
            storage.replace(value)
        elif value.size:
            flat = _written(storage.flat(self.dtype), self.shape, self.strides, self.offset, value)
            own = storage.data.dtype
            flat = flat if flat.dtype == own else mx.view(flat, own)
            storage.replace(flat.reshape(storage.data.shape))

    def window(self, shape: Sequence[int], strides: Sequence[int], offset: int, kind: dtype | None = None) -> Array:
        """Another array over the same memory; shape, strides and offset in elements of ``kind``."""
        shape, kind, data = tuple(shape), kind or self.dtype, self.storage.data
        fills = offset == 0 and prod(shape) == data.size and is_contiguous(shape, strides)
        whole = fills and native(kind) == data.dtype
        return Array(self.storage, shape, tuple(strides), offset, kind, True, whole)

    def __repr__(self) -> str:
        return f"Array({list(self.shape)}, {self.dtype}, strides={list(self.strides)})"


_LARGE = 1 << 30  # bytes; what is smaller is not asked about


def fresh(data: Any) -> Array:
    """An array with memory of its own, from an MLX array.

    Raises:
        OutOfMemoryError: when it alone is larger than MLX's memory limit. On the CPU MLX would end the process.
    """
    if data.nbytes > _LARGE and data.nbytes > mx.get_memory_limit():
        raise OutOfMemoryError(
            f"the device type 'mlx' has no memory for an array of shape {list(data.shape)}: it takes "
            f"{data.nbytes / 2**30:.1f} GiB, and MLX's limit is {mx.get_memory_limit() / 2**30:.1f} GiB"
        )
    return Array(Storage(data), data.shape, None, 0, FROM_MLX[data.dtype], False, True)


def own_object(array: Any) -> Any:
    """The same array as another Python object: assigning to an index of an MLX array makes the object refer to a new
    array, and only the one who assigns may see that."""
    return array.reshape(array.shape)


# -- writing into a part -------------------------------------------------------------------------------------------


def _written(flat: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, value: Any) -> Any:
    """``flat``, a 1-D MLX array, with ``value`` in the window of this shape, these strides and this offset."""
    size = flat.size
    box = _box(shape, strides, offset, size)
    if box is None:
        taken = tuple([slice(-1, None) if step == 0 else slice(None) for step in strides])
        written = own_object(flat)
        written[mx.array(_positions(shape, strides, offset))] = value[taken].reshape(-1)
        return written
    extents, place, order, sizes = box
    padded = prod(extents)
    boxed = (mx.pad(flat, (0, padded - size)) if padded > size else flat).reshape(extents)  # an object of its own
    boxed[place] = value.transpose(order).reshape(sizes)
    written = boxed.reshape(-1)
    return written[:size] if padded > size else written


@lru_cache(maxsize=4096)
def _box(shape: tuple[int, ...], strides: tuple[int, ...], offset: int, size: int) -> Any:
    """A shape for memory of ``size`` elements in which the window is a box, or None where there is none.

    Returns:
        The shape (which may need some elements more), the box's subscript, the order of the window's dimensions in it,
        and the box's sizes.
    """
    dims = sorted(
        [(step, n, d) for d, (step, n) in enumerate(zip(strides, shape, strict=True)) if n != 1], reverse=True
    )
    if any(step == 0 for step, _, _ in dims):
        return None
    extents: list[int] = []
    place: list[slice] = []
    rest = offset
    outer = None
    for step, n, _ in dims:
        if outer is not None and outer % step:
            return None
        extent = -(-size // step) if outer is None else outer // step
        start, rest = divmod(rest, step)
        if start + n > extent:
            return None
        extents.append(extent)
        place.append(slice(start, start + n))
        outer = step
    inner = size if outer is None else outer
    extents.append(inner)
    place.append(slice(rest, rest + 1))
    order = [d for _, _, d in dims] + [d for d, n in enumerate(shape) if n == 1]
    return tuple(extents), tuple(place), order, (*[n for _, n, _ in dims], 1)


def _positions(shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Any:
    """The place in memory of each element of a window; of a dimension without stride only one."""
    places: Any = numpy.array(offset)
    for step, n in zip(strides, shape, strict=True):
        places = places[..., None] + numpy.arange(n if step else 1) * step
    return places.reshape(-1)
