"""Operations that change the shape, or join and split tensors. Views share the memory of their input."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

from flambeau.dtypes import int64
from flambeau.ops.arithmetic import conj_of
from flambeau.ops.declare import composite, primitive
from flambeau.ops.spec import Spec, numel, wrap_dim

Tensor = Any
Number = Any
Dim = Any
Dims = Any
SomeDims = Any
Size = Any
Xp = Any


# -- views: the primitives -------------------------------------------------------------------------------------------


def inferred_size(op: str, shape: tuple[int, ...], size: tuple[int, ...]) -> tuple[int, ...]:
    """``size`` with -1 replaced by what is left over.

    Raises:
        RuntimeError: when the sizes do not fit the number of elements.
    """
    count = prod(shape)
    if -1 not in size:
        if prod(size) == count and min(size, default=0) >= 0:
            return size
    else:
        known = numel([n for n in size if n != -1])
        if size.count(-1) > 1:
            raise RuntimeError(f"{op}: only one dimension can be inferred, the size {list(size)} has several -1")
        if known == 0:
            raise RuntimeError(
                f"{op}: cannot reshape tensor of {count} elements into shape {list(size)} because the unspecified "
                "dimension size -1 can be any value and is ambiguous"
            )
        if count % known == 0:
            return tuple([count // known if n == -1 else n for n in size])
    raise RuntimeError(f"{op}: shape '{list(size)}' is invalid for input of size {count} (its shape is {list(shape)})")


@primitive(view=True, public=("method",))
def view(input: Tensor, size: Size) -> Tensor:
    """Return ``input`` with another shape, over the same memory; one size may be -1.

    Raises:
        RuntimeError: when the elements do not lie in memory so that it can be done without a copy.
    """
    return input.with_shape(size)


view.vjp(input=lambda xp, g, input_spec: xp.reshape(g, input_spec.shape))
view.canonical(lambda input, size: (input, inferred_size("view", input._array.shape, size)))


@composite(inline=True)
def reshape(xp: Xp, input: Tensor, shape: Size) -> Tensor:
    """Return ``input`` with another shape: a view where that is possible, else a copy. One size may be -1."""
    shape = inferred_size("reshape", input.shape, shape)
    if shape == input.shape and not hasattr(input, "_array"):
        return input
    try:
        return xp.view(input, shape)
    except RuntimeError:
        return xp.view(xp.clone(input), shape)


@primitive(view=True)
def permute(input: Tensor, dims: Size) -> Tensor:
    """Return a view with the dimensions in another order."""
    return input.with_shape([input.shape[d] for d in dims])


def inverse_order(dims: tuple[int, ...]) -> tuple[int, ...]:
    """The order of dimensions that undoes ``permute(dims)``."""
    inverse = [0] * len(dims)
    for place, d in enumerate(dims):
        inverse[d] = place
    return tuple(inverse)


permute.vjp(input=lambda xp, g, dims: xp.permute(g, inverse_order(dims)))


@permute.canonical
def _(input: Any, dims: Any) -> Any:
    ndim = input.ndim
    if len(dims) != ndim:
        raise RuntimeError(
            f"permute: number of dimensions in the tensor input does not match the length of the desired ordering of "
            f"dimensions i.e. input.dim() = {ndim} is not equal to len(dims) = {len(dims)}"
        )
    wrapped = tuple([wrap_dim("permute", d, ndim) for d in dims])
    if len(set(wrapped)) != ndim:
        raise RuntimeError(f"permute: duplicate dims are not allowed: {list(dims)}")
    return input, wrapped


@primitive(view=True, public=("method",))
def expand(input: Tensor, size: Size) -> Tensor:
    """Return a view in which dimensions of size 1 are repeated to ``size``; -1 keeps a size.

    Raises:
        RuntimeError: when a dimension of another size would have to grow.
    """
    return input.with_shape(size)


expand.vjp(input=lambda xp, g, input_spec: xp.sum_to_size(g, input_spec.shape))


@expand.canonical
def _(input: Any, size: Any) -> Any:
    shape = input._array.shape
    if shape == size:
        return input, size
    extra = len(size) - len(shape)
    if extra < 0:
        raise RuntimeError(
            f"expand: the number of sizes provided ({len(size)}) must be greater or equal to the number of dimensions "
            f"in the tensor ({len(shape)})"
        )
    target = []
    for d, n in enumerate(size):
        own = shape[d - extra] if d >= extra else 1
        if n == -1 and d < extra:
            raise RuntimeError(f"expand: the size -1 is not allowed in the leading, non-existing dimension {d}")
        if n != -1 and own not in (1, n):
            raise RuntimeError(
                f"expand: The expanded size of the tensor ({n}) must match the existing size ({own}) at non-singleton "
                f"dimension {d}. Target sizes: {list(size)}. Tensor sizes: {list(shape)}"
            )
        target.append(own if n == -1 else n)
    return input, tuple(target)


@primitive(view=True, public=())
def slice(input: Tensor, dim: Dim, start: int, end: int, step: int) -> Tensor:
    """Return a view of ``input[start:end:step]`` along ``dim``, bounds normalised and ``step`` positive."""
    shape = list(input.shape)
    shape[dim] = max(0, -(-(end - start) // step))
    return input.with_shape(shape)


slice.vjp(
    input=lambda xp, g, input_spec, dim, start, end, step: xp.slice_backward(g, input_spec.shape, dim, start, end, step)
)


@composite(public=())
def slice_backward(xp: Xp, g: Tensor, size: Any, dim: Dim, start: int, end: int, step: int) -> Tensor:
    """Return zeros of shape ``size`` with ``g`` at the places that the slice takes."""
    result = xp.full(tuple(size), 0, xp.dtype_of(g), xp.device_of(g))
    xp.assign(xp.slice(result, dim, start, end, step), g)
    return result


slice_backward.vjp(g=lambda xp, g, dim, start, end, step: xp.slice(g, dim, start, end, step))


@primitive(view=True, differentiable=False, public=())
def as_strided(input: Tensor, size: Size, stride: Any, storage_offset: Any = None) -> Tensor:
    """Return a view with the given sizes, strides and offset in elements, from the storage's first element on.

    :func:`restride` is the one with a gradient, :func:`flambeau.as_strided` the public one.

    Raises:
        RuntimeError: when an element would lie outside the storage.
    """
    return input.with_shape(size)


@composite(view=True, public=())
def restride(xp: Xp, input: Tensor, size: Any, stride: Any, offset: int, own_stride: Any, own_offset: int) -> Tensor:
    """Return ``as_strided(input, size, stride, offset)`` of an ``input`` that lies in memory as ``own_stride`` says."""
    return xp.as_strided(input, size, stride, offset)


restride.vjp(
    input=lambda xp, g, input_spec, size, stride, offset, own_stride, own_offset: xp.restride_backward(
        g, input_spec.shape, stride, offset, own_stride, own_offset
    )
)


def _positions(xp: Xp, like: Any, size: Any, stride: Any, offset: int) -> Any:
    """The place in memory of each element, flat, counted from ``offset``."""
    where = xp.device_of(like)
    place = xp.full((), offset, int64, where)
    for d, (n, step) in enumerate(zip(size, stride, strict=True)):
        places = xp.mul(xp.arange(0, n, 1, int64, where), step)
        place = xp.add(place, xp.reshape(places, (1,) * d + (n,) + (1,) * (len(size) - d - 1)))
    return xp.reshape(xp.expand(place, tuple(size)), (numel(size),))


@composite(public=())
def restride_backward(
    xp: Xp, g: Tensor, shape: Any, stride: Any, offset: int, own_stride: Any, own_offset: int
) -> Tensor:
    """Return a tensor of ``shape`` with each entry of ``g`` added at the places that lie over it in memory.

    An element that ``input`` itself shows at several places shares the gradient among them.
    """
    size = tuple(g.shape)
    first = min(offset, own_offset)
    taken = _positions(xp, g, size, stride, offset - first)
    own = _positions(xp, g, shape, own_stride, own_offset - first)
    length = 1 + max(
        [at - first + sum([(n - 1) * step for n, step in zip(sizes, steps, strict=True)])
         for at, sizes, steps in ((offset, size, stride), (own_offset, shape, own_stride)) if 0 not in sizes],
        default=0,
    )  # fmt: skip
    memory = xp.full((length,), 0, xp.dtype_of(g), xp.device_of(g))
    memory = xp.scatter_add(memory, 0, taken, xp.reshape(g, (numel(size),)))
    if any(step == 0 and n > 1 for n, step in zip(shape, own_stride, strict=True)):
        seen = xp.full((length,), 0, xp.dtype_of(g), xp.device_of(g))
        seen = xp.scatter_add(seen, 0, own, xp.full((numel(shape),), 1, xp.dtype_of(g), xp.device_of(g)))
        memory = xp.div(memory, xp.maximum(seen, xp.full((), 1, xp.dtype_of(g), xp.device_of(g))))
    return xp.reshape(xp.gather(memory, 0, own), tuple(shape))


@primitive(view=True, public=())
def diagonal_view(input: Tensor, offset: int, dim1: int, dim2: int) -> Tensor:
    """Return a view of the diagonal over ``dim1`` and ``dim2``, as the last dimension."""
    rows, columns = input.shape[dim1], input.shape[dim2]
    length = min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns)
    rest = [n for d, n in enumerate(input.shape) if d not in (dim1, dim2)]
    return input.with_shape([*rest, max(0, length)])


diagonal_view.vjp(
    input=lambda xp, g, input_spec, offset, dim1, dim2: xp.diagonal_backward(g, input_spec.shape, offset, dim1, dim2)
)


@composite(public=())
def diagonal_backward(xp: Xp, g: Tensor, size: Any, offset: int, dim1: int, dim2: int) -> Tensor:
    """Return zeros of shape ``size`` with ``g`` on the diagonal."""
    result = xp.full(tuple(size), 0, xp.dtype_of(g), xp.device_of(g))
    xp.assign(xp.diagonal_view(result, offset, dim1, dim2), g)
    return result


diagonal_backward.vjp(g=lambda xp, g, offset, dim1, dim2: xp.diagonal_view(g, offset, dim1, dim2))


@composite(inline=True)
def diagonal(xp: Xp, input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return a view of the diagonal over ``dim1`` and ``dim2``, as the last dimension.

    Raises:
        RuntimeError: when both are the same dimension.
    """
    ndim = len(input.shape)
    first, second = wrap_dim("diagonal", dim1, ndim), wrap_dim("diagonal", dim2, ndim)
    if first == second:
        raise RuntimeError(f"diagonal: diagonal dimensions cannot be identical {dim1}, {dim2}")
    return xp.diagonal_view(input, offset, first, second)


