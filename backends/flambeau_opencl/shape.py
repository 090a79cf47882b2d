"""Kernels that look at the same memory in another way, and those that lay it out anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau import striding
from flambeau.dtypes import dtype as DType
from flambeau_opencl.array import Array, empty
from flambeau_opencl.creation import assign, clone, filled
from flambeau_opencl.maps import run

# -- views ---------------------------------------------------------------------------------------------------------


def viewing(move: Callable[..., striding.Window]) -> Callable[..., Array]:
    """A kernel from what the view does to shape, strides and offset."""

    def kernel(input: Array, *args: Any) -> Array:
        return input.window(*move(input.shape, input.strides, input.offset, *args))

    kernel.__name__ = move.__name__
    kernel.__doc__ = move.__doc__
    return kernel


view = viewing(striding.view)
permute = viewing(striding.permute)
expand = viewing(striding.expand)
slice_ = viewing(striding.slice)
basic_index = viewing(striding.basic_index)
diagonal_view = viewing(striding.diagonal)


def reshape(input: Array, size: tuple[int, ...]) -> Array:
    """The same elements in the same order under another shape; a view where that is possible.

    Raises:
        RuntimeError: when the number of elements differs.
    """
    try:
        return view(input, size)
    except RuntimeError:
        return view(clone(input), size)


def view_dtype(input: Array, dtype: DType) -> Array:
    """The same memory as elements of another dtype."""
    sizes = input.dtype.itemsize, dtype.itemsize
    return input.window(*striding.retyped(input.shape, input.strides, input.offset, *sizes), dtype)


def as_strided(input: Array, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Array:
    """A view of the memory under ``input`` with any strides, in elements, from ``storage_offset`` on.

    Raises:
        RuntimeError: when it would reach outside of that memory.
    """
    held = input.storage.nbytes // input.dtype.itemsize
    return input.window(*striding.as_strided(held, input.offset, size, stride, storage_offset))


def slice_backward(g: Array, size: Sequence[int], dim: int, start: int, end: int, step: int = 1) -> Array:
    """Zeros of the shape ``size`` with ``g`` where :func:`slice_` takes its elements."""
    result = filled(g.runtime, tuple(size), 0, g.dtype)
    assign(slice_(result, dim, start, end, step), g)
    return result


def basic_index_backward(g: Array, size: Sequence[int], index: tuple[Any, ...]) -> Array:
    """Zeros of the shape ``size`` with ``g`` at ``index``."""
    result = filled(g.runtime, tuple(size), 0, g.dtype)
    assign(basic_index(result, index), g)
    return result


def diagonal_backward(g: Array, size: Sequence[int], offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    """Zeros of the shape ``size`` with ``g`` on the diagonal."""
    result = filled(g.runtime, tuple(size), 0, g.dtype)
    assign(diagonal_view(result, offset, dim1, dim2), g)
    return result


def _part(input: Array, which: int) -> Array:
    moved = striding.part_of_complex(input.shape, input.strides, input.offset, which)
    return input.window(*moved, input.dtype.to_real())


def real(input: Array) -> Array:
    """The real parts, as a view."""
    return _part(input, 0) if input.dtype.is_complex else input


def imag(input: Array) -> Array:
    """The imaginary parts, as a view.

    Raises:
        RuntimeError: for real dtypes.
    """
    if not input.dtype.is_complex:
        raise RuntimeError(f"imag is not implemented for tensors with non-complex dtypes, got {input.dtype.name}")
    return _part(input, 1)


def view_as_real(input: Array) -> Array:
    """Complex numbers as pairs of real ones along a new last dimension, as a view."""
    return input.window(*striding.pairs_of_complex(input.shape, input.strides, input.offset), input.dtype.to_real())


def view_as_complex(input: Array) -> Array:
    """The pairs along the last dimension as complex numbers, as a view.

    Raises:
        RuntimeError: when the pairs do not lie in memory as complex numbers do.
    """
    return input.window(*striding.complex_of_pairs(input.shape, input.strides, input.offset), input.dtype.to_complex())


# -- copies --------------------------------------------------------------------------------------------------------


def cat(tensors: Sequence[Array], dim: int = 0) -> Array:
    """Arrays one after the other along ``dim``."""
    first = tensors[0]
    dim %= len(first.shape)
    total = sum([tensor.shape[dim] for tensor in tensors])
    result = empty(first.runtime, [total if d == dim else n for d, n in enumerate(first.shape)], first.dtype)
    start = 0
    for tensor in tensors:
        assign(slice_(result, dim, start, start + tensor.shape[dim]), tensor)
        start += tensor.shape[dim]
    return result


def flip(input: Array, dims: tuple[int, ...]) -> Array:
    """A copy with the order of the elements reversed along ``dims``."""
    offset = input.offset
    strides = list(input.strides)
    for d in dims:
        offset += max(input.shape[d] - 1, 0) * strides[d] if input.shape else 0
        strides[d] = -strides[d]
    return clone(input.window(input.shape, strides, offset))


def constant_pad_nd(input: Array, pad: Sequence[int], value: float = 0) -> Array:
    """``input`` with ``value`` added at the ends of dimensions, or cut off where the number is negative.

    Args:
        pad: ``(before, after)`` of the last dimension, then of the one before, ...
    """
    shape = list(input.shape)
    inside: list[Any] = [slice(None)] * len(shape)
    taken: list[Any] = [slice(None)] * len(shape)
    for i in range(len(pad) // 2):
        before, after = pad[2 * i], pad[2 * i + 1]
        dim = len(shape) - 1 - i
        n = shape[dim]
        start, end = max(-before, 0), n - max(-after, 0)
        shape[dim] = n + before + after
        taken[dim] = slice(start, end)
        inside[dim] = slice(max(before, 0), max(before, 0) + end - start)
    result = filled(input.runtime, tuple(shape), value, input.dtype)
    assign(basic_index(result, tuple(inside)), basic_index(input, tuple(taken)))
    return result


def _triangle(name: str, test: str) -> Callable[..., Array]:
    def triangle(input: Array, diagonal: int = 0) -> Array:
        rows, columns = input.shape[-2:]
        result = empty(input.runtime, input.shape, input.dtype)
        body = f"long column = i % n1, row = i / n1 % n0; r0 = a0; if (!(column {test} row + n2)) r0 = 0;"
        run(name, body, [result], [input], [("long", rows), ("long", columns), ("long", diagonal)])
        return result

    triangle.__name__ = name
    triangle.__doc__ = f"The {'lower' if name == 'tril' else 'upper'} triangle of matrices, zeros elsewhere."
    return triangle


KERNELS: dict[str, Callable[..., Any]] = {
    "view": view,
    "reshape": reshape,
    "permute": permute,
    "expand": expand,
    "view_dtype": view_dtype,
    "as_strided": as_strided,
    "slice": slice_,
    "slice_backward": slice_backward,
    "basic_index": basic_index,
    "basic_index_backward": basic_index_backward,
    "diagonal_view": diagonal_view,
    "diagonal_backward": diagonal_backward,
    "real": real,
    "imag": imag,
    "view_as_real": view_as_real,
    "view_as_complex": view_as_complex,
    "cat": cat,
    "flip": flip,
    "constant_pad_nd": constant_pad_nd,
    "tril": _triangle("tril", "<="),
    "triu": _triangle("triu", ">="),
}
