"""The incomplete gamma functions, and how a gamma-distributed number moves with its shape parameter.

Both are integrals of one form. With ``t = x e^-u`` and ``t = x e^u``::

    integral of t^(a-1) e^-t from 0 to x     =  x^a e^-x  integral of exp(-a u - x (e^-u - 1)) over u > 0
    integral of t^(a-1) e^-t from x to inf   =  x^a e^-x  integral of exp( a u - x (e^u  - 1)) over u > 0

The integrands fall from 1 without waves, the first on a scale of ``1 / (a - x + sqrt(x))``, the second on one of
``1 / (x - a + sqrt(x))``. Takahasi and Mori's double-exponential rule (1974), ``u = exp(v - exp(-v))``, gives them to a
relative 1e-13 for all a and x with one set of nodes. As the first has two scales where a is small, a is raised by 1.
"""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import float64
from flambeau.ops.approximation import horner, widened
from flambeau.ops.declare import composite
from flambeau.ops.gamma import log_gamma, psi, stirling

Tensor = Any
Xp = Any

_FIRST, _LAST = -3.9, 3.9  # of v; beyond, the weights are below 1e-18


def _quadrature(xp: Xp, a: Any, x: Any, low: Any, slope: bool) -> tuple[Any, Any]:
    """The integral of ``f(u) = exp(-s a u - x (e^(-s u) - 1))`` over u > 0, with s = 1 where ``low`` and -1 elsewhere.

    Returns:
        it, and with ``slope`` the integral of ``-s u f(u)`` (otherwise None).
    """
    gap = xp.sub(a, x)
    scale = xp.div(1.0, xp.add(xp.where(low, gap, xp.neg(gap)), xp.sqrt(x)))
    signed = xp.where(low, xp.neg(scale), scale)
    step = 0.09 if xp.dtype_of(x) is float64 else 0.18
    total = moment = None
    for i in range(round((_LAST - _FIRST) / step) + 1):
        v = _FIRST + i * step
        node = math.exp(v - math.exp(-v))
        u = xp.mul(signed, node)
        value = xp.exp(xp.sub(xp.mul(a, u), xp.mul(x, xp.expm1(u))))
        value = xp.mul(value, step * node * (1 + math.exp(-v)))
        total = value if total is None else xp.add(total, value)
        if slope:
            weighted = xp.mul(value, u)
            moment = weighted if moment is None else xp.add(moment, weighted)
    return xp.mul(total, scale), None if moment is None else xp.mul(moment, scale)


def _poisson(xp: Xp, a: Any, x: Any) -> Any:
    """``x^a e^-x / gamma(a + 1)``."""
    small = xp.exp(xp.sub(xp.sub(xp.mul(a, xp.log(x)), x), log_gamma(xp, xp.add(a, 1.0))))
    # By Stirling's formula what is left is d = x/a - 1 - log(x/a), which goes as the square of x/a - 1: in terms of
    # r = (x - a) / (x + a), d = r (x/a - 1 - 2 r^2 (1/3 + r^2/5 + r^4/7 ...)).
    large = xp.maximum(a, 8.0)
    r = xp.div(xp.sub(x, large), xp.add(x, large))
    excess = xp.div(xp.sub(x, large), large)
    squared = xp.square(r)
    terms = horner(xp, squared, [1 / k for k in range(27, 1, -2)])
    close = xp.mul(r, xp.sub(excess, xp.mul(xp.mul(squared, terms), 2.0)))
    wide = xp.sub(excess, xp.log1p(excess))
    deviance = xp.where(xp.lt(xp.abs(r), 0.2), close, wide)
    exponent = xp.add(xp.mul(large, deviance), stirling(xp, large))
    big = xp.div(xp.exp(xp.neg(exponent)), xp.sqrt(xp.mul(large, 2 * math.pi)))
    return xp.where(xp.lt(a, 8.0), small, big)


def _tails(xp: Xp, a: Any, x: Any) -> tuple[Any, Any, Any]:
    """Where the lower tail was computed, the tail that was, and what is wrong with the arguments."""
    inside = xp.logical_and(
        xp.logical_and(xp.gt(a, 0.0), xp.isfinite(a)), xp.logical_and(xp.gt(x, 0.0), xp.isfinite(x))
    )
    a, x = xp.where(inside, a, 1.0), xp.where(inside, x, 1.0)
    low = xp.le(x, xp.add(a, 1.0))
    integral, _ = _quadrature(xp, xp.where(low, xp.add(a, 1.0), a), x, low, False)
    tail = xp.where(low, xp.add(xp.mul(integral, x), 1.0), xp.mul(integral, a))
    return low, xp.mul(tail, _poisson(xp, a, x)), inside