@primitive(view=True, public=("function",))
def real(input: Tensor) -> Tensor:
    """Return a view of the real parts; a real tensor itself."""
    return input.with_dtype(input.dtype.to_real())


@primitive(view=True, public=("function",))
def imag(input: Tensor) -> Tensor:
    """Return a view of the imaginary parts.

    Raises:
        RuntimeError: for a real tensor.
    """
    return input.with_dtype(input.dtype.to_real())


def _with_zero(xp: Xp, g: Any, spec: Spec, imaginary: bool) -> Any:
    if not spec.dtype.is_complex:
        return g
    zero = xp.mul(g, 0.0)
    return xp.complex(zero, g) if imaginary else xp.complex(g, zero)


real.vjp(input=lambda xp, g, input_spec: _with_zero(xp, g, input_spec, False))
imag.vjp(input=lambda xp, g, input_spec: _with_zero(xp, g, input_spec, True))


@imag.check
def _(input: Any) -> None:
    if not input._dtype.is_complex:
        raise RuntimeError(
            f"imag is not implemented for tensors with non-complex dtypes; this one is {input._dtype.name}"
        )


# -- views: what is made of them -------------------------------------------------------------------------------------


@composite(inline=True, public=("method",))
def view_as(xp: Xp, input: Tensor, other: Tensor) -> Tensor:
    """Return a view of ``input`` with the shape of ``other``."""
    return xp.view(input, inferred_size("view_as", input.shape, tuple(other.shape)))


