"""Kernels that look at the same memory in another way, and those that lay it out anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy

from flambeau.dtypes import dtype as DType

Array = Any
Module = Any
Kernel = Callable[..., Any]

# Indices that take all of the first d dimensions.
_WHOLE = [(slice(None),) * d for d in range(65)]


def kernels(xp: Module) -> dict[str, Kernel]:
    """The kernels of this module over the library ``xp``."""
    return {
        "view": view,
        "reshape": reshape,
        "permute": permute,
        "view_dtype": view_dtype,
        "slice": slice_,
        "slice_backward": slice_cotangent(xp),
        "basic_index": basic_index,
        "basic_index_backward": index_cotangent(xp),
        "real": real,
        "imag": imag,
        "view_as_real": view_as_real,
        "view_as_complex": as_complex(xp),
        "cat": joining(xp),
        "stack": stacking(xp),
        "flip": flip,
        "constant_pad_nd": padding(xp),
        "tril": triangle(xp, "tril", True),
        "triu": triangle(xp, "triu", False),
    }


# -- views ---------------------------------------------------------------------------------------------------------


def view(input: Array, size: tuple[int, ...]) -> Array:
    """The same elements under another shape, without a copy; one size may be -1.

    Raises:
        RuntimeError: when the number of elements differs, or the memory does not lie so that no copy is needed.
    """
    try:
        if input.flags.c_contiguous:
            return input.reshape(size)  # never a copy then, and three times as fast as asking for none
        return input.reshape(size, copy=False)
    except ValueError:
        reshape(input, size)  # complains when the sizes do not fit
        raise RuntimeError(
            f"view size is not compatible with input tensor's size and stride: {list(input.shape)} cannot be seen as "
            f"{list(size)} without a copy. Use .reshape(...) instead."
        ) from None


def reshape(input: Array, shape: tuple[int, ...]) -> Array:
    """The same elements in the same order under another shape; a view where that is possible.

    Raises:
        RuntimeError: when the number of elements differs.
    """
    try:
        return input.reshape(shape)
    except ValueError:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {input.size}") from None


def permute(input: Array, dims: tuple[int, ...]) -> Array:
    """The dimensions in another order."""
    return input.transpose(dims)


def not_expandable(input: Array, size: Sequence[int]) -> RuntimeError:
    """What ``expand`` raises where a size would have to change."""
    return RuntimeError(
        f"expand: the shape {list(input.shape)} cannot be expanded to {list(size)}: only dimensions of size 1 can be "
        "stretched and new dimensions added in front"
    )


def view_dtype(input: Array, dtype: DType) -> Array:
    """The same memory as elements of another dtype."""
    return input.view(dtype.numpy)


def slice_(input: Array, dim: int, start: int, end: int, step: int = 1) -> Array:
    """The elements ``start``, ``start + step`` ... before ``end`` along ``dim``, as a view."""
    return input[(*_WHOLE[dim], slice(start, end, step))]


def slice_cotangent(xp: Module) -> Kernel:
    """Make the kernel ``slice_backward``."""

    def slice_backward(g: Array, size: Sequence[int], dim: int, start: int, end: int, step: int = 1) -> Array:
        """Zeros of the shape ``size`` with ``g`` where :func:`slice_` takes its elements."""
        result = xp.zeros(size, g.dtype)
        result[(*_WHOLE[dim], slice(start, end, step))] = g
        return result

    return slice_backward


def basic_index(input: Array, index: tuple[Any, ...]) -> Array:
    """The view ``input[index]`` for ints, slices and Nones."""
    return input[(*index, ...)]  # the dots make a view of a single element, too


def index_cotangent(xp: Module) -> Kernel:
    """Make the kernel ``basic_index_backward``."""

    def basic_index_backward(g: Array, size: Sequence[int], index: tuple[Any, ...]) -> Array:
        """Zeros of the shape ``size`` with ``g`` at ``index``."""
        result = xp.zeros(size, g.dtype)
        result[index] = g
        return result

    return basic_index_backward


def diagonal_cotangent(xp: Module, diagonal_view: Kernel) -> Kernel:
    """Make the kernel ``diagonal_backward`` from the one for views of diagonals."""

    def diagonal_backward(g: Array, size: Sequence[int], offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
        """Zeros of the shape ``size`` with ``g`` on the diagonal."""
        result = xp.zeros(size, g.dtype)
        diagonal_view(result, offset, dim1, dim2)[...] = g
        return result

    return diagonal_backward


def real(input: Array) -> Array:
    """The real parts, as a view."""
    return input.real


def imag(input: Array) -> Array:
    """The imaginary parts, as a view.

    Raises:
        RuntimeError: for real dtypes.
    """
    if input.dtype.kind != "c":
        raise RuntimeError(f"imag is not implemented for tensors with non-complex dtypes, got {input.dtype}")
    return input.imag


def view_as_real(input: Array) -> Array:
    """Complex numbers as pairs of real ones along a new last dimension, as a view."""
    return input[..., None].view(input.real.dtype)


def as_complex(xp: Module) -> Kernel:
    """Make the kernel ``view_as_complex``."""

    def view_as_complex(input: Array) -> Array:
        """The pairs along the last dimension as complex numbers, as a view.

        Raises:
            RuntimeError: when the pairs do not lie in memory as complex numbers do.
        """
        kind = xp.complex64 if input.dtype == numpy.float32 else xp.complex128
        if not input.size:
            return xp.empty(input.shape[:-1], kind)
        try:
            return input.view(kind)[..., 0]
        except ValueError as error:
            raise RuntimeError(f"view_as_complex: Tensor must have a last dimension with stride 1: {error}") from None

    return view_as_complex


# -- copies --------------------------------------------------------------------------------------------------------


def joining(xp: Module) -> Kernel:
    """Make the kernel ``cat``."""

    def cat(tensors: Sequence[Array], dim: int = 0) -> Array:
        """Arrays one after the other along ``dim``."""
        return xp.concatenate(tensors, dim)

    return cat


def stacking(xp: Module) -> Kernel:
    """Make the kernel ``stack``."""

    def stack(tensors: Sequence[Array], dim: int = 0) -> Array:
        """Arrays of one shape side by side along a new dimension."""
        place = (*_WHOLE[dim], None)
        return xp.concatenate([tensor[place] for tensor in tensors], dim)

    return stack


def padding(xp: Module) -> Kernel:
    """Make the kernel ``constant_pad_nd``."""

    def constant_pad_nd(input: Array, pad: Sequence[int], value: float = 0) -> Array:
        """``input`` with ``value`` added at the ends of dimensions, or cut off where the number is negative.

        Args:
            pad: ``(before, after)`` of the last dimension, then of the one before, ...
        """
        shape = list(input.shape)
        inside, taken = [slice(None)] * len(shape), [slice(None)] * len(shape)
        for i in range(len(pad) // 2):
            before, after = pad[2 * i], pad[2 * i + 1]
            dim = len(shape) - 1 - i
            n = shape[dim]
            start, end = max(-before, 0), n - max(-after, 0)
            shape[dim] = n + before + after
            taken[dim] = slice(start, end)
            inside[dim] = slice(max(before, 0), max(before, 0) + end - start)
        result = xp.full(shape, value, input.dtype) if value else xp.zeros(shape, input.dtype)
        result[tuple(inside)] = input[tuple(taken)]
        return result

    return constant_pad_nd


def flip(input: Array, dims: tuple[int, ...]) -> Array:
    """A copy with the order of the elements reversed along ``dims``."""
    return input[tuple([slice(None, None, -1) if d in dims else slice(None) for d in range(len(input.shape))])].copy()


def triangle(xp: Module, name: str, keep_lower: bool) -> Kernel:
    """Make the kernel ``tril`` or ``triu``."""

    def triangle(input: Array, diagonal: int = 0) -> Array:
        rows, columns = input.shape[-2:]
        row = xp.arange(diagonal, rows + diagonal)[:, None]
        column = xp.arange(columns)
        kept = column <= row if keep_lower else column >= row
        return xp.where(kept, input, xp.zeros((), input.dtype))

    triangle.__name__ = name
    triangle.__doc__ = f"The {'lower' if keep_lower else 'upper'} triangle of matrices, zeros elsewhere."
    return triangle
