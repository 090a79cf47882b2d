"""Exponentials, logarithms, trigonometry and relatives, element by element."""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import (
    FLOATING,
    get_default_dtype,
)
from flambeau.ops.arithmetic import conj_of
from flambeau.ops.declare import composite, elementwise

Tensor = Any
Number = Any
DType = Any
Device = Any
Xp = Any


# -- exponentials, powers, trigonometry ----------------------------------------------------------------------------


@elementwise(dtype="float")
def exp(input: Tensor) -> Tensor:
    """Return e to the power of each element."""


@elementwise(dtype="float")
def expm1(input: Tensor) -> Tensor:
    """Return ``exp(input) - 1``, precise near 0."""


@elementwise(dtype="float")
def log(input: Tensor) -> Tensor:
    """Return the natural logarithm of each element."""


@elementwise(dtype="float")
def log1p(input: Tensor) -> Tensor:
    """Return ``log(1 + input)``, precise near 0."""


@elementwise(dtype="float")
def log2(input: Tensor) -> Tensor:
    """Return the logarithm to base 2 of each element."""


@elementwise(dtype="float")
def log10(input: Tensor) -> Tensor:
    """Return the logarithm to base 10 of each element."""


@elementwise(dtype="float")
def sqrt(input: Tensor) -> Tensor:
    """Return the square root of each element."""


exp.vjp(input=lambda xp, g, result: xp.mul(g, conj_of(xp, result)))
expm1.vjp(input=lambda xp, g, result: xp.mul(g, conj_of(xp, xp.add(result, 1))))
log.vjp(input=lambda xp, g, input: xp.div(g, conj_of(xp, input)))
log1p.vjp(input=lambda xp, g, input: xp.div(g, conj_of(xp, xp.add(input, 1))))
log2.vjp(input=lambda xp, g, input: xp.div(g, conj_of(xp, xp.mul(input, math.log(2)))))
log10.vjp(input=lambda xp, g, input: xp.div(g, conj_of(xp, xp.mul(input, math.log(10)))))
sqrt.vjp(input=lambda xp, g, result: xp.div(g, conj_of(xp, xp.mul(result, 2))))


@composite(dtype="float", pointwise=True, inplace=True)
def rsqrt(xp: Xp, input: Tensor) -> Tensor:
    """Return ``1 / sqrt(input)``."""
    return xp.div(1.0, xp.sqrt(input))


rsqrt.vjp(input=lambda xp, g, result: xp.mul(xp.mul(g, -0.5), conj_of(xp, xp.pow(result, 3))))


@composite(dtype="float", pointwise=True, inplace=True)
def exp2(xp: Xp, input: Tensor) -> Tensor:
    """Return 2 to the power of each element."""
    return xp.pow(2.0, input)


@elementwise(dtype="float")
def sin(input: Tensor) -> Tensor:
    """Return the sine of each element (radians)."""


@elementwise(dtype="float")
def cos(input: Tensor) -> Tensor:
    """Return the cosine of each element (radians)."""


@elementwise(dtype="float")
def tan(input: Tensor) -> Tensor:
    """Return the tangent of each element (radians)."""


@elementwise(dtype="float")
def asin(input: Tensor) -> Tensor:
    """Return the arc sine of each element, in radians."""


@elementwise(dtype="float")
def acos(input: Tensor) -> Tensor:
    """Return the arc cosine of each element, in radians."""


@elementwise(dtype="float")
def atan(input: Tensor) -> Tensor:
    """Return the arc tangent of each element, in radians."""


@elementwise(dtype="float")
def sinh(input: Tensor) -> Tensor:
    """Return the hyperbolic sine of each element."""


@elementwise(dtype="float")
def cosh(input: Tensor) -> Tensor:
    """Return the hyperbolic cosine of each element."""


@elementwise(dtype="float")
def tanh(input: Tensor) -> Tensor:
    """Return the hyperbolic tangent of each element."""


@elementwise(dtype="float")
def asinh(input: Tensor) -> Tensor:
    """Return the inverse hyperbolic sine of each element."""


@elementwise(dtype="float")
def acosh(input: Tensor) -> Tensor:
    """Return the inverse hyperbolic cosine of each element."""


@elementwise(dtype="float")
def atanh(input: Tensor) -> Tensor:
    """Return the inverse hyperbolic tangent of each element."""


def _one_minus_square(xp: Xp, a: Any) -> Any:
    return xp.sub(1, xp.mul(a, a))