@composite(inline=True, public=("method",))
def reshape_as(xp: Xp, input: Tensor, other: Tensor) -> Tensor:
    """Return ``input`` with the shape of ``other``."""
    return xp.reshape(input, tuple(other.shape))


@composite(inline=True, public=("method",))
def expand_as(xp: Xp, input: Tensor, other: Tensor) -> Tensor:
    """Return ``input`` expanded to the shape of ``other``."""
    return xp.expand(input, tuple(other.shape))


@composite(inline=True)
def broadcast_to(xp: Xp, input: Tensor, size: Size) -> Tensor:
    """Return a view of ``input`` broadcast to ``size``."""
    return xp.expand(input, size)


@composite(inline=True)
def transpose(xp: Xp, input: Tensor, dim0: Dim, dim1: Dim) -> Tensor:
    """Return a view with two dimensions exchanged."""
    order = list(range(len(input.shape)))
    if order:
        order[dim0], order[dim1] = order[dim1], order[dim0]
    return xp.permute(input, tuple(order))


@composite(inline=True)
def t(xp: Xp, input: Tensor) -> Tensor:
    """Return a matrix transposed; a vector or a number itself.

    Raises:
        RuntimeError: for more than two dimensions.
    """
    if len(input.shape) > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {len(input.shape)}D")
    return xp.permute(input, tuple(range(len(input.shape)))[::-1])


