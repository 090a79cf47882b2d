"""The relatives of the error function, and of the normal distribution."""

from __future__ import annotations

import math
from typing import Any

from flambeau.ops import series
from flambeau.ops.approximation import chebyshev, exp_of_square, widened
from flambeau.ops.declare import composite

Tensor = Any
Xp = Any

_ROOT_HALF = math.sqrt(0.5)
_SLOPE = 2 / math.sqrt(math.pi)


def _scaled(xp: Xp, x: Any) -> Any:
    """``exp(x^2) erfc(x)`` for ``x >= 0``."""
    t = xp.sub(1.0, xp.div(7.5, xp.add(x, 3.75)))
    return xp.div(chebyshev(xp, t, series.ERFCX), xp.add(xp.mul(x, 2.0), 1.0))


def _erfc(xp: Xp, x: Any) -> Any:
    outer = xp.maximum(x, 0.5)
    tail = xp.mul(_scaled(xp, outer), exp_of_square(xp, outer, -1.0))
    return xp.where(xp.lt(x, 0.5), xp.sub(1.0, xp.erf(x)), tail)


def _erfcx(xp: Xp, x: Any) -> Any:
    size = xp.abs(x)
    right = _scaled(xp, size)
    return xp.where(xp.lt(x, 0.0), xp.sub(xp.mul(exp_of_square(xp, size, 1.0), 2.0), right), right)


@composite(dtype="float", pointwise=True, inplace=True)
def erfc(xp: Xp, input: Tensor) -> Tensor:
    """Return ``1 - erf(input)``, precise where that is small."""
    return widened(xp, _erfc, input)


@composite(dtype="float", pointwise=True, public=())
def special_erfcx(xp: Xp, input: Tensor) -> Tensor:
    """Return ``exp(input^2) erfc(input)``, which does not underflow."""
    return widened(xp, _erfcx, input)


erfc.vjp(input=lambda xp, g, input: xp.mul(xp.mul(g, -_SLOPE), xp.exp(xp.neg(xp.square(input)))))
special_erfcx.vjp(
    input=lambda xp, g, input, result: xp.mul(g, xp.sub(xp.mul(xp.mul(input, 2.0), result), _SLOPE)),
)


# -- inverses ----------------------------------------------------------------------------------------------------------

_POLE, _LEAST, _MOST = 1.6, 1.15, 28.0  # of the series ERFCINV
_MIDDLE = (1 / (_LEAST + _POLE) + 1 / (_MOST + _POLE)) / 2
_HALF = (1 / (_LEAST + _POLE) - 1 / (_MOST + _POLE)) / 2


def _inverse_center(xp: Xp, x: Any) -> Any:
    """The x that belongs to ``erf(x)`` up to 0.75."""
    t = xp.sub(xp.mul(xp.square(x), 2 / 0.75**2), 1.0)
    return xp.mul(x, chebyshev(xp, t, series.ERFINV))


def _inverse_tail(xp: Xp, q: Any) -> Any:
    """The x that belongs to ``erfc(x) = q`` up to 0.26; infinite at 0, NaN below."""
    s = xp.sqrt(xp.neg(xp.log(q)))
    t = xp.mul(xp.sub(_MIDDLE, xp.div(1.0, xp.add(s, _POLE))), 1 / _HALF)
    return xp.mul(s, chebyshev(xp, t, series.ERFCINV))


def _erfinv(xp: Xp, x: Any) -> Any:
    size = xp.abs(x)
    tail = xp.mul(_inverse_tail(xp, xp.sub(1.0, size)), xp.sign(x))
    return xp.where(xp.le(size, 0.75), _inverse_center(xp, x), tail)


def _ndtri(xp: Xp, p: Any) -> Any:
    centered = xp.sub(xp.mul(p, 2.0), 1.0)
    tail = _inverse_tail(xp, xp.mul(xp.minimum(p, xp.sub(1.0, p)), 2.0))
    tail = xp.where(xp.lt(p, 0.5), xp.neg(tail), tail)
    return xp.mul(xp.where(xp.le(xp.abs(centered), 0.75), _inverse_center(xp, centered), tail), math.sqrt(2))


@composite(dtype="float", pointwise=True, inplace=True)
def erfinv(xp: Xp, input: Tensor) -> Tensor:
    """Return the inverse of the error function: infinite at -1 and 1, NaN beyond."""
    return widened(xp, _erfinv, input)


@composite(dtype="float", pointwise=True, public=())
def special_ndtri(xp: Xp, input: Tensor) -> Tensor:
    """Return the argument at which the standard normal distribution reaches ``input``: its quantiles."""
    return widened(xp, _ndtri, input)


erfinv.vjp(input=lambda xp, g, result: xp.mul(xp.mul(g, 1 / _SLOPE), xp.exp(xp.square(result))))
special_ndtri.vjp(
    input=lambda xp, g, result: xp.mul(xp.mul(g, math.sqrt(2 * math.pi)), xp.exp(xp.mul(xp.square(result), 0.5)))
)


# -- the normal distribution -------------------------------------------------------------------------------------------


def _ndtr(xp: Xp, x: Any) -> Any:
    return xp.mul(_erfc(xp, xp.mul(x, -_ROOT_HALF)), 0.5)


def _log_ndtr(xp: Xp, x: Any) -> Any:
    z = xp.mul(x, -_ROOT_HALF)
    tail = xp.sub(xp.log(xp.mul(_scaled(xp, xp.maximum(z, 0.5)), 0.5)), xp.mul(xp.square(x), 0.5))
    return xp.where(xp.gt(z, 0.5), tail, xp.log1p(xp.mul(_erfc(xp, xp.neg(z)), -0.5)))


@composite(dtype="float", pointwise=True, public=())
def special_ndtr(xp: Xp, input: Tensor) -> Tensor:
    """Return the area under the standard normal density up to ``input``."""
    return widened(xp, _ndtr, input)


@composite(dtype="float", pointwise=True, public=())
def special_log_ndtr(xp: Xp, input: Tensor) -> Tensor:
    """Return the logarithm of the area under the standard normal density up to ``input``, precise in both tails."""
    return widened(xp, _log_ndtr, input)


special_ndtr.vjp(
    input=lambda xp, g, input: xp.mul(xp.mul(g, 1 / math.sqrt(2 * math.pi)), xp.exp(xp.mul(xp.square(input), -0.5)))
)
special_log_ndtr.vjp(
    input=lambda xp, g, input: xp.mul(
        xp.mul(g, math.sqrt(2 / math.pi)), xp.reciprocal(xp.special_erfcx(xp.mul(input, -_ROOT_HALF)))
    )
)
