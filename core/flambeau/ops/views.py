"""Views: ops that look at the memory of their input in another way. The primitives, and their gradients."""

from __future__ import annotations

from math import prod
from typing import Any

from flambeau.dtypes import int64
from flambeau.ops.declare import composite, primitive
from flambeau.ops.spec import Spec, numel, wrap_dim

Tensor = Any
Number = Any
Dim = Any
Dims = Any
SomeDims = Any
Size = Any
Xp = Any


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


# -- complex numbers as pairs ------------------------------------------------------------------------------------------


# Primitives: `view_dtype` has no gradient, and sees no pairs where the last stride is not 1.
@primitive(view=True, public=("function",))
def view_as_real(input: Tensor) -> Tensor:
    """Return a view of a complex tensor as a real one with real and imaginary parts in a last dimension of size 2.

    Raises:
        RuntimeError: for a real tensor.
    """
    return Spec((*input.shape, 2), input.dtype.to_real())


@primitive(view=True, public=("function",))
def view_as_complex(input: Tensor) -> Tensor:
    """Return a view of a real tensor, whose last dimension of size 2 holds real and imaginary parts, as a complex one.

    Raises:
        RuntimeError: when the dtype is not a floating-point one of at least 32 bits, the last dimension is not of size
            2 with neighbours in memory, or another stride or the offset is not a multiple of 2.
    """
    return Spec(input.shape[:-1], input.dtype.to_complex())


view_as_real.vjp(input=lambda xp, g: xp.complex(*_parts(xp, g)))
view_as_complex.vjp(input=lambda xp, g: xp.stack([xp.real(g), xp.imag(g)], len(g.shape)))


def _parts(xp: Xp, x: Any) -> list[Any]:
    last = len(x.shape) - 1
    return [xp.reshape(xp.slice(x, last, i, i + 1, 1), tuple(x.shape[:-1])) for i in (0, 1)]


@view_as_real.check
def _(input: Any) -> None:
    if not input._dtype.is_complex:
        raise RuntimeError(f"view_as_real is only supported for complex tensors, and this one is {input._dtype.name}")


@view_as_complex.check
def _(input: Any) -> None:
    if not input._dtype.is_floating_point or input._dtype.itemsize < 4:
        raise RuntimeError(
            f"view_as_complex is only supported for float32 and float64 tensors, but got a tensor of "
            f"{input._dtype.name}"
        )
    if not input.ndim or input.shape[-1] != 2:
        raise RuntimeError(
            f"view_as_complex: Tensor must have a last dimension of size 2, its shape is {list(input.shape)}"
        )
    if input.is_meta or not input.numel():
        return
    *strides, last = input.stride()
    if last != 1:
        raise RuntimeError(f"view_as_complex: Tensor must have a last dimension with stride 1, its stride is {last}")
    if any(stride % 2 for stride in strides) or input.storage_offset() % 2:
        raise RuntimeError(
            f"view_as_complex: Tensor must have a stride and a storage offset divisible by 2 for all but last "
            f"dimension, got {list(strides)} and {input.storage_offset()}"
        )
