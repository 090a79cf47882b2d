"""Kernels that look at the same memory in another way, and those that lay it out anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Any

from flambeau.dtypes import dtype as DType
from flambeau_opencl.array import Array, contiguous_strides, empty
from flambeau_opencl.creation import assign, clone, filled
from flambeau_opencl.maps import run

# -- views ---------------------------------------------------------------------------------------------------------


def _completed(input: Array, size: Sequence[int]) -> tuple[int, ...]:
    """``size`` with a -1 replaced.

    Raises:
        RuntimeError: when the number of elements differs.
    """
    size = tuple(size)
    if -1 in size:
        rest = -prod(size)
        if size.count(-1) == 1 and rest and input.size % rest == 0:
            size = tuple([input.size // rest if n == -1 else n for n in size])
    if prod(size) != input.size or min(size, default=0) < 0:
        raise RuntimeError(f"shape '{list(size)}' is invalid for input of size {input.size}")
    return size


@lru_cache(maxsize=4096)
def _viewed_strides(shape: tuple[int, ...], strides: tuple[int, ...], size: tuple[int, ...]) -> tuple[int, ...] | None:
    """The strides that show the same elements in the same order under ``size``, or None where there are none."""
    if 0 in shape:
        return contiguous_strides(size)
    blocks: list[list[int]] = []  # runs of dimensions that lie one behind the other: [size, innermost stride]
    for n, step in zip(shape, strides, strict=True):
        if n == 1:
            continue
        if blocks and blocks[-1][1] == n * step:
            blocks[-1] = [blocks[-1][0] * n, step]
        else:
            blocks.append([n, step])
    result: list[int] = []
    left, step = blocks.pop() if blocks else (1, 1)
    for n in reversed(size):
        if n == 1:
            result.append(step)
            continue
        if left == 1 and blocks:
            left, step = blocks.pop()
        if left % n:
            return None
        result.append(step)
        left //= n
        step *= n
    return tuple(reversed(result))


def view(input: Array, size: tuple[int, ...]) -> Array:
    """The same elements under another shape, without a copy; one size may be -1.

    Raises:
        RuntimeError: when the number of elements differs, or the memory does not lie so that no copy is needed.
    """
    size = _completed(input, size)
    strides = _viewed_strides(input.shape, input.strides, size)
    if strides is None:
        raise RuntimeError(
            f"view size is not compatible with input tensor's size and stride: {list(input.shape)} cannot be seen as "
            f"{list(size)} without a copy. Use .reshape(...) instead."
        )
    return input.window(size, strides, input.offset)


def reshape(input: Array, size: tuple[int, ...]) -> Array:
    """The same elements in the same order under another shape; a view where that is possible.

    Raises:
        RuntimeError: when the number of elements differs.
    """
    size = _completed(input, size)
    strides = _viewed_strides(input.shape, input.strides, size)
    if strides is None:
        input = clone(input)
        strides = contiguous_strides(size)
    return input.window(size, strides, input.offset)


def permute(input: Array, dims: tuple[int, ...]) -> Array:
    """The dimensions in another order."""
    shape, strides = input.shape, input.strides
    return input.window([shape[d] for d in dims], [strides[d] for d in dims], input.offset)


def expand(input: Array, size: tuple[int, ...]) -> Array:
    """Dimensions of size 1 stretched, new ones added in front, without a copy; -1 keeps a size.

    Raises:
        RuntimeError: when another size would have to change.
    """
    lead = len(size) - len(input.shape)
    target, steps = list(size), [0] * max(lead, 0)
    fits = lead >= 0
    for d, (own, step) in enumerate(zip(input.shape, input.strides, strict=True)):
        if not fits:
            break
        wanted = target[lead + d]
        if wanted in (-1, own):
            target[lead + d] = own
            steps.append(step)
        else:
            fits = own == 1
            steps.append(0)
    if not fits or -1 in target:
        raise RuntimeError(
            f"expand: the shape {list(input.shape)} cannot be expanded to {list(size)}: only dimensions of size 1 can "
            "be stretched and new dimensions added in front"
        )
    return input.window(target, steps, input.offset)


def view_dtype(input: Array, dtype: DType) -> Array:
    """The same memory as elements of another dtype."""
    own, other = input.dtype.itemsize, dtype.itemsize
    if own == other:
        return Array(input.storage, input.shape, input.strides, input.offset, dtype)
    shape = (*input.shape[:-1], input.shape[-1] * own // other)
    strides = (*[step * own // other for step in input.strides[:-1]], 1)
    return Array(input.storage, shape, strides, input.offset * own // other, dtype)


def as_strided(input: Array, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Array:
    """A view of the memory under ``input`` with any strides, in elements.

    Args:
        storage_offset: where it begins, in elements from the start of the memory; None means where ``input`` begins.

    Raises:
        RuntimeError: when it would reach outside of that memory.
    """
    offset = input.offset if storage_offset is None else storage_offset
    if min(stride, default=0) < 0 or offset < 0:
        raise RuntimeError(f"as_strided: strides and offset must not be negative, got {stride} and {storage_offset}")
    reach = offset + sum([(n - 1) * step for n, step in zip(size, stride, strict=True)])
    held = input.storage.nbytes // input.dtype.itemsize
    if 0 not in size and reach >= held:
        raise RuntimeError(
            f"as_strided: size {list(size)}, stride {list(stride)} and storage offset {offset} need {reach + 1} "
            f"elements, but the storage has {held}"
        )
    return input.window(size, stride, offset)


def slice_(input: Array, dim: int, start: int, end: int, step: int = 1) -> Array:
    """The elements ``start``, ``start + step`` ... before ``end`` along ``dim``, as a view."""
    shape, strides = list(input.shape), list(input.strides)
    offset = input.offset + start * strides[dim]
    shape[dim] = max(0, -(-(end - start) // step))
    strides[dim] *= step
    return input.window(shape, strides, offset)


def slice_backward(g: Array, size: Sequence[int], dim: int, start: int, end: int, step: int = 1) -> Array:
    """Zeros of the shape ``size`` with ``g`` where :func:`slice_` takes its elements."""
    result = filled(g.runtime, tuple(size), 0, g.dtype)
    assign(slice_(result, dim, start, end, step), g)
    return result


def basic_index(input: Array, index: tuple[Any, ...]) -> Array:
    """The view ``input[index]`` for ints, slices and Nones.

    Raises:
        IndexError: when an int is out of bounds or there are too many.
    """
    shape: list[int] = []
    strides: list[int] = []
    offset = input.offset
    dim = 0
    for entry in index:
        if entry is None:
            shape.append(1)
            strides.append(0)
            continue
        if dim >= len(input.shape):
            raise IndexError(f"too many indices for tensor of dimension {len(input.shape)}")
        size, stride = input.shape[dim], input.strides[dim]
        if isinstance(entry, slice):
            start, end, step = entry.indices(size)
            offset += start * stride if size else 0
            shape.append(len(range(start, end, step)))
            strides.append(stride * step)
        else:
            if not -size <= entry < size:
                raise IndexError(f"index {entry} is out of bounds for dimension {dim} with size {size}")
            offset += entry % size * stride
        dim += 1
    return input.window([*shape, *input.shape[dim:]], [*strides, *input.strides[dim:]], offset)


def basic_index_backward(g: Array, size: Sequence[int], index: tuple[Any, ...]) -> Array:
    """Zeros of the shape ``size`` with ``g`` at ``index``."""
    result = filled(g.runtime, tuple(size), 0, g.dtype)
    assign(basic_index(result, index), g)
    return result


def diagonal_view(input: Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    """The diagonal over two dimensions as the last dimension of a view."""
    shape, strides = input.shape, input.strides
    rows, columns = shape[dim1], shape[dim2]
    size = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    start = input.offset
    if size:
        start += offset * strides[dim2] if offset >= 0 else -offset * strides[dim1]
    kept = [d for d in range(len(shape)) if d not in (dim1, dim2)]
    return input.window(
        [*[shape[d] for d in kept], size], [*[strides[d] for d in kept], strides[dim1] + strides[dim2]], start
    )


def diagonal_backward(g: Array, size: Sequence[int], offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    """Zeros of the shape ``size`` with ``g`` on the diagonal."""
    result = filled(g.runtime, tuple(size), 0, g.dtype)
    assign(diagonal_view(result, offset, dim1, dim2), g)
    return result


def _part(input: Array, which: int) -> Array:
    strides = tuple([2 * step for step in input.strides])
    return Array(input.storage, input.shape, strides, 2 * input.offset + which, input.dtype.to_real())


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
    strides = (*[2 * step for step in input.strides], 1)
    return Array(input.storage, (*input.shape, 2), strides, 2 * input.offset, input.dtype.to_real())


def view_as_complex(input: Array) -> Array:
    """The pairs along the last dimension as complex numbers, as a view.

    Raises:
        RuntimeError: when the pairs do not lie in memory as complex numbers do.
    """
    *strides, last = input.strides
    if not input.size:
        return empty(input.runtime, input.shape[:-1], input.dtype.to_complex())
    if last != 1 or any(step % 2 for step in strides) or input.offset % 2:
        raise RuntimeError(
            f"view_as_complex: Tensor must have a last dimension with stride 1 and other strides and an offset "
            f"divisible by 2, got {list(input.strides)} and {input.offset}"
        )
    halved = tuple([step // 2 for step in strides])
    return Array(input.storage, input.shape[:-1], halved, input.offset // 2, input.dtype.to_complex())


# -- copies --------------------------------------------------------------------------------------------------------


def cat(tensors: Sequence[Array], dim: int = 0) -> Array:
    """Arrays one after the other along ``dim``. Empty ones of shape (0,) are left out, whatever the others' shape.

    Raises:
        RuntimeError: when the other dimensions differ.
    """
    if not tensors:
        raise RuntimeError("cat: expected a non-empty list of Tensors")
    kept = [tensor for tensor in tensors if tensor.shape != (0,)] or [tensors[0]]
    first = kept[0]
    dim %= max(len(first.shape), 1)
    for i, tensor in enumerate(kept):
        if len(tensor.shape) != len(first.shape) or not first.shape:
            raise RuntimeError(
                f"cat: Tensors must have the same number of dimensions, at least 1: got {len(first.shape)} and "
                f"{len(tensor.shape)}"
            )
        for d, (expected, own) in enumerate(zip(first.shape, tensor.shape, strict=True)):
            if d != dim and own != expected:
                raise RuntimeError(
                    f"cat: Sizes of tensors must match except in dimension {dim}. Expected size {expected} but got "
                    f"size {own} in dimension {d} for tensor number {i} in the list."
                )
    total = sum([tensor.shape[dim] for tensor in kept])
    result = empty(first.runtime, [total if d == dim else n for d, n in enumerate(first.shape)], first.dtype)
    start = 0
    for tensor in kept:
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

    Raises:
        RuntimeError: when more is cut off than there is.
    """
    shape = list(input.shape)
    inside: list[Any] = [slice(None)] * len(shape)
    taken: list[Any] = [slice(None)] * len(shape)
    for i in range(len(pad) // 2):
        before, after = pad[2 * i], pad[2 * i + 1]
        dim = len(shape) - 1 - i
        n = shape[dim]
        start, end = max(-before, 0), n - max(-after, 0)
        if end < start or n + before + after < 0:
            raise RuntimeError(
                f"constant_pad_nd: The input size {n}, plus negative padding {before} and {after}, resulted in a "
                f"negative output size, which is invalid. Check dimension {dim} of your input of shape "
                f"{list(input.shape)}."
            )
        shape[dim] = n + before + after
        taken[dim] = slice(start, end)
        inside[dim] = slice(max(before, 0), max(before, 0) + end - start)
    result = filled(input.runtime, tuple(shape), value, input.dtype)
    assign(basic_index(result, tuple(inside)), basic_index(input, tuple(taken)))
    return result


def _triangle(name: str, test: str) -> Callable[..., Array]:
    def triangle(input: Array, diagonal: int = 0) -> Array:
        if len(input.shape) < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions, got {list(input.shape)}")
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
