"""Arithmetic and rounding, element by element."""

from __future__ import annotations

import builtins
import cmath
import math
from typing import Any

from flambeau.dtypes import (
    FLOATING,
    INTEGER,
    cast_number,
    complex128,
    float32,
    float64,
    get_default_dtype,
)
from flambeau.ops.declare import composite, elementwise

Tensor = Any
Number = Any
DType = Any
Device = Any
Xp = Any


def conj_of(xp: Xp, a: Any) -> Any:
    """The conjugate of a saved operand: gradients of complex functions follow Wirtinger's convention, as PyTorch's."""
    if type(a) is float or type(a) is int:
        return a
    if isinstance(a, complex):
        return a.conjugate()
    return xp.conj(a) if xp.dtype_of(a).is_complex else a


def computed(xp: Xp, input: Any) -> Any:
    """The input in the type in which sums are made: 16-bit floats would lose too much."""
    dtype = xp.dtype_of(input)
    return xp.to_dtype(input, float32) if dtype.is_floating_point and dtype.itemsize < 4 else input


def cast(xp: Xp, x: Any, like: Any) -> Any:
    """``x`` in the dtype of ``like``: what a decomposition makes of 16-bit floats and Python numbers may be wider."""
    dtype = xp.dtype_of(like)
    return x if xp.dtype_of(x) is dtype else xp.to_dtype(x, dtype)


# -- arithmetic ------------------------------------------------------------------------------------------------------