sin.vjp(input=lambda xp, g, input: xp.mul(g, conj_of(xp, xp.cos(input))))
cos.vjp(input=lambda xp, g, input: xp.mul(g, conj_of(xp, xp.neg(xp.sin(input)))))
tan.vjp(input=lambda xp, g, result: xp.mul(g, conj_of(xp, xp.add(xp.mul(result, result), 1))))
asin.vjp(input=lambda xp, g, input: xp.div(g, conj_of(xp, xp.sqrt(_one_minus_square(xp, input)))))
acos.vjp(input=lambda xp, g, input: xp.neg(xp.div(g, conj_of(xp, xp.sqrt(_one_minus_square(xp, input))))))
atan.vjp(input=lambda xp, g, input: xp.div(g, conj_of(xp, xp.add(xp.mul(input, input), 1))))
sinh.vjp(input=lambda xp, g, input: xp.mul(g, conj_of(xp, xp.cosh(input))))
cosh.vjp(input=lambda xp, g, input: xp.mul(g, conj_of(xp, xp.sinh(input))))
tanh.vjp(input=lambda xp, g, result: xp.tanh_backward(g, result))
asinh.vjp(input=lambda xp, g, input: xp.div(g, conj_of(xp, xp.sqrt(xp.add(xp.mul(input, input), 1)))))
acosh.vjp(
    input=lambda xp, g, input: xp.div(g, conj_of(xp, xp.mul(xp.sqrt(xp.sub(input, 1)), xp.sqrt(xp.add(input, 1)))))
)
atanh.vjp(input=lambda xp, g, input: xp.div(g, conj_of(xp, _one_minus_square(xp, input))))


@composite(pointwise=True, public=())
def tanh_backward(xp: Xp, g: Tensor, result: Tensor) -> Tensor:
    """Return ``g * (1 - result^2)``, with the conjugate of complex results: the cotangent of what ``result`` is the
    tanh of."""
    return xp.mul(g, conj_of(xp, _one_minus_square(xp, result)))


@elementwise(dtype="float")
def erf(input: Tensor) -> Tensor:
    """Return the error function of each element, ``2 / sqrt(pi) * integral of exp(-t^2) from 0 to input``."""


erf.vjp(input=lambda xp, g, input: xp.mul(xp.mul(g, 2 / math.sqrt(math.pi)), xp.exp(xp.neg(xp.mul(input, input)))))


@elementwise(dtype="float")
def atan2(input: Tensor, other: Tensor) -> Tensor:
    """Return the angle of the point ``(other, input)``, in radians between -pi and pi."""


def _over_square(xp: Xp, g: Any, a: Any, input: Any, other: Any) -> Any:
    square = xp.add(xp.mul(input, input), xp.mul(other, other))
    return xp.mul(g, xp.div(a, xp.where(xp.eq(square, 0.0), 1.0, square)))  # 0 in the origin


atan2.vjp(
    input=lambda xp, g, input, other: _over_square(xp, g, other, input, other),
    other=lambda xp, g, input, other: _over_square(xp, g, xp.neg(input), input, other),
)


@composite(dtype="float", pointwise=True, inplace=True)
def logit(xp: Xp, input: Tensor, eps: Number | None = None) -> Tensor:
    """Return ``log(input / (1 - input))``, ``input`` first clamped to ``[eps, 1 - eps]``."""
    if eps is not None:
        input = xp.clamp(input, eps, 1 - eps)
    return xp.log(xp.div(input, xp.sub(1.0, input)))


def _logit_gradient(xp: Xp, g: Any, input: Any, eps: Any) -> Any:
    low = 0.0 if eps is None else eps
    inside = xp.logical_and(xp.ge(input, low), xp.le(input, 1.0 - low))
    slope = xp.div(g, xp.mul(input, xp.sub(1.0, input)))
    return xp.where(inside, slope, math.nan if eps is None else 0.0)


logit.vjp(input=_logit_gradient)


@composite(dtype="promote", pointwise=True)
def logaddexp(xp: Xp, input: Tensor, other: Tensor) -> Tensor:
    """Return ``log(exp(input) + exp(other))`` without overflow, for complex numbers too."""
    if xp.dtype_of(input).is_complex:
        larger = xp.ge(xp.real(input), xp.real(other))
        high, low = xp.where(larger, input, other), xp.where(larger, other, input)
        return xp.add(high, xp.log1p(xp.exp(xp.sub(low, high))))
    high = xp.maximum(input, other)
    difference = xp.neg(xp.abs(xp.sub(input, other)))
    # inf - inf is NaN: there the larger operand is the answer.
    infinite = xp.where(xp.isnan(xp.add(input, other)), difference, -math.inf)
    safe = xp.where(xp.isfinite(difference), difference, infinite)
    endless = xp.logical_and(xp.isinf(high), xp.eq(input, other))
    return xp.where(endless, high, xp.add(high, xp.log1p(xp.exp(safe))))


def _logaddexp_share(xp: Xp, g: Any, own: Any, other: Any, result: Any) -> Any:
    if xp.dtype_of(own).is_complex:
        return xp.mul(g, xp.conj(xp.exp(xp.sub(own, result))))
    return xp.mul(g, xp.sigmoid(xp.sub(own, other)))


logaddexp.vjp(
    input=lambda xp, g, input, other, result: _logaddexp_share(xp, g, input, other, result),
    other=lambda xp, g, input, other, result: _logaddexp_share(xp, g, other, input, result),
)


@composite(dtype="promote", pointwise=True)
def logaddexp2(xp: Xp, input: Tensor, other: Tensor) -> Tensor:
    """Return ``log2(2 ** input + 2 ** other)`` without overflow."""
    natural = xp.logaddexp(xp.mul(input, math.log(2)), xp.mul(other, math.log(2)))
    return xp.div(natural, math.log(2))


