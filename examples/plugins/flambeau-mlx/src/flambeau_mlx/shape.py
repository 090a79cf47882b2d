"""Kernels that look at the same memory in another way (``VIEWS``: they compute nothing), and that lay it out anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx
from flambeau import striding
from flambeau.dtypes import dtype

from flambeau_mlx.array import Array, fresh, native
from flambeau_mlx.elementwise import number

# -- views ---------------------------------------------------------------------------------------------------------


def viewing(move: Callable[..., striding.Window]) -> Callable[..., Array]:
    """A kernel from what the view does to shape, strides and offset."""

    def kernel(input: Array, *args: Any) -> Array:
        return input.window(*move(input.shape, input.strides, input.offset, *args))

    kernel.__doc__ = move.__doc__
    return kernel


def as_strided(input: Array, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Array:
    """A view of the memory under ``input`` with any strides, in elements, from ``storage_offset`` on.

    Raises:
        RuntimeError: when it would reach outside of that memory.
    """
    held = input.storage.data.nbytes // input.dtype.itemsize
    return input.window(*striding.as_strided(held, input.offset, size, stride, storage_offset))


def view_dtype(input: Array, dtype: dtype) -> Array:
    """The same memory as elements of another dtype."""
    sizes = input.dtype.itemsize, dtype.itemsize
    return input.window(*striding.retyped(input.shape, input.strides, input.offset, *sizes), dtype)


def real(input: Array) -> Array:
    """The real parts; a real array itself."""
    return _part(input, 0) if input.dtype.is_complex else input


def imag(input: Array) -> Array:
    """The imaginary parts of a complex array."""
    return _part(input, 1)


def _part(input: Array, which: int) -> Array:
    moved = striding.part_of_complex(input.shape, input.strides, input.offset, which)
    return input.window(*moved, input.dtype.to_real())


def view_as_real(input: Array) -> Array:
    """Complex numbers as pairs of real ones along a new last dimension."""
    return input.window(*striding.pairs_of_complex(input.shape, input.strides, input.offset), input.dtype.to_real())


def view_as_complex(input: Array) -> Array:
    """The pairs along the last dimension as complex numbers.

    Raises:
        RuntimeError: when the pairs do not lie in memory as complex numbers do.
    """
    return input.window(*striding.complex_of_pairs(input.shape, input.strides, input.offset), input.dtype.to_complex())


# -- copies --------------------------------------------------------------------------------------------------------


def cat(tensors: Sequence[Array], dim: int = 0) -> Array:
    """Arrays one after the other along ``dim``."""
    return fresh(mx.concatenate([tensor.value for tensor in tensors], dim))


def flip(input: Array, dims: tuple[int, ...]) -> Array:
    """A copy with the order of the elements reversed along ``dims``."""
    turned = [slice(None, None, -1) if d in dims else slice(None) for d in range(input.ndim)]
    return fresh(input.value[tuple(turned)] if turned else input.value)


def constant_pad_nd(input: Array, pad: Sequence[int], value: Any = 0) -> Array:
    """``input`` with ``value`` added at the ends of dimensions, or cut off where the number is negative.

    Args:
        pad: ``(before, after)`` of the last dimension, then of the one before, ...
    """
    taken = [slice(None)] * input.ndim
    widths = [(0, 0)] * input.ndim
    for i, (before, after) in enumerate(zip(pad[::2], pad[1::2], strict=True)):
        dim = input.ndim - 1 - i
        n = input.shape[dim]
        start, end = max(-before, 0), n - max(-after, 0)
        taken[dim] = slice(start, end)
        widths[dim] = (max(before, 0), max(after, 0))
    if not widths:
        return fresh(input.value)
    filling = mx.array(number(value, input.dtype), native(input.dtype))
    return fresh(mx.pad(input.value[tuple(taken)], widths, constant_values=filling))


VIEWS: dict[str, Callable[..., Any]] = {
    "view": viewing(striding.view),
    "permute": viewing(striding.permute),
    "expand": viewing(striding.expand),
    "slice": viewing(striding.slice),
    "basic_index": viewing(striding.basic_index),
    "diagonal_view": viewing(striding.diagonal),
    "as_strided": as_strided,
    "view_dtype": view_dtype,
    "real": real,
    "imag": imag,
    "view_as_real": view_as_real,
    "view_as_complex": view_as_complex,
}

KERNELS: dict[str, Callable[..., Any]] = {"cat": cat, "flip": flip, "constant_pad_nd": constant_pad_nd}
