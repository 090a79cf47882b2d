"""Other shapes of the same elements: views made of the primitives in :mod:`~flambeau.ops.views`."""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import INTEGER
from flambeau.ops.arithmetic import conj_of
from flambeau.ops.declare import composite
from flambeau.ops.spec import numel, wrap_dim
from flambeau.ops.views import inferred_size

Tensor = Any
Number = Any
Dim = Any
Dims = Any
SomeDims = Any
Size = Any
Xp = Any


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


_ALL = slice(None)


@composite(inline=True)
def narrow(xp: Xp, input: Tensor, dim: Dim, start: Any, length: int) -> Tensor:
    """Return a view of ``length`` entries from ``start`` along ``dim``.

    Raises:
        RuntimeError: when they are not all there.
    """
    if not input.shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    n = input.shape[dim]
    if hasattr(start, "_array"):
        if start.ndim or start._dtype.category != INTEGER:
            raise RuntimeError("narrow: start must be an 0-dim integral Tensor.")
        start = int(start.item())
    if not -n <= start <= n:
        raise IndexError(f"narrow: start out of range (expected to be in range of [{-n}, {n}], but got {int(start)})")
    first = int(start) + n if start < 0 else int(start)
    if length < 0 or first + length > n:
        raise RuntimeError(f"narrow: start ({start}) + length ({length}) exceeds dimension size ({n})")
    return xp.slice(input, dim, first, first + length, 1)


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