def _edges(xp: Xp, a: Any, x: Any, inside: Any, result: Any, at_zero: float) -> Any:
    """The result with what holds at 0 and at infinity, and NaN for negative arguments."""
    edge = xp.where(xp.eq(x, math.inf), 1.0 - at_zero, result)
    edge = xp.where(xp.eq(x, 0.0), at_zero, edge)
    edge = xp.where(xp.logical_and(xp.eq(a, 0.0), xp.gt(x, 0.0)), 1.0 - at_zero, edge)
    edge = xp.where(xp.eq(a, math.inf), at_zero, edge)
    both = xp.logical_or(
        xp.logical_and(xp.eq(a, 0.0), xp.eq(x, 0.0)), xp.logical_and(xp.eq(a, math.inf), xp.eq(x, math.inf))
    )
    wrong = xp.logical_or(xp.logical_or(xp.lt(a, 0.0), xp.lt(x, 0.0)), xp.logical_or(both, xp.isnan(xp.add(a, x))))
    return xp.where(inside, result, xp.where(wrong, math.nan, edge))


def _lower(xp: Xp, a: Any, x: Any) -> Any:
    low, tail, inside = _tails(xp, a, x)
    return _edges(xp, a, x, inside, xp.where(low, tail, xp.sub(1.0, tail)), 0.0)


def _upper(xp: Xp, a: Any, x: Any) -> Any:
    low, tail, inside = _tails(xp, a, x)
    return _edges(xp, a, x, inside, xp.where(low, xp.sub(1.0, tail), tail), 1.0)


@composite(dtype="float", pointwise=True, inplace=True)
def igamma(xp: Xp, input: Tensor, other: Tensor) -> Tensor:
    """Return the regularized lower incomplete gamma function::

        1 / gamma(input) * integral of t^(input - 1) e^-t from 0 to other

    Both arguments are at least 0, and one of them positive; NaN elsewhere.
    """
    return widened(xp, _lower, input, other)


@composite(dtype="float", pointwise=True, inplace=True)
def igammac(xp: Xp, input: Tensor, other: Tensor) -> Tensor:
    """Return the regularized upper incomplete gamma function, ``1 - igamma``, precise where it is small."""
    return widened(xp, _upper, input, other)


def _density(xp: Xp, input: Any, other: Any) -> Any:
    exponent = xp.sub(xp.sub(xp.xlogy(xp.sub(input, 1.0), other), other), xp.lgamma(input))
    return xp.exp(exponent)


def _by_shape(xp: Xp, g: Any, input: Any, other: Any) -> Any:
    moved = xp.standard_gamma_grad(input, other)
    return xp.neg(xp.mul(g, xp.mul(moved, _density(xp, input, other))))


igamma.vjp(input=_by_shape, other=lambda xp, g, input, other: xp.mul(g, _density(xp, input, other)))
igammac.vjp(
    input=lambda xp, g, input, other: xp.neg(_by_shape(xp, g, input, other)),
    other=lambda xp, g, input, other: xp.neg(xp.mul(g, _density(xp, input, other))),
)


def _check_floating(name: str) -> Any:
    def check(input: Any, other: Any) -> None:
        if input._dtype.is_complex or other._dtype.is_complex:
            raise NotImplementedError(f"{name} is not implemented for complex numbers")

    return check


igamma.check(_check_floating("igamma"))
igammac.check(_check_floating("igammac"))


def _moved(xp: Xp, a: Any, x: Any) -> Any:
    low = xp.le(x, xp.add(a, 1.0))
    raised = xp.where(low, xp.add(a, 1.0), a)
    integral, moment = _quadrature(xp, raised, x, low, True)
    score = xp.sub(xp.log(x), psi(xp, raised))
    inner = xp.mul(x, xp.add(xp.mul(integral, score), moment))
    result = xp.where(low, xp.neg(xp.mul(xp.div(x, a), xp.add(inner, score))), inner)
    return xp.where(xp.gt(x, 0.0), result, 0.0)


@composite(dtype="float", pointwise=True, public=())
def standard_gamma_grad(xp: Xp, input: Tensor, other: Tensor) -> Tensor:
    """Return how a number ``other``, drawn from the gamma distribution of shape ``input``, moves with the shape.

    The derivative at a fixed quantile, ``-(d igamma / d input) / (d igamma / d other)``: Figurnov, Mohamed and Mnih,
    "Implicit reparameterization gradients", 2018.
    """
    return widened(xp, _moved, input, other)


@composite(dtype="float", pointwise=True, public=())
def moving_gamma(xp: Xp, input: Tensor, other: Tensor) -> Tensor:
    """Return ``other``, numbers drawn from the gamma distribution of shape ``input``, as a function of the shape."""
    return xp.clone(other)


moving_gamma.vjp(input=lambda xp, g, input, other: xp.mul(g, xp.standard_gamma_grad(input, other)))
