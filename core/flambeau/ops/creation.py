"""Ops that make arrays from numbers, and triangular and diagonal matrices.

The public factory functions (``flambeau.zeros(2, 3)``, ``flambeau.arange(5)`` ...), with PyTorch's defaults, are in
:mod:`flambeau.creation`; they call the ops of this file with everything filled in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from flambeau.dtypes import bfloat16, bool_, float32, int64
from flambeau.dtypes import dtype as dtype_class
from flambeau.ops.declare import composite, primitive
from flambeau.ops.spec import Spec, broadcast_shapes, wrap_dim

Tensor = Any
Number = Any
DType = dtype_class
Device = Any
Size = Any


# -- primitives ----------------------------------------------------------------------------------------------------


@primitive(differentiable=False, public=())
def full(size: Size, fill_value: Number, dtype: DType, device: Device | None = None) -> Tensor:
    """Return an array of the shape ``size`` with ``fill_value`` everywhere."""
    return Spec(size, dtype)


@primitive(differentiable=False, public=())
def arange(start: Number, end: Number, step: Number, dtype: DType, device: Device | None = None) -> Tensor:
    """Return ``start + i * step`` for i = 0, 1, ... while that is before ``end``, in the type ``dtype``.

    ``start``, ``end`` and ``step`` are Python numbers; the length is :func:`arange_length`.
    """
    return Spec((arange_length(start, end, step),), dtype)


def arange_length(start: float, end: float, step: float) -> int:
    """How many elements :func:`arange` gives: ``ceil((end - start) / step)``, at least 0."""
    if isinstance(start, int) and isinstance(end, int) and isinstance(step, int):
        return max(0, -((start - end) // step))
    return max(0, math.ceil((end - start) / step))


@primitive(dtype=None, public=())
def complex(real: Tensor, imag: Tensor) -> Tensor:
    """Return the complex array with these real and imaginary parts (equal floating dtypes, broadcast)."""
    return Spec(broadcast_shapes("complex", real.shape, imag.shape), real.dtype.to_complex())


@complex.joint_vjp
def _complex_vjp(xp: Any, g: Tensor, needs: tuple[bool, ...], real_spec: Spec, imag_spec: Spec) -> tuple[Any, ...]:
    return (
        xp.sum_to_size(xp.real(g), real_spec.shape) if needs[0] else None,
        xp.sum_to_size(xp.imag(g), imag_spec.shape) if needs[1] else None,
    )


# -- composites ----------------------------------------------------------------------------------------------------


@composite(differentiable=False, public=())
def full_like(xp: Any, input: Tensor, fill_value: Number, dtype: DType | None = None) -> Tensor:
    """Return an array of ``input``'s shape, device and (unless ``dtype`` is given) dtype, ``fill_value`` everywhere."""
    return xp.full(tuple(input.shape), fill_value, dtype or xp.dtype_of(input), xp.device_of(input))


@composite(differentiable=False, public=())
def new_full(xp: Any, input: Tensor, size: Size, fill_value: Number, dtype: DType | None = None) -> Tensor:
    """Return an array of the shape ``size``, with ``input``'s device and (unless ``dtype`` is given) dtype."""
    return xp.full(tuple(size), fill_value, dtype or xp.dtype_of(input), xp.device_of(input))


@composite(differentiable=False, public=())
def new_arange(xp: Any, input: Tensor, start: Number, end: Number, step: Number = 1, dtype: DType = int64) -> Tensor:
    """Return :func:`arange` on the device of ``input``."""
    return xp.arange(start, end, step, dtype, xp.device_of(input))


@composite(differentiable=False, public=())
def eye(xp: Any, n: int, m: int, dtype: DType, device: Device | None = None) -> Tensor:
    """Return the (n, m) array with ones on the main diagonal and zeros elsewhere."""
    rows = xp.reshape(xp.arange(0, n, 1, int64, device), (n, 1))
    columns = xp.arange(0, m, 1, int64, device)
    return xp.to_dtype(xp.eq(rows, columns), dtype)


def _computed_in(dtype: DType) -> DType:
    """Where the values of a range are computed: integers and bfloat16 do not mix with Python numbers."""
    return float32 if dtype.category < float32.category or dtype is bfloat16 else dtype


