"""Views as arithmetic: what each view op does to the shape, the strides and the offset of a window on memory.

For backends whose raw array is such a window, as NumPy's is, over memory of their own. A function here takes the
window's shape, strides and offset (in elements, from the start of the memory) and the op's arguments, and returns the
shape, strides and offset of the view; a kernel wraps what comes out:

    def permute(input, dims):
        return input.window(*striding.permute(input.shape, input.strides, input.offset, dims))
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

Ints = tuple[int, ...]
Window = tuple[Ints, Ints, int]


def contiguous_strides(shape: Sequence[int]) -> Ints:
    """The strides of elements that lie one after the other in row-major order."""
    return _contiguous(tuple(shape))


@lru_cache(maxsize=4096)
def _contiguous(shape: Ints) -> Ints:
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def is_contiguous(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether ``strides`` are the contiguous ones, apart from dimensions that have no second element."""
    if 0 in shape:
        return True
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1:
            if stride != step:
                return False
            step *= size
    return True


def view(shape: Ints, strides: Ints, offset: int, size: Sequence[int]) -> Window:
    """The same elements in the same order under another shape; one size may be -1.

    Raises:
        RuntimeError: when the number of elements differs, or they do not lie so that no copy is needed.
    """
    size = _completed(shape, size)
    found = _viewed(shape, strides, size)
    if found is None:
        raise RuntimeError(
            f"view size is not compatible with input tensor's size and stride: {list(shape)} cannot be seen as "
            f"{list(size)} without a copy. Use .reshape(...) instead."
        )
    return size, found, offset