@elementwise(dtype="promote")
def add(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Return ``input + alpha * other``."""


add.vjp(input=lambda xp, g: g, other=lambda xp, g: g)


@add.keywords
def _(xp: Xp, input: Any, other: Any, *, alpha: Number = 1) -> Any:
    return xp.add(input, other if alpha == 1 else xp.mul(other, alpha))


@elementwise(dtype="promote")
def sub(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Return ``input - alpha * other``."""


sub.vjp(input=lambda xp, g: g, other=lambda xp, g: xp.neg(g))


@sub.keywords
def _(xp: Xp, input: Any, other: Any, *, alpha: Number = 1) -> Any:
    return xp.sub(input, other if alpha == 1 else xp.mul(other, alpha))


@elementwise(dtype="promote")
def mul(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Return ``input * other``."""


mul.vjp(
    input=lambda xp, g, other: xp.mul(g, conj_of(xp, other)),
    other=lambda xp, g, input: xp.mul(g, conj_of(xp, input)),
)


@elementwise(dtype="float")
def div(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Return ``input / other``; with ``rounding_mode="trunc"`` or ``"floor"`` the quotient is rounded."""


div.vjp(
    input=lambda xp, g, other: xp.div(g, conj_of(xp, other)),
    other=lambda xp, g, other, result: xp.neg(xp.div(xp.mul(g, conj_of(xp, result)), conj_of(xp, other))),
)


@div.keywords
def _(xp: Xp, input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    if rounding_mode is None:
        return xp.div(input, other)
    if rounding_mode == "floor":
        return xp.floor_divide(input, other)
    if rounding_mode == "trunc":
        return xp.trunc_divide(input, other)
    raise RuntimeError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'")


@elementwise(dtype="promote")
def floor_divide(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Return ``floor(input / other)``."""


floor_divide.vjp(
    input=lambda xp, g, input_spec: xp.mul(g, 0.0),
    other=lambda xp, g, input_spec: xp.mul(g, 0.0),
)


@composite(dtype="promote", pointwise=True, public=())
def trunc_divide(xp: Xp, input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Return ``trunc(input / other)`` in the common dtype."""
    if xp.dtype_of(input if hasattr(input, "shape") else other).category >= FLOATING:
        return xp.trunc(xp.div(input, other))
    # Exact for integers: the remainder has the sign of the dividend.
    return xp.floor_divide(xp.sub(input, xp.fmod(input, other)), other)


@elementwise(dtype="promote")
def remainder(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Return the remainder of a floored division; it has the sign of ``other``."""


remainder.vjp(
    input=lambda xp, g: g,
    other=lambda xp, g, input, other: xp.neg(xp.mul(g, xp.floor(xp.div(input, other)))),
)


@elementwise(dtype="promote")
def fmod(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return the remainder of a truncated division; it has the sign of ``input``."""


fmod.vjp(
    input=lambda xp, g: g,
    other=lambda xp, g, input, other: xp.neg(xp.mul(g, xp.trunc(xp.div(input, other)))),
)


@elementwise(dtype="same")
def neg(input: Tensor) -> Tensor:
    """Return ``-input``."""


neg.vjp(input=lambda xp, g: xp.neg(g))


@elementwise(dtype="same", public=())
def conj(input: Tensor) -> Tensor:
    """Return the complex conjugate of each element, in memory of its own (:func:`flambeau.conj` spares reals)."""


conj.vjp(input=lambda xp, g: conj_of(xp, g))


@elementwise(dtype="real")
def abs(input: Tensor) -> Tensor:
    """Return the absolute value of each element."""


abs.vjp(input=lambda xp, g, input: _abs_gradient(xp, g, input))


def _abs_gradient(xp: Xp, g: Any, input: Any) -> Any:
    if not xp.dtype_of(input).is_complex:
        return xp.mul(g, xp.sign(input))
    return xp.mul(xp.to_dtype(g, xp.dtype_of(input)), xp.sgn(input))


@elementwise(dtype="same")
def sign(input: Tensor) -> Tensor:
    """Return -1, 0 or 1, the sign of each element; 0 for NaN."""


sign.vjp(input=lambda xp, g: xp.mul(g, 0.0))


@composite(dtype="same", pointwise=True, inplace=True)
def sgn(xp: Xp, input: Tensor) -> Tensor:
    """Return the sign of each element; for complex ones ``input / abs(input)``, 0 at 0."""
    dtype = xp.dtype_of(input)
    if not dtype.is_complex:
        return xp.sign(input)
    size = xp.abs(input)
    zero = xp.eq(size, 0.0)
    return xp.div(input, xp.to_dtype(xp.where(zero, xp.add(size, 1.0), size), dtype))


@composite(dtype="number", pointwise=True, inplace=True)
def square(xp: Xp, input: Tensor) -> Tensor:
    """Return the square of each element; of bools as int64."""
    return xp.mul(input, input)


square.vjp(input=lambda xp, g, input: xp.mul(g, xp.mul(conj_of(xp, input), 2)))


@composite(dtype="float", pointwise=True, inplace=True)
def reciprocal(xp: Xp, input: Tensor) -> Tensor:
    """Return ``1 / input``."""
    return xp.div(1.0, input)


reciprocal.vjp(input=lambda xp, g, result: xp.neg(xp.mul(g, xp.square(conj_of(xp, result)))))


@elementwise(dtype="promote")
def pow(input: Tensor | Number, exponent: Tensor | Number) -> Tensor:
    """Return each element of ``input`` raised to ``exponent``.

    Raises:
        RuntimeError: for integers raised to a negative integer.
    """


def _pow_input(xp: Xp, g: Any, input: Any, exponent: Any) -> Any:
    if not hasattr(exponent, "shape"):
        if exponent == 2:
            return xp.mul(g, xp.mul(conj_of(xp, input), 2))
        if exponent == 0:
            return xp.mul(g, 0.0)
        return xp.mul(g, conj_of(xp, xp.mul(xp.pow(input, exponent - 1), exponent)))
    slope = xp.mul(exponent, xp.pow(input, xp.sub(exponent, 1)))
    return xp.mul(g, conj_of(xp, xp.where(xp.eq(exponent, 0), xp.mul(exponent, 0.0), slope)))


def _pow_exponent(xp: Xp, g: Any, input: Any, exponent: Any, result: Any) -> Any:
    # 0 ** positive stays 0 when the exponent moves, where log would give NaN.
    if not hasattr(input, "shape"):
        if input == 0:
            stays = _real_part_is_positive(xp, exponent)
            return xp.mul(g, xp.where(stays, 0.0, conj_of(xp, xp.mul(result, -math.inf))))
        slope = cmath.log(input) if isinstance(input, complex) or xp.dtype_of(exponent).is_complex else _log(input)
        return xp.mul(g, conj_of(xp, xp.mul(result, slope)))
    stays = xp.logical_and(xp.eq(input, 0), _real_part_is_positive(xp, exponent))
    safe = xp.where(stays, 1.0, input)
    return xp.mul(g, conj_of(xp, xp.mul(result, xp.log(safe))))


def _real_part_is_positive(xp: Xp, a: Any) -> Any:
    return xp.ge(xp.real(a) if xp.dtype_of(a).is_complex else a, 0)


def _log(number: float) -> float:
    return math.log(number) if number > 0 else math.nan


pow.vjp(input=_pow_input, exponent=_pow_exponent)


@elementwise(dtype="promote")
def maximum(input: Tensor, other: Tensor) -> Tensor:
    """Return the larger of two elements; NaN where one is NaN."""


@elementwise(dtype="promote")
def minimum(input: Tensor, other: Tensor) -> Tensor:
    """Return the smaller of two elements; NaN where one is NaN."""


def _share(xp: Xp, g: Any, loses: Any, ties: Any) -> Any:
    """The part of ``g`` that goes to an operand: nothing when it loses, half in a tie, all else (so with a NaN)."""
    return xp.where(loses, 0.0, xp.where(ties, xp.mul(g, 0.5), g))


maximum.vjp(
    input=lambda xp, g, input, other: _share(xp, g, xp.lt(input, other), xp.eq(input, other)),
    other=lambda xp, g, input, other: _share(xp, g, xp.lt(other, input), xp.eq(input, other)),
)
minimum.vjp(
    input=lambda xp, g, input, other: _share(xp, g, xp.gt(input, other), xp.eq(input, other)),
    other=lambda xp, g, input, other: _share(xp, g, xp.gt(other, input), xp.eq(input, other)),
)


@composite(dtype="promote", pointwise=True)
def fmax(xp: Xp, input: Tensor, other: Tensor) -> Tensor:
    """Return the larger of two elements, the other one where one is NaN."""
    return xp.where(xp.logical_or(xp.isnan(other), xp.ge(input, other)), input, other)


@composite(dtype="promote", pointwise=True)
def fmin(xp: Xp, input: Tensor, other: Tensor) -> Tensor:
    """Return the smaller of two elements, the other one where one is NaN."""
    return xp.where(xp.logical_or(xp.isnan(other), xp.le(input, other)), input, other)


@composite(dtype="promote", pointwise=True, inplace=True)
def lerp(xp: Xp, input: Tensor, end: Tensor, weight: Tensor | Number) -> Tensor:
    """Return ``input + weight * (end - input)``, which is ``end`` for a weight of 1."""
    way = xp.sub(end, input)
    if not hasattr(weight, "shape"):
        if builtins.abs(weight) < 0.5:
            return xp.add(input, xp.mul(way, weight))
        return xp.sub(end, xp.mul(way, 1 - weight))
    near = xp.lt(xp.abs(weight), 0.5)
    return xp.where(near, xp.add(input, xp.mul(way, weight)), xp.sub(end, xp.mul(way, xp.sub(1, weight))))


def _times(xp: Xp, a: Any, value: Any) -> Any:
    return a if value == 1 else xp.mul(a, cast_number(value, xp.dtype_of(a)))


@composite(dtype="promote", pointwise=True, inplace=True)
def addcmul(xp: Xp, input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """Return ``input + value * tensor1 * tensor2``."""
    return xp.add(input, _times(xp, xp.mul(tensor1, tensor2), value))


@composite(dtype="promote", pointwise=True, inplace=True)
def addcdiv(xp: Xp, input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """Return ``input + value * tensor1 / tensor2``."""
    return xp.add(input, _times(xp, xp.div(tensor1, tensor2), value))


@composite(dtype="promote", pointwise=True, inplace=True)
def heaviside(xp: Xp, input: Tensor, values: Tensor) -> Tensor:
    """Return 0 where ``input`` is negative, 1 where it is positive, ``values`` where it is 0."""
    one = xp.to_dtype(xp.gt(input, 0), xp.dtype_of(values))
    return xp.where(xp.eq(input, 0), values, one)


@composite(dtype="float", pointwise=True, inplace=True)
def copysign(xp: Xp, input: Tensor, other: Tensor | Number) -> Tensor:
    """Return ``input`` with the sign of ``other``.

    Raises:
        NotImplementedError: for complex numbers.
    """
    if xp.dtype_of(input).is_complex:
        raise NotImplementedError("copysign is not implemented for complex numbers")
    size = xp.abs(input)
    if not hasattr(other, "shape"):
        return xp.neg(size) if math.copysign(1.0, other) < 0 else size
    # -0.0 is told from 0.0 by its reciprocal.
    negative = xp.logical_or(xp.lt(other, 0.0), xp.logical_and(xp.eq(other, 0.0), xp.lt(xp.div(1.0, other), 0.0)))
    return xp.where(negative, xp.neg(size), size)


copysign.vjp(
    input=lambda xp, g, input, result: xp.mul(g, xp.mul(xp.sign(input), xp.sign(result))),
    other=lambda xp, g: xp.mul(g, 0.0),
)


@composite(dtype="promote", pointwise=True, inplace=True)
def hypot(xp: Xp, input: Tensor, other: Tensor) -> Tensor:
    """Return ``sqrt(input ** 2 + other ** 2)`` without overflow in between; inf where one is infinite."""
    first, second = xp.abs(input), xp.abs(other)
    high = xp.maximum(first, second)
    scale = xp.where(xp.logical_and(xp.gt(high, 0.0), xp.isfinite(high)), high, 1.0)
    root = xp.sqrt(xp.add(xp.square(xp.div(first, scale)), xp.square(xp.div(second, scale))))
    return xp.where(xp.logical_or(xp.isinf(first), xp.isinf(second)), math.inf, xp.mul(root, scale))


hypot.vjp(
    input=lambda xp, g, input, result: xp.mul(g, xp.div(input, result)),
    other=lambda xp, g, other, result: xp.mul(g, xp.div(other, result)),
)


@composite(dtype="promote", pointwise=True, inplace=True)
def ldexp(xp: Xp, input: Tensor, other: Tensor) -> Tensor:
    """Return ``input * 2 ** other``."""
    return xp.mul(input, xp.pow(2.0, other))


@ldexp.canonical
def _(input: Any, other: Any) -> Any:
    if other._dtype.category >= FLOATING:
        return input, other
    return input, other.to_dtype(input._dtype if input._dtype.category >= FLOATING else get_default_dtype())


@composite(inline=True)
def float_power(xp: Xp, input: Tensor | Number, exponent: Tensor | Number) -> Tensor:
    """Return ``input ** exponent``, computed in double precision."""
    operands = [input, exponent]
    is_complex = any(xp.dtype_of(a).is_complex if hasattr(a, "shape") else isinstance(a, complex) for a in operands)
    wide = complex128 if is_complex else float64
    return xp.pow(*[xp.to_dtype(a, wide) if hasattr(a, "shape") else cast_number(a, wide) for a in operands])


@composite(inline=True, public=("function",))
def rsub(xp: Xp, input: Tensor, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
    """Return ``other - alpha * input``."""
    return xp.sub(other, input if alpha == 1 else xp.mul(input, alpha))


def _check_whole(name: str) -> Any:
    def check(input: Any, other: Any) -> None:
        if max(input._dtype.category, other._dtype.category) != INTEGER:
            raise NotImplementedError(
                f"{name} is implemented for integers only, not for {input._dtype.name} and {other._dtype.name}"
            )

    return check


@composite(dtype="promote", pointwise=True, inplace=True, differentiable=False)
def gcd(xp: Xp, input: Tensor, other: Tensor) -> Tensor:
    """Return the greatest common divisor of integers, not negative; ``gcd(0, 0)`` is 0."""
    a, b = xp.abs(input), xp.abs(other)
    # Euclid's algorithm needs most steps for neighbours in the Fibonacci sequence: five a decimal digit.
    for _ in range(_EUCLID_STEPS[xp.dtype_of(input).itemsize]):
        done = xp.eq(b, 0)
        a, b = xp.where(done, a, b), xp.where(done, b, xp.remainder(a, xp.where(done, 1, b)))
    return a


_EUCLID_STEPS = {1: 13, 2: 24, 4: 46, 8: 92}


@composite(dtype="promote", pointwise=True, inplace=True, differentiable=False)
def lcm(xp: Xp, input: Tensor, other: Tensor) -> Tensor:
    """Return the least common multiple of integers, not negative; 0 where one of them is 0."""
    common = xp.gcd(input, other)
    return xp.abs(xp.mul(xp.floor_divide(input, xp.where(xp.eq(common, 0), 1, common)), other))


gcd.check(_check_whole("gcd"))
lcm.check(_check_whole("lcm"))


# -- rounding ------------------------------------------------------------------------------------------------------


@elementwise(dtype="same")
def floor(input: Tensor) -> Tensor:
    """Return the largest integer that is not above each element."""


@elementwise(dtype="same")
def ceil(input: Tensor) -> Tensor:
    """Return the smallest integer that is not below each element."""


@elementwise(dtype="same")
def trunc(input: Tensor) -> Tensor:
    """Return each element without its fraction."""


@elementwise(dtype="same")
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """Return each element rounded to ``decimals`` places, halves to the even neighbour."""


for _op in (floor, ceil, trunc, round):
    _op.vjp(input=lambda xp, g: xp.mul(g, 0.0))


@composite(dtype="same", pointwise=True, inplace=True)
def frac(xp: Xp, input: Tensor) -> Tensor:
    """Return the fraction of each element, with its sign."""
    return xp.sub(input, xp.trunc(input))