@composite(differentiable=False, public=())
def linspace(xp: Any, start: Number, end: Number, steps: int, dtype: DType, device: Device | None = None) -> Tensor:
    """Return ``steps`` evenly spaced values from ``start`` to ``end``, both included.

    The upper half is counted down from ``end``, so that the last value is exactly ``end``.
    """
    computed = _computed_in(dtype)
    if steps == 0:
        return xp.full((0,), 0, dtype, device)
    if steps == 1:
        return xp.full((1,), start, dtype, device)
    step = (end - start) / (steps - 1)
    i = xp.arange(0, steps, 1, computed.to_real(), device)
    forward = xp.to_dtype(i, computed)
    backward = xp.to_dtype(xp.sub(steps - 1, i), computed)
    low = xp.add(xp.mul(forward, step), start)
    high = xp.sub(end, xp.mul(backward, step))
    values = xp.where(xp.lt(i, steps // 2), low, high)
    return values if dtype is computed else xp.to_dtype(values, dtype)


@composite(differentiable=False, public=())
def logspace(
    xp: Any, start: Number, end: Number, steps: int, base: Number, dtype: DType, device: Device | None = None
) -> Tensor:
    """Return ``base`` to the powers :func:`linspace` (start, end, steps)."""
    computed = _computed_in(dtype)
    values = xp.pow(xp.full((), base, computed, device), xp.linspace(start, end, steps, computed, device))
    return values if dtype is computed else xp.to_dtype(values, dtype)


@composite(public=("function",))
def polar(xp: Any, abs: Tensor, angle: Tensor) -> Tensor:
    """Return the complex tensor ``abs * (cos(angle) + i sin(angle))``."""
    return xp.complex(xp.mul(abs, xp.cos(angle)), xp.mul(abs, xp.sin(angle)))


# -- triangles and diagonals ---------------------------------------------------------------------------------------


def _zero(xp: Any, like: Any) -> Any:
    # A number 0 beside bools would make a raw kernel promote to integers.
    return False if xp.dtype_of(like) is bool_ else 0


def _distance_from_diagonal(xp: Any, like: Any, rows: int, columns: int) -> Any:
    """The (rows, columns) array of ``column - row``."""
    row = xp.reshape(xp.new_arange(like, 0, rows), (rows, 1))
    return xp.sub(xp.new_arange(like, 0, columns), row)


@composite(dtype="same", inplace=True)
def tril(xp: Any, input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the lower triangle of (a batch of) matrices, zeros elsewhere.

    Args:
        diagonal: keep the elements with ``column - row <= diagonal``.
    """
    distance = _distance_from_diagonal(xp, input, *input.shape[-2:])
    return xp.where(xp.le(distance, diagonal), input, _zero(xp, input))


tril.vjp(input=lambda xp, g, diagonal: xp.tril(g, diagonal))


@composite(dtype="same", inplace=True)
def triu(xp: Any, input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the upper triangle of (a batch of) matrices, zeros elsewhere.

    Args:
        diagonal: keep the elements with ``column - row >= diagonal``.
    """
    distance = _distance_from_diagonal(xp, input, *input.shape[-2:])
    return xp.where(xp.ge(distance, diagonal), input, _zero(xp, input))


triu.vjp(input=lambda xp, g, diagonal: xp.triu(g, diagonal))


def _check_matrices(op: str) -> Callable[[Any, int], None]:
    def check(input: Any, diagonal: int) -> None:
        if len(input.shape) < 2:
            raise RuntimeError(f"{op}: input tensor must have at least 2 dimensions, got the shape {list(input.shape)}")

    return check


tril.check(_check_matrices("tril"))
triu.check(_check_matrices("triu"))


@composite(dtype="same")
def diag_embed(xp: Any, input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Return matrices with the last dimension of ``input`` on a diagonal and zeros elsewhere.

    Args:
        input: shape (..., n); the result has two dimensions of size ``n + |offset|`` in its place, at ``dim1`` and
            ``dim2`` of the result.
        offset: which diagonal: 0 the main one, positive above, negative below.
    """
    ndim = len(input.shape) + 1
    dim1, dim2 = wrap_dim("diag_embed", dim1, ndim), wrap_dim("diag_embed", dim2, ndim)
    if dim1 == dim2:
        raise RuntimeError(f"diag_embed: diagonal dimensions cannot be identical {dim1}, {dim2}")
    lead, n = tuple(input.shape[:-1]), input.shape[-1]
    size = n + abs(offset)
    values = input
    if offset:
        gap = xp.new_full(input, (*lead, abs(offset)), 0)
        values = xp.cat([gap, input] if offset > 0 else [input, gap], len(lead))
    # Each column of the result takes its value from `values`, where it is on the diagonal.
    spread = xp.expand(xp.reshape(values, (*lead, 1, size)), (*lead, size, size))
    result = xp.where(xp.eq(_distance_from_diagonal(xp, input, size, size), offset), spread, _zero(xp, input))
    order = list(range(len(lead)))
    for dim, source in sorted(((dim1, ndim - 2), (dim2, ndim - 1))):
        order.insert(dim, source)
    return result if order == list(range(ndim)) else xp.permute(result, tuple(order))


diag_embed.vjp(
    input=lambda xp, g, offset, dim1, dim2: xp.diagonal(
        g, offset, wrap_dim("diag_embed", dim1, len(g.shape)), wrap_dim("diag_embed", dim2, len(g.shape))
    )
)


@composite(dtype="same", inline=True)
def diag(xp: Any, input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the square matrix with a vector on a diagonal, or (a copy of) the diagonal of a matrix."""
    if len(input.shape) == 1:
        return xp.diag_embed(input, diagonal, 0, 1)
    if len(input.shape) == 2:
        return xp.clone(xp.diagonal(input, diagonal, 0, 1))
    raise RuntimeError(f"diag: expected a tensor of 1 or 2 dimensions, got the shape {list(input.shape)}")


@composite(dtype="same", inline=True)
def diagflat(xp: Any, input: Tensor, offset: int = 0) -> Tensor:
    """Return the square matrix with the elements of ``input``, flattened, on a diagonal."""
    return xp.diag_embed(xp.reshape(input, (-1,)), offset, 0, 1)