def _completed(shape: Ints, size: Sequence[int]) -> Ints:
    """``size`` with a -1 replaced."""
    size, count = tuple(size), prod(shape)
    if -1 in size:
        rest = -prod(size)
        if size.count(-1) == 1 and rest and count % rest == 0:
            size = tuple([count // rest if n == -1 else n for n in size])
    if prod(size) != count or min(size, default=0) < 0:
        raise RuntimeError(f"shape '{list(size)}' is invalid for input of size {count}")
    return size


@lru_cache(maxsize=4096)
def _viewed(shape: Ints, strides: Ints, size: Ints) -> Ints | None:
    """The strides that show the same elements in the same order under ``size``, or None where there are none."""
    if 0 in shape:
        return contiguous_strides(size)
    blocks: list[tuple[int, int]] = []  # runs of dimensions that lie one behind the other: size, innermost stride
    for n, step in zip(shape, strides, strict=True):
        if n == 1:
            continue
        if blocks and blocks[-1][1] == n * step:
            blocks[-1] = (blocks[-1][0] * n, step)
        else:
            blocks.append((n, step))
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


def permute(shape: Ints, strides: Ints, offset: int, dims: Sequence[int]) -> Window:
    """The dimensions in another order."""
    return tuple([shape[d] for d in dims]), tuple([strides[d] for d in dims]), offset


def expand(shape: Ints, strides: Ints, offset: int, size: Sequence[int]) -> Window:
    """Dimensions of size 1 stretched, new ones added in front; -1 keeps a size.

    Raises:
        RuntimeError: when another size would have to change.
    """
    lead = len(size) - len(shape)
    target, steps = list(size), [0] * max(lead, 0)
    fits = lead >= 0
    for d, (own, step) in enumerate(zip(shape, strides, strict=True)):
        if not fits:
            break
        if target[lead + d] in (-1, own):
            target[lead + d] = own
            steps.append(step)
        else:
            fits = own == 1
            steps.append(0)
    if not fits or -1 in target:
        raise RuntimeError(
            f"expand: the shape {list(shape)} cannot be expanded to {list(size)}: only dimensions of size 1 can be "
            "stretched and new dimensions added in front"
        )
    return tuple(target), tuple(steps), offset


def slice(shape: Ints, strides: Ints, offset: int, dim: int, start: int, end: int, step: int = 1) -> Window:
    """The elements ``start``, ``start + step`` ... before ``end`` along ``dim``."""
    sizes, steps = list(shape), list(strides)
    sizes[dim] = max(0, -(-(end - start) // step))
    steps[dim] *= step
    return tuple(sizes), tuple(steps), offset + start * strides[dim]


def basic_index(shape: Ints, strides: Ints, offset: int, index: Sequence[Any]) -> Window:
    """What ``[index]`` shows, for ints, slices and Nones.

    Raises:
        IndexError: when an int is out of bounds or there are too many.
    """
    sizes: list[int] = []
    steps: list[int] = []
    dim = 0
    for entry in index:
        if entry is None:
            sizes.append(1)
            steps.append(0)
            continue
        if dim >= len(shape):
            raise IndexError(f"too many indices for tensor of dimension {len(shape)}")
        size, stride = shape[dim], strides[dim]
        if hasattr(entry, "indices"):
            start, end, step = entry.indices(size)
            offset += start * stride if size else 0
            sizes.append(len(range(start, end, step)))
            steps.append(stride * step)
        else:
            if not -size <= entry < size:
                raise IndexError(f"index {entry} is out of bounds for dimension {dim} with size {size}")
            offset += entry % size * stride
        dim += 1
    return (*sizes, *shape[dim:]), (*steps, *strides[dim:]), offset


def as_strided(
    held: int, offset: int, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Window:
    """A window of any strides on memory of ``held`` elements; the offset is the window's own where none is given.

    Raises:
        RuntimeError: when it would reach outside of the memory.
    """
    offset = offset if storage_offset is None else storage_offset
    if min(stride, default=0) < 0 or offset < 0:
        raise RuntimeError(f"as_strided: strides and offset must not be negative, got {stride} and {storage_offset}")
    reach = offset + sum([(n - 1) * step for n, step in zip(size, stride, strict=True)])
    if 0 not in size and reach >= held:
        raise RuntimeError(
            f"as_strided: size {list(size)}, stride {list(stride)} and storage offset {offset} need {reach + 1} "
            f"elements, but the storage has {held}"
        )
    return tuple(size), tuple(stride), offset


def diagonal(shape: Ints, strides: Ints, offset: int, diagonal: int = 0, dim1: int = 0, dim2: int = 1) -> Window:
    """The diagonal over two dimensions, as the last dimension."""
    rows, columns = shape[dim1], shape[dim2]
    size = max(0, min(rows, columns - diagonal) if diagonal >= 0 else min(rows + diagonal, columns))
    if size:
        offset += diagonal * strides[dim2] if diagonal >= 0 else -diagonal * strides[dim1]
    kept = [d for d in range(len(shape)) if d not in (dim1, dim2)]
    steps = (*[strides[d] for d in kept], strides[dim1] + strides[dim2])
    return (*[shape[d] for d in kept], size), steps, offset


def retyped(shape: Ints, strides: Ints, offset: int, own: int, other: int) -> Window:
    """The same memory as elements of ``other`` bytes where it has had elements of ``own``; the last stride is 1 if
    these differ."""
    if own == other:
        return shape, strides, offset
    sizes = (*shape[:-1], shape[-1] * own // other)
    return sizes, (*[step * own // other for step in strides[:-1]], 1), offset * own // other


def part_of_complex(shape: Ints, strides: Ints, offset: int, which: int) -> Window:
    """The real (0) or imaginary (1) parts of complex numbers, in elements of the real dtype."""
    return shape, tuple([2 * step for step in strides]), 2 * offset + which


def pairs_of_complex(shape: Ints, strides: Ints, offset: int) -> Window:
    """Complex numbers as pairs along a new last dimension, in elements of the real dtype."""
    return (*shape, 2), (*[2 * step for step in strides], 1), 2 * offset


def complex_of_pairs(shape: Ints, strides: Ints, offset: int) -> Window:
    """The pairs along the last dimension as complex numbers.

    Raises:
        RuntimeError: when the pairs do not lie in memory as complex numbers do.
    """
    *steps, last = strides
    if 0 in shape:
        return shape[:-1], contiguous_strides(shape[:-1]), 0
    if last != 1 or any(step % 2 for step in steps) or offset % 2:
        raise RuntimeError(
            f"view_as_complex: Tensor must have a last dimension with stride 1 and other strides and an offset "
            f"divisible by 2, got {list(strides)} and {offset}"
        )
    return shape[:-1], tuple([step // 2 for step in steps]), offset // 2


# -- several windows ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8192)
def merged(shape: Ints, strides: tuple[Ints, ...]) -> tuple[Ints, tuple[Ints, ...]]:
    """Ints and strides with the dimensions of size 1 left out and neighbours merged where all operands allow it."""
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for d, size in enumerate(shape):
        if size == 1:
            continue
        own = [s[d] for s in strides]
        if sizes and all(before[-1] == size * step for before, step in zip(steps, own, strict=True)):
            sizes[-1] *= size
            for before, step in zip(steps, own, strict=True):
                before[-1] = step
        else:
            sizes.append(size)
            for before, step in zip(steps, own, strict=True):
                before.append(step)
    return tuple(sizes), tuple(tuple(s) for s in steps)


@lru_cache(maxsize=8192)
def broadcast_strides(shape: Ints, own: Ints, strides: Ints) -> Ints:
    """The strides under which an array of shape ``own`` is seen as one of ``shape``."""
    lead = len(shape) - len(own)
    return (0,) * lead + tuple(0 if size == 1 else stride for size, stride in zip(own, strides, strict=True))
