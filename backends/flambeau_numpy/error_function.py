"""The error function, which NumPy lacks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy

from flambeau_numpy.blocks import in_blocks
from flambeau_numpy.scalars import few

Array = Any

# Rational approximations of W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23,
# 1969; highest power first. For |x| <= 0.46875: erf(x) = x P(x^2) / Q(x^2).
_NEAR = (
    (
        1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
        3.20937758913846947e3,
    ),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)  # fmt: skip
# For larger |x|: erfc(x) = exp(-x^2) P(x) / Q(x). Cody gives it up to 4; beyond, erfc is so small (1.5e-8) that the
# approximation's growing relative error does not show in erf.
_FAR = (
    (
        2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
        2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
        1.23033935479799725e3,
    ),
    (
        1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
        3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
    ),
)  # fmt: skip
# For float32, one formula for all x: erf(x) = x P(x^2) / Q(x^2), fitted up to 3.93, where erf is 1 to float32, by
# iteratively reweighted least squares against SciPy's erf; relative error 2e-8. At 4 it is over 1, so that cutting off
# there makes the tails exactly 1: what gelu multiplies with a large number has to be 0.
_SINGLE_LIMIT = 4.0
_SINGLE = (
    (
        2.0419587673226235e-06, 0.0002848084072638018, 0.003779629359640005, 0.052790351666941626,
        0.1907843818294611, 1.1283791453639822,
    ),
    (
        3.8003938881859e-05, 0.00116521627077124, 0.014997480353998727, 0.11425774280102184,
        0.5024109758647503, 1.0,
    ),
)  # fmt: skip


def _polynomial(coefficients: Sequence[float], x: Array) -> Array:
    """Horner's scheme."""
    result = numpy.multiply(x, coefficients[0])
    for coefficient in coefficients[1:-1]:
        numpy.add(result, coefficient, result)
        numpy.multiply(result, x, result)
    return numpy.add(result, coefficients[-1], result)


def _ratio(rational: tuple[Sequence[float], Sequence[float]], x: Array) -> Array:
    result = _polynomial(rational[0], x)
    return numpy.divide(result, _polynomial(rational[1], x), result)


def single_erf(x: Array) -> Array:
    """The error function to the precision of float32, in the dtype of ``x``.

    In float64 it is exact to one unit in the last place of a float32, in float32 to six.
    """
    x = numpy.minimum(numpy.maximum(x, -_SINGLE_LIMIT), _SINGLE_LIMIT)
    result = _ratio(_SINGLE, numpy.multiply(x, x))
    numpy.multiply(result, x, result)
    numpy.minimum(result, 1, out=result)
    return numpy.maximum(result, -1, out=result)


def double_erf(x: Array) -> Array:
    """The error function of a float64 array, to about one unit in the last place."""
    size = numpy.absolute(x)
    result = numpy.empty_like(x)
    near = size <= 0.46875
    inner = x[near]
    result[near] = inner * _ratio(_NEAR, inner * inner)
    far = ~near
    outer = numpy.minimum(size[far], 6.0)
    tail = numpy.exp(-outer * outer) * _ratio(_FAR, outer)
    result[far] = numpy.copysign(1.0 - tail, x[far])
    return result


def _erf(input: Array) -> Array:
    """The error function, ``2 / sqrt(pi)`` times the integral of ``exp(-t^2)`` from 0 to each element."""
    return in_blocks(double_erf if input.dtype == numpy.float64 else single_erf, input)


erf = few(math.erf, _erf)