@composite(inline=True)
def adjoint(xp: Xp, input: Tensor) -> Tensor:
    """Return the last two dimensions exchanged and the elements conjugated; a view of a real tensor."""
    if not input.shape:
        return conj_of(xp, input)
    return conj_of(xp, xp.transpose(input, len(input.shape) - 2, len(input.shape) - 1))


@composite(inline=True)
def movedim(xp: Xp, input: Tensor, source: Any, destination: Any) -> Tensor:
    """Return a view with the dimensions ``source`` moved to ``destination`` (ints or tuples of ints).

    Raises:
        RuntimeError: when their numbers differ or a dimension occurs twice.
    """
    ndim = len(input.shape)
    source, destination = [
        tuple([wrap_dim("movedim", d, ndim) for d in ((dims,) if isinstance(dims, int) else dims)])
        for dims in (source, destination)
    ]
    if len(source) != len(destination):
        raise RuntimeError(
            f"movedim: source and destination must have the same number of elements, got {len(source)} and "
            f"{len(destination)}"
        )
    for name, dims in (("source", source), ("destination", destination)):
        if len(set(dims)) != len(dims):
            raise RuntimeError(f"movedim: repeated dim in `{name}` ({list(dims)})")
    if not ndim:
        return xp.view(input, ())
    order = [d for d in range(len(input.shape)) if d not in source]
    for place, d in sorted(zip(destination, source, strict=True)):
        order.insert(place, d)
    return xp.permute(input, tuple(order))


@composite(inline=True)
def squeeze(xp: Xp, input: Tensor, dim: SomeDims = None) -> Tensor:
    """Return a view without the dimensions of size 1 (those among ``dim``, where given)."""
    shape = tuple([n for d, n in enumerate(input.shape) if n != 1 or d not in dim])
    return xp.view(input, shape)


@composite(inline=True)
def unsqueeze(xp: Xp, input: Tensor, dim: int) -> Tensor:
    """Return a view with a dimension of size 1 put in at ``dim``."""
    place = wrap_dim("unsqueeze", dim, len(input.shape) + 1)
    shape = tuple(input.shape)
    return xp.view(input, (*shape[:place], 1, *shape[place:]))


