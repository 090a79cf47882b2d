"""What approximations of special functions are made of: series and powers over a namespace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.dtypes import float32, float64

Xp = Any

_SINGLE = 1e-9  # coefficients below this do not show in float32


def widened(xp: Xp, function: Callable[..., Any], *operands: Any) -> Any:
    """``function(xp, *operands)``, the 16-bit types computed in float32."""
    kind = xp.dtype_of(operands[0])
    if kind.itemsize > 2:
        return function(xp, *operands)
    return xp.to_dtype(function(xp, *[xp.to_dtype(operand, float32) for operand in operands]), kind)


def chebyshev(xp: Xp, t: Any, coefficients: Sequence[float]) -> Any:
    """The series ``sum of c[k] T_k(t)``, by Clenshaw's recurrence; without the terms that float32 would round away."""
    count = len(coefficients)
    if xp.dtype_of(t) is not float64:
        while abs(coefficients[count - 1]) < _SINGLE:
            count -= 1
    double = xp.mul(t, 2.0)
    later = coefficients[count - 1]
    current = xp.add(xp.mul(double, later), coefficients[count - 2])
    for coefficient in reversed(coefficients[1 : count - 2]):
        current, later = xp.add(xp.sub(xp.mul(double, current), later), coefficient), current
    return xp.add(xp.sub(xp.mul(t, current), later), coefficients[0])


def horner(xp: Xp, x: Any, coefficients: Sequence[float]) -> Any:
    """A polynomial, highest power first."""
    result = xp.add(xp.mul(x, coefficients[0]), coefficients[1])
    for coefficient in coefficients[2:]:
        result = xp.add(xp.mul(result, x), coefficient)
    return result


def exp_of_square(xp: Xp, x: Any, sign: float) -> Any:
    """``exp(sign x^2)`` for ``x >= 0``, without the error that rounding the square would bring.

    x is split into a multiple of 1/16, whose square is exact, and the rest.
    """
    x = xp.clamp(x, None, 28.0)  # where float64 has long been 0 or inf
    coarse = xp.mul(xp.floor(xp.mul(x, 16.0)), 1 / 16)
    rest = xp.mul(xp.sub(x, coarse), xp.add(x, coarse))
    return xp.mul(xp.exp(xp.mul(xp.mul(coarse, coarse), sign)), xp.exp(xp.mul(rest, sign)))


def fraction(xp: Xp, x: Any) -> Any:
    """The distance to the nearest integer: ``sin(pi x)`` of it is exact up to sign."""
    return xp.sub(x, xp.round(x))
