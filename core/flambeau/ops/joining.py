"""Tensors cut into pieces, which are views, and joined, which copies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from flambeau.ops.declare import composite, primitive
from flambeau.ops.spec import Spec, numel, wrap_dim

Tensor = Any
Number = Any
Dim = Any
Dims = Any
SomeDims = Any
Size = Any
Xp = Any


# -- cutting -----------------------------------------------------------------------------------------------------------


def _size_of(input: Any, op: str, dim: int) -> int:
    if not input.shape:
        raise RuntimeError(f"{op} expects at least a 1-dimensional tensor")
    size: int = input.shape[dim]
    return size


@composite(inline=True)
def split(xp: Xp, input: Tensor, split_size_or_sections: Any, dim: Dim = 0) -> Any:
    """Return views of pieces along ``dim``: of the given size (the last may be smaller), or of the given sizes.

    Raises:
        RuntimeError: when the sizes do not add up to the dimension's.
    """
    n = _size_of(input, "split", dim)
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size < 0 or (size == 0 and n):
            raise RuntimeError(f"split: split_size must be positive, got {size}")
        size = max(size, 1)
        sizes = [min(size, n - start) for start in range(0, n, size)] if n else [0]
    else:
        sizes = [int(size) for size in split_size_or_sections]
        if sum(sizes) != n or min(sizes, default=0) < 0:
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at dimension {dim}), "
                f"but got split_sizes={sizes}"
            )
    pieces = []
    start = 0
    for size in sizes:
        pieces.append(xp.slice(input, dim, start, start + size, 1))
        start += size
    return tuple(pieces)


@composite(inline=True)
def split_with_sizes(xp: Xp, input: Tensor, split_sizes: Size, dim: Dim = 0) -> Any:
    """Return views of pieces of the given sizes along ``dim``, as :func:`split` with a list."""
    return xp.split(input, list(split_sizes), dim)


# PyTorch's "unsafe" ones do not check that the pieces are not written to; ours need no check.
split.aliases = ("unsafe_split",)
split_with_sizes.aliases = ("unsafe_split_with_sizes",)


@composite(inline=True)
def chunk(xp: Xp, input: Tensor, chunks: int, dim: Dim = 0) -> Any:
    """Return views of at most ``chunks`` pieces of equal size along ``dim`` (the last may be smaller)."""
    if chunks <= 0:
        raise RuntimeError(f"chunk: expects `chunks` to be greater than 0, got: {chunks}")
    n = _size_of(input, "chunk", dim)
    return xp.split(input, max(1, -(-n // chunks)), dim) if n else tuple([input] * chunks)


chunk.aliases = ("unsafe_chunk",)


@composite(inline=True)
def tensor_split(xp: Xp, input: Tensor, indices_or_sections: Any, dim: Dim = 0) -> Any:
    """Return views of pieces along ``dim``: so many of nearly equal size, or cut at the given indices."""
    n = _size_of(input, "tensor_split", dim)
    if hasattr(indices_or_sections, "tolist"):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        if indices_or_sections <= 0:
            raise RuntimeError(f"tensor_split: number of sections must be larger than 0, got {indices_or_sections}")
        base, longer = divmod(n, indices_or_sections)
        cuts = [i * base + min(i, longer) for i in range(indices_or_sections + 1)]
    else:
        cuts = [0, *[min(max(i + n if i < 0 else i, 0), n) for i in indices_or_sections], n]
    return tuple([xp.slice(input, dim, start, max(start, end), 1) for start, end in pairwise(cuts)])


@composite(inline=True)
def unbind(xp: Xp, input: Tensor, dim: Dim = 0) -> Any:
    """Return views of the entries along ``dim``, without that dimension."""
    if not input.shape:
        raise IndexError("unbind: Dimension specified as 0 but tensor has no dimensions")
    return tuple([xp.select(input, dim, i) for i in range(input.shape[dim])])


def _cut_in(name: str, dim: int, least: int) -> Any:
    """The body of ``hsplit``, ``vsplit`` and ``dsplit``."""

    def body(xp: Xp, input: Any, indices_or_sections: Any) -> Any:
        ndim = len(input.shape)
        if ndim < least:
            raise RuntimeError(f"{name} requires a tensor with at least {least} dimension but got {ndim} dimensions")
        at = 0 if ndim == 1 else dim
        n = input.shape[at]
        if isinstance(indices_or_sections, int) and (indices_or_sections <= 0 or n % indices_or_sections):
            raise RuntimeError(
                f"{name} attempted to split along dimension {at}, but the size of the dimension {n} is not divisible "
                f"by the split_size {indices_or_sections}"
            )
        return xp.tensor_split(input, indices_or_sections, at)

    return body


@composite(inline=True)
def hsplit(xp: Xp, input: Tensor, indices_or_sections: Any) -> Any:
    """Return views of pieces along the second dimension (the first of a vector), as :func:`tensor_split` cuts them."""
    return _cut_in("hsplit", 1, 1)(xp, input, indices_or_sections)


@composite(inline=True)
def vsplit(xp: Xp, input: Tensor, indices_or_sections: Any) -> Any:
    """Return views of pieces along the first dimension, as :func:`tensor_split` cuts them."""
    return _cut_in("vsplit", 0, 2)(xp, input, indices_or_sections)


@composite(inline=True)
def dsplit(xp: Xp, input: Tensor, indices_or_sections: Any) -> Any:
    """Return views of pieces along the third dimension, as :func:`tensor_split` cuts them."""
    return _cut_in("dsplit", 2, 3)(xp, input, indices_or_sections)


# -- joining -----------------------------------------------------------------------------------------------------------


@primitive(dtype="promote", public=("function",))
def cat(tensors: Sequence[Tensor], dim: Any = 0) -> Tensor:
    """Return tensors joined along ``dim``; they have to agree in all other dimensions.

    Raises:
        RuntimeError: when there is nothing to join or the shapes do not fit.
    """
    shape = list(tensors[0].shape)
    shape[dim] = sum([tensor.shape[dim] for tensor in tensors])
    return Spec(shape, tensors[0].dtype)


@cat.canonical
def _(tensors: Any, dim: Any) -> Any:
    if not tensors:
        raise ValueError("cat(): expected a non-empty list of Tensors")
    # As in PyTorch, a tensor of shape (0,) fits everything.
    real = [t for t in tensors if t._array.shape != (0,)]
    if len(real) < len(tensors):
        if not real:
            return tensors, 0
        # Its dtype and its gradient, empty as it is, count all the same.
        real = [_as_empty(t, real[0], dim) if t._array.shape == (0,) else t for t in tensors]
    first = real[0]
    if not first.ndim:
        raise RuntimeError("cat(): zero-dimensional tensor (at position 0) cannot be concatenated; use stack()")
    place = wrap_dim("cat", dim, first.ndim)
    for i, tensor in enumerate(real[1:], 1):
        own, other = first._array.shape, tensor._array.shape
        if len(own) != len(other):
            raise RuntimeError(
                f"cat(): Tensors must have same number of dimensions: got {len(own)} and {len(other)} (shapes "
                f"{list(own)} and {list(other)}, tensor number {i} in the list)"
            )
        for d, (n, m) in enumerate(zip(own, other, strict=True)):
            if d != place and n != m:
                raise RuntimeError(
                    f"cat(): Sizes of tensors must match except in dimension {place}. Expected size {n} but got size "
                    f"{m} for tensor number {i} in the list, at dimension {d}."
                )
    return real, place


@cat.joint_vjp
def _(xp: Xp, g: Any, needs: Any, tensors_spec: Any, dim: int) -> Any:
    pieces = []
    start = 0
    for spec in tensors_spec:
        end = start + spec.shape[dim]
        pieces.append(xp.slice(g, dim, start, end, 1))
        start = end
    return (pieces,)


def _as_empty(tensor: Any, like: Any, dim: int) -> Any:
    """A tensor of shape (0,) in the shape of nothing along ``dim`` of ``like``."""
    shape = list(like._array.shape)
    if not shape:
        return tensor
    shape[wrap_dim("cat", dim, len(shape))] = 0
    return tensor.reshape(shape)


cat.aliases = ("concat", "concatenate")


@composite(dtype="promote", public=("function",))
def stack(xp: Xp, tensors: Sequence[Tensor], dim: Any = 0) -> Tensor:
    """Return tensors of one shape joined along a new dimension ``dim``.

    Raises:
        RuntimeError: when there is nothing to join or the shapes differ.
    """
    shape = tuple(tensors[0].shape)
    place = (*shape[:dim], 1, *shape[dim:])
    return xp.cat([xp.reshape(tensor, place) for tensor in tensors], dim)


@stack.canonical
def _(tensors: Any, dim: Any) -> Any:
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    shape = tensors[0]._array.shape
    for i, tensor in enumerate(tensors):
        if tensor._array.shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                f"{list(tensor._array.shape)} at entry {i}"
            )
    return tensors, wrap_dim("stack", dim, len(shape) + 1)


@stack.joint_vjp
def _(xp: Xp, g: Any, needs: Any, tensors_spec: Any, dim: int) -> Any:
    shape = tensors_spec[0].shape
    return ([xp.reshape(xp.slice(g, dim, i, i + 1, 1), shape) for i in range(len(tensors_spec))],)


def _need_some(op: str, tensors: Any) -> None:
    if not tensors:
        raise RuntimeError(f"{op} expects a non-empty TensorList")


@composite(inline=True, public=("function",))
def hstack(xp: Xp, tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors joined along the second dimension (the first for vectors)."""
    _need_some("hstack", tensors)
    tensors = [xp.reshape(t, (1,)) if not t.shape else t for t in tensors]
    return xp.cat(tensors, 0 if len(tensors[0].shape) == 1 else 1)


@composite(inline=True, public=("function",))
def vstack(xp: Xp, tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors joined along the first dimension, vectors as rows."""
    _need_some("vstack", tensors)
    return xp.cat([xp.reshape(t, (1, numel(t.shape))) if len(t.shape) < 2 else t for t in tensors], 0)


vstack.aliases = ("row_stack",)


@composite(inline=True, public=("function",))
def column_stack(xp: Xp, tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors joined along the second dimension, vectors and numbers as columns."""
    _need_some("column_stack", tensors)
    return xp.cat([xp.reshape(t, (numel(t.shape), 1)) if len(t.shape) < 2 else t for t in tensors], 1)


@composite(inline=True, public=("function",))
def dstack(xp: Xp, tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors joined along the third dimension."""
    _need_some("dstack", tensors)
    lifted = []
    for tensor in tensors:
        shape = tuple(tensor.shape)
        shape = (1, *(shape or (1,)), 1) if len(shape) < 2 else (*shape, 1) if len(shape) == 2 else shape
        lifted.append(xp.reshape(tensor, shape))
    return xp.cat(lifted, 2)
