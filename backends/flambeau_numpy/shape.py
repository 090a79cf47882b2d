"""Views that NumPy makes in its own way, beside :mod:`flambeau_array.shape`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy

from flambeau_array.shape import diagonal_cotangent, kernels, not_expandable

Array = Any


def expand(input: Array, size: tuple[int, ...]) -> Array:
    """Dimensions of size 1 stretched, new ones added in front, without a copy; -1 keeps a size.

    Raises:
        RuntimeError: when another size would have to change.
    """
    shape = input.shape
    lead = len(size) - len(shape)
    if lead < 0:
        raise not_expandable(input, size)
    itemsteps = input.strides
    target = list(size)
    steps = [0] * lead
    for d, own in enumerate(shape):
        wanted = target[lead + d]
        if wanted == -1 or wanted == own:
            target[lead + d] = own
            steps.append(itemsteps[d])
        elif own == 1:
            steps.append(0)
        else:
            raise not_expandable(input, size)
    if -1 in target:
        raise not_expandable(input, size)
    return strided(input, target, steps)


def strided(array: Array, shape: Sequence[int], steps: Sequence[int]) -> Array:
    """A writeable view from the first element of ``array`` on, with ``steps`` in bytes, unchecked.

    ``numpy.lib.stride_tricks.as_strided`` takes 2.7 µs, this 0.4 µs where the memory is contiguous.
    """
    if array.flags.c_contiguous:
        if array.dtype.kind == "V":  # bfloat16 has no buffer format
            return numpy.ndarray(shape, f"u{array.itemsize}", array.view(f"u{array.itemsize}"), 0, steps).view(
                array.dtype
            )
        return numpy.ndarray(shape, array.dtype, array, 0, steps)
    return numpy.lib.stride_tricks.as_strided(array, shape, steps)


def owner(array: Array) -> Array:
    """The array that owns the memory under ``array``."""
    while isinstance(array.base, numpy.ndarray):
        array = array.base
    return array


def as_strided(input: Array, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Array:
    """A view of the memory under ``input`` with any strides, in elements.

    Args:
        storage_offset: where it begins, in elements from the start of the array that owns the memory; None means
            where ``input`` begins.

    Raises:
        RuntimeError: when it would reach outside of that memory.
    """
    root = owner(input)
    itemsize = input.itemsize
    begin = input.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    offset = begin if storage_offset is None else storage_offset * itemsize
    reach = offset + sum([(n - 1) * step * itemsize for n, step in zip(size, stride, strict=True)])
    if min(stride, default=0) < 0 or offset < 0:
        raise RuntimeError(f"as_strided: strides and offset must not be negative, got {stride} and {storage_offset}")
    if 0 not in size and reach + itemsize > root.nbytes:
        raise RuntimeError(
            f"as_strided: size {list(size)}, stride {list(stride)} and storage offset {offset // itemsize} need "
            f"{reach // itemsize + 1} elements, but the storage has {root.nbytes // itemsize}"
        )
    memory = root.ravel("K").view(input.dtype)
    start = memory[offset // itemsize :] if memory.size else memory
    return strided(start, size, [step * itemsize for step in stride])


def diagonal_view(input: Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    """The diagonal over two dimensions as the last dimension of a writeable view."""
    result = input.diagonal(offset, dim1, dim2)
    if input.flags.writeable:
        result.flags.writeable = True
    return result


KERNELS: dict[str, Callable[..., Any]] = {
    **kernels(numpy),
    "expand": expand,
    "as_strided": as_strided,
    "diagonal_view": diagonal_view,
    "diagonal_backward": diagonal_cotangent(numpy, diagonal_view),
}
