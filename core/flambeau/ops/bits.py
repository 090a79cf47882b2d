"""The bits of elements: memory seen as another dtype, mantissa and exponent, neighbouring floats."""

from __future__ import annotations

from math import prod
from typing import Any

from flambeau.dtypes import bfloat16, float16, float32, float64, int16, int32, int64, uint64
from flambeau.dtypes import dtype as DType
from flambeau.ops.declare import composite, primitive
from flambeau.ops.spec import reduced_shape

Tensor = Any
SomeDims = Any
Xp = Any


# A primitive, for no other op sees the bits.
@primitive(view=True, differentiable=False, public=())
def view_dtype(input: Tensor, dtype: DType) -> Tensor:
    """Return a view of the same memory as elements of another dtype; what ``Tensor.view(dtype)`` is.

    With elements of another size the last dimension shrinks or grows.

    Raises:
        RuntimeError: when the last dimension does not fit: of another stride than 1, or not divisible.
    """
    return input.with_shape(_resized(tuple(input.shape), input.dtype, dtype)).with_dtype(dtype)


def _resized(shape: tuple[int, ...], own: DType, other: DType) -> tuple[int, ...]:
    if own.itemsize == other.itemsize:
        return shape
    if not shape:
        raise RuntimeError(f"view: self.dim() cannot be 0 to view {own.name} as {other.name} (different element sizes)")
    size = shape[-1] * own.itemsize
    if size % other.itemsize:
        raise RuntimeError(
            f"view: self.size(-1) must be divisible by {other.itemsize // own.itemsize} to view {own.name} as "
            f"{other.name} (different element sizes), but got {shape[-1]}"
        )
    return (*shape[:-1], size // other.itemsize)


@view_dtype.check
def _(input: Any, dtype: DType) -> None:
    _resized(tuple(input._array.shape), input._dtype, dtype)
    if input._dtype.itemsize != dtype.itemsize and input.stride(-1) != 1:
        raise RuntimeError(
            f"view: self.stride(-1) must be 1 to view {input._dtype.name} as {dtype.name} (different element sizes), "
            f"but got {input.stride(-1)}"
        )


_WHOLE = {float16: int16, bfloat16: int16, float32: int32, float64: int64}
_FRACTION_BITS = {float16: 10, bfloat16: 7, float32: 23, float64: 52}


def _need_floating(op: str, *operands: Any) -> None:
    for operand in operands:
        if operand._dtype not in _WHOLE:
            raise RuntimeError(f"{op} is implemented for floating-point tensors only, not for {operand._dtype.name}")


@composite(dtype="promote", pointwise=True, inplace=True)
def nextafter(xp: Xp, input: Tensor, other: Tensor) -> Tensor:
    """Return the next floating-point number after each element towards ``other``; ``other`` where both are equal."""
    own = xp.dtype_of(input)
    whole = _WHOLE[own]
    missing = xp.logical_or(xp.isnan(input), xp.isnan(other))
    # As whole numbers, floats of one sign are in order, and neighbours differ by 1; the magnitude grows away from 0.
    one = xp.full((), 1, whole, xp.device_of(input))
    bits = xp.view_dtype(input, whole)
    away = xp.eq(xp.gt(other, input), xp.gt(input, 0.0))
    moved = xp.view_dtype(xp.where(away, xp.add(bits, one), xp.sub(bits, one)), own)
    least = xp.view_dtype(one, own)
    moved = xp.where(xp.eq(input, 0.0), xp.where(xp.gt(other, 0.0), least, xp.neg(least)), moved)
    moved = xp.where(xp.eq(input, other), other, moved)
    return xp.where(missing, xp.add(input, other), moved)


nextafter.vjp(input=lambda xp, g: g, other=lambda xp, g: xp.full_like(g, 0))
nextafter.check(lambda input, other: _need_floating("nextafter", input, other))


@composite()
def frexp(xp: Xp, input: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``(mantissa, exponent)`` with ``input = mantissa * 2 ** exponent`` and 0.5 <= abs(mantissa) < 1.

    The exponent is int32; that of 0, of infinities and of NaN is 0, and they are their own mantissa.
    """
    own = xp.dtype_of(input)
    whole, fraction = _WHOLE[own], _FRACTION_BITS[own]
    where = xp.device_of(input)
    bits_of_exponent = own.itemsize * 8 - 1 - fraction
    bias = (1 << (bits_of_exponent - 1)) - 1
    # Subnormal numbers are made normal first.
    tiny = xp.lt(xp.abs(input), 2.0 ** (1 - bias))
    lifted = xp.to_dtype(xp.where(tiny, xp.mul(input, 2.0**fraction), input), own)
    bits = xp.view_dtype(lifted, whole)
    mask, half = (
        xp.full((), n, whole, where) for n in (((1 << bits_of_exponent) - 1) << fraction, (bias - 1) << fraction)
    )
    stored = xp.bitwise_right_shift(xp.bitwise_and(bits, mask), xp.full((), fraction, whole, where))
    exponent = xp.sub(xp.to_dtype(stored, int32), xp.full((), bias - 1, int32, where))
    exponent = xp.sub(exponent, xp.mul(xp.to_dtype(tiny, int32), xp.full((), fraction, int32, where)))
    mantissa = xp.view_dtype(xp.bitwise_or(xp.bitwise_and(bits, xp.bitwise_not(mask)), half), own)
    plain = xp.logical_or(xp.eq(input, 0.0), xp.logical_not(xp.isfinite(input)))
    return xp.where(plain, input, mantissa), xp.where(plain, xp.full((), 0, int32, where), exponent)


frexp.fields = ("mantissa", "exponent")


@frexp.check
def _(input: Any) -> None:
    _need_floating("frexp", input)


@frexp.joint_vjp
def _(xp: Xp, g: Any, needs: Any, result_1: Any) -> tuple[Any, ...]:
    if g[0] is None:
        return (None,)
    own = xp.dtype_of(g[0])
    return (xp.mul(g[0], xp.pow(xp.full((), 2.0, own, xp.device_of(g[0])), xp.to_dtype(xp.neg(result_1), own))),)


@composite(inline=True, differentiable=False)
def hash_tensor(xp: Xp, input: Tensor, dim: SomeDims = None, *, keepdim: bool = False, mode: int = 0) -> Tensor:
    """Return the exclusive or of the elements' bits over ``dim`` (all dimensions when None), as uint64.

    Elements are cast to 64 bits first: floats to float64, others to int64.

    Raises:
        RuntimeError: for complex tensors, and for a ``mode`` other than 0.
    """
    own, shape = xp.dtype_of(input), tuple(input.shape)
    if own.is_complex:
        raise RuntimeError(f"hash_tensor is not implemented for complex tensors, and this one is {own.name}")
    if mode:
        raise RuntimeError(f"hash_tensor: the only mode is 0 (exclusive or), got {mode}")
    dim = dim or tuple(range(len(shape)))
    wide = xp.to_dtype(input, float64) if own.is_floating_point else xp.to_dtype(input, int64)
    rest = tuple([d for d in range(len(shape)) if d not in dim])
    count = prod([shape[d] for d in dim])
    ordered = xp.reshape(xp.permute(xp.view_dtype(wide, int64), (*rest, *dim)), (*[shape[d] for d in rest], count))
    last = len(rest)
    while count > 1:
        half = count // 2
        folded = xp.bitwise_xor(xp.slice(ordered, last, 0, half, 1), xp.slice(ordered, last, half, 2 * half, 1))
        odd = xp.slice(ordered, last, 2 * half, count, 1)
        ordered = xp.cat([folded, odd], last) if count % 2 else folded
        count = half + count % 2
    if not count:
        ordered = xp.new_full(ordered, (*ordered.shape[:-1], 1), 0)
    kept = reduced_shape(shape, dim, keepdim)
    return xp.view_dtype(xp.reshape(ordered, kept), uint64)
