"""Views that CuPy makes in its own way, beside :mod:`flambeau_array.shape`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cupy

from flambeau_array.shape import diagonal_cotangent, kernels, not_expandable

Array = Any

# By how much CuPy's pool may round up the size of an array.
_ROUNDING = 512


def expand(input: Array, size: tuple[int, ...]) -> Array:
    """Dimensions of size 1 stretched, new ones added in front, without a copy; -1 keeps a size.

    Raises:
        RuntimeError: when another size would have to change.
    """
    lead = len(size) - len(input.shape)
    target = list(size)
    for d, own in enumerate(input.shape):
        wanted = target[lead + d] if lead >= 0 else 0
        if wanted == -1:
            target[lead + d] = own
        elif wanted != own and own != 1:
            raise not_expandable(input, size)
    if lead < 0 or -1 in target:
        raise not_expandable(input, size)
    return cupy.broadcast_to(input, tuple(target))


def owner(array: Array) -> Array:
    """The array that the others over this memory are views of."""
    while array.base is not None:
        array = array.base
    return array


def storage_nbytes(array: Array) -> int:
    """The bytes of the memory under an array: those of its owner, where that one covers it all."""
    root, memory = owner(array), array.data.mem
    covers = root.data.ptr == memory.ptr and root.flags.c_contiguous and memory.size - root.nbytes < _ROUNDING
    size: int = root.nbytes if covers else memory.size
    return size


def as_strided(input: Array, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Array:
    """A view of the memory under ``input`` with any strides, in elements.

    Args:
        storage_offset: where it begins, in elements from the start of that memory; None means where ``input`` begins.

    Raises:
        RuntimeError: when it would reach outside of that memory.
    """
    itemsize, memory = input.itemsize, input.data.mem
    begin = input.data.ptr - memory.ptr
    offset = begin if storage_offset is None else storage_offset * itemsize
    reach = offset + sum([(n - 1) * step * itemsize for n, step in zip(size, stride, strict=True)])
    if min(stride, default=0) < 0 or offset < 0:
        raise RuntimeError(f"as_strided: strides and offset must not be negative, got {stride} and {storage_offset}")
    held = storage_nbytes(input)
    if 0 not in size and reach + itemsize > held:
        raise RuntimeError(
            f"as_strided: size {list(size)}, stride {list(stride)} and storage offset {offset // itemsize} need "
            f"{reach // itemsize + 1} elements, but the storage has {held // itemsize}"
        )
    steps = tuple([step * itemsize for step in stride])
    made = cupy.ndarray(tuple(size), input.dtype, cupy.cuda.MemoryPointer(memory, offset), steps)
    return made.view()  # which has a base, so that nobody takes the memory for its own


def diagonal_view(input: Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    """The diagonal over two dimensions as the last dimension of a view."""
    return input.diagonal(offset, dim1, dim2)


KERNELS: dict[str, Callable[..., Any]] = {
    **kernels(cupy),
    "expand": expand,
    "as_strided": as_strided,
    "diagonal_view": diagonal_view,
    "diagonal_backward": diagonal_cotangent(cupy, diagonal_view),
}
