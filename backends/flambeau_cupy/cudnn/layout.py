"""How operands of cuDNN lie in memory: rows as the indices have them, or the channels innermost (``channels_last``)."""

from __future__ import annotations

from typing import Any

import cupy

from flambeau_cupy.cudnn.library import ALIGNMENT

Array = Any
Size = tuple[int, ...]


def is_channels_last(array: Array) -> bool:
    """Whether (N, C, *) lies in memory as (N, *, C), and in that order only."""
    return array.ndim > 3 and not array.flags.c_contiguous and array.transpose(_order(array.ndim)).flags.c_contiguous


def _order(ndim: int) -> Size:
    return (0, *range(2, ndim), 1)


def _back(ndim: int) -> Size:
    return (0, ndim - 1, *range(1, ndim - 1))


def packed_strides(sizes: Size, last: bool) -> Size:
    """The strides of (N, C, *) in elements without gaps; with ``last`` the channels innermost."""
    strides = [0] * len(sizes)
    step = 1
    for d in reversed(_order(len(sizes)) if last else range(len(sizes))):
        strides[d] = step
        step *= sizes[d]
    return tuple(strides)


def packed(array: Array, last: bool) -> Array:
    """The array, or a copy where it lies in another way than :func:`packed_strides` says, or on an odd address."""
    if not last:
        return array if array.flags.c_contiguous and array.data.ptr % ALIGNMENT == 0 else array.copy()
    seen = array.transpose(_order(array.ndim))
    if seen.flags.c_contiguous and array.data.ptr % ALIGNMENT == 0:
        return array
    return seen.copy().transpose(_back(array.ndim))


def empty(sizes: Size, kind: Any, last: bool) -> Array:
    """A new array that lies as :func:`packed_strides` says."""
    if not last:
        return cupy.empty(sizes, kind)
    return cupy.empty([sizes[d] for d in _order(len(sizes))], kind).transpose(_back(len(sizes)))