@composite(dtype="float", pointwise=True, inplace=True)
def xlogy(xp: Xp, input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Return ``input * log(other)``, 0 where ``input`` is 0 (and ``other`` not NaN)."""
    if not hasattr(other, "shape"):
        other = xp.full((), other, xp.dtype_of(input), xp.device_of(input))
    zero = xp.logical_not(xp.isnan(other))
    if hasattr(input, "shape"):
        zero = xp.logical_and(xp.eq(input, 0.0), zero)
    elif input != 0:
        return xp.mul(xp.log(other), input)
    return xp.where(zero, 0.0, xp.mul(xp.log(other), input))


def _xlogy_input(xp: Xp, g: Any, input: Any, other: Any) -> Any:
    if not hasattr(other, "shape"):
        other = xp.full((), other, xp.dtype_of(input), xp.device_of(input))
    flat = xp.logical_and(xp.eq(input, 0.0), xp.le(other, 0.0))
    return xp.where(flat, 0.0, xp.mul(g, xp.log(other)))


xlogy.vjp(input=_xlogy_input, other=lambda xp, g, input, other: xp.div(xp.mul(g, input), other))


@composite(dtype="float", pointwise=True, public=())
def special_xlog1py(xp: Xp, input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Return ``input * log1p(other)``, 0 where ``input`` is 0 (and ``other`` not NaN)."""
    if not hasattr(other, "shape"):
        other = xp.full((), other, xp.dtype_of(input), xp.device_of(input))
    product = xp.mul(xp.log1p(other), input)
    if not hasattr(input, "shape"):
        return product if input else xp.where(xp.isnan(other), other, 0.0)
    return xp.where(xp.logical_and(xp.eq(input, 0.0), xp.logical_not(xp.isnan(other))), 0.0, product)


def _xlog1py_input(xp: Xp, g: Any, input: Any, other: Any) -> Any:
    if not hasattr(other, "shape"):
        other = xp.full((), other, xp.dtype_of(input), xp.device_of(input))
    flat = xp.logical_and(xp.eq(input, 0.0), xp.le(other, -1.0))
    return xp.where(flat, 0.0, xp.mul(g, xp.log1p(other)))


special_xlog1py.vjp(
    input=_xlog1py_input, other=lambda xp, g, input, other: xp.div(xp.mul(g, input), xp.add(other, 1.0))
)


@composite(dtype="float", pointwise=True, public=())
def special_entr(xp: Xp, input: Tensor) -> Tensor:
    """Return ``-input * log(input)``, 0 at 0, -inf where negative."""
    inside = xp.gt(input, 0.0)
    product = xp.neg(xp.mul(input, xp.log(xp.where(inside, input, 1.0))))
    return xp.where(xp.lt(input, 0.0), -math.inf, xp.where(xp.isnan(input), input, product))


special_entr.vjp(input=lambda xp, g, input: xp.mul(g, xp.sub(-1.0, xp.log(input))))


@composite(dtype="float", pointwise=True, inplace=True)
def deg2rad(xp: Xp, input: Tensor) -> Tensor:
    """Return degrees as radians."""
    return xp.mul(input, math.pi / 180)


@composite(dtype="float", pointwise=True, inplace=True)
def rad2deg(xp: Xp, input: Tensor) -> Tensor:
    """Return radians as degrees."""
    return xp.mul(input, 180 / math.pi)


@composite(dtype="float", pointwise=True, inplace=True)
def sinc(xp: Xp, input: Tensor) -> Tensor:
    """Return ``sin(pi x) / (pi x)``, 1 at 0."""
    scaled = xp.mul(input, math.pi)
    zero = xp.eq(input, 0.0)
    safe = xp.where(zero, 1.0, scaled)
    return xp.where(zero, 1.0, xp.div(xp.sin(safe), safe))


@composite(pointwise=True)
def angle(xp: Xp, input: Tensor) -> Tensor:
    """Return the angle of complex numbers in radians; of real ones pi where negative, 0 elsewhere, NaN of NaN."""
    if xp.dtype_of(input).is_complex:
        return xp.atan2(xp.imag(input), xp.real(input))
    if xp.dtype_of(input).category < FLOATING:
        input = xp.to_dtype(input, get_default_dtype())
    return xp.where(xp.lt(input, 0.0), math.pi, xp.where(xp.isnan(input), input, 0.0))


def _angle_gradient(xp: Xp, g: Any, input: Any) -> Any:
    if not xp.dtype_of(input).is_complex:
        return xp.mul(g, 0.0)
    real, imag = xp.real(input), xp.imag(input)
    size = xp.add(xp.square(real), xp.square(imag))
    scaled = xp.where(xp.eq(size, 0.0), 0.0, xp.div(g, size))
    return xp.complex(xp.mul(xp.neg(imag), scaled), xp.mul(real, scaled))


angle.vjp(input=_angle_gradient)