@composite(inline=True)
def flatten(xp: Xp, input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return ``input`` with the dimensions from ``start_dim`` to ``end_dim`` made one."""
    shape = tuple(input.shape)
    start, end = wrap_dim("flatten", start_dim, len(shape)), wrap_dim("flatten", end_dim, len(shape))
    if start > end:
        raise RuntimeError(f"flatten() has invalid args: start_dim {start_dim} cannot come after end_dim {end_dim}")
    if not shape:
        return xp.reshape(input, (1,))
    if start == end:
        return input
    return xp.reshape(input, (*shape[:start], numel(shape[start : end + 1]), *shape[end + 1 :]))


@composite(inline=True)
def unflatten(xp: Xp, input: Tensor, dim: Dim, sizes: Size) -> Tensor:
    """Return a view with dimension ``dim`` split into ``sizes`` (one of which may be -1)."""
    shape = tuple(input.shape)
    if not shape:
        raise RuntimeError("unflatten: a tensor without dimensions cannot be unflattened")
    inner = inferred_size("unflatten", (shape[dim],), sizes)
    return xp.view(input, (*shape[:dim], *inner, *shape[dim + 1 :]))


@composite(inline=True)
def ravel(xp: Xp, input: Tensor) -> Tensor:
    """Return ``input`` as one dimension."""
    return xp.reshape(input, (numel(input.shape),))


@composite(inline=True)
def select(xp: Xp, input: Tensor, dim: Dim, index: int) -> Tensor:
    """Return a view of ``input`` at ``index`` along ``dim``, without that dimension.

    Raises:
        IndexError: when the index is out of range.
    """
    shape = tuple(input.shape)
    if not shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    n = shape[dim]
    if not -n <= index < n:
        raise IndexError(f"select: index {index} is out of range for dimension {dim} with size {n}")
    return xp.basic_index(input, (*[_ALL] * dim, index % n))


_ALL = builtins.slice(None)


@composite(inline=True)
def narrow(xp: Xp, input: Tensor, dim: Dim, start: int, length: int) -> Tensor:
    """Return a view of ``length`` entries from ``start`` along ``dim``.

    Raises:
        RuntimeError: when they are not all there.
    """
    if not input.shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    n = input.shape[dim]
    if not -n <= start <= n:
        raise IndexError(f"narrow: start out of range (expected to be in range of [{-n}, {n}], but got {int(start)})")
    first = int(start) + n if start < 0 else int(start)
    if length < 0 or first + length > n:
        raise RuntimeError(f"narrow: start ({start}) + length ({length}) exceeds dimension size ({n})")
    return xp.slice(input, dim, first, first + length, 1)


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
def chunk(xp: Xp, input: Tensor, chunks: int, dim: Dim = 0) -> Any:
    """Return views of at most ``chunks`` pieces of equal size along ``dim`` (the last may be smaller)."""
    if chunks <= 0:
        raise RuntimeError(f"chunk: expects `chunks` to be greater than 0, got: {chunks}")
    n = _size_of(input, "chunk", dim)
    return xp.split(input, max(1, -(-n // chunks)), dim) if n else tuple([input] * chunks)


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


@composite(view=True, public=("method",))
def unfold(xp: Xp, input: Tensor, dimension: Dim, size: int, step: int) -> Tensor:
    """Return a view of the windows of ``size`` entries, ``step`` apart, along ``dimension``; the last dimension is the
    place in the window.

    Raises:
        RuntimeError: when a window is larger than the dimension.
    """
    shape, (stride, offset) = tuple(input.shape), strides_of(xp, input)
    if not shape:
        return xp.as_strided(input, (size,), (1,), offset)
    return xp.as_strided(
        input,
        (*shape[:dimension], (shape[dimension] - size) // step + 1, *shape[dimension + 1 :], size),
        (*stride[:dimension], stride[dimension] * step, *stride[dimension + 1 :], stride[dimension]),
        offset,
    )


def strides_of(xp: Xp, input: Any) -> tuple[tuple[int, ...], int]:
    """The strides and the storage offset of a tensor or a raw array."""
    source, array = (input._backend, input._array) if hasattr(input, "_array") else (xp.backend, input)
    return tuple(source.strides(array)), source.storage_offset(array)


@unfold.check
def _(input: Any, dimension: int, size: int, step: int) -> None:
    n = input._array.shape[dimension] if input._array.shape else 1
    if size > n or size < 0 or step <= 0:
        raise RuntimeError(
            f"unfold: maximum size for tensor at dimension {dimension} is {n} but size is {size} (step {step})"
        )


@composite(public=())
def unfold_backward(xp: Xp, g: Tensor, shape: Any, dimension: int, size: int, step: int) -> Tensor:
    """Return a tensor of ``shape`` with the windows ``g`` added where they lie."""
    result = xp.full(tuple(shape), 0, xp.dtype_of(g), xp.device_of(g))
    last = len(g.shape) - 1
    if not shape:
        return xp.reshape(xp.sum(g, (0,), False), ()) if size else result
    count = g.shape[dimension]
    for place in range(size):
        windows = xp.slice(result, dimension, place, place + (count - 1) * step + 1, step)
        piece = xp.reshape(xp.slice(g, last, place, place + 1, 1), windows.shape)
        xp.assign(windows, xp.add(windows, piece))
    return result


unfold.vjp(
    input=lambda xp, g, input_spec, dimension, size, step: xp.unfold_backward(
        g, input_spec.shape, dimension, size, step
    )
)
unfold_backward.vjp(g=lambda xp, g, dimension, size, step: xp.unfold(g, dimension, size, step))


transpose.aliases = ("swapaxes", "swapdims")
movedim.aliases = ("moveaxis",)


# -- copies ----------------------------------------------------------------------------------------------------------


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


@composite(inline=True, public=("function",))
def hstack(xp: Xp, tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors joined along the second dimension (the first for vectors)."""
    tensors = [xp.reshape(t, (1,)) if not t.shape else t for t in tensors]
    return xp.cat(tensors, 0 if len(tensors[0].shape) == 1 else 1)


@composite(inline=True, public=("function",))
def vstack(xp: Xp, tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors joined along the first dimension, vectors as rows."""
    return xp.cat([xp.reshape(t, (1, numel(t.shape))) if len(t.shape) < 2 else t for t in tensors], 0)


vstack.aliases = ("row_stack",)


@composite(inline=True, public=("function",))
def column_stack(xp: Xp, tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors joined along the second dimension, vectors and numbers as columns."""
    return xp.cat([xp.reshape(t, (numel(t.shape), 1)) if len(t.shape) < 2 else t for t in tensors], 1)


@composite(inline=True, public=("function",))
def dstack(xp: Xp, tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors joined along the third dimension."""
    lifted = []
    for tensor in tensors:
        shape = tuple(tensor.shape)
        shape = (1, *(shape or (1,)), 1) if len(shape) < 2 else (*shape, 1) if len(shape) == 2 else shape
        lifted.append(xp.reshape(tensor, shape))
    return xp.cat(lifted, 2)


@primitive()
def flip(input: Tensor, dims: SomeDims) -> Tensor:
    """Return ``input`` with the order along ``dims`` reversed."""
    return input


flip.vjp(input=lambda xp, g, dims: xp.flip(g, dims))


@composite(inline=True)
def fliplr(xp: Xp, input: Tensor) -> Tensor:
    """Return ``input`` with the order along the second dimension reversed."""
    if len(input.shape) < 2:
        raise RuntimeError(f"fliplr: Input must be >= 2-d, but its shape is {list(input.shape)}")
    return xp.flip(input, (1,))


@composite(inline=True)
def flipud(xp: Xp, input: Tensor) -> Tensor:
    """Return ``input`` with the order along the first dimension reversed."""
    if not input.shape:
        raise RuntimeError("flipud: Input must be >= 1-d, but it has no dimensions")
    return xp.flip(input, (0,))


@composite(inline=True)
def roll(xp: Xp, input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Return ``input`` shifted by ``shifts`` along ``dims``; what falls off one end comes in at the other."""
    shape = tuple(input.shape)
    if dims is None:
        return xp.reshape(xp.roll(xp.reshape(input, (numel(shape),)), shifts, 0), shape)
    amounts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    places = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(amounts) != len(places):
        raise RuntimeError(f"roll: shifts and dimensions must align. shifts: {len(amounts)}, dims: {len(places)}")
    if not numel(shape):
        return xp.clone(input)
    for amount, place in zip(amounts, places, strict=True):
        d = wrap_dim("roll", place, len(shape))
        n = shape[d]
        cut = (-amount) % n if n else 0
        if cut:
            input = xp.cat([xp.slice(input, d, cut, n, 1), xp.slice(input, d, 0, cut, 1)], d)
    return xp.clone(input)


@composite(inline=True)
def rot90(xp: Xp, input: Tensor, k: int = 1, dims: Any = (0, 1)) -> Tensor:
    """Return ``input`` turned by 90 degrees ``k`` times, in the plane from the first to the second of ``dims``."""
    if len(dims) != 2 or len(input.shape) < 2:
        raise RuntimeError(
            f"rot90: expected two dims of a tensor with at least 2 dimensions, got {list(dims)} and "
            f"{len(input.shape)} dimensions"
        )
    a, b = [wrap_dim("rot90", d, len(input.shape)) for d in dims]
    if a == b:
        raise RuntimeError(f"rot90: the dimensions must be different, got {list(dims)}")
    k %= 4
    if k == 0:
        return xp.clone(input)
    if k == 2:
        return xp.flip(input, (a, b))
    return xp.transpose(xp.flip(input, (a,)) if k == 3 else xp.flip(input, (b,)), a, b)


@composite(inline=True, public=("method",))
def repeat(xp: Xp, input: Tensor, repeats: Size) -> Tensor:
    """Return ``input`` repeated ``repeats`` times along each dimension; extra ones come in front."""
    shape = tuple(input.shape)
    if len(repeats) < len(shape):
        raise RuntimeError(
            f"repeat: Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor; got "
            f"{len(repeats)} for {len(shape)} dimensions"
        )
    if min(repeats, default=0) < 0:
        raise RuntimeError(f"repeat: Trying to create tensor with negative dimension, the repeats are {list(repeats)}")
    shape = (1,) * (len(repeats) - len(shape)) + shape
    inner = [n for size in shape for n in (1, size)]
    outer = [n for count, size in zip(repeats, shape, strict=True) for n in (count, size)]
    spread = xp.expand(xp.reshape(input, tuple(inner)), tuple(outer))
    return xp.clone(xp.reshape(spread, tuple([c * n for c, n in zip(repeats, shape, strict=True)])))


@composite(inline=True)
def tile(xp: Xp, input: Tensor, dims: Size) -> Tensor:
    """Return ``input`` repeated ``dims`` times along each dimension; missing ones count as 1, from the front."""
    return xp.repeat(input, (1,) * (len(input.shape) - len(dims)) + tuple(dims))


@composite(inline=True)
def repeat_interleave(
    xp: Xp, input: Tensor, repeats: Any = None, dim: Any = None, *, output_size: Any = None
) -> Tensor:
    """Return ``input`` with each entry along ``dim`` repeated ``repeats`` times (an int, or one an entry).

    With ``dim`` None the tensor is flattened first. ``repeat_interleave(repeats)`` gives each index as often as
    ``repeats`` says.
    """
    if repeats is None:
        input, repeats, dim = xp.new_arange(input, 0, input.shape[0]), input, 0
    if dim is None:
        input, dim = xp.reshape(input, (numel(input.shape),)), 0
    dim = wrap_dim("repeat_interleave", dim, len(input.shape))
    shape = tuple(input.shape)
    if hasattr(repeats, "tolist"):
        repeats = repeats.tolist()
    if isinstance(repeats, list) and len(repeats) == 1:
        repeats = repeats[0]
    if isinstance(repeats, int):
        spread = xp.expand(xp.unsqueeze(input, dim + 1), (*shape[: dim + 1], repeats, *shape[dim + 1 :]))
        return xp.clone(xp.reshape(spread, (*shape[:dim], shape[dim] * repeats, *shape[dim + 1 :])))
    if len(repeats) != shape[dim]:
        raise RuntimeError(
            f"repeat_interleave: repeats must have the same size as input along dim, but got repeats.size(0) = "
            f"{len(repeats)} and input.size({dim}) = {shape[dim]}"
        )
    from flambeau.conversion import tensor

    places = tensor([i for i, count in enumerate(repeats) for _ in range(count)], device=input.device).long()
    return xp.index_select(input, dim, places)
