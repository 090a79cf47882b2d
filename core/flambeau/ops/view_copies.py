"""Copies of tensors in which a view is replaced."""

from __future__ import annotations

from typing import Any

from flambeau.ops.declare import composite
from flambeau.ops.indexing import ALL, slice_bounds
from flambeau.ops.shape import strides_of
from flambeau.ops.spec import wrap_dim

Tensor = Any
Number = Any
Dim = Any
Size = Any
Xp = Any


def _with_part(xp: Xp, input: Any, part: Any, value: Any, steps: Any) -> Any:
    if tuple(part.shape) != tuple(value.shape):
        raise RuntimeError(f"expected src to have a size equal to the slice of self. src size = {list(value.shape)}, "
                           f"slice size = {list(part.shape)}")  # fmt: skip
    return xp.copy_slices(input, xp.to_dtype(value, xp.dtype_of(input)), steps)


@composite(inline=True)
def select_scatter(xp: Xp, input: Tensor, src: Tensor, dim: Dim, index: int) -> Tensor:
    """Return a copy of ``input`` with ``src`` in the place of ``select(dim, index)``."""
    part = xp.select(input, dim, index)
    return _with_part(xp, input, part, src, (("basic_index", ((*[ALL] * dim, index % input.shape[dim]),)),))


@composite(inline=True)
def as_strided_scatter(
    xp: Xp, input: Tensor, src: Tensor, size: Size, stride: Size, storage_offset: int | None = None
) -> Tensor:
    """Return a copy of ``input`` with ``src`` in the place of ``as_strided(size, stride, storage_offset)``.

    Raises:
        RuntimeError: when an element would lie outside the memory of ``input``, or ``src`` is of another size.
    """
    own_stride, own_offset = strides_of(xp, input)
    offset = own_offset if storage_offset is None else storage_offset
    first, last = min(offset, own_offset), 0
    for start, shape, steps in ((own_offset, input.shape, own_stride), (offset, size, stride)):
        last = max(last, start + sum([(n - 1) * step for n, step in zip(shape, steps, strict=True)]))
    # Through the memory under both, which the result is a copy of.
    memory = xp.restride(input, (last - first + 1,), (1,), first, own_stride, own_offset)
    place = (tuple(size), tuple(stride), offset - first, (1,), 0)
    copied = _with_part(xp, memory, xp.restride(memory, tuple(size), tuple(stride), offset, (1,), first), src,
                        (("restride", place),))  # fmt: skip
    return xp.restride(copied, tuple(input.shape), own_stride, own_offset - first, (1,), 0)


@composite(inline=True)
def slice_scatter(
    xp: Xp, input: Tensor, src: Tensor, dim: Dim = 0, start: Any = None, end: Any = None, step: int = 1
) -> Tensor:
    """Return a copy of ``input`` with ``src`` in the place of ``input[start:end:step]`` along ``dim``."""
    bounds = slice_bounds(slice(start or 0, end, step), input.shape[dim])
    arguments = (dim, bounds.start, bounds.stop, bounds.step)
    return _with_part(xp, input, xp.slice(input, *arguments), src, (("slice", arguments),))


@composite(inline=True)
def diagonal_scatter(xp: Xp, input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return a copy of ``input`` with ``src`` in the place of ``diagonal(offset, dim1, dim2)``."""
    part = xp.diagonal(input, offset, dim1, dim2)
    arguments = (offset, wrap_dim("diagonal_scatter", dim1, input.ndim), wrap_dim("diagonal_scatter", dim2, input.ndim))
    return _with_part(xp, input, part, src, (("diagonal_view", arguments),))
